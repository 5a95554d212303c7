"""The rules of starting a task. The library, the command and the Airflow operator differ only in how they report."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.operations import (
    MAY_BE_DONE_AT_ONCE,
    STARTS_TASK,
    TAKES_CLIENT_TOKEN,
    asks_dry_run,
    check_action,
    client_token_of,
    in_doubt,
    is_dry_run,
    wait_instead,
)
from ecs_waiter.errors import ApiError, ServiceUnavailableError
from ecs_waiter.ids import check_task_id
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecs_waiter.api.retry import Attempts

__all__ = ["NOT_SENT", "Start"]

NOT_SENT = "nothing was sent, so it was not started"

_DRY_RUN_PASSED = "dryrunoperation"


def _new_token() -> str:
    return uuid.uuid4().hex


class Start:
    """One start of an operation: its parameters, what its answer means, and what to say if it is in doubt.

    Args:
        operation: The operation's name.
        region_id: The region of the call.
        params: The operation's parameters. They are copied.
        new_token: Makes the ``ClientToken`` that is added where the operation takes one and none is given. A dry run
            gets none: the token would be used up by a request that starts nothing.

    Attributes:
        params: The parameters to send.
        adds_token: Whether a token was added.

    Raises:
        TypeError: The operation is not a string.
        ValueError: The operation is not known to start a task; the message says how to wait for it instead.
    """

    def __init__(
        self,
        operation: str,
        region_id: str,
        params: Mapping[str, Any],
        *,
        new_token: Callable[[], str] = _new_token,
    ) -> None:
        self.operation = _checked(operation)
        self.region_id = region_id
        self.params = dict(params)
        self.adds_token = operation in TAKES_CLIENT_TOKEN and not self.params.get("ClientToken") and not self.is_dry_run
        if self.adds_token:
            self.params["ClientToken"] = new_token()

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

    def cut_off(self, attempts: Attempts) -> str:
        """What to say if the call was cut off: whether the operation may have started, and the last fault."""
        words = self.doubt if attempts.may_have_arrived else NOT_SENT
        return words if attempts.fault is None else f"{words}; the last fault: {attempts.fault.summary}"

    def is_in_doubt(self, error: ApiError) -> bool:
        """Whether the operation may have started although the call ended with this error."""
        return not self.is_dry_run and self.doubt in error.message

    @property
    def would_succeed(self) -> str:
        """The message for a dry run that would succeed."""
        words = "the request would succeed; it was a dry run, so nothing was started"
        return f"{self.operation} in {self.region_id}: {words}"

    @property
    def done_at_once(self) -> str:
        """The message for a start that gave no task because the change is done."""
        return f"{self.operation} in {self.region_id} was done at once: there is nothing to wait for"

    def passed_dry_run(self, error: ApiError) -> bool:
        """Whether an error is the answer to a dry run that would succeed: the service reports it as an error."""
        return asks_dry_run(self.params) and (error.code or "").lower() == _DRY_RUN_PASSED

    def task_id(self, answer: Mapping[str, Any]) -> str | None:
        """Return the ID of the task that was started; None if the change was done at once.

        Raises:
            ServiceUnavailableError: The answer does not say which task was started.
        """
        task_id = answer.get("TaskId")
        is_absent = task_id is None or task_id == ""
        if is_absent and self.operation in MAY_BE_DONE_AT_ONCE:
            return None
        try:
            return check_task_id(task_id)
        except (TypeError, ValueError):
            what = "no TaskId" if is_absent else f"a TaskId that cannot be read, {printable(repr(task_id))[:80]}"
        request_id = answer.get("RequestId")
        raise ServiceUnavailableError(
            None,
            f"the answer to {self.operation} in {self.region_id} has {what}; {self.doubt}",
            printable(request_id) if isinstance(request_id, str) else None,
            region_id=self.region_id,
        )


def _checked(operation: str) -> str:
    if check_action(operation) in STARTS_TASK:
        return operation
    raise ValueError(
        f"{operation} is not known to start a task that DescribeTasks lists, so `run` cannot wait for it: "
        f"start it with client.call({operation!r}, ...), or `aliyun ecs {operation} ...` in a shell, then "
        f"{wait_instead(operation)}. "
        f"`run` takes {', '.join(sorted(STARTS_TASK))}"
    )
