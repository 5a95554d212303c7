"""Faults in which the service, or a gateway before it, says no."""
# ruff: noqa: D102 - Fault documents what its kinds override

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator.answer import Answer
from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.emulator.clock import Moment
    from ecs_waiter.emulator.request import Request

__all__ = ["Quota", "Refuse", "Reject", "Status", "Throttle"]

_FIRST_STATUS, _LAST_STATUS = 200, 599
_BODIES = ("json", "xml", "html")
_DEFAULT_CODES = {
    400: "InvalidParameter",
    403: "Forbidden.RAM",
    404: "InvalidAction.NotFound",
    429: "Throttling",
    500: "InternalError",
}


def _refusal(status: int, code: str, message: str, *, body: str = "json", headers: dict[str, str]) -> Answer:
    return Answer(status, {"Code": code, "Message": message}, body_format=body, headers=headers)


def _retry_headers(retry_after: float | None, *, older: bool) -> dict[str, str]:
    if retry_after is None:
        return {}
    milliseconds = round(retry_after * 1000)
    if older:
        told = f"Limit:100,Remain:0,TimeLeft:{milliseconds},TimeWindow:60000"
        return {"x-ratelimit-user-api": told}
    return {"x-acs-retry-after": str(milliseconds)}


@dataclass(kw_only=True)
class Throttle(Fault):
    """Too many calls.

    Attributes:
        retry_after: The wait in seconds that the answer asks for; None asks for none.
        older_header: Say it as older gateways do, in ``x-ratelimit-user-api``.
    """

    retry_after: float | None = None
    code: str = "Throttling.User"
    status: int = 400
    message: str = "Request was denied due to user flow control."
    older_header: bool = False

    def __post_init__(self) -> None:
        if self.retry_after is not None:
            check_number("retry_after", self.retry_after)
        check_whole("status", self.status, least=400, most=_LAST_STATUS)

    def instead(self, _request: Request, _moment: Moment) -> Answer:
        headers = _retry_headers(self.retry_after, older=self.older_header)
        return _refusal(self.status, self.code, self.message, headers=headers)


@dataclass(kw_only=True)
class Quota(Throttle):
    """A quota of calls for each region and operation: calls above it are throttled and do not count.

    Attributes:
        calls: How many calls are let through
        per: in this many seconds, which slide.
    """

    calls: int = 10
    per: float = 1
    _passed: dict[tuple[str, str], deque[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("calls", self.calls)
        check_number("per", self.per)
        self._passed = defaultdict(deque)

    def applies(self, request: Request) -> bool:
        passed = self._passed[request.region_id, request.action]
        now = request.at.timestamp()
        while passed and now - passed[0] >= self.per:
            passed.popleft()
        if len(passed) >= self.calls:
            return True
        passed.append(now)
        return False


@dataclass(kw_only=True)
class Status(Fault):
    """Any HTTP status with an error in its body.

    Attributes:
        code: The service's code; None takes a usual one for the status.
        body: ``json``, ``xml`` or ``html``; a page of HTML has no code, as a gateway's.
        headers: More headers of the answer.
        executed: Whether the operation took effect all the same.
    """

    status: int = 503
    code: str | None = None
    message: str = "The request has failed due to a temporary failure of the server."
    body: str = "json"
    headers: Mapping[str, str] = field(default_factory=dict)
    executed: bool = False

    def __post_init__(self) -> None:
        check_whole("status", self.status, least=_FIRST_STATUS, most=_LAST_STATUS)
        check_choice("body", self.body, _BODIES)

    def _answer(self) -> Answer:
        code = self.code or _DEFAULT_CODES.get(self.status, "ServiceUnavailable")
        return _refusal(self.status, code, self.message, body=self.body, headers=dict(self.headers))

    def instead(self, _request: Request, _moment: Moment) -> Answer | None:
        return None if self.executed else self._answer()

    def spoil(self, _request: Request, answer: Answer) -> None:
        if not self.executed:
            return
        refusal = self._answer()
        answer.status, answer.content, answer.name = refusal.status, refusal.content, refusal.name
        answer.body_format = refusal.body_format
        answer.headers.update(refusal.headers)


@dataclass(kw_only=True)
class Refuse(Fault):
    """The credentials are refused: filter by `region_id` to refuse them in one region only."""

    code: str = "Forbidden.RAM"
    status: int = 403
    message: str = "User not authorized to operate on the specified resource, or this API doesn't support RAM."

    def __post_init__(self) -> None:
        check_whole("status", self.status, least=400, most=_LAST_STATUS)

    def instead(self, _request: Request, _moment: Moment) -> Answer:
        return _refusal(self.status, self.code, self.message, headers={})


@dataclass(kw_only=True)
class Reject(Fault):
    """One ID spoils every batch that it is in.

    Attributes:
        task_id: The ID.
    """

    task_id: str
    code: str = "InvalidTaskId.Malformed"
    status: int = 400
    message: str = "The specified task ID is not valid."

    def __post_init__(self) -> None:
        check_whole("status", self.status, least=400, most=_LAST_STATUS)

    def applies(self, request: Request) -> bool:
        return self.task_id in request.task_ids

    def instead(self, _request: Request, _moment: Moment) -> Answer:
        content: dict[str, Any] = {"Code": self.code, "Message": self.message}
        return Answer(self.status, content)
