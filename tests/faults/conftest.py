"""Quick policies, a private CA and servers on loopback, for faults over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme

from ecs_waiter.api import retry, transport
from ecs_waiter.polling import poller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from ecs_waiter.emulator import EcsEmulator

    ServeTls = Callable[[EcsEmulator, trustme.LeafCert], AbstractAsyncContextManager[str]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back soon after a fault: what is waited for here is real time."""
    monkeypatch.setattr(poller, "backoff", lambda _faults: 0.02)
    monkeypatch.setattr(retry, "_FIRST", 0.02)


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """A CA that nobody trusts by default."""
    return trustme.CA()


@pytest.fixture
def trusting(ca: trustme.CA) -> ssl.SSLContext:
    """What a user makes to trust a private CA: a default context with that CA added."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
def own_sessions_trust(monkeypatch: pytest.MonkeyPatch, trusting: ssl.SSLContext) -> None:
    """Let the library's own sessions trust the CA."""
    monkeypatch.setattr(
        transport,
        "new_connector",
        lambda *, force_close=False: aiohttp.TCPConnector(ssl=trusting, force_close=force_close),
    )


@contextlib.asynccontextmanager
async def over_tls(ecs: EcsEmulator, certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """Let an emulator listen on loopback behind a certificate; gives its URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    server = await asyncio.get_running_loop().create_server(ecs.protocol, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def serve_tls() -> ServeTls:
    """`over_tls`."""
    return over_tls
