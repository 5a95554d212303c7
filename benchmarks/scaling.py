"""The cost of one wake-up - wake, compose, take in, put back - while a hundred to a million tasks of a region wait."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from typing import TYPE_CHECKING

from support.crowds import REGION, Crowd, answer
from tenacity import wait_random

from benchmarks.figures import Goal, Line, Plot, Result, of
from benchmarks.processes import measured_once
from ecs_waiter import PollPolicy
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecs_waiter.api.tasks import PollAnswer

__all__ = ["measure"]

_COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)
_LARGEST_PEER = 100_000
_POLLS = 1_000
_ROUNDS = 8
_BATCH = 100
_PAUSE = 30.0
_DATE = 1_767_225_600.0


def measure() -> Result:
    """Each number of tasks in a process of its own."""
    ours = {count: _run("ours", count) for count in _COUNTS}
    theirs = {count: _run("coroutines", count) for count in _COUNTS if count <= _LARGEST_PEER}
    few, many = _COUNTS[0], _COUNTS[-1]
    figures = [of(f"{count:,} tasks", "µs per wake-up", ours[count]) for count in _COUNTS]
    figures += [of(f"a coroutine each, {count:,} tasks", "µs per 100 wake-ups", theirs[count]) for count in theirs]
    growth = [one / other for one, other in zip(ours[many], ours[few], strict=True)]
    goal = Goal(at_most=math.log(many) / math.log(few))
    figures.append(of(f"{many:,} tasks / {few:,} tasks (log n: {goal.at_most:g})", "x", growth, goal))
    middle = {count: sorted(found)[len(found) // 2] for count, found in ours.items()}
    plot = Plot(
        "scaling",
        "CPU of one wake-up, which asks 100 tasks",
        "tasks waiting",
        "microseconds of CPU",
        [
            Line("ecs_waiter", list(middle.items()), is_ours=True),
            Line("log n", [(count, middle[few] * math.log(count) / math.log(few)) for count in _COUNTS]),
            Line("a coroutine each", [(count, sorted(found)[len(found) // 2]) for count, found in theirs.items()]),
        ],
    )
    return Result("What does a wake-up cost, by how many tasks wait?", figures, [plot])


def _run(way: str, count: int) -> list[float]:
    found: list[float] = measured_once(__file__, way, str(count))
    return found


# -- in the process that is measured ----------------------------------------------------------------------------------


class _Unchanging(Crowd):
    """A service whose tasks never end, and that costs next to nothing."""

    async def poll(self, region_id: str, task_ids: Sequence[str]) -> PollAnswer:
        return answer(region_id, dict.fromkeys(task_ids, "Processing"), date=_DATE)


async def _ours(count: int) -> list[float]:
    every = [f"t-{number:07}" for number in range(count)]
    # Whatever comes together is soon spread over the time, as tasks of all ages are.
    policy = PollPolicy(wait=wait_random(0, 2 * _PAUSE), max_in_flight=1000, max_calls_per_second=1e6)
    with _Unchanging(policy, math.inf).behind() as waiter:
        async with waiter:
            waiting = asyncio.create_task(waiter.wait(every, region_id=REGION))

            def polls() -> int:
                region = waiter.stats.regions.get(REGION)
                return region.polls if region else 0

            while polls() < 3 * count // _BATCH:  # noqa: ASYNC110 - nobody tells of polls
                await asyncio.sleep(1)
            found = []
            for _ in range(_ROUNDS):
                # Virtual seconds in which about so many polls are made.
                seconds = _POLLS * _BATCH / count * _PAUSE
                before, began = polls(), time.process_time()
                await asyncio.sleep(seconds)
                found.append((time.process_time() - began) / (polls() - before) * 1e6)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return found


async def _coroutines(count: int) -> list[float]:
    """A coroutine for each task that only sleeps and wakes: a hundred of those do for a hundred tasks."""
    woken = 0

    async def look(first: float) -> None:
        nonlocal woken
        await asyncio.sleep(first)
        while True:
            woken += 1
            await asyncio.sleep(_PAUSE)

    tasks = [asyncio.create_task(look(number * _PAUSE / count)) for number in range(count)]
    await asyncio.sleep(60)
    found = []
    for _ in range(_ROUNDS):
        before, began = woken, time.process_time()
        await asyncio.sleep(_POLLS * _BATCH / count * _PAUSE)
        found.append((time.process_time() - began) / (woken - before) * _BATCH * 1e6)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


if __name__ == "__main__":
    measured = {"ours": _ours, "coroutines": _coroutines}[sys.argv[1]]
    with virtual_time():
        sys.stdout.write(json.dumps(asyncio.run(measured(int(sys.argv[2])))))
