"""Latency of the first answer: from `wait_for_task` of a task that has ended to its result, on the wall clock."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from statistics import median
from typing import TypeAlias

import aiohttp
from yarl import URL

from benchmarks.canned import IDS, REGION, canned_server
from benchmarks.figures import Goal, Result, of, ratios
from benchmarks.peers import KEYS, sdk_client
from benchmarks.processes import Measured, answer_rounds
from ecs_waiter import PollPolicy, StaticCredentials, TaskWaiter, wait_for_task

__all__ = ["measure"]

_ROUNDS = 24
_CALLS = 20
_WARM_UP = 50
_QUERY = f"PageNumber=1&PageSize=1&RegionId={REGION}&TaskIds={IDS[0]}"

Once: TypeAlias = Callable[[], Awaitable[object]]


def measure() -> Result:
    """Ask in turn, round by round, each peer in a process of its own."""
    spent: dict[str, list[float]] = {name: [] for name in _WAYS}
    with canned_server() as server, ExitStack() as stack:
        url = server.urls["http one Finished"]
        processes = {name: stack.enter_context(Measured(__file__, name, url)) for name in _WAYS}
        for process in processes.values():
            process.round(_WARM_UP)
        for _ in range(_ROUNDS):
            for name, process in processes.items():
                spent[name].append(process.round(_CALLS))
    figures = [of(name, "ms", [seconds * 1000 for seconds in found]) for name, found in spent.items()]
    figures += [
        of(f"{one} / {other}", "x", ratios(spent[one], spent[other]), goal)
        for one, other, goal in (
            ("wait_for_task", "aiohttp, a session for it", Goal(at_most=1.2)),
            ("in an open TaskWaiter", "aiohttp, an open session", Goal(at_most=1.2)),
            ("SDK", "wait_for_task", Goal(at_least=1)),
        )
    ]
    return Result("How long until the first answer?", figures)


async def _with_session(url: str, _stack: AsyncExitStack) -> Once:
    target = URL(f"{url}/?{_QUERY}", encoded=True)

    async def once() -> object:
        async with aiohttp.ClientSession() as session, session.get(target) as response:
            return json.loads(await response.read())

    return once


async def _in_session(url: str, stack: AsyncExitStack) -> Once:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    target = URL(f"{url}/?{_QUERY}", encoded=True)

    async def once() -> object:
        async with session.get(target) as response:
            return json.loads(await response.read())

    return once


async def _wait_for_task(url: str, _stack: AsyncExitStack) -> Once:
    credentials = StaticCredentials(*KEYS)
    return lambda: wait_for_task(IDS[0], region_id=REGION, credentials=credentials, endpoint=url)


async def _in_waiter(url: str, stack: AsyncExitStack) -> Once:
    # The limiter's ceiling is out of the way: it is there to hold back a loop like this one.
    policy = PollPolicy(max_calls_per_second=1e6)
    waiter = await stack.enter_async_context(TaskWaiter(StaticCredentials(*KEYS), url, policy))
    return lambda: waiter.wait([IDS[0]], region_id=REGION)


async def _sdk(url: str, _stack: AsyncExitStack) -> Once:
    client, asked = sdk_client(url, IDS[:1])
    return lambda: client.describe_tasks_async(asked)


_WAYS: dict[str, Callable[[str, AsyncExitStack], Awaitable[Once]]] = {
    "aiohttp, a session for it": _with_session,
    "wait_for_task": _wait_for_task,
    "SDK": _sdk,
    "aiohttp, an open session": _in_session,
    "in an open TaskWaiter": _in_waiter,
}


async def _serve_rounds(name: str, url: str) -> None:
    async with AsyncExitStack() as stack:
        once = await _WAYS[name](url, stack)

        async def one_round(calls: int) -> float:
            seconds = []
            for _ in range(calls):
                began = time.perf_counter()
                await once()
                seconds.append(time.perf_counter() - began)
            return median(seconds)

        await answer_rounds(one_round)


if __name__ == "__main__":
    asyncio.run(_serve_rounds(*sys.argv[1:]))
