"""Faults in which the service, or a gateway before it, says no."""
# ruff: noqa: D102 - Fault documents what its kinds override

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator.answer import Answer
from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.emulator.clock import Moment
    from ecs_waiter.emulator.request import Request

__all__ = ["Quota", "Refuse", "Reject", "Status", "Throttle", "ratelimit"]

_FIRST_STATUS, _LAST_STATUS = 200, 599
_BODIES = ("json", "xml", "html")
_LONGEST_RETRY = 1e9
_RETRY_FORMS = ("milliseconds", "seconds", "date")
_DEFAULT_CODES = {
    400: "InvalidParameter",
    403: "Forbidden.RAM",
    404: "InvalidAction.NotFound",
    429: "Throttling",
    500: "InternalError",
}


def _refusal(status: int, code: str, message: str, *, body: str = "json", headers: dict[str, str]) -> Answer:
    return Answer(status, {"Code": code, "Message": message}, body_format=body, headers=headers)


def ratelimit(*, limit: int = 100, remain: int, time_left: float, window: float = 60) -> str:
    """Return the value of a header ``x-ratelimit-…``; times are in seconds."""
    left, whole = round(time_left * 1000), round(window * 1000)
    return f"Limit:{limit},Remain:{remain},TimeLeft:{left},TimeWindow:{whole}"


@dataclass(kw_only=True)
class Throttle(Fault):
    """Too many calls.

    Attributes:
        retry_after: The wait in seconds that the answer asks for; None asks for none.
        older_header: Send the milliseconds as older gateways do, in ``x-ratelimit-user-api``.
        retry_form: ``milliseconds`` sends ``x-acs-retry-after``; ``seconds`` and ``date`` send ``Retry-After`` in one
            of HTTP's two forms, rounded up to a whole second.
    """

    retry_after: float | None = None
    code: str = "Throttling.User"
    status: int = 400
    message: str = "Request was denied due to user flow control."
    older_header: bool = False
    retry_form: str = "milliseconds"

    def __post_init__(self) -> None:
        if self.retry_after is not None:
            check_number("retry_after", self.retry_after)
            check_number("retry_after", self.retry_after, most=_LONGEST_RETRY)
        check_choice("retry_form", self.retry_form, _RETRY_FORMS)
        if self.older_header and self.retry_form != "milliseconds":
            raise ValueError(f"older_header needs retry_form='milliseconds', not {self.retry_form!r}")
        check_whole("status", self.status, least=400, most=_LAST_STATUS)

    def instead(self, _request: Request, moment: Moment) -> Answer:
        return _refusal(self.status, self.code, self.message, headers=self._retry_headers(moment))

    def _retry_headers(self, moment: Moment) -> dict[str, str]:
        wait = self.retry_after
        if wait is None:
            return {}
        if self.older_header:
            return {"x-ratelimit-user-api": ratelimit(remain=0, time_left=wait)}
        if self.retry_form == "milliseconds":
            return {"x-acs-retry-after": str(round(wait * 1000))}
        if self.retry_form == "seconds":
            return {"Retry-After": str(math.ceil(wait))}
        until = moment.public + timedelta(seconds=wait)
        return {"Retry-After": format_datetime(until + timedelta(microseconds=-until.microsecond % 10**6), usegmt=True)}


@dataclass(kw_only=True)
class Quota(Throttle):
    """A quota of calls for each region and operation: calls above it are throttled and do not count.

    Attributes:
        calls: How many calls are let through
        per: in this many seconds.
        aligned: Whether these are fixed windows that begin with the clock's full minutes, as the service's do where
            `per` is 60: a quota that is used up is there again when the next window begins. If not, they slide: each
            call frees its place after `per` seconds.
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
        """Whether a call of back then takes no place any more."""
        if self.aligned:
            return then // self.per < now // self.per
        return now - then >= self.per


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
