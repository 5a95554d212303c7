"""Leaving `async with`: what is under way ends, nobody hangs, and nothing outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
import anyio
import pytest
from support.helpers import REASON, REGION, add_tasks, clock, collect, every, failure, idle, others, since, turns

from ecs_waiter import (
    Credentials,
    EcsClient,
    EcsWaiterError,
    ServiceUnavailableError,
    TaskFailedError,
    TaskWaiter,
    WaiterClosedError,
    WaitTimeoutError,
    wait_for_task,
)
from ecs_waiter.slices import SLICE

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


def open_sessions() -> set[aiohttp.ClientSession]:
    """Every session of this process that is not closed."""
    return {thing for thing in gc.get_objects() if isinstance(thing, aiohttp.ClientSession) and not thing.closed}


async def waits(waiter: TaskWaiter, ids: list[str]) -> object:
    """A wait with everything on."""
    return await waiter.wait(ids, timeout=100, on_update=lambda _task: None)


async def waits_without_raising(waiter: TaskWaiter, ids: list[str]) -> object:
    """A wait whose errors are results."""
    return await waiter.wait(ids, return_exceptions=True)


async def completes(waiter: TaskWaiter, ids: list[str]) -> object:
    """All outcomes."""
    return await collect(waiter.as_completed(ids))


async def everything(waiter: TaskWaiter, ids: list[str]) -> object:
    """All events."""
    return await collect(waiter.events(ids))


async def updates(waiter: TaskWaiter, ids: list[str]) -> object:
    """All changes."""
    return await collect(waiter.updates(ids))


async def runs(waiter: TaskWaiter, _ids: list[str]) -> object:
    """A start and its task."""
    return await waiter.run("ExportImage", params={"ImageId": "m-1"})


Way: TypeAlias = Callable[[TaskWaiter, list[str]], Awaitable[object]]


@pytest.mark.parametrize("way", [waits, waits_without_raising, everything, completes, updates])
async def test_under_a_wait(virtual_ecs: EcsEmulator, way: Way) -> None:
    """A wait or an iteration under way raises WaiterClosedError, at once."""
    ids = [virtual_ecs.add_task(duration=1e9), virtual_ecs.add_task()]
    async with TaskWaiter() as waiter:
        waiting = asyncio.ensure_future(way(waiter, ids))
        await asyncio.sleep(5)
        start = clock()
    error = await failure(WaiterClosedError, waiting)
    assert isinstance(error, EcsWaiterError)
    assert isinstance(error, RuntimeError)
    assert since(start) == 0
    assert others() == set()


async def test_a_pending_future(virtual_ecs: EcsEmulator) -> None:
    """A future still pending is canceled; one that is done stays as it is."""
    done, endless = virtual_ecs.add_task(), virtual_ecs.add_task(duration=1e9)
    async with TaskWaiter() as waiter:
        futures = [waiter.submit(done), waiter.submit(endless)]
        await asyncio.sleep(5)
    assert futures[0].result().task_id == done
    assert futures[1].cancelled()


async def test_afterwards(virtual_ecs: EcsEmulator) -> None:
    """A closed waiter takes nothing more: `submit` and all others raise RuntimeError, and no call is made."""
    waiter = TaskWaiter()
    async with waiter:
        pass
    with pytest.raises(RuntimeError):
        waiter.submit("t-1")
    for refused in (waiter.wait(["t-1"]), waiter.run("ImportImage")):
        await failure(RuntimeError, refused)
    with pytest.raises(RuntimeError):
        waiter.as_completed(["t-1"])
    with pytest.raises(RuntimeError):
        waiter.updates(["t-1"])
    with pytest.raises(RuntimeError):
        await waiter.__aenter__()
    assert virtual_ecs.requests == []


@pytest.mark.parametrize("method", ["events", "as_completed", "updates"])
async def test_an_iterator_made_before(virtual_ecs: EcsEmulator, method: str) -> None:
    """An iterator that was made before the close and is read after it raises WaiterClosedError."""
    async with TaskWaiter() as waiter:
        unread = getattr(waiter, method)([virtual_ecs.add_task()])
        begun = getattr(waiter, method)([virtual_ecs.add_task(), virtual_ecs.add_task(duration=1e9)])
        await anext(begun)
    async with asyncio.timeout(1000):
        await failure(WaiterClosedError, anext(unread))
        await failure(WaiterClosedError, collect(begun))


async def test_while_many_ids_are_read(virtual_ecs: EcsEmulator) -> None:
    """A wait for many IDs that is closed before they are all read or joined raises WaiterClosedError."""
    ids = [f"t-{number}" for number in range(10_000)]
    for turn in range(15):
        async with TaskWaiter() as waiter:
            waiting = asyncio.ensure_future(waiter.wait(ids))
            await turns(turn)
        async with asyncio.timeout(1000):
            await failure(WaiterClosedError, waiting)
        assert others() == set()


@pytest.mark.parametrize("way", [waits, everything, completes, updates, runs])
async def test_at_every_turn(virtual_ecs: EcsEmulator, way: Way) -> None:
    """Closed at any turn of the loop, a caller is told and nothing is left."""
    for turn in range(40):
        ids = [virtual_ecs.add_task(duration=5), virtual_ecs.add_task(outcome="Failed", error=REASON)]
        waiter = TaskWaiter(policy=every(3))
        waiting = asyncio.ensure_future(way(waiter, ids))
        await turns(turn)
        await waiter.aclose()
        assert others() <= {waiting}
        async with asyncio.timeout(1000):
            try:
                await waiting
            except WaiterClosedError:
                pass
            else:
                assert way is runs
        assert others() == set()


async def test_closing_while_canceled(virtual_ecs: EcsEmulator) -> None:
    """Nothing outlives the closing though it is canceled, twice; the cancellation is passed on."""
    for turn in range(1, 10):
        waiter = TaskWaiter()
        future = waiter.submit(virtual_ecs.add_task(duration=1e9))
        await asyncio.sleep(1)
        closing = asyncio.create_task(waiter.aclose())
        await turns(turn)
        for _ in range(2):
            closing.cancel()
            await turns(1)
        await asyncio.wait([closing])
        assert closing.cancelled() or turn > 1
        assert future.cancelled()
        assert others() == set()


async def test_a_canceled_block(virtual_ecs: EcsEmulator) -> None:
    """A block that is canceled closes its waiter and ends as canceled."""
    task_id = virtual_ecs.add_task(duration=1e9)

    async def block() -> None:
        async with TaskWaiter() as waiter:
            await waiter.wait([task_id])

    for turn in range(20):
        task = asyncio.create_task(block())
        await turns(turn)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert others() == set()


async def test_closing_twice(virtual_ecs: EcsEmulator) -> None:
    """Closing twice, at the same time too, is closing once."""
    waiter = TaskWaiter()
    waiter.submit(virtual_ecs.add_task(duration=1e9))
    await asyncio.sleep(1)
    await asyncio.gather(waiter.aclose(), waiter.aclose())
    await waiter.aclose()
    assert others() == set()


async def test_calls_under_way(virtual_ecs: EcsEmulator) -> None:
    """Calls that hang when the waiter closes are dropped at once."""
    virtual_ecs.inject("hang")
    async with TaskWaiter() as waiter:
        waiter.submit("t-1")
        starting = asyncio.ensure_future(waiter.run("ImportImage"))
        await asyncio.sleep(5)
        start = clock()
    assert since(start) == 0
    error = await failure(WaiterClosedError, starting)
    assert "may have started" in str(error)


async def test_a_slow_provider(virtual_ecs: EcsEmulator) -> None:
    """A credentials provider that takes its time does not hold the closing up."""

    class Slow:
        async def get_credentials(self) -> Credentials:
            await asyncio.sleep(20)
            raise LookupError

    async with TaskWaiter(Slow()) as waiter:
        waiter.submit("t-1")
        await asyncio.sleep(1)
        start = clock()
    assert since(start) == 0


async def test_known_failures(virtual_ecs: EcsEmulator) -> None:
    """A task known to have failed when the waiter closes is told as failed, wherever it is waited for."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    failed, endless = virtual_ecs.add_task(outcome="Failed"), virtual_ecs.add_task(duration=1e9)
    seen: list[object] = []
    async with TaskWaiter() as waiter:
        future = waiter.submit(failed)
        alone = asyncio.ensure_future(waiter.wait([failed], return_exceptions=True))
        with_another = asyncio.ensure_future(waiter.wait([failed, endless]))
        iterating = asyncio.ensure_future(collect(waiter.as_completed([failed, endless]), seen))
        await asyncio.sleep(5)
    await failure(TaskFailedError, future)
    assert isinstance((await alone)[failed], TaskFailedError)
    await failure(WaiterClosedError, with_another)
    await failure(WaiterClosedError, iterating)
    assert [type(outcome) for outcome in seen] == [TaskFailedError]


@pytest.mark.parametrize("way", ["close", "deadline"])
async def test_many_known_failures(virtual_ecs: EcsEmulator, way: str) -> None:
    """Thousands of failures that are known at the end are reported in slices, between which the loop turns."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    ids = add_tasks(virtual_ecs, 6_000, outcome="Failed")
    policy = every(10, max_calls_per_second=1000, max_in_flight=100)
    reported, start = [0], clock()
    outcomes: list[object]
    async with TaskWaiter(policy=policy) as waiter:
        if way == "close":
            futures = [waiter.submit(task_id) for task_id in ids]
            await asyncio.sleep(5)
            ending = asyncio.create_task(waiter.aclose())
            while not ending.done():
                reported.append(sum(future.done() for future in futures))
                await asyncio.sleep(0)
            outcomes = [future.exception() for future in futures]
        else:
            waiting = asyncio.create_task(waiter.wait(ids, timeout=5, return_exceptions=True))
            await asyncio.sleep(4.5)
            (wait,) = waiter.pollers._waits
            asyncio.get_running_loop().call_at(start + 5, lambda: reported.append(0))
            while not waiting.done():
                await asyncio.sleep(0 if len(reported) > 1 else 0.1)
                reported += [len(wait.outcomes)] if len(reported) > 1 else []
            outcomes = list((await waiting).values())
    assert {type(outcome) for outcome in outcomes} == {TaskFailedError}
    assert len(outcomes) == len(ids)
    assert max(after - before for before, after in pairwise(reported)) <= 2 * SLICE


async def test_a_callback_that_closes(virtual_ecs: EcsEmulator) -> None:
    """A wait whose callback has its waiter closed raises WaiterClosedError."""
    waiter = TaskWaiter()
    closing: list[asyncio.Task[None]] = []
    waiting = waiter.wait(
        [virtual_ecs.add_task(duration=5)], on_update=lambda _task: closing.append(asyncio.create_task(waiter.aclose()))
    )
    await failure(WaiterClosedError, waiting)
    await asyncio.gather(*closing)


async def test_a_session_of_ones_own(virtual_ecs: EcsEmulator) -> None:
    """One's own session stays open."""
    async with virtual_ecs.session() as session:
        async with TaskWaiter(session=session) as waiter:
            await waiter.wait([virtual_ecs.add_task()])
        assert not session.closed


async def test_no_connection_is_left(virtual_ecs: EcsEmulator) -> None:
    """No connection outlives the block: the waiter's own sessions, for polls and for starts, are closed."""
    before = open_sessions()
    async with TaskWaiter() as waiter:
        await waiter.wait([virtual_ecs.add_task()])
        await waiter.run("RedeployInstance", params={"InstanceId": "i-1"})
        assert len(open_sessions() - before) == 2
    assert open_sessions() == before


async def test_another_loop(virtual_ecs: EcsEmulator) -> None:
    """A waiter belongs to the loop that used it first; on another one it says so."""
    waiter = TaskWaiter()
    waiter.submit(virtual_ecs.add_task())
    await asyncio.sleep(1)

    def elsewhere() -> None:
        asyncio.run(waiter.wait(["t-1"], region_id=REGION))

    error = await failure(RuntimeError, asyncio.to_thread(elsewhere))
    assert "loop" in str(error)
    await waiter.aclose()


async def test_a_provider_that_swallows_the_cancellation(virtual_ecs: EcsEmulator) -> None:
    """It holds the close back until it gives its answer, and not for one poll more."""
    asked = asyncio.Event()

    class Stubborn:
        async def get_credentials(self) -> Credentials:
            asked.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)
            asked.clear()
            return Credentials("example-key-id", "example-key-secret")

    waiter = TaskWaiter(credentials=Stubborn(), policy=every(10))
    outcomes = waiter.as_completed([virtual_ecs.add_task(duration=1), virtual_ecs.add_task(duration=300)])
    await anext(outcomes)
    await asked.wait()
    calls, start = len(virtual_ecs.requests), clock()
    await waiter.aclose()
    assert since(start) <= 0.5
    assert len(virtual_ecs.requests) <= calls + 1
    with pytest.raises(WaiterClosedError):
        await anext(outcomes)


class Deaf:
    """A provider that ignores its cancellation for some seconds."""

    def __init__(self, seconds: float = 86_400) -> None:
        self.asked = asyncio.Event()
        self.running = 0
        self.ends = 0.0
        self.seconds = seconds

    async def get_credentials(self) -> Credentials:
        """Go on, whatever happens."""
        self.asked.set()
        self.running += 1
        self.ends = clock() + self.seconds
        while clock() < self.ends:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(self.ends - clock())
        self.running -= 1
        return Credentials("example-key-id", "example-key-secret")

    async def end(self) -> None:
        """Let it end, for the test's sake."""
        self.ends = 0.0
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _closing(provider: Deaf) -> None:
    waiter = TaskWaiter(provider, policy=every(10))
    future = waiter.submit("t-1")
    await provider.asked.wait()
    await waiter.aclose()
    assert future.cancelled()


async def _timeout(provider: Deaf) -> None:
    with pytest.raises(WaitTimeoutError):
        await wait_for_task("t-1", credentials=provider, timeout=1)


async def _cancellation(provider: Deaf) -> None:
    waiting = asyncio.ensure_future(wait_for_task("t-1", credentials=provider))
    await provider.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _call(provider: Deaf) -> None:
    async with EcsClient(provider) as client:
        start = clock()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.describe_tasks()
        assert since(start) == 1


async def _run(provider: Deaf) -> None:
    async with TaskWaiter(provider) as waiter:
        start = clock()
        with pytest.raises(WaitTimeoutError):
            await waiter.run("ImportImage", timeout=1)
        assert since(start) == 1


@pytest.mark.parametrize("way", [_closing, _timeout, _cancellation, _call, _run])
async def test_a_provider_that_ignores_its_cancellation(
    virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture, way: Callable[[Deaf], Awaitable[None]]
) -> None:
    """It is left behind `call_timeout` after its cancellation, with a warning that says what to change in it."""
    provider = Deaf()
    start = clock()
    await way(provider)
    assert 30 <= since(start) <= 31
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.name == "ecs_waiter"
    assert "credentials provider Deaf" in warning.getMessage()
    assert "CancelledError" in warning.getMessage()
    assert provider.running == 1
    assert virtual_ecs.requests == []
    await provider.end()


async def test_a_provider_that_tidies_up(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """One that takes a while to end is waited for, and no task outlives the block."""
    before = asyncio.all_tasks()
    provider = Deaf(5)
    async with TaskWaiter(provider) as waiter:
        future = waiter.submit("t-1")
        await provider.asked.wait()
    assert future.cancelled()
    assert provider.running == 0
    assert asyncio.all_tasks() == before
    assert not caplog.records
    assert virtual_ecs.requests == []


async def test_a_provider_that_ignores_its_timeout(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """One that hangs is a fault for its wait after `call_timeout`, and is left behind as long after, in an open waiter."""
    provider = Deaf()
    policy = every(5, call_timeout=10, outage_budget=60)
    async with TaskWaiter(provider, policy=policy) as waiter:
        start = clock()
        error = await failure(ServiceUnavailableError, waiter.wait(["t-1"]))
        assert "no credentials for cn-hangzhou" in str(error)
        assert "the credentials provider gave nothing within 10 s" in str(error)
        assert since(start) <= 80
        assert [record for record in caplog.records if record.name == "ecs_waiter"]
    assert virtual_ecs.requests == []
    await provider.end()


async def _waits_in_a_waiter(provider: Deaf) -> None:
    async with TaskWaiter(provider) as waiter:
        await waiter.wait(["t-1"])


async def _waits_in_a_shared_waiter(provider: Deaf) -> None:
    await wait_for_task("t-1", credentials=provider)


@pytest.mark.parametrize("work", [_waits_in_a_waiter, _waits_in_a_shared_waiter])
@pytest.mark.parametrize("canceled_after", [1, 3])
async def test_closing_in_a_scope_of_anyio(
    virtual_ecs: EcsEmulator, work: Callable[[Deaf], Awaitable[None]], canceled_after: float
) -> None:
    """A scope that repeats its cancellation until it is obeyed does not keep the loop busy while a waiter closes."""
    provider = Deaf(5)
    start = clock()
    with idle():
        with anyio.move_on_after(canceled_after) as scope:
            await work(provider)
        assert (scope.cancelled_caught, since(start)) == (True, 5)
        # The scope's cancellations are its own business: nothing of them is left in the task.
        await asyncio.sleep(1)
    assert (provider.running, virtual_ecs.requests) == (0, [])


async def test_a_scope_of_anyio_that_ends_while_it_closes(virtual_ecs: EcsEmulator) -> None:
    """A cancellation by a scope that comes while a waiter closes is delivered when it has closed."""
    provider = Deaf(5)
    start = clock()
    with idle(), anyio.move_on_after(2) as scope:
        async with TaskWaiter(provider) as waiter:
            future = waiter.submit("t-1")
            await provider.asked.wait()
        assert (future.cancelled(), provider.running, since(start)) == (True, 0, 5)
        await asyncio.sleep(100)
    assert (scope.cancelled_caught, since(start)) == (True, 5)
    assert virtual_ecs.requests == []
