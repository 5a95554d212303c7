"""A fail-over behind the service's address: connections that were open before it are dead, and new ones are good."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest import mock

import aiohttp
import pytest
from aiohttp import web
from support.helpers import clock, since

from ecs_waiter import EcsClient, PollPolicy, StaticCredentials, TaskPage
from ecs_waiter.api import transport
from ecs_waiter.emulator.memory import MemoryConnector
from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import trustme

pytestmark = pytest.mark.asyncio

REGION = "cn-hangzhou"
OTHER = "us-west-1"
CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")
POLICY = PollPolicy(call_timeout=30, max_in_flight=8, max_calls_per_second=1000)
AT_ONCE = 8
ANSWER = {"RequestId": "R", "PageNumber": 1, "PageSize": 10, "TotalCount": 0, "TaskSet": {"Task": []}}


@dataclass
class Servers:
    """What answers behind one address.

    Attributes:
        crowd: How many requests must be under way before the next are answered.
        dying: What a request finds on a connection that is dead: silence, a reset, or, once, silence behind a head.
        hosts: The host of each connection so far.
        dead: The connections that a fail-over has left behind.
        lost: How many requests found one of those.
    """

    crowd: int = 1
    dying: str = "silence"
    hosts: dict[object, str] = field(default_factory=dict)
    dead: set[object] = field(default_factory=set)
    lost: int = 0
    _gathered: int = 0
    _all_here: asyncio.Event = field(default_factory=asyncio.Event)

    def fail_over(self, host: str = "") -> None:
        """Leave the connections of a host, or of all, behind."""
        self.dead = {connection for connection, its in self.hosts.items() if host in its}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, once there are as many as are waited for."""
        self.hosts.setdefault(request.protocol, request.host)
        if request.protocol in self.dead:
            self.lost += 1
            if self.dying == "reset":
                assert request.transport is not None
                request.transport.abort()
            if self.dying == "one silence behind a head":
                self.dead.clear()
                await web.StreamResponse().prepare(request)
            await asyncio.Event().wait()
        self._gathered += 1
        if self._gathered == self.crowd:
            self._all_here.set()
        await self._all_here.wait()
        return web.json_response(ANSWER)

    def connector(self, *, force_close: bool = False) -> MemoryConnector:
        """Return a connector whose connections lead here."""
        server = web.Server(self.handle, access_log=None, handler_cancellation=True)
        return MemoryConnector(server, force_close=force_close)

    async def fill_pool(self, client: EcsClient, region_id: str = REGION) -> None:
        """Leave as many idle connections as requests can be under way."""
        self.crowd, self._gathered, self._all_here = AT_ONCE, 0, asyncio.Event()
        await asyncio.gather(*(look(client, region_id) for _ in range(AT_ONCE)))


async def look(client: EcsClient, region_id: str = REGION) -> TaskPage:
    """Make one call."""
    return await client.describe_tasks(region_id=region_id)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Servers in memory and on virtual time."""
    monkeypatch.delenv("ECS_WAITER_ENDPOINT", raising=False)
    servers = Servers()
    with virtual_time(), mock.patch.object(transport, "new_connector", servers.connector):
        yield servers


@pytest.mark.parametrize("dying", ["silence", "reset"])
async def test_the_retry_opens_a_connection(servers: Servers, dying: str) -> None:
    """Eight dead connections cost one try."""
    async with EcsClient(CREDENTIALS, policy=POLICY) as client:
        await servers.fill_pool(client)
        assert len(servers.hosts) == AT_ONCE
        servers.dying = dying
        servers.fail_over()
        start = clock()
        await look(client)
        assert since(start) <= (31 if dying == "silence" else 1)
        assert (servers.lost, len(servers.hosts)) == (1, AT_ONCE + 1)
        await look(client)
        assert len(servers.hosts) == AT_ONCE + 1


async def test_many_calls_at_once(servers: Servers) -> None:
    """Each call that was under way is made once more."""
    async with EcsClient(CREDENTIALS, policy=POLICY) as client:
        await servers.fill_pool(client)
        servers.fail_over()
        start = clock()
        await asyncio.gather(*(look(client) for _ in range(AT_ONCE)))
        assert since(start) <= 31
        assert servers.lost == AT_ONCE


async def test_a_call_that_was_given_up(servers: Servers) -> None:
    """A caller with less patience than the policy finds a good connection at the next call."""
    async with EcsClient(CREDENTIALS, policy=POLICY) as client:
        await servers.fill_pool(client)
        servers.fail_over()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(look(client), 5)
        await look(client)
        assert servers.lost == 1


async def test_other_hosts_keep_their_connections(servers: Servers) -> None:
    """Only connections to the host that did not answer are closed."""
    async with EcsClient(CREDENTIALS, policy=POLICY) as client:
        await servers.fill_pool(client)
        await servers.fill_pool(client, OTHER)
        servers.fail_over(REGION)
        await look(client)
        assert len(servers.hosts) == 2 * AT_ONCE + 1
        await servers.fill_pool(client, OTHER)
        assert len(servers.hosts) == 2 * AT_ONCE + 1


async def test_an_answer_that_stops_in_the_middle(servers: Servers) -> None:
    """A connection over which the head of an answer came says nothing about the others."""
    async with EcsClient(CREDENTIALS, policy=POLICY) as client:
        await servers.fill_pool(client)
        servers.dying = "one silence behind a head"
        servers.fail_over()
        await look(client)
        assert (servers.lost, len(servers.hosts)) == (1, AT_ONCE)


async def test_a_session_that_was_given(servers: Servers) -> None:
    """The connections of a user's session are the user's: aiohttp has no public way to close them."""
    async with aiohttp.ClientSession(connector=servers.connector()) as session:
        async with EcsClient(CREDENTIALS, policy=POLICY, session=session) as client:
            await servers.fill_pool(client)
            servers.fail_over()
            await look(client)
        assert (servers.lost, len(servers.hosts)) == (AT_ONCE, AT_ONCE + 1)


@contextlib.asynccontextmanager
async def _over_tls(servers: Servers, certificate: trustme.LeafCert) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    runner = web.ServerRunner(
        web.Server(servers.handle, access_log=None, handler_cancellation=True), shutdown_timeout=0
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield site.name.replace("://127.0.0.1:0", f"://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


async def test_over_tls(ca: trustme.CA, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is over real sockets, where the end of a dead connection is not waited for."""
    servers = Servers()
    new: Callable[..., aiohttp.BaseConnector] = lambda *, force_close=False: aiohttp.TCPConnector(  # noqa: E731
        ssl=trusting, force_close=force_close
    )
    monkeypatch.setattr(transport, "new_connector", new)
    async with _over_tls(servers, ca.issue_cert("127.0.0.1")) as url:
        quick = PollPolicy(call_timeout=0.5, max_in_flight=8, max_calls_per_second=1000)
        async with EcsClient(CREDENTIALS, url, quick) as client:
            await servers.fill_pool(client)
            servers.fail_over()
            await look(client)
            assert (servers.lost, len(servers.hosts)) == (1, AT_ONCE + 1)
