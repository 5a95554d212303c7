"""TLS: a certificate that is not good is refused before a request leaves, and the error says what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tenacity import wait_fixed

from ecs_waiter import EcsClient, PollPolicy, ServiceUnavailableError, StaticCredentials, TaskWaiter
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import trustme

    ServeTls = Callable[[EcsEmulator, trustme.LeafCert], AbstractAsyncContextManager[str]]

pytestmark = pytest.mark.asyncio

REGION = "cn-hangzhou"
CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")
ONE_TRY = PollPolicy(wait=wait_fixed(0.02), outage_budget=0, call_timeout=10)
NOW = datetime.now(UTC)


def _certificate(ca: trustme.CA, problem: str) -> trustme.LeafCert:
    if problem == "expired":
        return ca.issue_cert("127.0.0.1", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
    if problem == "not yet valid":
        return ca.issue_cert("127.0.0.1", not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=9))
    return ca.issue_cert("elsewhere.example" if problem == "wrong host" else "127.0.0.1")


# What OpenSSL says of each.
PROBLEMS = {
    "expired": "certificate has expired",
    "not yet valid": "certificate is not yet valid",
    "wrong host": "IP address mismatch, certificate is not valid for '127.0.0.1'",
}


@contextlib.asynccontextmanager
async def _service(serve_tls: ServeTls, certificate: trustme.LeafCert) -> AsyncIterator[tuple[EcsEmulator, str]]:
    ecs = EcsEmulator()
    ecs.add_task(task_id="t-1")
    async with serve_tls(ecs, certificate) as url:
        yield ecs, url


def _session(trusting: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting))


async def test_a_private_ca_by_a_session(ca: trustme.CA, trusting: ssl.SSLContext, serve_tls: ServeTls) -> None:
    """Whoever has a CA of their own trusts it by a session of their own."""
    async with (
        _service(serve_tls, ca.issue_cert("127.0.0.1")) as (_, url),
        _session(trusting) as session,
        TaskWaiter(CREDENTIALS, url, ONE_TRY, session) as waiter,
    ):
        (task,) = (await waiter.wait(["t-1"], region_id=REGION)).values()
    assert task.task_status == "Finished"


async def test_an_unknown_ca(ca: trustme.CA, serve_tls: ServeTls) -> None:
    """A session of the library's own trusts nobody by itself: neither polls nor calls get through to a stranger."""
    async with (
        _service(serve_tls, ca.issue_cert("127.0.0.1")) as (ecs, url),
        TaskWaiter(CREDENTIALS, url, ONE_TRY) as waiter,
    ):
        with pytest.raises(ServiceUnavailableError, match=r"CERTIFICATE_VERIFY_FAILED.*certificate") as refused:
            await waiter.wait(["t-1"], region_id=REGION)
        with pytest.raises(ServiceUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await waiter.client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
    assert isinstance(refused.value.__cause__, ServiceUnavailableError)
    assert ecs.requests == []


@pytest.mark.parametrize("problem", sorted(PROBLEMS))
async def test_a_bad_certificate(ca: trustme.CA, trusting: ssl.SSLContext, serve_tls: ServeTls, problem: str) -> None:
    """A certificate of a trusted CA that is out of date, or another host's, is refused, and the error says so."""
    async with (
        _service(serve_tls, _certificate(ca, problem)) as (ecs, url),
        _session(trusting) as session,
        EcsClient(CREDENTIALS, url, ONE_TRY, session) as client,
    ):
        with pytest.raises(ServiceUnavailableError) as refused:
            await client.describe_tasks(region_id=REGION)
        with pytest.raises(ServiceUnavailableError) as not_started:
            await client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
    assert PROBLEMS[problem] in str(refused.value)
    assert not refused.value.sent
    # Nothing has left, so that nothing can have started.
    assert not not_started.value.sent
    assert "may have started" not in str(not_started.value)
    assert ecs.requests == []


async def test_what_a_program_trusts(ca: trustme.CA, serve_tls: ServeTls, tmp_path: Path) -> None:
    """A program that trusts the CA by its environment accepts its good certificates, and no bad one."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    problems = ["none", *PROBLEMS]
    async with contextlib.AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(_service(serve_tls, _certificate(ca, problem))) for problem in problems
        ]
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).parent / "certified.py"),
            *(url for _, url in services),
            env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "ca.pem")},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await program.communicate()
    failures = dict(zip(problems, json.loads(out), strict=True))
    assert failures.pop("none") == "Finished"
    for problem, words in failures.items():
        assert words.startswith("ServiceUnavailableError")
        assert PROBLEMS[problem] in words
    assert [len(ecs.requests) for ecs, _ in services] == [1, 0, 0, 0]


async def test_no_tls_at_all(trusting: ssl.SSLContext) -> None:
    """A plain server behind an https endpoint gets nothing to read, least of all a signature."""
    heard = bytearray()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server, _session(trusting) as session:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with EcsClient(CREDENTIALS, url, ONE_TRY, session) as client:
            with pytest.raises(ServiceUnavailableError, match="SSL") as refused:
                await client.describe_tasks(region_id=REGION)
    assert not refused.value.sent
    assert heard[:1] == b"\x16"  # a handshake, and no more
    assert b"authorization" not in heard.lower()
