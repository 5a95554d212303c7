"""Waits over loopback for as long as one likes, with faults of many kinds: ``python tests/load/soak.py 60`` (minutes).

Callers come and go at a modest rate and in every way there is. Each minute's line shows what must not grow: memory,
tasks of the loop, open sockets. The exit code is 0 if no outcome was wrong and the memory stayed flat.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import wait_random

from ecs_waiter import (
    PollPolicy,
    StaticCredentials,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TasksFailedError,
    TaskWaiter,
    WaitTimeoutError,
)
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_REGIONS = ("cn-hangzhou", "us-west-1", "eu-central-1")
_ERRORS = {"Failed": TaskFailedError, "Deleted": TaskCanceledError}
_PAUSE = 0.05
# An outcome may be late by faults in a row; one that is later than this hangs.
_HANGS = 120.0
_POLICY = PollPolicy(wait=wait_random(0.1, 0.3), call_timeout=1, not_found_grace=30, outage_budget=60)
_FAULTS: dict[str, dict[str, object]] = {
    "backwards": {"status": "Processing"},
    "bad_gzip": {},
    "body": {"content": "<html>no</html>"},
    "cut_short": {"rows": 1},
    "delay": {"seconds": 0.2},
    "double": {},
    "drip": {"size": 400, "pause": 0.01},
    "drop": {},
    "endless": {},
    "foreign": {"rows": 50},
    "hang": {},
    "reset": {"when": "middle"},
    "status": {"status": 503},
    "throttle": {"retry_after": 0.1},
    "truncate": {},
}
# The memory of a young process grows by itself: caches fill, the allocator settles.
_WARM_UP = 5
_FLAT = 1.05


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _sockets() -> int:
    files = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(str(link.readlink()).startswith("socket:") for link in files)


class Soak:
    """The callers, and what came of them."""

    def __init__(self, ecs: EcsEmulator, waiter: TaskWaiter, seed: int) -> None:
        self._ecs = ecs
        self._waiter = waiter
        self._draw = random.Random(seed)
        self._plans: dict[str, str] = {}
        self._callers: set[asyncio.Task[None]] = set()
        self.ended: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._ways: list[Callable[[], Awaitable[None]]] = [
            self._wait,
            self._submit,
            self._cancel,
            self._as_completed,
            self._updates,
            self._time_out,
            self._run,
        ]

    def __len__(self) -> int:
        return len(self._callers)

    def come(self) -> None:
        """One more caller."""
        caller = asyncio.create_task(self._call(self._draw.choice(self._ways)))
        self._callers.add(caller)
        caller.add_done_callback(self._callers.discard)

    async def leave(self) -> None:
        """All callers come to their end."""
        await asyncio.gather(*self._callers)

    async def _call(self, way: Callable[[], Awaitable[None]]) -> None:
        name = getattr(way, "__name__", "").lstrip("_")
        try:
            async with asyncio.timeout(_HANGS):
                await way()
        except Exception as error:  # noqa: BLE001 - whatever escapes is wrong
            self.wrong.append(f"{name}: {error!r}")
        self.ended[name] += 1

    def _tasks(self) -> tuple[str, dict[str, str]]:
        region_id = self._draw.choice(_REGIONS)
        plans = {}
        for _ in range(self._draw.choice((1, 1, 3, 20))):
            outcome = self._draw.choices(("Finished", "Failed", "Deleted"), (8, 1, 1))[0]
            error = ("A.B", "no") if outcome == "Failed" else None
            seconds = self._draw.uniform(0, 8)
            task_id = self._ecs.add_task(region_id=region_id, duration=seconds, outcome=outcome, error=error)
            plans[task_id] = outcome
        return region_id, plans

    def _check(self, plans: Mapping[str, str], results: Mapping[str, Task | BaseException]) -> None:
        if list(results) != list(plans):
            self.wrong.append(f"{len(results)} results of {len(plans)}")
        self.wrong += [
            f"{task_id} should be {plans[task_id]}: {result!r}"
            for task_id, result in results.items()
            if not isinstance(result, _ERRORS.get(plans[task_id], Task))
        ]

    async def _wait(self) -> None:
        region_id, plans = self._tasks()
        results = await self._waiter.wait(list(plans), region_id=region_id, return_exceptions=True)
        self._check(plans, results)

    async def _submit(self) -> None:
        region_id, plans = self._tasks()
        futures = [self._waiter.submit(task_id, region_id=region_id) for task_id in plans]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        self._check(plans, dict(zip(plans, outcomes, strict=True)))

    async def _cancel(self) -> None:
        region_id, plans = self._tasks()
        caller = asyncio.create_task(self._waiter.wait(list(plans), region_id=region_id))
        await asyncio.sleep(self._draw.uniform(0, 2))
        caller.cancel()
        try:
            await caller
        except asyncio.CancelledError:
            return
        except (TaskFailedError, TaskCanceledError, TasksFailedError):
            pass

    async def _as_completed(self) -> None:
        region_id, plans = self._tasks()
        results = {}
        async for outcome in self._waiter.as_completed(list(plans), region_id=region_id):
            results[getattr(outcome, "task_id", "")] = outcome
        self._check(plans, {task_id: results[task_id] for task_id in plans if task_id in results})

    async def _updates(self) -> None:
        region_id, plans = self._tasks()
        last = {}
        async for task in self._waiter.updates(list(plans), region_id=region_id):
            last[task.task_id] = str(task.task_status)
            if self._draw.random() < 0.01:
                return
        if last != plans:
            self.wrong.append(f"the last updates are {last}, not {plans}")

    async def _time_out(self) -> None:
        region_id = self._draw.choice(_REGIONS)
        task_id = self._ecs.add_task(region_id=region_id, duration=_HANGS)
        try:
            await self._waiter.wait([task_id], region_id=region_id, timeout=self._draw.choice((0, 0.5, 2)))
        except WaitTimeoutError as error:
            if error.pending == (task_id,):
                return
        self.wrong.append(f"{task_id} was to time out")

    async def _run(self) -> None:
        # Of these operations the one that may be repeated, for a fault may hit the start.
        task = await self._waiter.run("ImportImage", region_id=self._draw.choice(_REGIONS), params={"ImageName": "m"})
        if task is None or task.task_status != "Finished":
            self.wrong.append(f"a run came to {task!r}")


def _inject(ecs: EcsEmulator) -> None:
    # Each fault that spoils a whole answer strikes one call in fifty.
    for seed, (kind, settings) in enumerate(_FAULTS.items()):
        where = {"action": "DescribeTasks"} if kind in {"backwards", "cut_short", "double", "drop", "foreign"} else {}
        ecs.inject(kind, probability=0.02, seed=seed, **where, **settings)  # type: ignore[arg-type]


def _forget(ecs: EcsEmulator) -> None:
    """Have the emulator forget what is over: what it remembers for its owner is no memory of the waiter's."""
    ecs.requests.clear()
    long_ago = ecs.now() - timedelta(seconds=2 * _HANGS)
    ecs._service._tokens.clear()
    tasks = ecs._service.tasks._tasks
    for task_id in [task_id for task_id, task in tasks.items() if task.created < long_ago]:
        del tasks[task_id]


def _is_flat(memory: list[int]) -> bool:
    """Whether the last quarter's memory is, by its median, that of the first quarter after the warm-up."""
    settled = memory[_WARM_UP:]
    if not settled:
        return True  # too short a run to tell
    quarter = max(1, len(settled) // 4)
    first, last = sorted(settled[:quarter]), sorted(settled[-quarter:])
    return last[len(last) // 2] <= first[len(first) // 2] * _FLAT


async def _soak(minutes: float, seed: int) -> bool:
    memory: list[int] = []
    credentials = StaticCredentials("example-key-id", "example-key-secret")
    async with (
        EcsEmulator(seed=seed, duration=3) as ecs,
        TaskWaiter(credentials, ecs.url, _POLICY) as waiter,
    ):
        _inject(ecs)
        soak = Soak(ecs, waiter, seed)
        began = shown = time.monotonic()
        while time.monotonic() - began < minutes * 60:
            soak.come()
            await asyncio.sleep(_PAUSE * 2 * random.random())
            if time.monotonic() - shown >= 60:
                shown = time.monotonic()
                _forget(ecs)
                gc.collect()
                memory.append(_status("VmRSS"))
                _show(soak, waiter, shown - began, memory[-1])
        await soak.leave()
    _show(soak, waiter, time.monotonic() - began, _status("VmRSS"))
    flat = _is_flat(memory)
    left = len(asyncio.all_tasks()) - 1
    verdict = "flat" if flat else "NOT FLAT"
    _print(f"memory {verdict}: {memory[:1]} … {memory[-1:]} kB; {left} tasks of the loop left; {dict(soak.ended)}")
    for told in soak.wrong[:20]:
        _print(told)
    return flat and not soak.wrong and left == 0


def _show(soak: Soak, waiter: TaskWaiter, seconds: float, memory: int) -> None:
    stats = waiter.stats.regions.values()
    _print(
        f"{seconds:6.0f} s  rss {memory} kB  loop tasks {len(asyncio.all_tasks())}  sockets {_sockets()}  "
        f"callers {len(soak)}  waiting {sum(region.waiting for region in stats)}  "
        f"calls {sum(region.calls for region in stats)}  waits ended {sum(soak.ended.values())}  "
        f"wrong {len(soak.wrong)}"
    )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(not asyncio.run(_soak(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
