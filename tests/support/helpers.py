"""What the tests of waiting share: an exact cadence, what the emulator saw and when, and what a wait came to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from tenacity import wait_fixed

from ecs_waiter import PollPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from ecs_waiter.emulator import EcsEmulator

REGION = "cn-hangzhou"
ELSEWHERE = "us-west-1"
REASON = ("ImageFormatMismatch", "not a qcow2 file")

E = TypeVar("E", bound=BaseException)

_BUSY = 1000

# When the emulator's clock starts on virtual time.
_START = datetime(2026, 1, 1, tzinfo=UTC)


def every(seconds: float, **limits: Any) -> PollPolicy:
    """A policy that polls at exact times."""
    return PollPolicy(wait=wait_fixed(seconds), **limits)


def add_tasks(ecs: EcsEmulator, count: int, **plan: Any) -> list[str]:
    """Add tasks of one plan, with IDs in order."""
    ids = [f"t-{len(ecs.requests)}-{number:04}" for number in range(count)]
    return [ecs.add_task(task_id=task_id, **plan) for task_id in ids]


def clock() -> float:
    """The running loop's time; on virtual time a difference of two is exact but for rounding."""
    return asyncio.get_running_loop().time()


def since(start: float) -> float:
    """Seconds since `start`, to the microsecond."""
    return round(clock() - start, 6)


def polls(ecs: EcsEmulator) -> list[tuple[float, int]]:
    """When each poll came, in seconds since the test began, and how many IDs it asked for."""
    return [
        (_seconds(request.at), len(request.task_ids)) for request in ecs.requests if request.action == "DescribeTasks"
    ]


def times(ecs: EcsEmulator, action: str = "DescribeTasks") -> list[float]:
    """When each call of an operation came, in seconds since the test began."""
    return [_seconds(request.at) for request in ecs.requests if request.action == action]


def asked(ecs: EcsEmulator, task_id: str) -> list[float]:
    """When an ID was polled, in seconds since the test began."""
    return [
        _seconds(request.at)
        for request in ecs.requests
        if request.action == "DescribeTasks" and task_id in request.task_ids
    ]


def _seconds(at: datetime) -> float:
    return round((at - _START).total_seconds(), 3)


async def turns(count: int) -> None:
    """Let the loop turn without letting time pass."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.contextmanager
def idle() -> Iterator[None]:
    """Raise if the loop turns a thousand times: on virtual time it does so only where something keeps it busy."""
    counted = itertools.count()
    run_once = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]

    def turn(loop: asyncio.BaseEventLoop) -> None:
        assert next(counted) < _BUSY, "the loop does not come to rest"
        run_once(loop)

    with mock.patch.object(asyncio.BaseEventLoop, "_run_once", turn):
        yield


async def failure(expected: type[E], work: Awaitable[object]) -> E:
    """Await what is to fail, and return its error."""
    try:
        result = await work
    except expected as error:
        return error
    raise AssertionError(f"it did not raise {expected.__name__} but returned {result!r}")


async def collect(events: AsyncIterator[Any], into: list[Any] | None = None) -> list[Any]:
    """All that an iterator gives; what it gives before it raises is found in `into`."""
    collected: list[Any] = [] if into is None else into
    async for event in events:
        collected.append(event)  # noqa: PERF401 - a comprehension would lose what came before an error
    return collected


async def timed(events: AsyncIterator[Any]) -> list[tuple[float, Any]]:
    """All that an iterator gives, with the seconds since it was asked for the first."""
    start = clock()
    return [(since(start), event) async for event in events]


def others() -> set[asyncio.Task[Any]]:
    """The loop's tasks besides the test's own and those of the emulator's side of a connection."""
    return {task for task in asyncio.all_tasks() - {asyncio.current_task()} if "RequestHandler" not in repr(task)}
