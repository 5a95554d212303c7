"""Whatever a client sends, the emulator never fails by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.emulator.memory import MemoryTransport, join
from ecs_waiter.testing.virtual_time import virtual_time

_ACTIONS = ["DescribeTasks", "DescribeTaskAttribute", "CancelTask", "ImportImage", "ExportImage", "NoSuch", ""]
_VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["cn-hangzhou", "t-1", "t-1,t-1,,", "0", "-1", "1e9", "٣", "XML", "9999-12-31T23:59:59Z"]),
    st.sampled_from(["0001-01-01T00:00:00Z", "2026-01-01T00:00Z", "true", "HMAC-SHA1", "\ud800", "\x00"]),
)
_NAMES = st.one_of(
    st.text(max_size=10),
    st.sampled_from(["RegionId", "TaskId", "TaskIds", "TaskAction", "TaskStatus", "StartTime", "EndTime", "PageSize"]),
    st.sampled_from(["PageNumber", "ResourceIds.1", "ImageId", "ClientToken", "DryRun", "Format", "Signature"]),
    st.sampled_from(["SignatureMethod", "Timestamp", "SignatureNonce", "AccessKeyId", "SecurityToken", "Action"]),
)
_HEADERS = st.sampled_from(
    [
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Type: ;;\xff",
        b"Content-Encoding: gzip",
        b"Content-Encoding: br",
        b"Expect: 100-continue",
        b"Authorization: ACS3-HMAC-SHA256 Credential=\xff,SignedHeaders=host,Signature=" + b"0" * 64,
        b"Authorization: ACS3-HMAC-SHA256 Credential=key,SignedHeaders=host;x-acs-date;x-acs-signature-nonce;"
        b"x-acs-content-sha256,Signature=" + b"0" * 64,
        b"x-acs-date: 2026-01-01T00:00:00Z",
        b"x-acs-signature-nonce: \xff\xfe",
        b"x-acs-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"x-acs-action: DescribeTasks",
        b"x-acs-version: 2014-05-26",
        b"Accept: \x80",
    ]
)


class Client(asyncio.Protocol):
    """Sends bytes and keeps what comes back."""

    def __init__(self) -> None:
        self.received = b""
        self.transport: MemoryTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data


def _exchange(sent: bytes, **options: Any) -> bytes:
    """Return the answer to some bytes, given a minute of virtual time."""

    async def live() -> bytes:
        ecs = EcsEmulator(**options)
        ecs.add_task(task_id="t-1")
        client = Client()
        join(asyncio.get_running_loop(), client, ecs.protocol())
        await asyncio.sleep(0)
        client.transport.write(sent)
        await asyncio.sleep(60)
        client.transport.close()
        await asyncio.sleep(1)
        return client.received

    with virtual_time():
        return asyncio.run(live())


def _quoted(text: str) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in text.encode("utf-8", "surrogatepass"))


@settings(deadline=None, max_examples=200)
@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"X"]),
    action=st.sampled_from(_ACTIONS),
    version=st.sampled_from(["2014-05-26", "2014-05-26", "2014-05-26", ""]),
    query=st.lists(st.tuples(_NAMES, _VALUES), max_size=6),
    headers=st.lists(_HEADERS, max_size=4),
    body=st.one_of(st.binary(max_size=50), st.lists(st.tuples(_NAMES, _VALUES), max_size=4)),
    keys=st.sampled_from([(), (("key", "secret"),)]),
)
def test_no_request_makes_it_fail(  # noqa: PLR0917 - hypothesis passes them by keyword
    method: bytes,
    action: str,
    version: str,
    query: list[tuple[str, str]],
    headers: list[bytes],
    body: bytes | list[tuple[str, str]],
    keys: tuple[tuple[str, ...], ...],
) -> None:
    """Any parameters, headers and bodies get an answer of a status below 500."""
    pairs = [("Action", action), ("Version", version), *query]
    target = b"/?" + b"&".join(_quoted(name) + b"=" + _quoted(value) for name, value in pairs)
    content = body if isinstance(body, bytes) else b"&".join(_quoted(n) + b"=" + _quoted(v) for n, v in body)
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", *headers, b"Content-Length: %d" % len(content)]
    received = _exchange(b"\r\n".join([*lines, b"", content]), key_pairs=keys)
    assert received.startswith(b"HTTP/1.")
    assert int(received.split()[1]) < 500


@settings(deadline=None, max_examples=100)
@given(sent=st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda tail: b"POST /?" + tail)))
def test_no_bytes_make_it_fail(sent: bytes) -> None:
    """Bytes that are not HTTP are rejected or waited for, and never break the server."""
    received = _exchange(sent + b"\r\n\r\n")
    assert b" 500 " not in received.split(b"\r\n")[0]


def test_broken_chunks_are_refused() -> None:
    """A body whose chunks cannot be read is the client's fault."""
    head = b"POST /?Action=DescribeTasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (b"zz\r\n", b"2\r\nabc\r\n0\r\n\r\n"):
        assert b" 400 " in _exchange(head + body).split(b"\r\n")[0]
