"""SharedInstances: users on one event loop that ask for the same thing share it, and the last of them closes it."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from tenacity.wait import wait_base

from ecs_waiter.polling.policy import PollPolicy
from ecs_waiter.runtimes import running_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Hashable, Sequence

__all__ = ["SharedInstances", "key"]

_NUMBERS_AND_TEXT = frozenset({int, float, bool, str, type(None)})


class _Closable(Protocol):
    async def aclose(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class _Shared(Generic[T]):
    __slots__ = ("__weakref__", "instance", "users")

    def __init__(self, instance: T) -> None:
        self.instance = instance
        self.users = 0


class SharedInstances(Generic[T]):
    """Instances by event loop and key, each made by its first user and closed with its last.

    Only its users hold an instance: it refers to its loop, and a loop that is closed under waits has to be forgotten.
    """

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[Hashable, _Shared[T]]] = (
            WeakKeyDictionary()
        )

    @asynccontextmanager
    async def use(self, shared_by: Hashable, make: Callable[[], T]) -> AsyncIterator[T]:
        """Share what was made for this key on the running loop, or make it."""
        loop = running_loop()
        instances = self._loops.setdefault(loop, WeakValueDictionary())
        shared = instances.get(shared_by)
        if shared is None:
            shared = instances[shared_by] = _Shared(make())
        shared.users += 1
        try:
            yield shared.instance
        finally:
            shared.users -= 1
            # On a closed loop nothing can be awaited any more.
            if not shared.users and not loop.is_closed():
                # Removed before it closes, so that the next user makes a new one.
                del instances[shared_by]
                await shared.instance.aclose()


def key(thing: object) -> Hashable:
    """A key that is equal for things that can be shared: equal things, or the same one where it cannot be hashed.

    The numbers of policies are compared by value. So are wait strategies of exactly tenacity's own types and ours: by
    their type and fields, and the parts of a sum or a chain likewise. Everything else in a policy, such as a function
    or a subclass, is equal to itself alone.
    """
    if isinstance(thing, PollPolicy):
        return _fields_key(thing) if type(thing) is PollPolicy else IdentityKey(thing)
    try:
        hash(thing)
    except TypeError:
        return IdentityKey(thing)
    return thing


def _value_key(value: object) -> Hashable:
    kind = type(value)
    if kind in _NUMBERS_AND_TEXT:
        return value
    if kind in {tuple, list}:
        return kind, *map(_value_key, cast("Sequence[object]", value))
    return _fields_key(value) if isinstance(value, wait_base) and _is_known(kind) else IdentityKey(value)


def _is_known(kind: type) -> bool:
    """Whether a class is one of tenacity's or ours, and not a user's class of the same name."""
    package = kind.__module__.partition(".")[0]
    return package in {"tenacity", "ecs_waiter"} and getattr(sys.modules[kind.__module__], kind.__name__, None) is kind


def _fields_key(value: object) -> Hashable:
    if dataclasses.is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    else:
        values = vars(value)
    return type(value), *((name, _value_key(each)) for name, each in sorted(values.items()))


class IdentityKey:
    """Equal to a key of the same thing alone."""

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and self._thing is other._thing

    def __hash__(self) -> int:
        return id(self._thing)
