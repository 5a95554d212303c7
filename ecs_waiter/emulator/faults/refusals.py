"""Faults in which the service, or a gateway in front of it, rejects the request."""
# ruff: noqa: D102 - Fault documents the methods that its kinds override

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_status, check_whole
from ecs_waiter.emulator.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.emulator.clock import ServiceTime
    from ecs_waiter.emulator.wire import Request

__all__ = ["CallQuota", "Refuse", "Reject", "Status", "Throttle", "ratelimit"]

_MAX_RETRY_AFTER = 1e9
_DEFAULT_CODES = {
    400: "InvalidParameter",
    403: "Forbidden.RAM",
    404: "InvalidAction.NotFound",
    429: "Throttling",
    500: "InternalError",
}


def ratelimit(*, limit: int = 100, remain: int, time_left: float, window: float = 60) -> str:
    """Return the value of a header ``x-ratelimit-…``; times are in seconds."""
    left, whole = round(time_left * 1000), round(window * 1000)
    return f"Limit:{limit},Remain:{remain},TimeLeft:{left},TimeWindow:{whole}"


@dataclass(kw_only=True)
class Refusal(Fault):
    """An error of the service in place of the operation's answer."""

    code: str
    status: int = 400
    message: str

    def __post_init__(self) -> None:
        check_status(self.status, least=400)

    def replacement(self, _request: Request, time: ServiceTime) -> Answer:
        return Answer(self.status, {"Code": self.code, "Message": self.message}, headers=self.headers(time))

    def headers(self, _time: ServiceTime) -> dict[str, str]:
        """Return more headers of the answer."""
        return {}


@dataclass(kw_only=True)
class Refuse(Refusal):
    """The credentials are rejected: filter by `region_id` to reject them in one region only."""

    code: str = "Forbidden.RAM"
    status: int = 403
    message: str = "User not authorized to operate on the specified resource, or this API doesn't support RAM."


@dataclass(kw_only=True)
class Reject(Refusal):
    """Every batch with a certain ID in it is rejected.

    Attributes:
        task_id: The ID.
    """

    task_id: str
    code: str = "InvalidTaskId.Malformed"
    message: str = "The specified task ID is not valid."

    def applies(self, request: Request) -> bool:
        return self.task_id in request.task_ids


@dataclass(kw_only=True)
class Throttle(Refusal):
    """There are too many calls.

    Attributes:
        retry_after: The wait in seconds that the answer asks for; None asks for none.
        older_header: Whether to send the milliseconds as older gateways do, in ``x-ratelimit-user-api``.
        retry_form: ``milliseconds`` sends ``x-acs-retry-after``; ``seconds`` and ``date`` send ``Retry-After`` in one
            of HTTP's two forms, rounded up to a whole second.
    """

    retry_after: float | None = None
    code: str = "Throttling.User"
    message: str = "Request was denied due to user flow control."
    older_header: bool = False
    retry_form: str = "milliseconds"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.retry_after is not None:
            check_number("retry_after", self.retry_after)
            check_number("retry_after", self.retry_after, most=_MAX_RETRY_AFTER)
        check_choice("retry_form", self.retry_form, ("milliseconds", "seconds", "date"))
        if self.older_header and self.retry_form != "milliseconds":
            raise ValueError(f"older_header needs retry_form='milliseconds', not {self.retry_form!r}")

    def headers(self, time: ServiceTime) -> dict[str, str]:
        wait = self.retry_after
        if wait is None:
            return {}
        if self.older_header:
            return {"x-ratelimit-user-api": ratelimit(remain=0, time_left=wait)}
        if self.retry_form == "milliseconds":
            return {"x-acs-retry-after": str(round(wait * 1000))}
        if self.retry_form == "seconds":
            return {"Retry-After": str(math.ceil(wait))}
        until = time.shown + timedelta(seconds=wait)
        return {"Retry-After": format_datetime(until + timedelta(microseconds=-until.microsecond % 10**6), usegmt=True)}


@dataclass(kw_only=True)
class CallQuota(Throttle):
    """A quota of calls for each region and operation: calls above it are throttled and do not count.

    Attributes:
        calls: How many calls pass
        per: in this many seconds.
        aligned: Whether the windows are fixed and begin with the clock's full minutes, as the service's do if `per` is
            60: a used-up quota is available again when the next window begins. Otherwise they slide: each call frees
            its place after `per` seconds.
    """

    calls: int = 10
    per: float = 1
    aligned: bool = False
    _passed: dict[tuple[str, str], deque[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("calls", self.calls)
        check_number("per", self.per)
        if self.aligned and not 0 < self.per < math.inf:
            raise ValueError(f"aligned windows take per as a number of seconds above 0, not {self.per!r}")
        self._passed = {}

    def applies(self, request: Request) -> bool:
        now = request.at.timestamp()
        self._forget(now)
        passed = self._passed.setdefault((request.region_id, request.action), deque())
        if len(passed) >= self.calls:
            return True
        passed.append(now)
        return False

    def _forget(self, now: float) -> None:
        for key, passed in list(self._passed.items()):
            while passed and self._is_over(passed[0], now):
                passed.popleft()
            if not passed:
                del self._passed[key]

    def _is_over(self, then: float, now: float) -> bool:
        """Whether a call at that time no longer takes a place."""
        if self.aligned:
            return then // self.per < now // self.per
        return now - then >= self.per


@dataclass(kw_only=True)
class Status(Fault):
    """Any HTTP status, with an error in the body.

    Attributes:
        code: The service's code; None takes a usual one for the status.
        body: ``json``, ``xml`` or ``html``; an HTML page has no code, like a gateway's.
        headers: More headers of the answer.
        executed: Whether the operation is executed first.
    """

    status: int = 503
    code: str | None = None
    message: str = "The request has failed due to a temporary failure of the server."
    body: str = "json"
    headers: Mapping[str, str] = field(default_factory=dict)
    executed: bool = False

    def __post_init__(self) -> None:
        check_status(self.status)
        check_choice("body", self.body, ("json", "xml", "html"))

    def replacement(self, _request: Request, _time: ServiceTime) -> Answer | None:
        return None if self.executed else self._error()

    def modify(self, answer: Answer) -> None:
        if self.executed:
            error = self._error()
            answer.status, answer.content, answer.name = error.status, error.content, error.name
            answer.body_format = error.body_format
            answer.headers.update(error.headers)

    def _error(self) -> Answer:
        content = {"Code": self.code or _DEFAULT_CODES.get(self.status, "ServiceUnavailable"), "Message": self.message}
        return Answer(self.status, content, body_format=self.body, headers=dict(self.headers))
