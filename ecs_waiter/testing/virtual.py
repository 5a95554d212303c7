"""An emulator in memory and on virtual time, to which the library's own sessions connect."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest import mock

from ecs_waiter.api import transport
from ecs_waiter.chance import CHANCE
from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.errors import EcsWaiterError
from ecs_waiter.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aiohttp

__all__ = ["virtual"]

# A fixed time and a fixed seed of the jitter make two runs equal.
_START = datetime(2026, 1, 1, tzinfo=UTC)
_SEED = 0


@contextlib.contextmanager
def virtual() -> Iterator[EcsEmulator]:
    """Put this thread's event loops on virtual time and connect the library to an emulator in memory."""
    clock = VirtualTime()
    ecs = EcsEmulator(start=_START, time=clock.time)

    def new_connector(*, force_close: bool = False) -> aiohttp.BaseConnector:
        if not clock.drives(asyncio.get_running_loop()):
            message = (
                "this event loop cannot be on virtual time, because it is not asyncio's own or runs in another thread, "
                "like the loop of ecs_waiter.blocking: use the fixture ecs_emulator"
            )
            # The library would retry any other error as a network error.
            raise EcsWaiterError(message) from RuntimeError(message)
        return ecs.connector(force_close=force_close)

    with clock.rule(), mock.patch.object(transport, "new_connector", new_connector), _seeded_jitter():
        yield ecs


@contextlib.contextmanager
def _seeded_jitter() -> Iterator[None]:
    state = CHANCE.getstate()
    CHANCE.seed(_SEED)
    try:
        yield
    finally:
        CHANCE.setstate(state)
