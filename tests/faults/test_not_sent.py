"""A start is repeated exactly when nothing of its request was written."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import aiohttp
import pytest
from support.proxying import Door, Proxy, serving

from ecs_waiter import EcsClient, PollPolicy, ServiceUnavailableError, StaticCredentials
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import trustme

    ServeTls = Callable[[EcsEmulator, trustme.LeafCert], AbstractAsyncContextManager[str]]

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("own_sessions_trust")]

REGION = "cn-hangzhou"
CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")
PARAMS = {"ImageId": "m-1", "OSSBucket": "b"}
POLICY = PollPolicy(outage_budget=30, call_timeout=10)


@pytest.fixture(params=[True, False], ids=["own session", "session given"])
def is_own(request: pytest.FixtureRequest) -> bool:
    """Whether the library makes the session."""
    return bool(request.param)


@contextlib.asynccontextmanager
async def _client(
    url: str, trusting: ssl.SSLContext, *, is_own: bool, policy: PollPolicy = POLICY, trust_env: bool = False
) -> AsyncIterator[EcsClient]:
    async with contextlib.AsyncExitStack() as stack:
        session = None
        if not is_own:
            connector = aiohttp.TCPConnector(ssl=trusting)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        client = EcsClient(CREDENTIALS, url, policy, session, trust_env=trust_env)
        yield await stack.enter_async_context(client)


async def _close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _close_in_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert (await reader.read(1)) == b"\x16"
    writer.close()


async def _speak_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("way", [_close, _reset, _close_in_handshake, _speak_no_tls], ids=lambda way: way.__name__)
async def test_before_tls_is_up(
    ca: trustme.CA, trusting: ssl.SSLContext, serve_tls: ServeTls, is_own: bool, way: object
) -> None:
    """A connection that ends before or in the TLS handshake has sent nothing: the start is repeated."""
    ecs = EcsEmulator()
    async with serve_tls(ecs, ca.issue_cert("127.0.0.1")) as url:
        door = Door(int(url.rpartition(":")[2]), [way, way])  # type: ignore[list-item]
        async with serving(door.serve) as port, _client(f"https://127.0.0.1:{port}", trusting, is_own=is_own) as client:
            answer = await client.call("ExportImage", region_id=REGION, params=PARAMS)
    assert answer["TaskId"]
    assert door.came == 3
    assert len(ecs.requests) == 1


async def test_after_the_request(is_own: bool, trusting: ssl.SSLContext) -> None:
    """A connection that breaks after the request was written may have started something: it is sent once."""

    async def read_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with EcsEmulator() as ecs:
        door = Door(int(ecs.url.rpartition(":")[2]), [read_and_close])
        async with serving(door.serve) as port, _client(f"http://127.0.0.1:{port}", trusting, is_own=is_own) as client:
            with pytest.raises(ServiceUnavailableError, match="may have started") as caught:
                await client.call("ExportImage", region_id=REGION, params=PARAMS)
    assert caught.value.sent
    assert (door.came, ecs.requests) == (1, [])


async def test_refused(is_own: bool, trusting: ssl.SSLContext) -> None:
    """A start is repeated while nobody listens, and surely did not happen."""
    policy = PollPolicy(outage_budget=0.2, call_timeout=10)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with _client(url, trusting, is_own=is_own, policy=policy) as client:
            with pytest.raises(ServiceUnavailableError, match=r"\d+ attempts over [\d.]+ s failed") as caught:
                await client.call("ExportImage", region_id=REGION, params=PARAMS)
    assert not caught.value.sent
    assert "may have started" not in str(caught.value)


async def test_a_name_that_does_not_resolve(is_own: bool, trusting: ssl.SSLContext) -> None:
    """A host without an address was sent nothing."""
    policy = PollPolicy(outage_budget=0, call_timeout=10)
    url = "https://nowhere.invalid"
    async with _client(url, trusting, is_own=is_own, policy=policy) as client:
        with pytest.raises(ServiceUnavailableError) as caught:
            await client.call("ExportImage", region_id=REGION, params=PARAMS)
    assert not caught.value.sent
    assert "may have started" not in str(caught.value)


async def test_a_closing_connection(monkeypatch: pytest.MonkeyPatch, trusting: ssl.SSLContext) -> None:
    """A connection that is found closing when the request is to be written has sent nothing."""
    policy = PollPolicy(outage_budget=30, call_timeout=10)
    async with EcsEmulator() as ecs, _client(ecs.url, trusting, is_own=True, policy=policy) as client:
        closing = 2
        connect = aiohttp.TCPConnector.connect

        async def connect_and_lose(self: aiohttp.TCPConnector, *arguments: object, **more: object) -> object:
            nonlocal closing
            connection = await connect(self, *arguments, **more)  # type: ignore[arg-type]
            if closing:
                closing -= 1
                connection.transport.close()  # type: ignore[union-attr]
            return connection

        monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_lose)
        answer = await client.call("ExportImage", region_id=REGION, params=PARAMS)
    assert answer["TaskId"]
    assert len(ecs.requests) == 1


@pytest.mark.parametrize("status", [403, 407, 502, 503])
async def test_a_proxy_that_refuses(
    ca: trustme.CA, trusting: ssl.SSLContext, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A proxy that refuses CONNECT sends nothing on: the start is repeated."""
    ecs = EcsEmulator()
    async with serve_tls(ecs, ca.issue_cert("127.0.0.1")) as url, Proxy().listening() as proxy:
        proxy.refusals = [(status, "No"), (status, "No")]
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with _client(url, trusting, is_own=True, trust_env=True) as client:
            assert (await client.call("ExportImage", region_id=REGION, params=PARAMS))["TaskId"]
        assert len(proxy.asked) == 3
        # A session of the user's has its own proxy.
        proxy.refusals = [(status, "No")]
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with (
            aiohttp.ClientSession(connector=connector, proxy=proxy.url) as session,
            EcsClient(CREDENTIALS, url, POLICY, session) as client,
        ):
            assert (await client.call("ExportImage", region_id=REGION, params=PARAMS))["TaskId"]
    assert len(ecs.requests) == 2


async def test_a_proxy_that_hangs_up(
    ca: trustme.CA, trusting: ssl.SSLContext, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that breaks the connection instead of an answer to CONNECT sends nothing on."""
    ecs = EcsEmulator()
    async with serve_tls(ecs, ca.issue_cert("127.0.0.1")) as url, Proxy().listening() as proxy:
        door = Door(proxy.port, [_close, _reset, _close_after_head])
        async with serving(door.serve) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            async with _client(url, trusting, is_own=True, trust_env=True) as client:
                assert (await client.call("ExportImage", region_id=REGION, params=PARAMS))["TaskId"]
    assert door.came == 4
    assert len(ecs.requests) == 1


async def _close_after_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
