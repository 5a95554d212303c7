"""Which errors of a call are retried, and when, within the policy's outage budget."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from ecs_waiter.chance import CHANCE
from ecs_waiter.errors import ApiError, ServiceUnavailableError, ThrottledError
from ecs_waiter.escaping import escape_control
from ecs_waiter.running_clock import RunningClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ecs_waiter.api.call_policy import CallPolicy

__all__ = ["Attempts", "backoff", "is_transient", "retry"]

_FIRST = 0.5
_LONGEST = 20.0
_AT_WORK = "lasttokenprocessing"
_MISMATCH = "idempotentparametermismatch"

E = TypeVar("E", bound=Exception)
T = TypeVar("T")


class Attempts:
    """The attempts at one call so far, for a caller that wants to know of them even if the call is canceled.

    Attributes:
        may_have_arrived: Whether the service may have received one of them and acted on it.
        fault: The last transient fault; None if there was none.
    """

    __slots__ = ("fault", "may_have_arrived")

    def __init__(self) -> None:
        self.may_have_arrived = False
        self.fault: ApiError | None = None


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later."""
    return isinstance(error, ThrottledError | ServiceUnavailableError) or _has_code(error, _AT_WORK)


def _has_code(error: BaseException, code: str) -> bool:
    return isinstance(error, ApiError) and (error.code or "").lower().startswith(code)


def backoff(faults: int, error: BaseException | None = None, *, draw: Callable[[], float] = CHANCE.random) -> float:
    """Return the seconds to wait after that many faults in a row: from half a second, doubling, to 20 s.

    Each wait is drawn from the upper half of its range, also at the maximum, so that many callers do not come back
    together. It is at least as long as the service asked for in `error`.
    """
    wait = min(_FIRST * 2.0 ** min(faults - 1, 16), _LONGEST) * (1 + draw()) / 2
    asked = error.retry_after if isinstance(error, ThrottledError | ServiceUnavailableError) else None
    return wait if asked is None else max(wait, asked)


async def retry(  # noqa: PLR0913 - each is one property of the call
    attempt: Callable[[], Awaitable[T]],
    policy: CallPolicy,
    *,
    repeatable: bool,
    doubt: str = "",
    token: str | None = None,
    clock: RunningClock | None = None,
    throttled_until: Callable[[], float] | None = None,
    attempts: Attempts | None = None,
    on_retry: Callable[[], None] = lambda: None,
) -> T:
    """Return what `attempt` returns, and repeat it while its errors are transient.

    Args:
        attempt: Makes one attempt at the call.
        policy: Its `outage_budget` limits the time of all attempts together, in seconds from now.
        repeatable: Whether a second execution is harmless. If not, only what surely did not happen is repeated.
        doubt: What an error says if one of the attempts may have taken effect.
        token: The call's ``ClientToken``.
        clock: Measures the budget.
        throttled_until: Returns the loop's time until which `attempt` itself waits after throttling, if it does.
        attempts: Where to note what is known of the attempts.
        on_retry: Called before each attempt but the first.

    Raises:
        ServiceUnavailableError: The last error is a transient fault, which is the `__cause__`.
        Exception: The last error is another one.
    """
    clock = clock or RunningClock()
    attempts = attempts or Attempts()
    started_at = clock.time()
    count = 0
    while True:
        count += 1
        attempt_at = clock.time()
        try:
            return await attempt()
        except Exception as raised:  # noqa: BLE001 - what any error says depends on the attempts before
            error = raised
        if not is_transient(error):
            break
        paced = throttled_until if isinstance(error, ThrottledError) else None
        wait = backoff(count, error) if paced is None else paced() - asyncio.get_running_loop().time()
        if isinstance(error, ApiError):
            attempts.fault = error
        # LastTokenProcessing: the service is executing the request of this token.
        if _has_code(error, _AT_WORK) or (isinstance(error, ServiceUnavailableError) and error.sent):
            attempts.may_have_arrived = True
        if attempts.may_have_arrived and not repeatable:
            break
        # If the event loop did not run for a while during this attempt, the budget is no reason to stop.
        is_interrupted = attempt_at < clock.gap_ended_at
        if not is_interrupted and clock.time() - started_at + wait >= policy.outage_budget:
            break
        on_retry()
        if paced is None:
            await asyncio.sleep(wait)
    summary = f"{count} attempts over {clock.time() - started_at:.3g} s failed; the last fault: " if count > 1 else ""
    raise _final(error, attempts, summary, doubt=doubt if attempts.may_have_arrived else "", token=token)


def _final(error: Exception, attempts: Attempts, summary: str, *, doubt: str, token: str | None) -> Exception:
    """Return the error of the whole call, given that of its last attempt."""
    if not isinstance(error, ApiError):
        if doubt:
            error.add_note(doubt)
        return error
    if isinstance(error, ServiceUnavailableError) or _has_code(error, _AT_WORK):
        message = f"{summary}{error.message}{f'; {doubt}' if doubt else ''}"
        outage = ServiceUnavailableError(
            error.code, message, error.request_id, error.http_status, sent=attempts.may_have_arrived
        )
        outage.__cause__ = error
        return outage
    message = error.message
    if token is not None and _has_code(error, _MISMATCH):
        message += (
            f"; ClientToken {escape_control(repr(token))} was used before with other parameters: "
            "use another token, or the parameters that it was used with"
        )
    if doubt:
        # The rejection of a repeat says nothing about the attempt before.
        message += f"; an earlier attempt was not answered: {doubt}"
    if message == error.message:
        return error
    reworded = copy(error)
    reworded.reword(message)
    return reworded
