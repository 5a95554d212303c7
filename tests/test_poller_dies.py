"""A poller that dies tells everyone: whatever raises inside, each of the region's waits gets it as its cause."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from support.helpers import clock, every, failure, since

from ecs_waiter import EcsWaiterError, PollPolicy, Task, TaskCanceledError, TaskFailedError, TaskWaiter, wait_for_task
from ecs_waiter.polling.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

ELSEWHERE = "us-west-1"

# Everything of ours that one poll goes through, from composing a batch to telling what came of it.
PLACES = [
    "ecs_waiter.polling.schedule.PollSchedule.take",
    "ecs_waiter.polling.schedule.PollSchedule.wake_at",
    "ecs_waiter.polling.schedule.PollSchedule.answer",
    "ecs_waiter.polling.schedule.PollSchedule.end_call",
    "ecs_waiter.polling.poller.RegionPoller._apply",
    "ecs_waiter.polling.notifier.Notifier.changed",
    "ecs_waiter.polling.failure_details.FailureDetails.add",
    "ecs_waiter.polling.notifier.UnknownStatuses.note",
    "ecs_waiter.api.client.EcsClient.poll",
    "ecs_waiter.api.client.poll_answer",
    "ecs_waiter.api.limiter.RegionLimiter.acquire",
    "ecs_waiter.api.limiter.RegionLimiter.release",
    "ecs_waiter.api.signing.Signer.sign",
]


class BoomError(Exception):
    """What our own code should never raise."""


def _boom(_state: object) -> float:
    raise BoomError


async def _ends(work: asyncio.Future[Any]) -> Any:
    """What comes of it within the hour of virtual time in which anything would have."""
    async with asyncio.timeout(3600):
        return await work


@pytest.mark.parametrize("place", PLACES)
async def test_nobody_hangs(virtual_ecs: EcsEmulator, place: str) -> None:
    """Wherever it raises, waits of many, futures and iterations all end, with that as the cause or as what they are."""
    ids = [virtual_ecs.add_task(duration=5) for _ in range(150)]
    ids += [virtual_ecs.add_task(outcome=outcome) for outcome in ("Finished", "Deleted")]
    ids.append(virtual_ecs.add_task(status="Exploded", duration=1e9))
    ids.append(virtual_ecs.add_task(outcome="Failed", error=("C", "why")))
    start = clock()
    async with TaskWaiter() as waiter:
        with mock.patch(place, side_effect=BoomError):
            futures = [waiter.submit(task_id) for task_id in ids]
            results = await _ends(asyncio.ensure_future(waiter.wait(ids, return_exceptions=True)))
            told = await _ends(asyncio.gather(*futures, return_exceptions=True))
            iterated = [outcome async for outcome in waiter.as_completed(ids)]
    assert since(start) == 0
    for outcomes in (list(results.values()), told, iterated):
        causes = {type(outcome.__cause__) for outcome in outcomes if type(outcome) is EcsWaiterError}
        assert causes == {BoomError}
        # Those whose end was known before it raised may be told as what they are.
        assert sum(type(outcome) is EcsWaiterError for outcome in outcomes) >= len(ids) - 4


@pytest.mark.parametrize("place", PLACES)
async def test_it_lives_again(virtual_ecs: EcsEmulator, place: str) -> None:
    """A death ends the waits of the moment: those that come later are served."""
    task_id = virtual_ecs.add_task(duration=5)
    async with TaskWaiter(policy=every(1)) as waiter:
        with mock.patch(place, side_effect=BoomError):
            await _ends(asyncio.ensure_future(waiter.wait([task_id, "t-2"], return_exceptions=True)))
        assert (await _ends(waiter.submit(task_id))).task_status == "Finished"
        assert waiter.stats.regions["cn-hangzhou"].waiting == 0


async def test_telling_fails_once(virtual_ecs: EcsEmulator) -> None:
    """If telling one outcome raises, all others of the same answer are told, a known failure as itself."""
    failed = virtual_ecs.add_task(task_id="t-0", outcome="Failed", error=("C", "why"))
    deleted = [virtual_ecs.add_task(task_id=f"t-{n}", outcome="Deleted") for n in range(1, 4)]
    finished = [virtual_ecs.add_task(task_id=f"t-{n}") for n in range(4, 10)]
    real, told = Notifier._report_other, []

    def tell(notifier: Notifier, *args: Any, is_new: bool) -> None:
        told.append(args)
        if len(told) == 3:
            raise BoomError
        real(notifier, *args, is_new=is_new)

    async with TaskWaiter() as waiter:
        with mock.patch.object(Notifier, "_report_other", tell):
            work = waiter.wait([failed, *deleted, *finished], return_exceptions=True)
            results = await _ends(asyncio.ensure_future(work))
    assert isinstance(results[failed], TaskFailedError)
    assert isinstance(results[deleted[0]], TaskCanceledError)
    assert all(isinstance(results[i].__cause__, BoomError) for i in deleted[1:])
    assert all(isinstance(results[i], Task) for i in finished)


async def test_other_regions_live_on(virtual_ecs: EcsEmulator) -> None:
    """The death of one region's poller is no other's."""
    here, there = virtual_ecs.add_task(duration=10), virtual_ecs.add_task(region_id=ELSEWHERE, duration=10)
    async with TaskWaiter(policy=every(5)) as waiter:
        well, sick = waiter.submit(there, region_id=ELSEWHERE), waiter.submit(here)
        poller = waiter.pollers["cn-hangzhou"]
        with mock.patch.object(poller, "_apply", side_effect=BoomError):
            error = await failure(EcsWaiterError, _ends(sick))
        assert "cn-hangzhou" in str(error)
        assert (await _ends(well)).task_status == "Finished"


@pytest.mark.parametrize("ending", [KeyError("x"), RecursionError("x"), MemoryError("x"), asyncio.CancelledError()])
async def test_any_ending(virtual_ecs: EcsEmulator, ending: BaseException) -> None:
    """Whatever kind of exception it is, a cancellation that is nobody's included, it is told."""
    with mock.patch("ecs_waiter.polling.schedule.PollSchedule.answer", side_effect=ending):
        error = await failure(EcsWaiterError, _ends(asyncio.ensure_future(wait_for_task("t-1"))))
    assert type(error.__cause__) is type(ending)


async def test_it_is_logged_without_its_text(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the region and the kind of the error, but not its text, which may hold anything."""
    with (
        caplog.at_level(logging.ERROR, "ecs_waiter"),
        mock.patch("ecs_waiter.polling.schedule.PollSchedule.answer", side_effect=BoomError("example-key-secret")),
    ):
        await failure(EcsWaiterError, _ends(asyncio.ensure_future(wait_for_task("t-1"))))
    assert any("cn-hangzhou" in message and "BoomError" in message for message in caplog.messages)
    assert "example-key-secret" not in caplog.text


async def test_a_known_failure_fails_as_itself(virtual_ecs: EcsEmulator) -> None:
    """A task known to have failed, its reason under way, fails as itself when the poller dies."""
    failed = virtual_ecs.add_task(outcome="Failed", error=("C", "why"))
    running = virtual_ecs.add_task(duration=100)
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    async with TaskWaiter(policy=every(5)) as waiter:
        futures = [waiter.submit(failed), waiter.submit(running)]
        await asyncio.sleep(1)
        with mock.patch("ecs_waiter.polling.schedule.PollSchedule.take", side_effect=BoomError):
            first, second = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(first, TaskFailedError)
    assert isinstance(second, EcsWaiterError)
    assert isinstance(second.__cause__, BoomError)


@pytest.mark.parametrize(
    ("wait", "cause"),
    [(_boom, BoomError), (lambda _: None, TypeError), (lambda _: "5", TypeError), (lambda _: True, TypeError),
     (lambda _: -1, ValueError), (lambda _: float("nan"), ValueError), (lambda _: float("inf"), ValueError),
     (lambda _: 10**400, (OverflowError, ValueError))],
)  # fmt: skip
async def test_a_bad_strategy(virtual_ecs: EcsEmulator, wait: Callable[[object], Any], cause: Any) -> None:
    """A strategy that raises, or gives what is no time, ends the region's waits with that as the cause."""
    ids = [virtual_ecs.add_task(duration=50) for _ in range(3)]
    async with TaskWaiter(policy=PollPolicy(wait=wait)) as waiter:
        results = await _ends(asyncio.ensure_future(waiter.wait(ids, return_exceptions=True)))
    assert all(isinstance(error.__cause__, cause) for error in results.values())
    assert len({id(error) for error in results.values()}) == 1


async def test_a_bad_strategy_takes_nothing_away(virtual_ecs: EcsEmulator) -> None:
    """What the answer brought stays true, though the strategy fails upon it."""
    done, failed = virtual_ecs.add_task(), virtual_ecs.add_task(outcome="Failed", error=("C", "why"))
    running = virtual_ecs.add_task(duration=50)
    async with TaskWaiter(policy=PollPolicy(wait=_boom)) as waiter:
        results = await _ends(asyncio.ensure_future(waiter.wait([done, failed, running], return_exceptions=True)))
    assert [type(result) for result in results.values()] == [Task, TaskFailedError, EcsWaiterError]


async def test_a_bad_strategy_is_named(virtual_ecs: EcsEmulator) -> None:
    """The message says that it was the strategy."""
    error = await failure(
        EcsWaiterError, wait_for_task(virtual_ecs.add_task(duration=9), policy=PollPolicy(wait=_boom))
    )
    assert "strategy" in str(error)


@pytest.mark.parametrize("refused", ["RegionPoller._poll", "FailureDetails._work"])
async def test_a_task_that_cannot_be_made(virtual_ecs: EcsEmulator, refused: str) -> None:
    """Where the loop's tasks cannot be made for a while, waits end with that; later ones find nothing left behind."""
    loop = asyncio.get_running_loop()
    ids = [virtual_ecs.add_task(outcome="Failed", error=("C", "why")) for _ in range(4)]
    ids += [virtual_ecs.add_task(duration=1) for _ in range(150)]

    def make(loop: asyncio.AbstractEventLoop, work: Any, **settings: Any) -> asyncio.Task[Any]:
        if work.__qualname__ == refused:
            raise BoomError
        return asyncio.Task(work, loop=loop, **settings)

    async with TaskWaiter(policy=every(1)) as waiter:
        for _ in range(5):
            loop.set_task_factory(make)
            waiting = asyncio.gather(*(waiter.wait(ids, return_exceptions=True) for _ in range(2)))
            (results, _) = await _ends(waiting)
            loop.set_task_factory(None)
            assert {type(outcome.__cause__) for outcome in results.values() if type(outcome) is EcsWaiterError} == {
                BoomError
            }
        results = await _ends(asyncio.ensure_future(waiter.wait(ids, return_exceptions=True)))
    assert [type(results[task_id]) for task_id in ids] == [TaskFailedError] * 4 + [Task] * 150
    assert "why" in str(results[ids[0]])


async def test_a_future_that_cannot_be_watched(virtual_ecs: EcsEmulator) -> None:
    """A `submit` that raises leaves nothing behind in the waiter, and the next one is served."""
    task_id = virtual_ecs.add_task()
    async with TaskWaiter() as waiter:
        with mock.patch.object(asyncio.get_running_loop(), "create_task", side_effect=BoomError):
            with pytest.raises(BoomError):
                waiter.submit(task_id)
            await asyncio.sleep(0)
        assert waiter.stats.regions["cn-hangzhou"].waiting == 0
        assert (await _ends(waiter.submit(task_id))).task_status == "Finished"
