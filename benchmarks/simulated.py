"""The waiter in a simulation: virtual time, and a service without HTTP that knows how long each task takes."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from support.crowds import REGION, Crowd

from ecs_waiter import TaskStatus
from ecs_waiter.api.tasks import PollAnswer
from ecs_waiter.chance import CHANCE
from ecs_waiter.polling.learning import history_of
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.lives import Life
    from ecs_waiter import PollPolicy

__all__ = ["Played", "play"]

_ACTION = "ImportImage"
_DATE = 1_767_225_600.0
_RUNS, _ENDED = TaskStatus.PROCESSING, TaskStatus.FINISHED


@dataclass
class Played:
    """What came of it.

    Attributes:
        calls: Calls made.
        looks: Tasks looked at, over all calls.
        lateness: Seconds from each task's end to the moment its wait was over, by its ID.
    """

    calls: int = 0
    looks: int = 0
    lateness: dict[str, float] = field(default_factory=dict)


class _Service(Crowd):
    """A service that answers at once."""

    def __init__(self, policy: PollPolicy, lives: Sequence[Life]) -> None:
        super().__init__(policy, 0)
        self.played = Played()
        self._lives = {life.task_id: (life.ends, datetime.fromtimestamp(_DATE + life.created, UTC)) for life in lives}

    async def poll(self, region_id: str, task_ids: Sequence[str]) -> PollAnswer:
        now = asyncio.get_running_loop().time() - self._began
        self.played.calls += 1
        self.played.looks += len(task_ids)
        rows = []
        for task_id in task_ids:
            ends, created = self._lives[task_id]
            status = _RUNS if ends > now else _ENDED
            rows.append({"TaskId": task_id, "TaskStatus": status, "TaskAction": _ACTION, "CreationTime": created})
            if status is _ENDED:
                self.played.lateness[task_id] = now - ends
        return PollAnswer(region_id, rows, total_count=len(rows), date=_DATE + now)


def play(policy: PollPolicy, lives: Sequence[Life], *, seed: int, past: Sequence[float] = ()) -> Played:
    """Wait for all these tasks, each from when it is asked for: one `wait` for those that come together.

    Args:
        policy: The policy.
        lives: The tasks.
        seed: Of the jitter.
        past: Durations of tasks that finished before.
    """

    async def run() -> Played:
        loop = asyncio.get_running_loop()
        began = loop.time()
        service = _Service(policy, lives)
        if past:
            history_of(loop).at((service.endpoint, "task", _ACTION)).add_past(past)
        with service.behind() as waiter:
            async with waiter, asyncio.TaskGroup() as callers:
                for asked, together in groupby(lives, key=lambda life: life.asked):
                    await asyncio.sleep(began + asked - loop.time())
                    callers.create_task(waiter.wait([life.task_id for life in together], region_id=REGION))
        if len(service.played.lateness) != len(lives):
            raise RuntimeError(f"{len(service.played.lateness)} of {len(lives)} waits came to their end")
        return service.played

    # Ours, and that of tenacity's strategies.
    states = CHANCE.getstate(), random.getstate()
    CHANCE.seed(seed)
    random.seed(seed)
    try:
        with virtual_time():
            return asyncio.run(run())
    finally:
        CHANCE.setstate(states[0])
        random.setstate(states[1])
