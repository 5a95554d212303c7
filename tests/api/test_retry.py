"""When a call is retried, on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.retry import backoff, is_transient, retry
from ecs_waiter.errors import ApiError, AuthenticationError, ServiceUnavailableError, ThrottledError

if TYPE_CHECKING:
    from ecs_waiter.testing.virtual_time import VirtualTime

pytestmark = pytest.mark.asyncio

FAULT = ServiceUnavailableError("InternalError", "broken", "R-1", 500)
UNSENT = ServiceUnavailableError(None, "no connection", sent=False)
THROTTLED = ThrottledError("Throttling", "slow down", "R-2", 400)


class Call:
    """Raises one error after the other, the last one forever, or returns an outcome that is not an error."""

    def __init__(self, *outcomes: Exception | str) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []

    async def __call__(self) -> str:
        """Make one attempt."""
        self.times.append(asyncio.get_running_loop().time())
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def waits(self) -> list[float]:
        """The seconds between the attempts."""
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


async def test_faults_are_retried(clock: VirtualTime) -> None:
    """Throttling and transient faults are retried until an answer comes."""
    call = Call(FAULT, THROTTLED, UNSENT, "answer")
    assert await retry(call, CallPolicy(), repeatable=True) == "answer"
    assert len(call.times) == 4


@pytest.mark.parametrize(
    "error", [ApiError("Odd", "no"), AuthenticationError("Forbidden", "no"), ValueError("a bug"), KeyError("a bug")]
)
async def test_rejections_are_final(error: Exception) -> None:
    """An error that is not transient is raised at once, unchanged."""
    call = Call(error)
    with pytest.raises(type(error)) as caught:
        await retry(call, CallPolicy(), repeatable=True)
    assert caught.value is error
    assert len(call.times) == 1


async def test_the_waits_double(clock: VirtualTime) -> None:
    """From half a second to twenty, each drawn from the upper half of its range."""
    call = Call(FAULT)
    with pytest.raises(ServiceUnavailableError):
        await retry(call, CallPolicy(), repeatable=True)
    ranges = [0.5, 1, 2, 4, 8, 16, *[20] * (len(call.waits) - 6)]
    assert all(most / 2 <= wait <= most for wait, most in zip(call.waits, ranges, strict=True))


async def test_jitter_stays_at_the_ceiling() -> None:
    """Callers that fail together do not retry together, however long it lasts."""
    assert len({backoff(1000) for _ in range(20)}) == 20
    assert backoff(1000, draw=lambda: 0.0) == 10


async def test_the_services_wait_is_obeyed(clock: VirtualTime) -> None:
    """The wait is at least as long as the service asked for."""
    call = Call(
        ThrottledError("Throttling", "no", retry_after=45), ThrottledError("Throttling", "no", retry_after=0.01)
    )
    call.outcomes.append("answer")
    assert await retry(call, CallPolicy(), repeatable=False) == "answer"
    first, second = call.waits
    assert first == 45
    assert second >= 0.5


async def test_the_end_of_a_throttled_call() -> None:
    """It raises ThrottledError itself."""
    with pytest.raises(ThrottledError) as caught:
        await retry(Call(THROTTLED), CallPolicy(outage_budget=0), repeatable=True)
    assert caught.value is THROTTLED


async def test_the_end_of_an_outage(clock: VirtualTime) -> None:
    """The error has the last fault's fields, the fault as its cause, and the number of attempts and seconds."""
    with pytest.raises(ServiceUnavailableError) as caught:
        await retry(Call(FAULT), CallPolicy(), repeatable=True)
    error = caught.value
    assert error.__cause__ is FAULT
    assert (error.code, error.request_id, error.http_status, error.sent) == ("InternalError", "R-1", 500, True)
    attempts = int(error.message.partition(" attempts over ")[0])
    assert 600 / 20 <= attempts <= 600 / 10 + 6
    assert error.message.endswith(" s failed; the last fault: broken")


async def test_the_budget(clock: VirtualTime) -> None:
    """No wait begins that would end after it."""
    call = Call(FAULT)
    began = clock.time()
    with pytest.raises(ServiceUnavailableError):
        await retry(call, CallPolicy(outage_budget=5), repeatable=True)
    assert 0 < clock.time() - began < 5
    call = Call(ThrottledError("Throttling", "no", retry_after=3600))
    with pytest.raises(ThrottledError):
        await retry(call, CallPolicy(outage_budget=600), repeatable=True)
    assert len(call.times) == 1


async def test_without_a_budget_there_is_one_attempt() -> None:
    """Without a budget nothing is retried."""
    call = Call(FAULT)
    with pytest.raises(ServiceUnavailableError, match=r"^InternalError: broken") as caught:
        await retry(call, CallPolicy(outage_budget=0), repeatable=True)
    assert caught.value.__cause__ is FAULT
    assert len(call.times) == 1


async def test_what_may_have_happened_is_not_repeated() -> None:
    """A start whose request may have arrived is not repeated, and the error says so."""
    call = Call(FAULT)
    with pytest.raises(ServiceUnavailableError, match="broken; it may have started") as caught:
        await retry(call, CallPolicy(), repeatable=False, doubt="it may have started")
    assert caught.value.__cause__ is FAULT
    assert caught.value.sent
    assert len(call.times) == 1


async def test_what_surely_did_not_happen_is_repeated(clock: VirtualTime) -> None:
    """A start that was throttled, or never sent, is repeated."""
    call = Call(UNSENT, THROTTLED, "started")
    assert await retry(call, CallPolicy(), repeatable=False) == "started"


async def test_what_never_left_did_not_start(clock: VirtualTime) -> None:
    """If no attempt got through, the error does not say that something may have started."""
    with pytest.raises(ServiceUnavailableError, match="no connection") as caught:
        await retry(Call(UNSENT), CallPolicy(), repeatable=False, doubt="it may have started")
    assert not caught.value.sent
    assert "started" not in str(caught.value)


async def test_one_that_left_is_remembered(clock: VirtualTime) -> None:
    """`sent` covers all attempts together, not only the last."""
    with pytest.raises(ServiceUnavailableError) as caught:
        await retry(Call(FAULT, UNSENT), CallPolicy(), repeatable=True)
    assert caught.value.sent


@pytest.mark.parametrize(
    "last",
    [
        ApiError("QuotaExceeded", "too many", "R-3", 400),
        AuthenticationError("Forbidden.RAM", "no", "R-3", 403),
        ThrottledError("Throttling", "slow down", "R-3", 429, retry_after=900),
    ],
)
async def test_a_refused_repeat_leaves_the_first_attempt_in_doubt(clock: VirtualTime, last: ApiError) -> None:
    """A rejected repeat keeps its type and fields, and says that the first attempt may have started."""
    with pytest.raises(type(last)) as caught:
        await retry(Call(FAULT, last), CallPolicy(), repeatable=True, doubt="it may have started")
    error = caught.value
    assert (type(error), error.code, error.request_id, error.http_status) == (
        type(last), last.code, "R-3", last.http_status,
    )  # fmt: skip
    assert error.message == f"{last.message}; an earlier attempt was not answered: it may have started"
    assert error.message in str(error)
    assert getattr(error, "retry_after", None) == getattr(last, "retry_after", None)


async def test_another_error_of_a_repeat_leaves_the_first_attempt_in_doubt(clock: VirtualTime) -> None:
    """An error that is not the service's, such as a closed session, gets the doubt as a note."""
    with pytest.raises(RuntimeError) as caught:
        await retry(Call(FAULT, RuntimeError("closed")), CallPolicy(), repeatable=True, doubt="it may have started")
    assert caught.value.__notes__ == ["it may have started"]


async def test_a_request_at_work_is_repeated(clock: VirtualTime) -> None:
    """LastTokenProcessing is retried with backoff; at the end of the budget the start is in doubt."""
    at_work = ApiError("LastTokenProcessing", "processing", "R-4", 403)
    call = Call(at_work, at_work, "started")
    assert await retry(call, CallPolicy(), repeatable=True) == "started"
    assert call.waits[1] > 0.5
    with pytest.raises(ServiceUnavailableError, match="processing; it may have started") as caught:
        await retry(Call(at_work), CallPolicy(), repeatable=True, doubt="it may have started")
    assert (caught.value.code, caught.value.sent, caught.value.__cause__) == ("LastTokenProcessing", True, at_work)


async def test_repeats_are_counted(clock: VirtualTime) -> None:
    """The callback is called once for each attempt but the first."""
    counted = []
    await retry(Call(FAULT, FAULT, "answer"), CallPolicy(), repeatable=True, on_retry=lambda: counted.append(1))
    assert len(counted) == 2


async def test_cancellation_ends_it(clock: VirtualTime) -> None:
    """A canceled caller does not wait for the next attempt."""
    call = Call(FAULT)

    async def attempt() -> str:
        return await retry(call, CallPolicy(), repeatable=True)

    task = asyncio.create_task(attempt())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(call.times) == 1


async def test_what_is_transient() -> None:
    """Only throttling and the faults of service and network are transient."""
    assert [is_transient(error) for error in (FAULT, THROTTLED, ApiError(None, ""), OSError())] == [
        True,
        True,
        False,
        False,
    ]
