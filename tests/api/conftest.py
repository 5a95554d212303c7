"""The stand-ins for the service, as fixtures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aioresponses import aioresponses
from support.stand_ins import Service, Wire

from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ecs_waiter.testing.virtual_time import VirtualTime


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """Virtual time for the loop of this test, which may use no sockets then."""
    with virtual_time() as virtual:
        yield virtual


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Every request of aiohttp is answered here."""
    with aioresponses() as mocked:
        yield Wire(mocked)


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    """A scripted server on loopback."""
    scripted = Service()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield scripted
    server.close()
    for writer in scripted.connections:
        writer.close()
    await server.wait_closed()
