"""A service without HTTP that lists any number of tasks, and the longest time that one step held the loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from ecs_waiter import AuthenticationError, PollPolicy, TaskDetail, TaskWaiter, waiter
from ecs_waiter.api.limiter import RegionLimiter
from ecs_waiter.api.tasks import PollAnswer
from ecs_waiter.api.transport import Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from ecs_waiter.api.limiter import Priority

__all__ = ["REGION", "REGIONS", "Crowd", "Holds", "answer", "aside", "ids", "measured", "ours_is_over"]

REGION = "cn-hangzhou"
REGIONS = tuple(f"cn-region-{number}" for number in range(20))

_LATENCY = 0.05
_FOREVER = 1e9
_DATE = 1_767_225_600.0
_CREATED = "2026-01-01T00:00:00Z"


def ids(count: int, region: int = 0) -> list[str]:
    """IDs of one region."""
    return [f"t-{region:02}-{number:06}" for number in range(count)]


def answer(region_id: str, statuses: Mapping[str, str], *, date: float, created: str = _CREATED) -> PollAnswer:
    """An answer that lists these tasks."""
    rows = [{"TaskId": i, "TaskStatus": status, "CreationTime": created} for i, status in statuses.items()]
    return PollAnswer(region_id, rows, total_count=len(rows), date=date)


class Crowd:
    """A client in place of EcsClient: every task is listed, and ends after at most `longest` seconds.

    While `refuses` is set, the credentials are refused. A task's number says how long it takes and how it ends: one in
    a thousand fails, another one is canceled. While `fails` is set, all fail and no reason is given.
    """

    endpoint = None

    def __init__(self, policy: PollPolicy, longest: float) -> None:
        self._policy = policy
        self._longest = longest
        self._limiters: dict[str, RegionLimiter] = {}
        self._counters: dict[str, Counters] = {}
        self.refuses = self.fails = False
        self._began = asyncio.get_running_loop().time()

    @contextlib.contextmanager
    def behind(self) -> Iterator[TaskWaiter]:
        """A waiter that asks it."""
        with mock.patch.object(waiter, "EcsClient", return_value=self):
            made = TaskWaiter(policy=self._policy)
        yield made

    def observe(self, around: object) -> None:
        """As EcsClient's, but without HTTP there are no attempts to tell of."""

    def limiter(self, region_id: str) -> RegionLimiter:
        """As EcsClient's."""
        if region_id not in self._limiters:
            self._limiters[region_id] = RegionLimiter(self._policy)
        return self._limiters[region_id]

    def rates(self, region_id: str) -> tuple[float | None, float | None]:
        """As EcsClient's."""
        return self.limiter(region_id).rates()

    def counters(self, region_id: str) -> Counters:
        """As EcsClient's."""
        return self._counters.setdefault(region_id, Counters())

    def keep(self, is_used: object) -> None:
        """As EcsClient's, but nothing is forgotten."""

    @property
    def counted(self) -> dict[str, Counters]:
        """As EcsClient's."""
        return self._counters

    async def poll(self, region_id: str, task_ids: Sequence[str]) -> PollAnswer:
        """As EcsClient's."""
        await asyncio.sleep(_LATENCY)
        self.counters(region_id).calls += 1
        if self.refuses:
            raise AuthenticationError("Forbidden.RAM", "no")
        age = asyncio.get_running_loop().time() - self._began
        return answer(region_id, {i: self._status(i, age) for i in task_ids}, date=_DATE + age)

    def _status(self, task_id: str, age: float) -> str:
        if self.fails:
            return "Failed"
        number = int(task_id[-6:])
        if age < self._longest * (number % 97) / 96:
            return "Processing"
        return {0: "Failed", 1: "Deleted"}.get(number % 1000, "Finished")

    async def describe_task_attribute(self, task_id: str, *, region_id: str, priority: Priority) -> TaskDetail:
        """As EcsClient's."""
        limiter = self.limiter(region_id)
        await limiter.acquire(priority)
        await asyncio.sleep(_FOREVER if self.fails else _LATENCY)
        limiter.release(priority)
        return TaskDetail(region_id=region_id, task_id=task_id)

    async def aclose(self) -> None:
        """As EcsClient's."""


@dataclass
class Holds:
    """The longest that the loop was held, in seconds of the processor's time, and by what."""

    longest: float = 0.0
    by: str = "nothing"
    turn: float = 0.0
    collecting: float = 0.0

    def __str__(self) -> str:
        return (
            f"longest step {self.longest * 1000:.0f} ms ({self.by}), longest turn {self.turn * 1000:.0f} ms, "
            f"longest garbage collection {self.collecting * 1000:.0f} ms"
        )


_asides = 0


@contextlib.asynccontextmanager
async def aside() -> AsyncIterator[None]:
    """Steps of the measuring code itself, which do not count."""
    global _asides  # noqa: PLW0603 - so that what is measured need not know who measures
    await asyncio.sleep(0)
    _asides += 1
    try:
        yield
    finally:
        await asyncio.sleep(0)
        _asides -= 1
        await asyncio.sleep(0)


def ours_is_over() -> None:
    """Nothing counts any more from this step on."""
    global _asides  # noqa: PLW0603 - see `aside`
    _asides += 1


@contextlib.contextmanager
def measured() -> Iterator[Holds]:
    """Time every step of every loop; a garbage collection that falls into a step is told apart and taken off it."""
    global _asides  # noqa: PLW0603 - see `aside`
    _asides = 0
    holds = Holds()
    run, run_once = asyncio.Handle._run, asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]
    # The processor's time: on a busy machine the wall clock would show what others do.
    now = time.thread_time
    collected = began_collecting = 0.0

    def step(handle: asyncio.Handle) -> None:
        before, began = collected, now()
        run(handle)
        seconds = now() - began - (collected - before)
        if seconds > holds.longest and not _asides:
            holds.longest, holds.by = seconds, _told(handle)

    def turn(loop: Any) -> None:
        before, began = collected, now()
        run_once(loop)
        if not _asides:
            holds.turn = max(holds.turn, now() - began - (collected - before))

    def collecting(phase: str, _info: dict[str, int]) -> None:
        nonlocal collected, began_collecting
        if phase == "start":
            began_collecting = now()
        else:
            seconds = now() - began_collecting
            collected += seconds
            holds.collecting = max(holds.collecting, seconds)

    gc.callbacks.append(collecting)
    try:
        with (
            mock.patch.object(asyncio.Handle, "_run", step),
            mock.patch.object(asyncio.BaseEventLoop, "_run_once", turn),
        ):
            yield holds
    finally:
        gc.callbacks.remove(collecting)


def _told(handle: asyncio.Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        names = []
        while coroutine is not None and hasattr(coroutine, "__qualname__"):
            names.append(coroutine.__qualname__)
            coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
        return " > ".join(names)
    return getattr(callback, "__qualname__", repr(callback))
