"""Resident memory of waiting tasks, beyond the strings of their IDs, while they are polled over HTTP.

Each measurement is a process of its own. It makes the IDs, reads its resident memory, starts waiting, and reads it
again when every task has been polled twice: by then whatever is kept from poll to poll is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from tenacity import wait_fixed

from benchmarks.canned import REGION, Canned, canned_server
from benchmarks.figures import Goal, Result, of, ratios
from benchmarks.peers import KEYS
from benchmarks.processes import measured_once
from ecs_waiter import PollPolicy, StaticCredentials, TaskWaiter, WaitTimeoutError, wait_adaptive, wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["measure"]

_MANY = 100_000
_REGIONS = 20
_MILLION = 1_000_000
_ROUNDS = 3
_PAUSE = 2.0
_BATCH = 100

# A pace that polls every task twice within seconds, and a ceiling that lets a million be.
_POLICY = PollPolicy(wait=wait_adaptive(share=0, min=_PAUSE, max=_PAUSE), max_calls_per_second=1000)
_PLAIN = PollPolicy(wait=wait_fixed(_PAUSE), max_calls_per_second=1000)


def measure() -> Result:
    """Measure our ways to wait and the peers' ways."""
    # Two at a time: memory does not depend on what else runs.
    with canned_server() as server, ThreadPoolExecutor(2) as pool:
        million = pool.submit(_measured, server, "wait", _MILLION)
        jobs = {way: [pool.submit(_measured, server, way, _MANY) for _ in range(_ROUNDS)] for way in _WAYS}
        spent = {way: [job.result() / _MANY for job in rounds] for way, rounds in jobs.items()}
    figures = [
        of(
            f"{way}, {_MANY:,} tasks",
            "bytes per task",
            found,
            _GOALS.get(way),
        )
        for way, found in spent.items()
    ]
    figures += [
        of(f"{peer} / wait", "x", ratios(spent[peer], spent["wait"]))
        for peer in ("loop by hand, a future each", "a coroutine each")
    ]
    in_regions = f"wait, a million tasks in {_REGIONS} regions"
    figures.append(of(in_regions, "MB", [million.result() / 1e6], Goal(at_most=400)))
    return Result(
        "How much memory does a waiting task hold, beyond its ID?",
        figures,
        notes=["The peer with a coroutine for each task only sleeps in them: a request in each would come on top."],
    )


def _measured(server: Canned, way: str, count: int) -> float:
    return float(measured_once(__file__, way, str(count), server.urls["http echo"]))


# -- in the process that is measured ----------------------------------------------------------------------------------


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _asked(count: int) -> dict[str, list[str]]:
    """Region -> IDs: all in one region, or a million in twenty."""
    if count <= _MANY:
        return {REGION: [f"t-bp1hvgwromzv3{number:09}" for number in range(count)]}
    share = count // _REGIONS
    return {
        f"cn-region-{region}": [f"t-bp1hvgwromzv3{number:09}" for number in range(region * share, (region + 1) * share)]
        for region in range(_REGIONS)
    }


async def _until_polled(waiter: TaskWaiter, asked: Mapping[str, Sequence[str]]) -> None:
    """Until every task has been polled twice, in calls that are full."""
    needed = {region: 2 * len(task_ids) // _BATCH for region, task_ids in asked.items()}
    while True:
        await asyncio.sleep(0.2)
        regions = waiter.stats.regions
        if len(regions) == len(needed) and all(regions[region].polls >= polls for region, polls in needed.items()):
            return


async def _by_wait(asked: dict[str, list[str]], url: str, policy: PollPolicy = _POLICY) -> int:
    async with TaskWaiter(StaticCredentials(*KEYS), url, policy) as waiter:
        before = _resident()
        waiting = asyncio.create_task(waiter.wait(asked))
        await _until_polled(waiter, asked)
        after = _resident()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return after - before


async def _by_wait_for_tasks(asked: dict[str, list[str]], url: str) -> int:
    before = _resident()
    waiting = asyncio.create_task(
        wait_for_tasks(asked, credentials=StaticCredentials(*KEYS), endpoint=url, policy=_POLICY)
    )
    # The module's own waiter is nobody's to look at.
    await asyncio.sleep(4 * _PAUSE)
    after = _resident()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return after - before


async def _by_submit(asked: dict[str, list[str]], url: str) -> int:
    async with TaskWaiter(StaticCredentials(*KEYS), url, _POLICY) as waiter:
        before = _resident()
        futures = []
        for region, task_ids in asked.items():
            for number, task_id in enumerate(task_ids):
                futures.append(waiter.submit(task_id, region_id=region))
                if number % 1000 == 0:
                    await asyncio.sleep(0)
        await _until_polled(waiter, asked)
        return _resident() - before


async def _by_hand(asked: dict[str, list[str]], url: str) -> int:
    """A loop over batches with a future for each task, as in peers.py."""
    async with aiohttp.ClientSession() as session:
        before = _resident()
        loop = asyncio.get_running_loop()
        pending = {task_id: loop.create_future() for task_ids in asked.values() for task_id in task_ids}
        for _ in range(2):
            waiting = list(pending)
            for start in range(0, len(waiting), _BATCH):
                params = {"RegionId": REGION, "TaskIds": ",".join(waiting[start : start + _BATCH])}
                async with session.post(url, params=params) as response:
                    for row in (await response.json())["TaskSet"]["Task"]:
                        if row["TaskStatus"] == "Finished":
                            pending.pop(row["TaskId"]).set_result(row)
        return _resident() - before


async def _by_coroutines(asked: dict[str, list[str]], _url: str) -> int:
    """A coroutine for each task, which asks and sleeps; here it only sleeps."""

    async def look(_task_id: str) -> None:
        while True:  # noqa: ASYNC110 - peers poll
            await asyncio.sleep(1000)

    before = _resident()
    tasks = [asyncio.create_task(look(task_id)) for task_ids in asked.values() for task_id in task_ids]
    await asyncio.sleep(1)
    after = _resident()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return after - before


_GOALS = {"wait": Goal(at_most=232), "wait_for_tasks": Goal(at_most=232), "wait, plain strategy": Goal(at_most=260)}
_WAYS: dict[str, Callable[[dict[str, list[str]], str], Awaitable[int]]] = {
    "wait": _by_wait,
    "wait, plain strategy": partial(_by_wait, policy=_PLAIN),
    "wait_for_tasks": _by_wait_for_tasks,
    "submit, a future each": _by_submit,
    "loop by hand, a future each": _by_hand,
    "a coroutine each": _by_coroutines,
}


async def _main(way: str, count: int, url: str) -> None:
    asked = _asked(count)
    # What the first wait loads and opens is no part of a task's price.
    async with TaskWaiter(StaticCredentials(*KEYS), url, _POLICY) as waiter:
        with contextlib.suppress(WaitTimeoutError):
            await waiter.wait(["t-warm-up"], region_id=REGION, timeout=0)
    sys.stdout.write(json.dumps(await _WAYS[way](asked, url)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
