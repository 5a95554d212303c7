"""Work through large groups in slices, so that no group blocks the event loop."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

__all__ = ["SLICE", "at_once", "do_in_slices", "in_slices", "in_steps", "slices"]

T = TypeVar("T")

SLICE = 1_000
"""Items handled before the event loop runs again: a few milliseconds of work."""


def slices(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in lists of at most `SLICE`."""
    source = iter(items)
    while piece := list(islice(source, SLICE)):
        yield piece


async def in_slices(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """Yield the items in slices, and let the event loop run after each full one."""
    for piece in slices(items):
        yield piece
        if len(piece) == SLICE:
            await asyncio.sleep(0)


def do_in_slices(items: Iterable[T], work: Callable[[list[T]], None], then: Callable[[], None] | None = None) -> None:
    """Call `work` with the first slice now and with each further one in a later iteration of the event loop.

    `then` is called after the last slice.
    """
    source = iter(items)

    def step() -> None:
        is_last = True
        try:
            piece = list(islice(source, SLICE))
            work(piece)
            is_last = len(piece) < SLICE
        finally:
            # Also if `work` fails: who waits for the last slice must not wait for ever.
            if is_last and then is not None:
                then()
        if not is_last:
            asyncio.get_running_loop().call_soon(step)

    step()


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
