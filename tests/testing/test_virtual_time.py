"""On virtual time the loop's clock jumps, everything follows it, and nothing hangs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import every

from ecs_waiter import wait_for_task
from ecs_waiter.testing.virtual_time import VirtualTime, virtual_time

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator


def test_a_day_takes_no_time_and_is_exact() -> None:
    """Sleeps end at the very second, in the order of their ends."""
    ended: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            ended.append((name, loop.time() - began))

        await asyncio.gather(sleeper("two days", 172_800), sleeper("hour", 3600), sleeper("now", 0))

    with virtual_time():
        asyncio.run(main())
    assert ended == [("now", 0), ("hour", 3600), ("two days", 172_800)]


def test_timeouts_and_timers_follow() -> None:
    """asyncio.timeout, wait_for, call_later and call_at all live on the loop's time."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        called: list[float] = []
        loop.call_later(5, lambda: called.append(loop.time() - began))
        loop.call_at(began + 20, lambda: called.append(loop.time() - began))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        called.append(loop.time() - began)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 15)
        return [*called, loop.time() - began]

    with virtual_time():
        assert asyncio.run(main()) == [5, 10, 20, 25]


def test_debug_mode_follows(caplog: pytest.LogCaptureFixture) -> None:
    """In debug mode no callback seems slow, for no virtual time passes while it runs."""

    async def main() -> None:
        await asyncio.sleep(3600)

    with virtual_time():
        asyncio.run(main(), debug=True)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_threads_of_the_loop_are_waited_for() -> None:
    """While a job that the loop started runs in a thread, the clock stands still."""
    gate = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_later(3600, gate.set)  # only a jump would open it
        job = asyncio.create_task(asyncio.to_thread(gate.wait, 0.05))
        assert await job is False
        return loop.time() - began

    with virtual_time():
        assert asyncio.run(main()) == 0


def test_executors_of_the_callers_own_are_waited_for() -> None:
    """`run_in_executor` counts whatever the executor is."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            assert await loop.run_in_executor(pool, threading.Event().wait, 0.01) is False
        async with asyncio.timeout(60):
            await asyncio.sleep(5)
        return loop.time() - began

    with virtual_time():
        assert asyncio.run(main()) == 5


def test_a_loop_that_could_wait_for_ever_says_so() -> None:
    """When nothing could ever happen any more, the error names what waits."""

    async def lonely() -> None:
        await asyncio.Event().wait()

    with virtual_time(), pytest.raises(RuntimeError, match=r"(?s)deadlock on virtual time.*coro=<.*lonely\(\) running"):
        asyncio.run(lonely())


def test_a_long_list_of_waiters_is_cut() -> None:
    """Of many tasks that wait, the error names ten."""

    async def crowd() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(14)))

    with virtual_time(), pytest.raises(RuntimeError, match=r"and 5 more$"):
        asyncio.run(crowd())


def test_time_goes_on_from_loop_to_loop() -> None:
    """Loops of one block share the clock: the second begins when the first ended."""
    with virtual_time() as clock:
        began = clock.time()
        asyncio.run(asyncio.sleep(10))
        asyncio.run(asyncio.sleep(20))
        assert clock.time() - began == 30


def test_other_threads_keep_real_time() -> None:
    """A loop in another thread is left alone."""

    async def real() -> bool:
        return "time" in vars(asyncio.get_running_loop())

    with virtual_time(), concurrent.futures.ThreadPoolExecutor() as pool:
        assert pool.submit(lambda: asyncio.run(real())).result() is False


def test_a_running_loop_becomes_virtual_and_real_again() -> None:
    """Inside a coroutine the block takes over the running loop; timers keep their remaining time both ways."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        fired: list[str] = []
        loop.call_later(1000, fired.append, "outer")
        kept = loop.call_later(5000, fired.append, "kept")
        with virtual_time():
            loop.call_later(500, fired.append, "inner")
            await asyncio.sleep(2000)
            left = kept.when() - loop.time()
        assert left == pytest.approx(3000, abs=1)
        assert kept.when() - loop.time() == pytest.approx(3000, abs=1)
        assert vars(loop).keys().isdisjoint({"time", "run_in_executor", "shutdown_default_executor"})
        return fired

    assert asyncio.run(main()) == ["inner", "outer"]


def test_one_clock_at_a_time() -> None:
    """A loop that is virtual already cannot follow another clock."""

    async def main() -> None:
        with virtual_time():
            pass

    with virtual_time(), pytest.raises(RuntimeError, match="already runs on another virtual clock"):
        asyncio.run(main())


def test_foreign_loops_are_refused() -> None:
    """A loop that is not asyncio's own cannot be driven."""

    class Foreign:
        pass

    loop: Any = Foreign()
    with pytest.raises(TypeError, match="asyncio's own event loops, not on Foreign"):
        VirtualTime().drive(loop)


def test_an_error_in_the_block_gives_real_time_back() -> None:
    """However the block ends, loops run on real time afterwards."""
    original = asyncio.BaseEventLoop.run_forever
    with pytest.raises(ZeroDivisionError), virtual_time():
        raise ZeroDivisionError
    assert asyncio.BaseEventLoop.run_forever is original


async def _for_ever() -> None:
    while True:  # noqa: ASYNC110 - a program that polls for what never comes
        await asyncio.sleep(86_400)


def test_a_wait_that_nothing_ends_raises() -> None:
    """After 366 days in one run of the loop it raises, and names what waits."""
    with virtual_time() as clock:
        began = clock.time()
        with pytest.raises(
            RuntimeError, match=r"(?s)366 days have passed.*pass a timeout.*coro=<_for_ever\(\) running"
        ):
            asyncio.run(_for_ever())
        assert 366 <= (clock.time() - began) / 86_400 <= 367


def test_a_task_that_nothing_ends_raises(virtual_ecs: EcsEmulator) -> None:
    """A wait for a task that never ends raises too, instead of polling forever."""
    task_id = virtual_ecs.add_task(outcome="Paused")
    with pytest.raises(RuntimeError, match="366 days have passed"):
        asyncio.run(wait_for_task(task_id, policy=every(86_400)))
    assert len(virtual_ecs.requests) == 367


def test_year_long_runs_add_up_freely() -> None:
    """Each run of a loop has its own 366 days, so many tests or examples can share a clock."""
    with virtual_time() as clock:
        began = clock.time()
        for _ in range(3):
            asyncio.run(asyncio.sleep(300 * 86_400))
        assert clock.time() - began == 900 * 86_400


def test_cleaning_up_after_a_wait_that_nothing_ends() -> None:
    """What the loop cancels afterwards can still take its time."""
    ended: list[str] = []

    async def careful() -> None:
        try:
            await _for_ever()
        finally:
            await asyncio.sleep(60)
            ended.append("in order")

    with virtual_time(), pytest.raises(RuntimeError, match="366 days have passed"):
        asyncio.run(careful())
    assert ended == ["in order"]
