"""An emulator in memory and on virtual time, to which the library's own sessions lead."""

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

# A fixed time and a fixed seed of the jitter, so that two runs differ in nothing.
_START = datetime(2026, 1, 1, tzinfo=UTC)
_SEED = 0


@contextlib.contextmanager
def virtual() -> Iterator[EcsEmulator]:
    """Put this thread's event loops on virtual time and lead the library's connections to an emulator in memory."""
    clock = VirtualTime()
    ecs = EcsEmulator(start=_START, time=clock.time)

    def new_connector(*, force_close: bool = False) -> aiohttp.BaseConnector:
        if not clock.drives(asyncio.get_running_loop()):
            words = (
                "this event loop cannot be on virtual time, for it is not asyncio's own or runs in another thread, as "
                "that of ecs_waiter.blocking does: use the fixture ecs_emulator"
            )
            # An error of another kind would pass for a fault of the network.
            raise EcsWaiterError(words) from RuntimeError(words)
        return ecs.connector(force_close=force_close)

    with clock.rule(), mock.patch.object(transport, "new_connector", new_connector), _same_luck():
        yield ecs


@contextlib.contextmanager
def _same_luck() -> Iterator[None]:
    state = CHANCE.getstate()
    CHANCE.seed(_SEED)
    try:
        yield
    finally:
        CHANCE.setstate(state)
