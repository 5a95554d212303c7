"""Which errors of a call are retried, and when: by tenacity, within the policy's outage budget."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, NoReturn, TypeVar

from tenacity import AsyncRetrying, retry_if_exception
from tenacity.wait import wait_base

from ecs_waiter.api.attempts import Attempts
from ecs_waiter.chance import CHANCE
from ecs_waiter.errors import ApiError, ServiceUnavailableError, ThrottledError
from ecs_waiter.printable import printable
from ecs_waiter.running_clock import RunningClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from ecs_waiter.api.call_policy import CallPolicy

__all__ = ["is_passing", "retrying", "wait_backoff"]

_FIRST = 0.5
_LONGEST = 20.0
_AT_WORK = "lasttokenprocessing"
_MISMATCH = "idempotentparametermismatch"

E = TypeVar("E", bound=ApiError)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed a little later."""
    return isinstance(error, ThrottledError | ServiceUnavailableError) or _has_code(error, _AT_WORK)


def _has_code(error: BaseException, code: str) -> bool:
    return isinstance(error, ApiError) and (error.code or "").lower().startswith(code)


class wait_backoff(wait_base):  # noqa: N801 - tenacity's strategies are named like functions
    """A tenacity wait strategy: doubles from half a second to 20 s, and as long as the service asked for at least.

    Each wait is drawn from the upper half of its range, at the ceiling too, so that many callers do not come back
    together.
    """

    def __init__(self, *, draw: Callable[[], float] = CHANCE.random) -> None:
        self._draw = draw

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait after the attempt that `retry_state` tells of."""
        doubled = _FIRST * 2.0 ** min(retry_state.attempt_number - 1, 16)
        wait = min(doubled, _LONGEST) * (1 + self._draw()) / 2
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        asked = error.retry_after if isinstance(error, ThrottledError | ServiceUnavailableError) else None
        return wait if asked is None else max(wait, asked)


def retrying(  # noqa: PLR0913 - each is one property of the call
    policy: CallPolicy,
    *,
    repeatable: bool,
    doubt: str = "",
    token: str | None = None,
    clock: RunningClock | None = None,
    attempts: Attempts | None = None,
    on_retry: Callable[[], None] | None = None,
) -> AsyncRetrying:
    """Return what repeats one call while its errors are transient; the budget begins now.

    It ends with the last error. For a transient fault that is a ServiceUnavailableError whose `__cause__` is the fault.

    Args:
        policy: Its `outage_budget` bounds the time, in seconds, of all attempts together.
        repeatable: Whether a second execution is harmless. If not, only what surely did not happen is repeated.
        doubt: What an error says if one of the attempts may have taken effect.
        token: The call's ``ClientToken``.
        clock: Measures the budget.
        attempts: Where to note what is known of the attempts.
        on_retry: Called before each attempt but the first.
    """
    call = _Call(
        policy, clock or RunningClock(), attempts or Attempts(), repeatable=repeatable, doubt=doubt, token=token
    )
    return AsyncRetrying(
        sleep=asyncio.sleep,
        # Errors that are not retried come here too: what they say depends on the attempts before.
        retry=retry_if_exception(lambda error: isinstance(error, Exception)),
        wait=wait_backoff(),
        before=call.begin,
        stop=call.is_over,
        before_sleep=None if on_retry is None else lambda _state: on_retry(),
        retry_error_callback=call.give_up,
    )


class _Call:
    """What is known of a call's attempts when they end."""

    def __init__(  # noqa: PLR0913 - the arguments of `retrying`
        self,
        policy: CallPolicy,
        clock: RunningClock,
        attempts: Attempts,
        *,
        repeatable: bool,
        doubt: str,
        token: str | None,
    ) -> None:
        self._clock = clock
        self._time = clock.time
        self._started = self._began_at = self._time()
        self._budget = policy.outage_budget
        self._repeatable = repeatable
        self._doubt = doubt
        self._token = token
        self._attempts = attempts

    def begin(self, _state: RetryCallState) -> None:
        self._began_at = self._clock.time()

    def is_over(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        if not is_passing(error):
            return True
        if isinstance(error, ApiError):
            self._attempts.fault = error
        # The service executes the request of this token right now.
        if _has_code(error, _AT_WORK) or (isinstance(error, ServiceUnavailableError) and error.sent):
            self._attempts.may_have_arrived = True
        if self._attempts.may_have_arrived and not self._repeatable:
            return True
        if self._began_at < self._clock.gap_ended_at:
            # The loop did not run for a while during this attempt: try once more.
            return False
        # A wait that ends past the budget would be waited for nothing.
        return self._time() - self._started + state.upcoming_sleep >= self._budget

    def give_up(self, state: RetryCallState) -> NoReturn:
        error = _error_of(state)
        doubt = self._doubt if self._attempts.may_have_arrived else ""
        if not isinstance(error, ApiError):
            if doubt:
                error.add_note(doubt)
            raise error
        if isinstance(error, ServiceUnavailableError) or _has_code(error, _AT_WORK):
            self._raise_fault(error, state.attempt_number, doubt)
        # A refusal of a repeat says nothing about the attempt before.
        words = error.message
        if self._token is not None and _has_code(error, _MISMATCH):
            words += (
                f"; ClientToken {printable(repr(self._token))} was used before with other parameters: "
                "use another token, or the parameters that it was used with"
            )
        if doubt:
            words += f"; an earlier attempt was not answered: {doubt}"
        if words == error.message:
            raise error
        raise _reworded(error, words) from error.__cause__

    def _raise_fault(self, error: ApiError, attempts: int, doubt: str) -> NoReturn:
        words = error.message
        if attempts > 1:
            words = f"{attempts} attempts over {self._time() - self._started:.3g} s failed; the last fault: {words}"
        if doubt:
            words += f"; {doubt}"
        raise ServiceUnavailableError(
            error.code, words, error.request_id, error.http_status, sent=self._attempts.may_have_arrived
        ) from error


def _reworded(error: E, message: str) -> E:
    """Return the same error with another message."""
    twin = copy(error)
    twin.reword(message)
    return twin


def _error_of(state: RetryCallState) -> BaseException:
    outcome = state.outcome
    error = outcome.exception() if outcome is not None else None
    if error is None:  # pragma: no cover - tenacity asks after a failed attempt only
        raise RuntimeError("no attempt has failed")
    return error
