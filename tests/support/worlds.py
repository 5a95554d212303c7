"""World: everything that is going to happen, made from a seed - tasks, callers, faults and a policy, as plain data."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tenacity import wait_chain, wait_exponential, wait_fixed, wait_random

from ecs_waiter import PollPolicy, wait_adaptive, wait_proportional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REGIONS = ("cn-hangzhou", "us-west-1", "eu-central-1", "ap-southeast-1")
ENDINGS = ("Finished", "Finished", "Finished", "Failed", "Deleted", "Canceled")
DAY = 86_400.0
# Of three worlds one has troubles of its surroundings too.
_SURROUNDED = 2


@dataclass(frozen=True)
class PlannedTask:
    """A task; one that does not exist is only asked for."""

    region_id: str
    task_id: str
    at: float
    duration: float
    outcome: str
    visible_after: float
    exists: bool = True

    @property
    def ends_at(self) -> float:
        """When the service first says that it has ended."""
        return max(self.at + self.duration, self.visible_at) if self.exists else math.inf

    @property
    def visible_at(self) -> float:
        """When the service first lists it."""
        return self.at + self.visible_after if self.exists else math.inf


@dataclass(frozen=True)
class Caller:
    """Somebody who waits in one of the ways there are; `leaves_after` seconds, if not None, it is canceled."""

    at: float
    way: str
    tasks: tuple[PlannedTask, ...]
    timeout: float | None
    leaves_after: float | None


@dataclass(frozen=True)
class Trouble:
    """A fault of one region between two times."""

    kind: str
    region_id: str
    begins: float
    ends: float
    probability: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def lasts(self) -> float:
        """Seconds."""
        return self.ends - self.begins


@dataclass(frozen=True)
class Pace:
    """The policy, as data that can be printed."""

    wait: str
    longest: float
    not_found_grace: float
    outage_budget: float
    max_in_flight: int
    max_calls_per_second: float
    call_timeout: float

    def policy(self) -> PollPolicy:
        """Make the policy."""
        wait: dict[str, Callable[[], Any]] = {
            "adaptive": lambda: wait_adaptive(max=self.longest),
            "proportional": lambda: wait_proportional(factor=0.05, min=2, max=self.longest),
            "fixed": lambda: wait_fixed(self.longest),
            "exponential": lambda: wait_exponential(multiplier=2, max=self.longest) + wait_random(0, 1),
            "chain": lambda: wait_chain(wait_fixed(1), wait_fixed(5), wait_fixed(self.longest)),
        }
        return PollPolicy(
            wait=wait[self.wait](),
            not_found_grace=self.not_found_grace,
            outage_budget=self.outage_budget,
            max_in_flight=self.max_in_flight,
            max_calls_per_second=self.max_calls_per_second,
            call_timeout=self.call_timeout,
        )


@dataclass(frozen=True)
class World:
    """All of it."""

    seed: int
    pace: Pace
    tasks: tuple[PlannedTask, ...]
    callers: tuple[Caller, ...]
    troubles: tuple[Trouble, ...]

    def smaller(self) -> Iterator[World]:
        """Worlds with something less in them, the boldest cuts first."""
        for name in ("callers", "troubles"):
            parts = getattr(self, name)
            size = max(1, len(parts) // 2)
            while size:
                for start in range(0, len(parts), size):
                    yield replace(self, **{name: parts[:start] + parts[start + size :]})
                size //= 2
        for index, caller in enumerate(self.callers):
            for size in (len(caller.tasks) // 2, 1):
                if 0 < size < len(caller.tasks):
                    for kept in (caller.tasks[:size], caller.tasks[-size:]):
                        less = replace(caller, tasks=kept)
                        yield replace(self, callers=(*self.callers[:index], less, *self.callers[index + 1 :]))


def make_world(seed: int) -> World:
    """Make the world of a seed."""
    chance = random.Random(seed)
    regions = REGIONS[: chance.choice([1, 1, 2, 3, 4])]
    longest = chance.choice([30.0, 120.0, 1800.0])
    pace = Pace(
        wait=chance.choice(["adaptive", "adaptive", "proportional", "fixed", "exponential", "chain"]),
        longest=longest,
        not_found_grace=chance.choice([0.0, 5.0, 60.0, 60.0, 300.0]),
        outage_budget=chance.choice([60.0, 600.0, 600.0]),
        max_in_flight=chance.choice([1, 2, 4]),
        max_calls_per_second=chance.choice([0.5, 3.0, 10.0]),
        call_timeout=chance.choice([5.0, 30.0]),
    )
    # With a slow cadence days are cheap, with a quick one they are many calls.
    longest_task = longest * chance.choice([2, 10, 40])
    tasks = tuple(_task(chance, regions, number, longest_task) for number in range(chance.choice([1, 3, 20, 150])))
    callers = tuple(_caller(chance, tasks, longest_task) for _ in range(chance.choice([1, 2, 5, 15])))
    troubles = tuple(
        _trouble(chance, chance.choice(regions), pace, longest_task, tasks) for _ in range(chance.choice([0, 1, 2, 4]))
    )
    if seed % 3 == _SURROUNDED:
        kinds = chance.sample(["suspend", "names"], chance.choice([1, 2]))
        troubles += tuple(_of_surroundings(chance, kind, chance.choice(regions), pace, longest_task) for kind in kinds)
    return World(seed, pace, tasks, callers, troubles)


def _of_surroundings(chance: random.Random, kind: str, region_id: str, pace: Pace, longest: float) -> Trouble:
    """A trouble that is not the service's: the process is suspended, or a host name cannot be resolved for a while."""
    # Once all tasks were started: a process that is suspended starts none.
    begins = 61.0 + chance.choice([0.0, chance.uniform(0, longest)])
    lasts = pace.outage_budget * chance.choice([0.02, 0.5, 1.5, 10.0])
    return Trouble(kind, region_id, begins, begins + lasts)


def _task(chance: random.Random, regions: tuple[str, ...], number: int, longest: float) -> PlannedTask:
    return PlannedTask(
        region_id=chance.choice(regions),
        task_id=f"t-{number:04}",
        at=chance.choice([0.0, 0.0, chance.uniform(0, 60)]),
        duration=math.exp(chance.uniform(0, math.log(longest))),
        outcome=chance.choice(ENDINGS),
        visible_after=chance.choice([0.0, 0.0, 0.0, chance.uniform(0, 100)]),
        exists=chance.random() < 0.95,
    )


def _caller(chance: random.Random, tasks: tuple[PlannedTask, ...], longest: float) -> Caller:
    return Caller(
        at=chance.choice([0.0, 0.0, chance.uniform(0, longest)]),
        way=chance.choice(["wait", "wait", "fail_fast", "submit", "as_completed", "updates", "on_update"]),
        tasks=tuple(chance.sample(tasks, chance.randint(1, len(tasks)))),
        timeout=chance.choice([None, None, 0.0, chance.uniform(0, longest)]),
        leaves_after=chance.choice([None, None, None, 0.0, chance.uniform(0, longest)]),
    )


def _trouble(
    chance: random.Random, region_id: str, pace: Pace, longest: float, tasks: tuple[PlannedTask, ...]
) -> Trouble:
    begins = chance.choice([0.0, chance.uniform(0, longest)])
    # Borne for sure, or for sure too long: in between it is a matter of when the last try comes.
    lasts = pace.outage_budget * chance.choice([0.02, 0.2, 0.5, 3.0])
    kind = chance.choice(
        [
            "status",
            "throttle",
            "reset",
            "truncate",
            "hang",
            "bad_gzip",
            "html",
            "drop",
            "cut_short",
            "double",
            "foreign",
            "delay",
            "quota",
            "refuse",
            "reject",
            "backwards",
            "clock",
        ]
    )
    settings: dict[str, Any] = {}
    probability = 1.0
    if kind in {"status", "reset", "truncate", "bad_gzip", "html", "throttle"}:
        probability = chance.choice([1.0, 0.3])
    match kind:
        case "throttle":
            settings = {"retry_after": chance.choice([None, 1, 10])}
        case "status":
            settings = {"status": chance.choice([500, 503])}
        case "html":
            settings = {"status": chance.choice([403, 502]), "body": "html"}
        case "reset":
            settings = {"when": chance.choice(["before", "middle", "after"])}
        case "delay":
            settings = {"seconds": chance.uniform(0, pace.call_timeout * 0.9)}
        case "quota":
            settings = {"calls": chance.choice([1, 3])}
        case "reject":
            settings = {"task_id": chance.choice(tasks).task_id}
        case "clock":
            settings = {"offset": chance.choice([-7200, 3600])}
    return Trouble(kind, region_id, begins, begins + lasts, probability, settings)
