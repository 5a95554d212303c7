"""`on_update` is a plain function: a coroutine function is rejected, because nothing would await it."""

from __future__ import annotations

import asyncio
import functools
import threading
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from support.helpers import every, failure

from ecs_waiter import Task, TaskWaiter, blocking, wait_for_task, wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from ecs_waiter.emulator import EcsEmulator

PLAIN = "regular function"


async def work(_task: Task) -> None:
    """What a callback wants to have awaited."""


async def steps(_task: Task) -> AsyncIterator[None]:
    """What a callback wants to have iterated over."""
    yield


@types.coroutine
def old_style(_task: Task) -> Generator[None, None, None]:
    """A coroutine that is made of a generator."""
    yield


class Awaited:
    async def __call__(self, _task: Task) -> None:
        """Have to be awaited."""

    async def note(self, _task: Task) -> None:
        """Have to be awaited."""

    @staticmethod
    async def plain(_task: Task) -> None:
        """Have to be awaited."""


class Promise:
    def __await__(self) -> Generator[None, None, None]:
        """Be neither a coroutine nor a future."""
        yield


@functools.wraps(work)
def wrapped(task: Task) -> Awaitable[None]:
    """A decorator's plain function around an async one."""
    return work(task)


RESULTS: dict[str, Callable[[Task], Any]] = {
    "lambda": lambda task: work(task),  # noqa: PLW0108 - the users' way to write it
    "wrapped": wrapped,
    "async iterator": lambda task: steps(task),  # noqa: PLW0108
    "coroutine of a generator": old_style,
    "object": lambda _task: Promise(),
    "of a partial": functools.partial(lambda task: work(task)),  # noqa: PLW0108
}
FUNCTIONS: dict[str, Any] = {
    "async function": work,
    "async iterator": steps,
    "partial": functools.partial(work),
    "partial of a partial": functools.partial(functools.partial(Awaited().note)),
    "method": Awaited().note,
    "static method": Awaited.plain,
    "object": Awaited(),
    "partial of an object": functools.partial(Awaited()),
    "mock": mock.AsyncMock(),
}


def table(rows: dict[str, Any]) -> pytest.MarkDecorator:
    """A test for each row."""
    return pytest.mark.parametrize("on_update", rows.values(), ids=rows)


@pytest.mark.asyncio
@table(RESULTS)
async def test_a_result_to_be_awaited(virtual_ecs: EcsEmulator, on_update: Any) -> None:
    """A result that would have to be awaited is a TypeError of that wait at its first update; others go on."""
    task_id = virtual_ecs.add_task(duration=15)
    async with TaskWaiter(policy=every(10)) as waiter:
        future = waiter.submit(task_id)
        for refused in (
            waiter.wait([task_id], on_update=on_update),
            waiter.run("ExportImage", params={"ImageId": "m-1", "OSSBucket": "b"}, on_update=on_update),
            wait_for_task(task_id, on_update=on_update),
            wait_for_tasks([task_id], on_update=on_update, return_exceptions=True),
        ):
            assert PLAIN in str(await failure(TypeError, refused))
        assert (await future).task_id == task_id


@table(RESULTS)
def test_a_result_to_be_awaited_without_a_loop(ecs_emulator: EcsEmulator, on_update: Any) -> None:
    """The blocking functions raise the same, in the thread that waits, and others go on."""
    task_id = ecs_emulator.add_task(duration=0.1)
    called_in: list[threading.Thread] = []

    def note(task: Task) -> Any:
        called_in.append(threading.current_thread())
        return on_update(task)

    policy = every(0.02)
    for wait in (blocking.wait_for_task, lambda task_id, **options: blocking.wait_for_tasks([task_id], **options)):
        with pytest.raises(TypeError, match=PLAIN):
            wait(task_id, on_update=note, policy=policy)
    assert called_in == [threading.current_thread()] * 2
    assert blocking.wait_for_task(task_id, policy=policy).task_id == task_id


@pytest.mark.asyncio
@table(FUNCTIONS)
async def test_functions_to_be_awaited(virtual_ecs: EcsEmulator, on_update: Any) -> None:
    """A function that is known to return what has to be awaited is refused before any call."""
    async with TaskWaiter() as waiter:
        for refused in (
            waiter.wait(["t-1"], on_update=on_update),
            waiter.run("ExportImage", on_update=on_update),
            wait_for_task("t-1", on_update=on_update),
        ):
            assert PLAIN in str(await failure(TypeError, refused))
    assert virtual_ecs.requests == []


@table(FUNCTIONS)
def test_functions_to_be_awaited_without_a_loop(ecs_emulator: EcsEmulator, on_update: Any) -> None:
    """The blocking functions refuse them before any call, too."""
    with pytest.raises(TypeError, match=PLAIN):
        blocking.wait_for_task("t-1", on_update=on_update)
    assert ecs_emulator.requests == []


@pytest.mark.asyncio
async def test_a_task_of_the_callers_own(virtual_ecs: EcsEmulator) -> None:
    """A task that the callback started is refused like all that can be awaited, and left to its owner."""
    started: list[asyncio.Task[None]] = []

    def start(task: Task) -> asyncio.Task[None]:
        started.append(asyncio.create_task(work(task)))
        return started[0]

    await failure(TypeError, wait_for_task(virtual_ecs.add_task(), on_update=start))  # type: ignore[arg-type]
    assert await started[0] is None  # type: ignore[func-returns-value]


class Note:
    """A class to be called, whose objects are asynchronous."""

    made: list[Task]

    def __init__(self, task: Task) -> None:
        self.made.append(task)

    async def __call__(self) -> None:
        """Nobody calls the object."""


@pytest.mark.asyncio
async def test_other_results_are_nobodys_business(virtual_ecs: EcsEmulator) -> None:
    """Whatever else a callback returns is ignored."""
    task_id = virtual_ecs.add_task()
    Note.made = []
    anything: list[Any] = [
        Note,
        mock.Mock(),
        mock.MagicMock(),
        lambda task: task,
        lambda _: [1],
        lambda _: (n for n in "a"),
    ]
    for on_update in anything:
        assert (await wait_for_task(task_id, on_update=on_update)).task_id == task_id
    assert [task.task_id for task in Note.made] == [task_id]
