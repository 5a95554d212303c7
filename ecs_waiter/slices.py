"""Work through large groups in slices, so that no group blocks the event loop."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

__all__ = ["SLICE", "at_once", "in_slices", "in_steps", "slices"]

T = TypeVar("T")

SLICE = 1_000
"""Items handled before the event loop runs again: a few milliseconds of work."""


def slices(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in lists of at most `SLICE`."""
    source = iter(items)
    while piece := list(islice(source, SLICE)):
        yield piece


def in_slices(items: Iterable[T], work: Callable[[list[T]], None]) -> asyncio.Future[None]:
    """Call `work` with the first slice now and with each further one in a later iteration of the event loop.

    The future resolves after the last slice, or raises what `work` raised. Canceling it stops the work.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    source = iter(items)

    def step() -> None:
        if done.done():
            return
        try:
            piece = list(islice(source, SLICE))
            if piece:
                work(piece)
        except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
            done.set_exception(error)
            return
        if len(piece) == SLICE:
            loop.call_soon(step)
        else:
            done.set_result(None)

    step()
    return done


def at_once(work: Generator[None, None, T]) -> T:
    """Return what `work` returns, without a pause between its steps."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_steps(work: Generator[None, None, T]) -> T:
    """Return what `work` returns, and let the event loop run between its steps."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
