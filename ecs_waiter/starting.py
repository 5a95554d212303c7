"""Start: one start of an operation, as the library, the command and the Airflow operator make it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ecs_waiter.api.operations import (
    MAY_BE_DONE_AT_ONCE,
    STARTS_TASK,
    TAKES_CLIENT_TOKEN,
    asks_dry_run,
    check_action,
    client_token_of,
    in_doubt,
    is_dry_run,
    region_of_call,
    wait_instead,
)
from ecs_waiter.api.retry import Attempts
from ecs_waiter.errors import ApiError, ServiceUnavailableError, WaiterClosedError, WaitTimeoutError
from ecs_waiter.escaping import escape_control
from ecs_waiter.ids import check_task_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.api.client import EcsClient

__all__ = ["NOT_SENT", "AlwaysStartsTask", "Start", "StartedTask"]

NOT_SENT = "nothing was sent, so it was not started"

AlwaysStartsTask: TypeAlias = Literal[
    "ExportImage",
    "ExportSnapshot",
    "ImportImage",
    "ModifyDiskDeployment",
    "ModifyInstanceClockOptions",
    "ModifyInstanceNetworkOptions",
    "ModifySnapshotCategory",
    "RedeployInstance",
]
"""`STARTS_TASK` without `MAY_BE_DONE_AT_ONCE`, for type checkers."""

_DRY_RUN_PASSED = "dryrunoperation"
_RESOURCES = ("ImageId", "SnapshotId", "DiskId", "InstanceId")


@dataclass(frozen=True, slots=True)
class StartedTask:
    """What the answer to a start says.

    Attributes:
        region_id: The region of the task.
        task_id: The task; None if there is none to wait for: the change was done at once, or it was a dry run.
        resource_id: The image, snapshot, disk or instance, if the answer named it.
        request_id: For a ticket with the service; empty if the answer had none.
        client_token: The token with which the start can be repeated; None where the operation takes none.
    """

    region_id: str
    task_id: str | None
    resource_id: str | None
    request_id: str
    client_token: str | None


def _new_token() -> str:
    return uuid.uuid4().hex


class Start:
    """One start of an operation: its parameters, its call, what the answer means, and what to say if it is in doubt.

    Args:
        operation: The operation's name.
        region_id: The region of the call; the ``RegionId`` of the parameters or the default region if None.
        params: The operation's parameters. They are copied.
        default_region: The default; ``ALIBABA_CLOUD_REGION_ID`` if None.
        new_token: Makes the ``ClientToken`` that is added where the operation takes one and none is given. A dry run
            gets none: the token would be used up by a request that starts nothing.

    Attributes:
        params: The parameters to send.
        adds_token: Whether a token was added.
        attempts: The attempts of `send`: whether one may have arrived, and the last fault.
        why_no_task: Why `send` returned no task ID; empty if it returned one.

    Raises:
        TypeError: The operation or the region is not a string, or the parameters are not a mapping.
        ValueError: The region is invalid or unknown, or the operation is not known to start a task; the message says
            how to wait for it instead.
    """

    def __init__(
        self,
        operation: str,
        region_id: str | None,
        params: Mapping[str, Any] | None,
        *,
        default_region: str | None = None,
        new_token: Callable[[], str] = _new_token,
    ) -> None:
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params takes a mapping of the operation's parameters, not {type(params).__name__}")
        self.operation = _checked(operation)
        self.params = dict(params or {})
        if region_id is None and self.params.get("RegionId") is None:
            region_id = default_region
        self.region_id = region_of_call(region_id, self.params)
        self.adds_token = operation in TAKES_CLIENT_TOKEN and not self.params.get("ClientToken") and not self.is_dry_run
        if self.adds_token:
            self.params["ClientToken"] = new_token()
        self.attempts = Attempts()
        self.why_no_task = ""
        self._call: asyncio.Task[dict[str, Any]] | None = None
        self._is_closed = False

    @property
    def client_token(self) -> str | None:
        """The token with which the start can be repeated; None if there is none."""
        return client_token_of(self.operation, self.params)

    @property
    def is_dry_run(self) -> bool:
        """Whether it only checks the request."""
        return is_dry_run(self.operation, self.params)

    @property
    def doubt(self) -> str:
        """What to say if it is not known whether it started."""
        return in_doubt(self.operation, self.region_id, self.params) or "it was a dry run, which starts nothing"

    def is_in_doubt(self, error: ApiError) -> bool:
        """Whether the operation may have started although the call ended with this error."""
        return not self.is_dry_run and self.doubt in error.message

    async def send(self, client: EcsClient, timeout: float | None = None) -> StartedTask:
        """Start the operation by a call of `client`, and return what the answer says.

        Raises:
            WaitTimeoutError: `timeout` seconds passed before the answer; no ID is pending.
            WaiterClosedError: `close` was called before the answer.
            ServiceUnavailableError: No good answer came, or one that does not say which task was started.
            ApiError: The service rejected it.
        """
        call = client.recorded_call(self.operation, self.region_id, self.params, self.attempts)
        self._call = asyncio.get_running_loop().create_task(call)
        try:
            return self._started(await self._answer(self._call, timeout))
        except ApiError as error:
            # The service reports a dry run that would succeed as an error.
            if not asks_dry_run(self.params) or (error.code or "").lower() != _DRY_RUN_PASSED:
                raise
            words = "the request would succeed; it was a dry run, so nothing was started"
            self.why_no_task = f"{self.operation} in {self.region_id}: {words}"
            return StartedTask(self.region_id, None, None, error.request_id or "", self.client_token)

    def close(self) -> asyncio.Task[dict[str, Any]] | None:
        """Give the call up, because its waiter was closed; return what has yet to end."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()
        return self._call

    async def _answer(self, call: asyncio.Task[dict[str, Any]], timeout: float | None) -> dict[str, Any]:
        unanswered = f"{self.operation} in {self.region_id} was not answered"
        try:
            async with asyncio.timeout(timeout) as limit:
                return await call
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if not self._is_closed or (caller is not None and caller.cancelling()):
                # It shows below the TimeoutError of a caller's own deadline.
                error.add_note(f"{unanswered} before it was canceled: {self._cut_off()}")
                raise
            raise WaiterClosedError(f"the TaskWaiter was closed; {unanswered} before: {self._cut_off()}") from None
        except TimeoutError:
            if not limit.expired():
                raise
            if call.done() and not call.cancelled() and call.exception() is None:
                # It was answered in the very iteration of the loop in which the deadline passed.
                return call.result()
            fault = self.attempts.fault
            raise WaitTimeoutError(
                f"{unanswered} within {timeout or 0.0:g} s: {self._cut_off()}",
                faults={} if fault is None else {self.region_id: fault},
            ) from None

    def _cut_off(self) -> str:
        """What to say if the call was cut off: whether the operation may have started, and the last fault."""
        words = self.doubt if self.attempts.may_have_arrived else NOT_SENT
        return words if self.attempts.fault is None else f"{words}; the last fault: {self.attempts.fault.summary}"

    def _task_id(self, answer: Mapping[str, Any]) -> str | None:
        task_id = answer.get("TaskId")
        is_absent = task_id is None or task_id == ""
        if is_absent and self.operation in MAY_BE_DONE_AT_ONCE:
            self.why_no_task = f"{self.operation} in {self.region_id} was done at once: there is nothing to wait for"
            return None
        try:
            return check_task_id(task_id)
        except (TypeError, ValueError):
            what = "no TaskId" if is_absent else f"a TaskId that cannot be read, {escape_control(repr(task_id))[:80]}"
        raise ServiceUnavailableError(
            None,
            f"the answer to {self.operation} in {self.region_id} has {what}; {self.doubt}",
            _text(answer.get("RequestId")),
            region_id=self.region_id,
        )

    def _started(self, answer: Mapping[str, Any]) -> StartedTask:
        task_id = self._task_id(answer)
        resource_id = next(filter(None, (_text(answer.get(name)) for name in _RESOURCES)), None)
        request_id = _text(answer.get("RequestId")) or ""
        return StartedTask(self.region_id, task_id, resource_id, request_id, self.client_token)


def _text(value: object) -> str | None:
    return escape_control(value) if isinstance(value, str) else None


def _checked(operation: str) -> str:
    if check_action(operation) in STARTS_TASK:
        return operation
    raise ValueError(
        f"{operation} is not known to start a task that DescribeTasks lists, so `run` cannot wait for it: "
        f"start it with client.call({operation!r}, ...), or `aliyun ecs {operation} ...` in a shell, then "
        f"{wait_instead(operation)}. "
        f"`run` takes {', '.join(sorted(STARTS_TASK))}"
    )
