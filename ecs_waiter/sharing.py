"""Sharing: waits on one event loop that ask for the same thing share it, and the last of them closes it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from ecs_waiter.runtimes import running_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Hashable

__all__ = ["Sharing", "identity"]


class _Closable(Protocol):
    async def aclose(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class _Shared(Generic[T]):
    __slots__ = ("thing", "users")

    def __init__(self, thing: T) -> None:
        self.thing = thing
        self.users = 0


class Sharing(Generic[T]):
    """Things by event loop and key, each made by its first user and closed with its last."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Shared[T]]] = WeakKeyDictionary()

    @asynccontextmanager
    async def use(self, key: Hashable, make: Callable[[], T]) -> AsyncIterator[T]:
        """Share what was made for this key on the running loop, or make it."""
        things = self._loops.setdefault(running_loop(), {})
        shared = things.get(key)
        if shared is None:
            shared = things[key] = _Shared(make())
        shared.users += 1
        try:
            yield shared.thing
        finally:
            shared.users -= 1
            if not shared.users:
                # Out of sight before it closes: whoever comes meanwhile makes a new one.
                del things[key]
                await shared.thing.aclose()


def identity(thing: object) -> Hashable:
    """A key that is equal for equal things, and for the same thing where it cannot be hashed."""
    try:
        hash(thing)
    except TypeError:
        return _Same(thing)
    return thing


class _Same:
    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._thing is other._thing

    def __hash__(self) -> int:
        return id(self._thing)
