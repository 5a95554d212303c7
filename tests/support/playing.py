"""Plays a world: its callers against the emulator in memory, on virtual time, with everything noted for the oracle."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

from ecs_waiter import (
    EcsWaiterError,
    StaticCredentials,
    Task,
    TasksFailedError,
    TaskWaiter,
    WaitTimeoutError,
)
from ecs_waiter.api.exchange import Exchange
from ecs_waiter.chance import CHANCE
from ecs_waiter.emulator.memory import MemoryConnector
from ecs_waiter.testing.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ecs_waiter.emulator import EcsEmulator
    from support.worlds import Caller, PlannedTask, World

# Longer than any world has things to do.
_HORIZON = 40 * 86_400.0

_FAULTS = {"html": "status"}
SURROUNDINGS = {"suspend", "names"}
"""Troubles that are not the service's."""


@dataclass
class Told:
    """What one caller was told of one task, and when."""

    task: PlannedTask
    outcome: Task | EcsWaiterError
    at: float


@dataclass
class Ending:
    """How one caller's wait went: `how` is done, timeout, left or hangs."""

    caller: Caller
    began: float
    ended: float = 0.0
    how: str = "hangs"
    told: dict[str, Told] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    odd: BaseException | None = None


@dataclass
class Sent:
    """One call as it left us."""

    at: float
    region_id: str
    action: str
    query: Mapping[str, str]
    under_way: int
    unwanted: list[str]
    twice: list[str]


@dataclass
class Story:
    """All that happened."""

    world: World
    endings: list[Ending] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)


def play(world: World) -> Story:
    """Play a world from its beginning to the end of its last wait."""
    with virtual() as ecs:
        # Jitter is part of the world.
        random.seed(world.seed)
        CHANCE.seed(world.seed)
        return asyncio.run(_Stage(world, ecs).play())


class _Stage:
    def __init__(self, world: World, ecs: EcsEmulator) -> None:
        self._world = world
        self._ecs = ecs
        self._story = Story(world)
        self._wanted: Counter[tuple[str, str]] = Counter()
        self._last_wanted: dict[tuple[str, str], float] = {}
        self._under_way: Counter[str] = Counter()
        self._ids_under_way: Counter[tuple[str, str]] = Counter()

    async def play(self) -> Story:
        self._start = asyncio.get_running_loop().time()
        loop = asyncio.get_running_loop()
        for trouble in self._world.troubles:
            if trouble.kind == "suspend":
                loop.call_later(trouble.begins, self._suspend, trouble.lasts)
            if trouble.kind in SURROUNDINGS:
                continue
            self._ecs.inject(
                _FAULTS.get(trouble.kind, trouble.kind),
                region_id=trouble.region_id,
                probability=trouble.probability,
                seed=self._world.seed,
                where=self._between(trouble.begins, trouble.ends),
                **trouble.settings,
            )
        create = MemoryConnector._create_connection
        with (
            mock.patch.object(Exchange, "send", self._watching(Exchange.send)),
            mock.patch.object(MemoryConnector, "_create_connection", self._resolving(create)),
        ):
            await self._callers()
        self._story.left_over += [repr(task) for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)][1:]
        return self._story

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._start

    @staticmethod
    def _suspend(seconds: float) -> None:
        """Let time pass in which the loop does not run."""
        clock: Any = asyncio.get_running_loop().time
        clock.__self__.jump(seconds)

    def _resolving(self, real: Any) -> Any:
        async def create(connector: Any, request: Any, *how: Any) -> Any:
            """Make a connection; while names hang, it has to wait for the address."""
            region_id = request.url.query["RegionId"]
            for trouble in self._world.troubles:
                is_here = (trouble.kind, trouble.region_id) == ("names", region_id)
                if is_here and trouble.begins <= self._now() < trouble.ends:
                    await asyncio.sleep(trouble.ends - self._now())
            return await real(connector, request, *how)

        return create

    def _between(self, begins: float, ends: float) -> Any:
        begin = self._ecs.now().timestamp()
        return lambda request: begins <= request.at.timestamp() - begin < ends

    def _watching(self, real: Any) -> Any:
        async def watched(exchange: Exchange) -> Any:
            request = exchange._request
            query = dict(request.url.query)
            region_id = query["RegionId"]
            ids = query.get("TaskIds", "").split(",") if "TaskIds" in query else []
            unwanted = [
                task_id
                for task_id in ids
                if not self._wanted[region_id, task_id] and self._last_wanted.get((region_id, task_id)) != self._now()
            ]
            keys = [(region_id, task_id) for task_id in ids]
            twice = [task_id for region_id, task_id in keys if self._ids_under_way[region_id, task_id]]
            self._under_way[region_id] += 1
            self._ids_under_way.update(keys)
            action = request.headers["x-acs-action"]
            self._story.sent.append(
                Sent(self._now(), region_id, action, query, self._under_way[region_id], unwanted, twice)
            )
            try:
                return await real(exchange)
            finally:
                self._under_way[region_id] -= 1
                self._ids_under_way.subtract(keys)

        return watched

    async def _callers(self) -> None:
        director = asyncio.create_task(self._direct())
        async with TaskWaiter(
            StaticCredentials("id-of-the-key", "secret-of-the-key"), self._ecs.url, self._world.pace.policy()
        ) as waiter:
            callers = [asyncio.create_task(self._call(waiter, caller)) for caller in self._world.callers]
            await asyncio.wait([*callers, director], timeout=_HORIZON)
            self._story.left_over += (
                [f"{waiter!r}"]
                if waiter.stats and any(region.waiting for region in waiter.stats.regions.values())
                else []
            )
        for task in (*callers, director):
            task.cancel()
        await asyncio.gather(*callers, director, return_exceptions=True)

    async def _direct(self) -> None:
        for task in sorted(self._world.tasks, key=lambda task: task.at):
            await asyncio.sleep(max(0.0, task.at - self._now()))
            if task.exists:
                self._ecs.add_task(
                    region_id=task.region_id,
                    task_id=task.task_id,
                    duration=task.duration,
                    outcome=task.outcome,
                    error=("Reason", "in words") if task.outcome == "Failed" else None,
                    visible_after=task.visible_after,
                )

    async def _call(self, waiter: TaskWaiter, caller: Caller) -> None:
        await asyncio.sleep(caller.at)
        ending = Ending(caller, began=self._now())
        self._story.endings.append(ending)
        keys = [(task.region_id, task.task_id) for task in caller.tasks]
        self._wanted.update(keys)
        try:
            await self._with_leaving(getattr(self, f"_{caller.way}")(waiter, caller, ending), caller, ending)
        finally:
            ending.ended = self._now()
            self._wanted.subtract(keys)
            self._last_wanted.update(dict.fromkeys(keys, self._now()))

    async def _with_leaving(self, work: Any, caller: Caller, ending: Ending) -> None:
        try:
            async with asyncio.timeout(caller.leaves_after) as leaving:
                await work
            ending.how = "done"
        except WaitTimeoutError as late:
            ending.how = "timeout"
            ending.pending = late.pending
            self._note(ending, late.results)
        except TimeoutError:
            ending.how = "left" if leaving.expired() else "odd"
        except (TasksFailedError, EcsWaiterError) as error:
            ending.how = "done"
            if isinstance(error, TasksFailedError):
                ending.pending = error.pending
                self._note(ending, error.results)
            else:
                untold = [task.task_id for task in caller.tasks if task.task_id not in ending.told]
                if caller.way == "fail_fast" and len(caller.tasks) > 1:
                    # A region's one error: the other tasks are pending, whichever they are.
                    ending.pending = tuple(untold)
                else:
                    self._note(ending, dict.fromkeys(untold, error))
        except Exception as error:  # noqa: BLE001 - the oracle judges
            ending.how, ending.odd = "odd", error

    def _note(self, ending: Ending, results: Mapping[str, Task | EcsWaiterError]) -> None:
        planned = {task.task_id: task for task in ending.caller.tasks}
        for task_id, outcome in results.items():
            ending.told.setdefault(task_id, Told(planned[task_id], outcome, self._now()))

    async def _wait(self, waiter: TaskWaiter, caller: Caller, ending: Ending) -> None:
        ids = _by_region(caller)
        self._note(ending, await waiter.wait(ids, timeout=caller.timeout, return_exceptions=True))

    async def _fail_fast(self, waiter: TaskWaiter, caller: Caller, ending: Ending) -> None:
        self._note(ending, await waiter.wait(_by_region(caller), timeout=caller.timeout, fail_fast=True))

    async def _on_update(self, waiter: TaskWaiter, caller: Caller, ending: Ending) -> None:
        seen: dict[str, str] = {}

        def note(task: Task) -> None:
            assert seen.get(task.task_id) != task.task_status, "told twice of the same"
            seen[task.task_id] = task.task_status

        ids = _by_region(caller)
        self._note(ending, await waiter.wait(ids, timeout=caller.timeout, return_exceptions=True, on_update=note))

    async def _submit(self, waiter: TaskWaiter, caller: Caller, ending: Ending) -> None:
        async def one(task: PlannedTask) -> None:
            future = waiter.submit(task.task_id, region_id=task.region_id)
            with contextlib.suppress(EcsWaiterError):
                self._note(ending, {task.task_id: await asyncio.wait_for(future, caller.timeout)})
            if future.done() and not future.cancelled() and isinstance(error := future.exception(), EcsWaiterError):
                self._note(ending, {task.task_id: error})

        results = await asyncio.gather(*map(one, caller.tasks), return_exceptions=True)
        pending = [task.task_id for task, result in zip(caller.tasks, results, strict=True) if result is not None]
        if pending:
            raise WaitTimeoutError("in time", pending=pending)

    async def _as_completed(self, waiter: TaskWaiter, caller: Caller, ending: Ending) -> None:
        async for outcome in waiter.as_completed(_by_region(caller), timeout=caller.timeout):
            if (task_id := getattr(outcome, "task_id", None)) is not None:
                self._note(ending, {task_id: outcome})

    async def _updates(self, waiter: TaskWaiter, caller: Caller, ending: Ending) -> None:
        updates: AsyncIterator[Task] = waiter.updates(_by_region(caller), timeout=caller.timeout)
        seen: dict[str, str] = {}
        async for task in updates:
            assert seen.get(task.task_id) != task.task_status, "told twice of the same"
            seen[task.task_id] = task.task_status
            if task.task_status in {"Finished", "Failed", "Deleted", "Canceled"}:
                self._note(ending, {task.task_id: task})


def _by_region(caller: Caller) -> dict[str, list[str]]:
    regions: defaultdict[str, list[str]] = defaultdict(list)
    for task in caller.tasks:
        regions[task.region_id].append(task.task_id)
    return dict(regions)
