"""The longest time that one step holds the event loop while a hundred thousand tasks wait, come, settle or leave.

The scenes and the stop-watch are those of the load tests: processor time of each callback of the loop, a garbage
collection that falls into it taken off. Each scene runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from support import scenes
from support.crowds import aside, measured, ours_is_over

from benchmarks.canned import REGION, canned_server
from benchmarks.figures import Goal, Result, of
from benchmarks.peers import KEYS
from benchmarks.processes import measured_once
from ecs_waiter import PollPolicy, StaticCredentials, TaskWaiter, wait_proportional
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["measure"]

_MANY = 100_000
_ROUNDS = 3
_GOAL = Goal(at_most=20)

# In memory and on virtual time: the waiter's own steps, without those of HTTP.
_SCENES: dict[str, Callable[[int], Coroutine[None, None, None]]] = {
    "one wait, until all have settled": scenes.wait,
    "submit each, until all have settled": scenes.submit,
    "as_completed, until all have settled": scenes.as_completed,
    "a wait meets its deadline": scenes.time_out,
    "a thousand waits are canceled": scenes.leave,
    "the waiter is closed under futures": scenes.closing,
    "the region refuses, in one wait and by futures": scenes.refused,
    "the region refuses, and all come back at once": scenes.come_back,
    "the region refuses, and each task has a wait of its own": scenes.refused_waits,
    "the waiter is closed under failures whose reasons are looked up": scenes.closing_failed,
    "a wait meets its deadline under such failures": scenes.time_out_failed,
    "iterations over ten times as many tasks begin": scenes.read_many,
    "answers of 4 MB that repeat a secret come": scenes.large_answers,
}
_HTTP = "one wait over HTTP, nothing settles"
_GATHERED = "asyncio.gather of a coroutine each"


def measure() -> Result:
    """Run each scene some times."""
    with canned_server() as server:
        found = {name: [_run(name, server.urls["http echo"]) for _ in range(_ROUNDS)] for name in (*_SCENES, _HTTP)}
        peer = [_run(_GATHERED, "") for _ in range(_ROUNDS)]
    figures = [
        of(f"{name}: longest step", "ms", [told["step"] for told in rounds], _GOAL) for name, rounds in found.items()
    ]
    figures.append(of(f"{_GATHERED}: longest step", "ms", [told["step"] for told in peer]))
    worst = max((told for rounds in found.values() for told in rounds), key=lambda told: told["step"])
    collecting = max(told["collecting"] for rounds in found.values() for told in rounds)
    return Result(
        f"How long does one step hold the loop, with {_MANY:,} tasks?",
        figures,
        notes=[
            f"The longest of all was in `{worst['by']}`.",
            f"Not counted: full garbage collections, up to {collecting:.0f} ms, by all that a program holds.",
        ],
    )


def _run(name: str, url: str) -> dict[str, Any]:
    told: dict[str, Any] = measured_once(__file__, name, url)
    return told


# -- in the process that is measured ----------------------------------------------------------------------------------


async def _over_http(url: str) -> None:
    async with aside():
        every = [f"t-bp1hvgwromzv3{number:09}" for number in range(_MANY)]
    policy = PollPolicy(wait=wait_proportional(factor=0, min=2, max=2), max_calls_per_second=1000)
    async with TaskWaiter(StaticCredentials(*KEYS), url, policy) as waiter:
        waiting = asyncio.create_task(waiter.wait(every, region_id=REGION))
        await asyncio.sleep(1)
        while waiter.stats.regions[REGION].polls < 2 * _MANY // 100:  # noqa: ASYNC110 - nobody tells of polls
            await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        ours_is_over()


async def _gathered() -> None:
    async def look() -> None:
        await asyncio.sleep(1000)

    async def all_of_them() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(look() for _ in range(_MANY))), 100)

    await all_of_them()


def _main(name: str, url: str) -> None:
    # What the first waiter of a process loads, OpenTelemetry where it is installed, belongs to the imports.
    TaskWaiter(StaticCredentials(*KEYS))
    with contextlib.ExitStack() as stack:
        if name != _HTTP:
            stack.enter_context(virtual_time())
        holds = stack.enter_context(measured())
        if name == _HTTP:
            asyncio.run(_over_http(url))
        else:
            asyncio.run(_gathered() if name == _GATHERED else _SCENES[name](_MANY))
    told = {"step": holds.longest * 1000, "by": holds.by, "collecting": holds.collecting * 1000}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main(*sys.argv[1:])
