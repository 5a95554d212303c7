"""Every error this library raises.

    EcsWaiterError
    ├── ApiError                       the service refused a call
    │   ├── ThrottledError             too many calls; `retry_after` in seconds, where the service said
    │   ├── AuthenticationError        the credentials were refused, or there are none
    │   └── ServiceUnavailableError    no good answer for too long; `__cause__` is the last fault
    ├── TaskError                      one task did not finish
    │   ├── TaskFailedError            it failed; `detail` and the message hold the service's reason
    │   ├── TaskCanceledError          it was canceled or deleted
    │   └── TaskNotFoundError          the region has no such task
    ├── WaitTimeoutError               the deadline passed (a TimeoutError too)
    ├── WaiterClosedError              the TaskWaiter was closed under a wait (a RuntimeError too)
    └── TasksFailedError               several tasks were asked and some failed (an ExceptionGroup too)

All of them survive pickle and copy with their fields. Misuse is not here: it is ValueError or TypeError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecs_waiter.models import Task, TaskDetail

__all__ = [
    "ApiError",
    "AuthenticationError",
    "EcsWaiterError",
    "ServiceUnavailableError",
    "TaskCanceledError",
    "TaskError",
    "TaskFailedError",
    "TaskNotFoundError",
    "TasksFailedError",
    "ThrottledError",
    "WaitTimeoutError",
    "WaiterClosedError",
]

_NAMED_IDS = 5


class EcsWaiterError(Exception):
    """The root of the tree: `except EcsWaiterError` catches all that this library raises by itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the constructor with `args`, which are only the message here.
        return _restored, (type(self), self.args, self._portable_cause()), self.__dict__

    def _portable_cause(self) -> EcsWaiterError | None:
        """The cause, where it is ours: one of another library may hold sockets and not pickle."""
        return self.__cause__ if isinstance(self.__cause__, EcsWaiterError) else None

    def __copy__(self) -> Self:
        """A twin without the traceback, so that one failure told to many waiters does not pile theirs up."""
        twin: Self = _restored(type(self), self.args, None)
        twin.__dict__.update(self.__dict__)
        if "__notes__" in twin.__dict__:
            twin.__notes__ = list(self.__notes__)
        twin.__cause__ = self.__cause__
        return twin


def _restored(cls: type[Any], args: tuple[Any, ...], cause: BaseException | None) -> Any:
    error = cls.__new__(cls, *args)
    # OSError, which a TimeoutError is, takes its arguments in another way.
    error.args = args
    error.__cause__ = cause
    return error


class ApiError(EcsWaiterError):
    """The service refused a call.

    Attributes:
        code: The service's error code, e.g. ``InvalidRegionId.NotFound``; None where there is none,
            as in a gateway's HTML page or a broken connection.
        message: The service's own words, secrets removed.
        request_id: For a ticket with the service; None if the answer had none.
        http_status: None if no answer came.
    """

    def __init__(
        self,
        code: str | None,
        message: str,
        request_id: str | None = None,
        http_status: int | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.request_id = request_id
        self.http_status = http_status
        told = f"{code}: {message}" if code else message
        super().__init__(f"{told} (request ID {request_id})" if request_id else told)


class ThrottledError(ApiError):
    """Too many calls. `retry_after` is the wait in seconds that the service asked for, or None."""

    def __init__(
        self,
        code: str | None,
        message: str,
        request_id: str | None = None,
        http_status: int | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, message, request_id, http_status)
        self.retry_after = retry_after


class AuthenticationError(ApiError):
    """The service refused the credentials, or the credentials provider had none to give (`__cause__`)."""


class ServiceUnavailableError(ApiError):
    """No good answer came for as long as the policy allows; `__cause__` is the last fault.

    Attributes:
        sent: False where the request surely never reached the service, so that what it asked for did not happen.
        retry_after: The wait in seconds that the service asked for, or None.
    """

    def __init__(  # noqa: PLR0913 - each is a field
        self,
        code: str | None,
        message: str,
        request_id: str | None = None,
        http_status: int | None = None,
        *,
        sent: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, message, request_id, http_status)
        self.sent = sent
        self.retry_after = retry_after


class TaskError(EcsWaiterError):
    """A task ended otherwise than well.

    Attributes:
        task_id: The task asked for.
        region_id: The region asked.
        task: The last known state, or None if it was never seen.
    """

    def __init__(self, message: str, *, task_id: str, region_id: str, task: Task | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.region_id = region_id
        self.task = task


class TaskFailedError(TaskError):
    """The task failed. `detail` holds the service's reason; None if the service gave none in time."""

    def __init__(self, task: Task, detail: TaskDetail | None = None) -> None:
        reason = detail.reason if detail is not None else None
        super().__init__(
            f"{_named(task)} failed: {printable(reason) if reason else 'no reason is known'}",
            task_id=task.task_id,
            region_id=task.region_id,
            task=task,
        )
        self.detail = detail


class TaskCanceledError(TaskError):
    """The task was canceled or deleted."""

    def __init__(self, task: Task) -> None:
        super().__init__(
            f"{_named(task)} was canceled (status {printable(task.task_status)})",
            task_id=task.task_id,
            region_id=task.region_id,
            task=task,
        )


class TaskNotFoundError(TaskError):
    """The region's answers have lacked this ID for the whole grace period."""

    def __init__(self, task_id: str, region_id: str, task: Task | None = None) -> None:
        seen = "is no longer listed" if task is not None else "is unknown"
        super().__init__(
            f"task {task_id} {seen} in {region_id}: was it started in another region?",
            task_id=task_id,
            region_id=region_id,
            task=task,
        )


class WaitTimeoutError(EcsWaiterError, TimeoutError):
    """The deadline passed; the tasks themselves run on at the service.

    Attributes:
        pending: The IDs that had not settled, in the order asked.
        results: What had settled: ID -> Task or error.
    """

    def __init__(
        self,
        message: str,
        *,
        pending: Sequence[str] = (),
        results: Mapping[str, Task | EcsWaiterError] | None = None,
    ) -> None:
        super().__init__(message)
        self.pending: tuple[str, ...] = tuple(pending)
        self.results: dict[str, Task | EcsWaiterError] = dict(results or {})

    @classmethod
    def after(
        cls, timeout: float, pending: Sequence[str], results: Mapping[str, Task | EcsWaiterError]
    ) -> WaitTimeoutError:
        """The usual case, with a message that names what is still pending (the first few of many)."""
        return cls(
            f"still waiting after {timeout:g} s for {len(pending)} of {len(pending) + len(results)}: {few(pending)}",
            pending=pending,
            results=results,
        )


class WaiterClosedError(EcsWaiterError, RuntimeError):
    """The TaskWaiter, or the session that it was given, was closed, so it does not wait any longer."""


class TasksFailedError(EcsWaiterError, ExceptionGroup[EcsWaiterError]):
    """Several tasks were asked and some did not finish; `except* TaskFailedError` picks its kind.

    Attributes:
        results: ID -> Task or error, in the order asked.
        pending: With ``fail_fast``, the IDs that had not settled; else empty.
    """

    results: dict[str, Task | EcsWaiterError]
    pending: tuple[str, ...]

    def __new__(cls, message: str, errors: Sequence[EcsWaiterError], **_fields: object) -> Self:
        """ExceptionGroup is made of its message and errors alone."""
        return super().__new__(cls, message, errors)

    def __init__(
        self,
        message: str,
        errors: Sequence[EcsWaiterError],
        *,
        results: Mapping[str, Task | EcsWaiterError] | None = None,
        pending: Sequence[str] = (),
    ) -> None:
        super().__init__(message, errors)
        self.results = dict(results or {})
        self.pending = tuple(pending)

    def derive(self, excs: Sequence[EcsWaiterError], /) -> TasksFailedError:  # type: ignore[override]
        """The part of this group that ``except*`` or `split` picked, with all results still at hand."""
        return TasksFailedError(self.message, excs, results=self.results, pending=self.pending)


def few(task_ids: Sequence[str]) -> str:
    """The first of many IDs, and how many more there are."""
    more = f" and {len(task_ids) - _NAMED_IDS} more" if len(task_ids) > _NAMED_IDS else ""
    return f"{', '.join(task_ids[:_NAMED_IDS])}{more}"


def _named(task: Task) -> str:
    what = f"{printable(task.task_action)}, " if task.task_action else ""
    return f"task {printable(task.task_id)} ({what}{task.region_id})"
