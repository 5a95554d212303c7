"""Measures crowds: how long they take, how long one step of the library holds the loop: ``make load``.

In memory the service is a stand-in on virtual time; over loopback it is the emulator, in a process of its own. A line
for each scene reports the longest step (one callback of the loop), the longest turn of the loop (all callbacks that were
ready at once), and the longest full garbage collection, which grows with all that the program holds and is neither.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from support import scenes
from support.crowds import REGION, aside, ids, measured, ours_is_over
from tenacity import wait_fixed

from ecs_waiter import PollPolicy, StaticCredentials, TaskWaiter
from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_MANY = 100_000
_IN_MEMORY = [
    (scenes.wait, _MANY),
    (scenes.as_completed, _MANY),
    (scenes.submit, _MANY),
    (scenes.come_and_go, _MANY),
    (scenes.leave, _MANY),
    (scenes.time_out, _MANY),
    (scenes.refused, _MANY),
    (scenes.come_back, _MANY),
    (scenes.closing, _MANY),
    (scenes.closing_failed, _MANY),
    (scenes.time_out_failed, _MANY),
    (scenes.refused_waits, _MANY),
    (scenes.read_many, _MANY),
    (scenes.large_answers, _MANY),
    (scenes.wait_in_regions, 1_000_000),
]
_OVER_LOOPBACK = _MANY
_SHARE = 100


def _serve(link: Connection, count: int) -> None:
    """The emulator's process: it ends with the other one."""

    async def serve() -> None:
        async with EcsEmulator() as ecs:
            for number, task_id in enumerate(ids(count)):
                outcome = "Failed" if number % 1000 == 0 else "Finished"
                ecs.add_task(region_id=REGION, task_id=task_id, duration=number % _SHARE / 5, outcome=outcome)
            link.send(ecs.url)
            while not link.poll():
                await asyncio.sleep(0.1)
                ecs.requests.clear()

    asyncio.run(serve())


async def over_loopback(count: int) -> None:
    """One wait for many tasks of one region, over loopback and on the real clock."""
    here, there = multiprocessing.Pipe()
    service = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, count), daemon=True)
    service.start()
    async with aside():
        url = here.recv()
        every = ids(count)
    policy = PollPolicy(wait=wait_fixed(5), max_calls_per_second=500, max_in_flight=8, outage_budget=30)
    async with TaskWaiter(StaticCredentials("example-key-id", "example-key-secret"), url, policy) as waiter:
        results = await waiter.wait(every, region_id=REGION, return_exceptions=True)
        ours_is_over()
        kinds = Counter(type(told).__name__ for told in results.values())
        sys.stdout.write(f"{dict(kinds)}, {waiter.stats.regions[REGION].calls} calls\n")
    here.send(None)
    service.join()


def main() -> None:
    """Measure every scene."""
    for scene, count in _IN_MEMORY:
        began = time.monotonic()
        with virtual_time(), measured() as holds:
            asyncio.run(scene(count))
        _tell(scene.__name__, count, time.monotonic() - began, holds)
    began = time.monotonic()
    with measured() as holds:
        asyncio.run(over_loopback(_OVER_LOOPBACK))
    _tell("over_loopback", _OVER_LOOPBACK, time.monotonic() - began, holds)


def _tell(name: str, count: int, seconds: float, holds: object) -> None:
    sys.stdout.write(f"{name:16} {count:9,} tasks  {seconds:6.1f} s  {holds}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
