"""Which errors of a call pass, and when it is made again: by tenacity, within the policy's outage budget."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NoReturn

from tenacity import AsyncRetrying, retry_if_exception
from tenacity.wait import wait_base

from ecs_waiter.errors import ServiceUnavailableError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from ecs_waiter.api.policy import CallPolicy

__all__ = ["is_passing", "retrying", "wait_backoff"]

_FIRST = 0.5
_LONGEST = 20.0


def is_passing(error: BaseException) -> bool:
    """Whether the same call may go well a little later."""
    return isinstance(error, ThrottledError | ServiceUnavailableError)


class wait_backoff(wait_base):  # noqa: N801 - tenacity's strategies are named like functions
    """A tenacity wait strategy: doubles from half a second to 20 s, and as long as the service asked for at least.

    Each wait is drawn from the upper half of its range, at the ceiling too, so that many callers do not come back
    together.
    """

    def __init__(self, *, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait after the attempt that `retry_state` tells of."""
        doubled = _FIRST * 2.0 ** min(retry_state.attempt_number - 1, 16)
        wait = min(doubled, _LONGEST) * (1 + self._draw()) / 2
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        asked = error.retry_after if isinstance(error, ThrottledError | ServiceUnavailableError) else None
        return wait if asked is None else max(wait, asked)


def retrying(policy: CallPolicy, *, repeatable: bool, on_retry: Callable[[], None] | None = None) -> AsyncRetrying:
    """Return what makes one call again while its errors pass; the budget begins now.

    It ends with a ThrottledError as it came, or with a ServiceUnavailableError whose `__cause__` is the last fault.

    Args:
        policy: Its `outage_budget` bounds the time, in seconds, of all attempts together.
        repeatable: Whether doing it twice does no harm. If not, only what surely did not happen is tried again.
        on_retry: Called before each attempt but the first.
    """
    call = _Call(policy, repeatable=repeatable)
    return AsyncRetrying(
        sleep=asyncio.sleep,
        retry=retry_if_exception(is_passing),
        wait=wait_backoff(),
        stop=call.is_over,
        before_sleep=None if on_retry is None else lambda _state: on_retry(),
        retry_error_callback=call.give_up,
    )


class _Call:
    """What is to be known of a call's attempts when they end."""

    def __init__(self, policy: CallPolicy, *, repeatable: bool) -> None:
        self._time = asyncio.get_running_loop().time
        self._started = self._time()
        self._budget = policy.outage_budget
        self._repeatable = repeatable
        self._sent = False

    def is_over(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        self._sent |= isinstance(error, ServiceUnavailableError) and error.sent
        if self._sent and not self._repeatable:
            return True
        # A wait that ends past the budget would be waited for nothing.
        return self._time() - self._started + state.upcoming_sleep >= self._budget

    def give_up(self, state: RetryCallState) -> NoReturn:
        error = _error_of(state)
        if not isinstance(error, ServiceUnavailableError):
            raise error
        words = (
            f"no good answer in {state.attempt_number} attempts over {self._time() - self._started:.0f} s, at last: "
        )
        if state.attempt_number == 1:
            words = ""
        doubt = (
            "; the operation may have started: look before trying again" if self._sent and not self._repeatable else ""
        )
        raise ServiceUnavailableError(
            error.code, f"{words}{error.message}{doubt}", error.request_id, error.http_status, sent=self._sent
        ) from error


def _error_of(state: RetryCallState) -> BaseException:
    outcome = state.outcome
    error = outcome.exception() if outcome is not None else None
    if error is None:  # pragma: no cover - tenacity asks after a failed attempt only
        raise RuntimeError("no attempt has failed")
    return error
