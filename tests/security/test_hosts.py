"""Where a signed request goes: to the host that was meant, whatever the service, the caller or the environment says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import every
from support.telling import CREDENTIALS

from ecs_waiter import EcsClient, PollPolicy, ServiceUnavailableError, TaskWaiter, wait_for_task, wait_for_tasks
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ONE_TRY = PollPolicy(wait=every(1).wait, outage_budget=0, call_timeout=10)


class Ear:
    """A listener on loopback that remembers what it hears, and never answers."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.port = 0

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection's bytes in."""
        self.heard.extend(await reader.read(65536))
        writer.close()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Ear]:
    """An ear to which requests must not go."""
    ear = Ear()
    async with await asyncio.start_server(ear.hear, "127.0.0.1", 0) as server:
        ear.port = server.sockets[0].getsockname()[1]
        yield ear


class Phonebook(AbstractResolver):
    """Remembers which hosts were asked for, and knows none."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """No host has an address."""
        self.asked.add(host)
        raise OSError("no such host")

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("own", [True, False], ids=["own session", "session given"])
@pytest.mark.asyncio
async def test_redirects_over_sockets(status: int, own: bool) -> None:
    """A redirect is not followed to another server, nor to another path of the same one, by polls and calls alike."""
    async with EcsEmulator() as ecs, listening() as ear, contextlib.AsyncExitStack() as stack:
        session = None if own else await stack.enter_async_context(aiohttp.ClientSession())
        waiter = await stack.enter_async_context(TaskWaiter(CREDENTIALS, ecs.url, ONE_TRY, session))
        for target in (f"http://127.0.0.1:{ear.port}/", "/elsewhere"):
            with contextlib.suppress(ValueError):
                ecs.clear_faults()
            ecs.inject("status", status=status, body="html", headers={"Location": target, "Refresh": f"0; {target}"})
            ecs.requests.clear()
            with pytest.raises(ServiceUnavailableError):
                await waiter.wait(["t-1"], region_id="cn-hangzhou")
            with pytest.raises(ServiceUnavailableError):
                await waiter.client.call("DescribeInstances", region_id="cn-hangzhou")
            assert len(ecs.requests) == 2
    assert ear.heard == b""


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.asyncio
async def test_proxies_of_the_environment(
    ecs_emulator: EcsEmulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The library's own sessions hand signed requests to no proxy that the environment names."""
    async with listening() as ear:
        monkeypatch.setenv(name, f"http://127.0.0.1:{ear.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await wait_for_task(ecs_emulator.add_task(), policy=ONE_TRY)).task_status == "Finished"
    assert ear.heard == b""


@pytest.mark.asyncio
async def test_passwords_of_netrc(ecs_emulator: EcsEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password that a netrc file holds for the host is not sent along, and does not take the signature's place."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password example-password\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    await wait_for_task(ecs_emulator.add_task(), policy=ONE_TRY)
    assert {request.headers["authorization"].partition(" ")[0] for request in ecs_emulator.requests} == {
        "ACS3-HMAC-SHA256"
    }


@contextlib.asynccontextmanager
async def asking(book: Phonebook) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose hosts are looked up in a book."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=book)) as session:
        yield session


REGIONS = st.from_regex(r"[a-z0-9.@/\\:?#%\-_ ]{1,30}", fullmatch=True) | st.sampled_from(
    [
        "cn-hangzhou@evil.example",
        "evil.example/",
        "evil.example#",
        "evil.example?",
        "cn-hangzhou.evil.example",
        "127.0.0.1:80/",
        "cn-hangzhou\r\nHost: evil.example",
        "cn-hangzhou%2eevil",
        "..",
        "[::1]",
        "evil\u3002example",
        "\uff45vil",
        "cn-hangzhou\0",
    ]
)


@settings(max_examples=60, deadline=None)
@given(region=REGIONS)
def test_regions_steer_nowhere(region: str) -> None:
    """Whatever is given for a region, in whatever way, the hosts looked up are the service's own."""

    async def ask() -> set[str]:
        book = Phonebook()
        async with asking(book) as session, TaskWaiter(CREDENTIALS, policy=ONE_TRY, session=session) as waiter:
            ways: list[Any] = [
                lambda: waiter.wait(["t-1"], region_id=region),
                lambda: waiter.wait({region: ["t-1"]}),
                lambda: waiter.run("ExportImage", region_id=region),
                lambda: waiter.run("ExportImage", params={"RegionId": region}),
                lambda: waiter.client.call("DescribeInstances", region_id=region),
                lambda: waiter.client.describe_tasks(region_id=region),
                lambda: waiter.client.describe_task_attribute("t-1", region_id=region),
            ]
            for way in ways:
                with contextlib.suppress(ValueError, ServiceUnavailableError):
                    await way()
        return book.asked

    assert all(host.startswith("ecs") and host.endswith(".aliyuncs.com") for host in asyncio.run(ask()))


@pytest.mark.asyncio
async def test_a_region_is_looked_up() -> None:
    """The book of the test above is the one that is asked: a real region's host is looked up there."""
    book = Phonebook()
    async with asking(book) as session, EcsClient(CREDENTIALS, policy=ONE_TRY, session=session) as client:
        with pytest.raises(ServiceUnavailableError) as failed:
            await client.describe_tasks(region_id="cn-hangzhou")
    assert book.asked == {"ecs-cn-hangzhou.aliyuncs.com"}
    assert not failed.value.sent


@pytest.mark.parametrize("field", ["RegionId", "HostId", "Endpoint", "Recommend"])
@pytest.mark.asyncio
async def test_answers_steer_nowhere(virtual_ecs: EcsEmulator, field: str) -> None:
    """No field of an answer moves the next request to another region or host."""
    virtual_ecs.inject("rewrite", change=lambda fields: {**fields, field: "evil.example"})
    await wait_for_tasks([virtual_ecs.add_task(duration=30)], region_id="cn-hangzhou", policy=every(5))
    assert len(virtual_ecs.requests) > 3
    assert {request.region_id for request in virtual_ecs.requests} == {"cn-hangzhou"}
    assert {request.headers["host"] for request in virtual_ecs.requests} == {"127.0.0.1:1"}


@pytest.mark.parametrize(
    "endpoint", ["http://ecs.example", "http://10.0.0.1", "http://127.0.0.1.evil.example", "ftp://127.0.0.1"]
)
@pytest.mark.asyncio
async def test_endpoints_in_clear_text(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http to another machine is refused before anything is looked up, as argument and by the environment."""
    book = Phonebook()
    async with asking(book) as session:
        with pytest.raises(ValueError, match="http"):
            await wait_for_task("t-1", region_id="cn-hangzhou", endpoint=endpoint, session=session)
        monkeypatch.setenv("ECS_WAITER_ENDPOINT", endpoint)
        with pytest.raises(ValueError, match="http"):
            await wait_for_task("t-1", region_id="cn-hangzhou", session=session)
    assert book.asked == set()
