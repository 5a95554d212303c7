"""The peers of the CPU benchmark: each asks about the same hundred tasks again and again, for so many seconds.

Each gives the calls it made. What they share - the server, its answer, keep-alive - is in canned.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import aiohttp
from yarl import URL

from benchmarks.canned import IDS, REGION
from ecs_waiter import PollPolicy, StaticCredentials, TaskWaiter, wait_proportional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

__all__ = ["KEYS", "PEERS", "QUERY", "Round", "sdk_client"]

Round: TypeAlias = Callable[[float], Awaitable[tuple[int, float]]]
"""Polls for so many seconds, and gives the number of calls, and the CPU seconds that they cost."""

KEYS = ("example-key-id", "example-key-secret")
QUERY = f"PageNumber=1&PageSize=100&RegionId={REGION}&TaskIds={'%2C'.join(IDS)}"

# The default strategy, at no pace: it is asked as often as it would be, and the limiter's ceiling is out of reach.
_POLICY = PollPolicy(wait=wait_proportional(factor=0, min=0, max=0), max_calls_per_second=1e6)


def _timed(run: Callable[[float], Awaitable[int]]) -> Round:
    """All that it costs to poll for so many seconds."""

    async def timed(seconds: float) -> tuple[int, float]:
        began = time.process_time()
        calls = await run(seconds)
        return calls, time.process_time() - began

    return timed


async def floor(url: str, stack: AsyncExitStack) -> Round:
    """One `GET` and `json.loads` at a time, and nothing else."""
    session = await stack.enter_async_context(aiohttp.ClientSession())
    target = URL(f"{url}/?{QUERY}", encoded=True)

    async def run(seconds: float) -> int:
        ends, calls = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            async with session.get(target) as response:
                json.loads(await response.read())
            calls += 1
        return calls

    return _timed(run)


async def floor_paced(url: str, stack: AsyncExitStack) -> Round:
    """The floor with a pause of a millisecond between two calls, which is a timer and a turn of the loop."""
    session = await stack.enter_async_context(aiohttp.ClientSession())
    target = URL(f"{url}/?{QUERY}", encoded=True)

    async def run(seconds: float) -> int:
        ends, calls = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            async with session.get(target) as response:
                json.loads(await response.read())
            calls += 1
            await asyncio.sleep(_PAUSE)
        return calls

    return _timed(run)


_PAUSE = 0.001


async def _waiting(url: str, stack: AsyncExitStack, policy: PollPolicy) -> Round:
    waiter = await stack.enter_async_context(TaskWaiter(StaticCredentials(*KEYS), url, policy))
    futures = [waiter.submit(task_id, region_id=REGION) for task_id in IDS]

    async def run(seconds: float) -> int:
        before = waiter.stats.regions[REGION].polls
        await asyncio.sleep(seconds)
        if any(future.done() for future in futures):
            raise RuntimeError("these futures were to stay pending")
        return waiter.stats.regions[REGION].polls - before

    return _timed(run)


async def ours(url: str, stack: AsyncExitStack) -> Round:
    """A hundred futures that stay pending, at no pace."""
    return await _waiting(url, stack, _POLICY)


async def ours_paced(url: str, stack: AsyncExitStack) -> Round:
    """The same with a pause of a millisecond between two polls."""
    pace = wait_proportional(factor=0, min=_PAUSE, max=_PAUSE)
    return await _waiting(url, stack, PollPolicy(wait=pace, max_calls_per_second=1e6))


async def ours_last_poll(url: str, stack: AsyncExitStack) -> Round:
    """One `wait` after the other for a hundred tasks that are over at the third poll, of which only that one counts.

    It begins when the strategy has paced the second, and ends when the caller has the results.
    """
    paced_at: list[float] = []

    def at_once(_state: object) -> float:
        paced_at.append(time.process_time())
        return 0.0

    policy = PollPolicy(wait=at_once, max_calls_per_second=1e6)
    waiter = await stack.enter_async_context(TaskWaiter(StaticCredentials(*KEYS), url, policy))

    async def run(seconds: float) -> tuple[int, float]:
        ends, calls, spent = time.monotonic() + seconds, 0, 0.0
        while time.monotonic() < ends:
            tasks = await waiter.wait(IDS, region_id=REGION)
            _, second = paced_at
            spent += time.process_time() - second
            paced_at.clear()
            assert len(tasks) == len(IDS)
            calls += 1
        return calls, spent

    return run


async def ours_settling(url: str, stack: AsyncExitStack) -> Round:
    """One `wait` for a hundred tasks after the other, each of which is over at its first poll."""
    waiter = await stack.enter_async_context(TaskWaiter(StaticCredentials(*KEYS), url, _POLICY))

    async def run(seconds: float) -> int:
        ends, calls = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            tasks = await waiter.wait(IDS, region_id=REGION)
            assert len(tasks) == len(IDS)
            calls += 1
        return calls

    return _timed(run)


async def ours_settling_futures(url: str, stack: AsyncExitStack) -> Round:
    """The same by a hundred futures."""
    waiter = await stack.enter_async_context(TaskWaiter(StaticCredentials(*KEYS), url, _POLICY))

    async def run(seconds: float) -> int:
        ends, calls = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            futures = [waiter.submit(task_id, region_id=REGION) for task_id in IDS]
            for future in futures:
                await future
            calls += 1
        return calls

    return _timed(run)


async def by_hand(url: str, stack: AsyncExitStack) -> Round:
    """A good loop as people write it: one session, batches of a hundred, a dict of what is pending, a fixed pause."""
    session = await stack.enter_async_context(aiohttp.ClientSession())
    pending: dict[str, asyncio.Future[dict[str, Any]]] = {
        task_id: asyncio.get_running_loop().create_future() for task_id in IDS
    }

    async def look(task_ids: list[str]) -> list[dict[str, Any]]:
        params = {"RegionId": REGION, "TaskIds": ",".join(task_ids), "PageNumber": "1", "PageSize": "100"}
        query = "&".join(f"{quote(key, safe='~')}={quote(params[key], safe='~')}" for key in sorted(params))
        headers = _signed(URL(url).authority, query)
        async with session.post(URL(f"{url}/?{query}", encoded=True), headers=headers) as response:
            response.raise_for_status()
            page = await response.json()
        rows: list[dict[str, Any]] = page["TaskSet"]["Task"]
        return rows

    async def run(seconds: float) -> int:
        ends, calls = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            waiting = list(pending)
            for start in range(0, len(waiting), 100):
                for row in await look(waiting[start : start + 100]):
                    if row["TaskStatus"] in {"Finished", "Failed", "Deleted"}:
                        pending.pop(row["TaskId"]).set_result(row)
                calls += 1
            await asyncio.sleep(0)
        return calls

    return _timed(run)


def _signed(host: str, query: str) -> dict[str, str]:
    headers = {
        "host": host,
        "accept": "application/json",
        "x-acs-action": "DescribeTasks",
        "x-acs-version": "2014-05-26",
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": uuid.uuid4().hex,
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n{query}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(KEYS[1].encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"ACS3-HMAC-SHA256 Credential={KEYS[0]},SignedHeaders={names},Signature={signature}"
    return headers


async def sdk(url: str, _stack: AsyncExitStack) -> Round:
    """The official asynchronous SDK as its documentation uses it; over https it trusts what Python trusts."""
    return _describing(*sdk_client(url, IDS))


async def sdk_one_ca(url: str, _stack: AsyncExitStack) -> Round:
    """The same, told one file with the only CA that it needs, instead of the bundle of all that it ships with."""
    return _describing(*sdk_client(url, IDS, ca=os.environ["SSL_CERT_FILE"]))


def sdk_client(url: str, task_ids: Sequence[str], ca: str | None = None) -> tuple[Any, Any]:
    """The SDK's client, and its request about these tasks."""
    # ruff: noqa: PLC0415 - heavy, and no part of the other peers' processes
    from alibabacloud_ecs20140526 import models
    from alibabacloud_ecs20140526.client import Client
    from alibabacloud_tea_openapi.models import Config

    scheme, _, host = url.partition("://")
    key_id, secret = KEYS
    config = Config(
        access_key_id=key_id, access_key_secret=secret, endpoint=host, protocol=scheme, region_id=REGION, ca=ca
    )
    asked = models.DescribeTasksRequest(
        region_id=REGION, task_ids=",".join(task_ids), page_number=1, page_size=len(task_ids)
    )
    return Client(config), asked


def _describing(client: Any, asked: Any) -> Round:
    async def run(seconds: float) -> int:
        ends, calls = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            answer = await client.describe_tasks_async(asked)
            assert len(answer.body.task_set.task) == len(IDS)
            calls += 1
        return calls

    return _timed(run)


PEERS: dict[str, Callable[[str, AsyncExitStack], Awaitable[Round]]] = {
    "floor": floor,
    "floor, paced": floor_paced,
    "ecs_waiter": ours,
    "ecs_waiter, paced": ours_paced,
    "ecs_waiter, all settle": ours_last_poll,
    "ecs_waiter, new and settle": ours_settling,
    "ecs_waiter, new and settle, by futures": ours_settling_futures,
    "loop by hand": by_hand,
    "SDK": sdk,
    "SDK, one CA": sdk_one_ca,
}
