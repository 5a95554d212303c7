"""Every error this library raises.

    EcsWaiterError
    ├── ApiError                       a call was rejected or failed; `region_id` is the region called
    │   ├── ThrottledError             too many calls; `retry_after` in seconds, if the service gave it
    │   ├── AuthenticationError        the credentials were rejected, or there are none
    │   └── ServiceUnavailableError    no good answer for too long; `__cause__` is the last fault
    ├── TaskError                      one task did not finish; `task` is its last known state
    │   ├── TaskFailedError            it failed; `detail` and the message hold the service's reason
    │   ├── TaskCanceledError          it was canceled or deleted
    │   └── TaskNotFoundError          the region does not list the task
    ├── WaitTimeoutError               the deadline passed (also a TimeoutError)
    ├── WaiterClosedError              the TaskWaiter was closed under a wait (also a RuntimeError)
    └── TasksFailedError               several tasks were waited for and some failed (also an ExceptionGroup)

All of them have `results` and `pending` of the wait that raised them, and keep their fields when they are pickled or
copied. Invalid arguments raise ValueError or TypeError instead.

`TaskNotFoundError.task` and `WaitTimeoutError.last` have at least the region, ID, status and action of every task that
was listed before. In waits of more than 500 tasks per region, only the 500 tasks that changed last have all fields.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from ecs_waiter.escaping import escape_control

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
    """Base class of all errors of this library."""

    @property
    def results(self) -> dict[str, Task | EcsWaiterError]:
        """ID -> Task or error, in the order asked; empty unless a wait for several IDs raised this error."""
        found: dict[str, Task | EcsWaiterError] = self.__dict__.setdefault("_results", {})
        return found

    @property
    def pending(self) -> tuple[str, ...]:
        """The IDs that had not finished, in the order asked; empty unless a wait for several IDs raised this error."""
        found: tuple[str, ...] = self.__dict__.get("_pending", ())
        return found

    def with_progress(self, results: Mapping[str, Task | EcsWaiterError], pending: Sequence[str]) -> Self:
        """Set `results` and `pending`, and return the error."""
        self.__dict__.update(_results=dict(results), _pending=tuple(pending))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the constructor with `args`, which are only the message here. A cause from another
        # library is left out, because it may not be picklable.
        cause = self.__cause__ if isinstance(self.__cause__, EcsWaiterError) else None
        return _restored, (type(self), self.args, cause), self.__dict__

    def __copy__(self) -> Self:
        """Return a copy without the traceback, so that the tracebacks of several callers do not add up."""
        twin: Self = _restored(type(self), self.args, None)
        twin.__dict__.update(self.__dict__)
        if "__notes__" in twin.__dict__:
            twin.__notes__ = list(self.__notes__)
        twin.__cause__ = self.__cause__
        return twin


def _restored(cls: type[Any], args: tuple[Any, ...], cause: BaseException | None) -> Any:
    error = cls.__new__(cls, *args)
    # OSError, the base of TimeoutError, does not set them in `__new__`.
    error.args = args
    error.__cause__ = cause
    return error


class ApiError(EcsWaiterError):
    """A call to the service was rejected or failed.

    Attributes:
        code: The service's error code, e.g. ``InvalidRegionId.NotFound``; None if there is none, as in a gateway's HTML
            page or after a broken connection.
        message: The service's message without secrets.
        request_id: The ID to give to the service's support; None if the answer had none.
        http_status: None if there was no answer.
        region_id: The region that was called; None if the error does not belong to a call.
    """

    def __init__(
        self,
        code: str | None,
        message: str,
        request_id: str | None = None,
        http_status: int | None = None,
        *,
        region_id: str | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.request_id = request_id
        self.http_status = http_status
        self.region_id = region_id
        super().__init__(self._text())

    def in_region(self, region_id: str) -> Self:
        """Set the region that was called, in the text too, and return the error."""
        if self.region_id is None:
            self.region_id = region_id
            self.args = (self._text(), *self.args[1:])
        return self

    def reword(self, message: str) -> None:
        """Change the message, in the text too."""
        self.message = message
        self.args = (self._text(), *self.args[1:])

    @property
    def summary(self) -> str:
        """The code, if there is one, and the message."""
        return f"{self.code}: {self.message}" if self.code else self.message

    def _text(self) -> str:
        text = self.summary
        # The message of an error of a whole region names the region already.
        region = self.region_id if self.region_id and self.region_id not in text else None
        notes = [region, f"request ID {self.request_id}" if self.request_id else None]
        shown = ", ".join(filter(None, notes))
        return f"{text} ({shown})" if shown else text


class ThrottledError(ApiError):
    """Too many calls. `retry_after` is the wait in seconds that the service asked for, or None."""

    def __init__(  # noqa: PLR0913 - each is a field
        self,
        code: str | None,
        message: str,
        request_id: str | None = None,
        http_status: int | None = None,
        *,
        retry_after: float | None = None,
        region_id: str | None = None,
    ) -> None:
        super().__init__(code, message, request_id, http_status, region_id=region_id)
        self.retry_after = retry_after


class AuthenticationError(ApiError):
    """The service rejected the credentials, or the credentials provider had none (`__cause__`)."""


class ServiceUnavailableError(ApiError):
    """There was no good answer for as long as the policy allows; `__cause__` is the last fault.

    Attributes:
        sent: False if the request surely never reached the service, so that it had no effect.
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
        region_id: str | None = None,
    ) -> None:
        super().__init__(code, message, request_id, http_status, region_id=region_id)
        self.sent = sent
        self.retry_after = retry_after


class TaskError(EcsWaiterError):
    """Base class of the errors of one task.

    Attributes:
        task_id: The ID of the task.
        region_id: The region that was asked.
        task: Its last known state, or None if it was never listed.
    """

    def __init__(self, message: str, *, task_id: str, region_id: str, task: Task | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.region_id = region_id
        self.task = task


class TaskFailedError(TaskError):
    """The task failed. `detail` has the service's reason; it is None if the service gave none in time."""

    def __init__(self, task: Task, detail: TaskDetail | None = None) -> None:
        reason = detail.reason if detail is not None else None
        super().__init__(
            f"{_named(task)} failed: {escape_control(reason) if reason else 'no reason is known'}",
            task_id=task.task_id,
            region_id=task.region_id,
            task=task,
        )
        self.detail = detail


class TaskCanceledError(TaskError):
    """The task was canceled or deleted."""

    def __init__(self, task: Task) -> None:
        super().__init__(
            f"{_named(task)} was canceled (status {escape_control(task.task_status)})",
            task_id=task.task_id,
            region_id=task.region_id,
            task=task,
        )


class TaskNotFoundError(TaskError):
    """The region did not list this ID for the whole grace period."""

    def __init__(self, task_id: str, region_id: str, task: Task | None = None) -> None:
        words = f"task {task_id} is unknown in {region_id}: was it started in another region?"
        if task is not None:
            words = f"task {task_id} is no longer listed in {region_id}: the service has removed it from its list"
        super().__init__(words, task_id=task_id, region_id=region_id, task=task)


class WaitTimeoutError(EcsWaiterError, TimeoutError):
    """The deadline passed. The tasks keep running at the service.

    Attributes:
        pending: The IDs that had not finished, in the order asked; not empty for a wait for one ID either.
        last: The last known state of each pending ID, or None if the service never listed it.
        faults: Region -> its present fault, for the failing regions of pending IDs.
    """

    def __init__(
        self,
        message: str,
        *,
        pending: Sequence[str] = (),
        results: Mapping[str, Task | EcsWaiterError] | None = None,
        last: Mapping[str, Task | None] | None = None,
        faults: Mapping[str, ApiError] | None = None,
    ) -> None:
        super().__init__(message)
        self.with_progress(results or {}, pending)
        self.last: dict[str, Task | None] = dict(last or {})
        self.faults: dict[str, ApiError] = dict(faults or {})

    @classmethod
    def after(
        cls,
        timeout: float,
        last: Mapping[str, Task | None],
        results: Mapping[str, Task | EcsWaiterError],
        faults: Mapping[str, ApiError],
        *,
        unasked: int = 0,
    ) -> WaitTimeoutError:
        """Return the error of a wait, whose message has the last status of pending IDs and the faults of regions."""
        parts = [f"still waiting after {timeout:g} s for {len(last)} of {len(last) + len(results)}"]
        if seen := [task for task in last.values() if task is not None]:
            parts[0] += f": {_few(list(map(_with_status, seen[:_NAMED_IDS])), len(seen))}"
        if unlisted := [task_id for task_id, task in last.items() if task is None]:
            more = f" (no call asked for {unasked} of them yet)" if unasked else ""
            parts.append(f"never listed by the service: {few(unlisted)}{more}")
        parts += [f"{region_id} is failing: {fault.summary}" for region_id, fault in islice(faults.items(), _NAMED_IDS)]
        return cls("; ".join(parts), pending=list(last), results=results, last=last, faults=faults)


class WaiterClosedError(EcsWaiterError, RuntimeError):
    """The TaskWaiter, or the session that it was given, was closed."""


class TasksFailedError(EcsWaiterError, ExceptionGroup[EcsWaiterError]):
    """Several tasks were waited for and some did not finish; `except* TaskFailedError` selects one kind."""

    def __new__(cls, message: str, errors: Sequence[EcsWaiterError], **_fields: object) -> Self:
        """ExceptionGroup takes its message and errors only."""
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
        self.with_progress(results or {}, pending)

    def derive(self, excs: Sequence[EcsWaiterError], /) -> TasksFailedError:  # type: ignore[override]
        """Return the part of this group that ``except*`` or `split` selects, with all results."""
        return TasksFailedError(self.message, excs, results=self.results, pending=self.pending)


def few(task_ids: Sequence[str]) -> str:
    """Return the first of many IDs, and how many more there are."""
    return _few(task_ids[:_NAMED_IDS], len(task_ids))


def _few(shown: Sequence[str], count: int) -> str:
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"{', '.join(shown)}{more}"


def _with_status(task: Task) -> str:
    status = escape_control(task.task_status)
    # Documented statuses are members of an enum.
    if type(task.task_status) is str:
        status = f"unknown status {status!r}"
    return f"{escape_control(task.task_id)} ({status})"


def _named(task: Task) -> str:
    what = f"{escape_control(task.task_action)}, " if task.task_action else ""
    return f"task {escape_control(task.task_id)} ({what}{task.region_id})"
