"""Services that let only some calls through, and programs that call them without end, on virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.limiter import RegionLimiter
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bucket", "Calls", "Quota", "Window", "call_without_end"]

LATENCY = (0.05, 0.2)
"""The shortest and the longest time of a call, in seconds."""


class Quota(Protocol):
    """What a service lets through.

    Attributes:
        rate: Calls per second; it may be changed.
    """

    rate: float

    def take(self, now: float) -> float:
        """Return 0 for a call that passes, otherwise the seconds until one will."""


class Bucket:
    """A bucket of tokens that fills at a rate. It holds those of one second, at least one."""

    def __init__(self, rate: float, seconds: float = 1.0) -> None:
        self.rate = rate
        self._seconds = seconds
        self._tokens = self.size
        self._at = 0.0

    @property
    def size(self) -> float:
        """The most tokens it holds."""
        return max(1.0, self.rate * self._seconds)

    def take(self, now: float) -> float:
        """Take a token, or none if there is none."""
        self._tokens = min(self.size, self._tokens + self.rate * (now - self._at))
        self._at = now
        if self._tokens < 1 - 1e-9:
            return (1 - self._tokens) / self.rate
        self._tokens -= 1
        return 0.0


class Window:
    """That many calls in each minute by the service's clock, which starts anywhere within a minute."""

    def __init__(self, calls: int, phase: float = 0.0) -> None:
        self.rate = calls / 60
        self._phase = phase
        self._minute = -1
        self._used = 0

    def take(self, now: float) -> float:
        """Use up a call of this minute, if one is left."""
        minute = math.floor((now + self._phase) / 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        if self._used < round(self.rate * 60):
            self._used += 1
            return 0.0
        return 60 * (minute + 1) - self._phase - now


@dataclass
class Calls:
    """The calls that were made: the second in which each went out, and whether it passed."""

    made: list[tuple[float, bool]] = field(default_factory=list)
    limiter: RegionLimiter | None = None

    def passed(self, start: float, end: float) -> float:
        """Calls per second that passed."""
        return sum(passed for at, passed in self.made if start <= at < end) / (end - start)

    def throttled(self, start: float, end: float) -> float:
        """Which part of the calls was throttled."""
        answers = [passed for at, passed in self.made if start <= at < end]
        return 1 - sum(answers) / len(answers) if answers else 0.0


def call_without_end(
    quota: Quota,
    *,
    seconds: float,
    ceiling: float = 10,
    retry_after: Callable[[float], float] | None = None,
    changes: dict[float, float] | None = None,
    others: float = 0.0,
    seed: int = 0,
) -> Calls:
    """Call as often as a limiter lets it.

    Args:
        quota: What the service lets through.
        seconds: How long.
        ceiling: The policy's `max_calls_per_second`.
        retry_after: What the service asks for, given the seconds until a call will pass; None if it asks for nothing.
        changes: When the rate of the quota becomes another one.
        others: Calls per second that other programs make at random times.
        seed: Of the latencies and of the others.
    """
    chance = random.Random(seed)
    calls = Calls()

    async def call(began: float) -> None:
        loop, limiter = asyncio.get_running_loop(), calls.limiter
        assert limiter is not None
        sent_at, latency = loop.time(), chance.uniform(*LATENCY)
        await asyncio.sleep(latency / 2)
        left = quota.take(loop.time() - began)
        await asyncio.sleep(latency / 2)
        calls.made.append((sent_at - began, not left))
        if left:
            limiter.throttled(sent_at, retry_after(left) if retry_after else None)
        else:
            limiter.succeeded(sent_at)
        limiter.release()

    async def call_for_others(began: float) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(others))
            quota.take(asyncio.get_running_loop().time() - began)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        calls.limiter = limiter = RegionLimiter(CallPolicy(max_calls_per_second=ceiling))
        for at, rate in (changes or {}).items():
            loop.call_at(began + at, setattr, quota, "rate", rate)
        running = {asyncio.create_task(call_for_others(began))} if others else set()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await limiter.acquire()
                    running.add(asyncio.create_task(call(began)))
                    running = {task for task in running if not task.done()}
        except TimeoutError:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    with virtual_time():
        asyncio.run(main())
    return calls
