"""The server of all peers: canned DescribeTasks answers over keep-alive connections, from a process of its own.

The same bytes for everyone: status, headers and rows of the real service's shape, whatever is asked. It does no more
than find the end of a request, so that it is ready long before any client is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["IDS", "REGION", "Canned", "canned_server"]

REGION = "cn-hangzhou"
IDS = [f"t-bp1hvgwromzv32iq{number:04}" for number in range(100)]

_REQUEST_ID = b"473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E"
_HEADERS = (
    "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: {length}\r\n"
    "Connection: keep-alive\r\nKeep-Alive: timeout=25\r\nAccess-Control-Allow-Origin: *\r\n"
    f"Access-Control-Expose-Headers: *\r\nx-acs-request-id: {_REQUEST_ID.decode()}\r\n"
    "x-acs-trace-id: 7b0dd1c3fe5cbd4aa7e1b9a1a9a3c1de\r\nETag: 1AdBwzbqvGK8X9j0Xy2Zk2A4\r\n\r\n"
)
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Canned:
    """Where it listens, and whom to trust.

    Attributes:
        urls: Base URLs by scheme and the status that the hundred tasks are in: ``http Processing``, ``https Finished``;
            at ``http one Finished`` it is one task, at ``http in the end Finished`` they have finished in every third
            answer, and at ``http echo`` whatever is asked about is processing.
        ca: The file of the CA behind the https URLs.
    """

    urls: dict[str, str]
    ca: str

    def environment(self) -> dict[str, str]:
        """The environment of a process that trusts the CA, as Python's own default and so every client does."""
        return {**os.environ, "SSL_CERT_FILE": self.ca}


_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def answer(status: str, task_ids: Sequence[str] = IDS, *, apart: bool = False) -> bytes:
    """The body that lists these tasks, created at one time or `apart`, each at the second of its number."""
    finished = {"FinishedTime": "2026-01-01T01:00:00Z"} if status == "Finished" else {}
    rows = [
        {
            "TaskId": task_id,
            "TaskStatus": status,
            "CreationTime": f"{_CREATED - timedelta(seconds=_number(task_id) if apart else 0):%Y-%m-%dT%H:%M:%SZ}",
            **finished,
            "SupportCancel": "true",
            "TaskAction": "ImportImage",
            "ResourceId": f"m-{task_id[2:]}",
        }
        for task_id in task_ids
    ]
    page = {
        "PageSize": len(task_ids),
        "PageNumber": 1,
        "RequestId": _REQUEST_ID.decode(),
        "TotalCount": len(task_ids),
        "RegionId": REGION,
        "TaskSet": {"Task": rows},
    }
    return json.dumps(page, separators=(",", ":")).encode()


def _number(task_id: str) -> int:
    return int("".join(filter(str.isdigit, task_id[-9:])) or 0)


class Answers:
    """One status's answer, whose Date is made anew once a second, as servers do."""

    def __init__(self, status: str, task_ids: Sequence[str] = IDS) -> None:
        self._body = answer(status, task_ids)
        self._second = 0
        self._parts = [b""]
        self._number = 0

    def now(self, _request: bytes) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            head = _HEADERS.format(date=formatdate(second, usegmt=True), length=len(self._body))
            self._parts = (head.encode() + self._body).split(_REQUEST_ID)
        # No two answers of a service are the same: each names its own request, in a header and in the body.
        self._number += 1
        return (b"473469C7-AA6F-4DC5-B3DB-%012X" % self._number).join(self._parts)


class _InTheEnd:
    """They go on in two answers, and have finished in the third."""

    def __init__(self) -> None:
        self._going_on, self._over = Answers("Processing"), Answers("Finished")
        self._number = 0

    def now(self, request: bytes) -> bytes:
        self._number += 1
        return (self._going_on if self._number % 3 else self._over).now(request)


class Echo:
    """Whatever is asked about is listed, in one status."""

    def __init__(self, status: str = "Processing") -> None:
        self._status = status

    def now(self, request: bytes) -> bytes:
        asked = parse_qs(urlsplit(request.split(b" ", 2)[1]).query)[b"TaskIds"][0].decode()
        body = answer(self._status, asked.split(","), apart=True)
        return _HEADERS.format(date=formatdate(usegmt=True), length=len(body)).encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, answers: Answers | _InTheEnd | Echo) -> None:
        self._answers = answers
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # No request here has a body: POST goes without one, as GET does.
        assert self._transport is not None
        *requests, self._rest = (self._rest + data).split(_END)
        for request in requests:
            self._transport.write(self._answers.now(request))


async def _serve() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tempfile.NamedTemporaryFile(suffix=".pem") as ca:
        authority.cert_pem.write_to_path(ca.name)
        kinds: dict[str, Answers | _InTheEnd | Echo] = {
            "Processing": Answers("Processing"),
            "Finished": Answers("Finished"),
            "one Finished": Answers("Finished", IDS[:1]),
            "in the end Finished": _InTheEnd(),
            "echo": Echo(),
            "echo Finished": Echo("Finished"),
        }
        urls = {}
        for scheme, tls in (("http", None), ("https", context)):
            for kind, answers in kinds.items():
                server = await asyncio.get_running_loop().create_server(
                    partial(_Connection, answers), "127.0.0.1", 0, ssl=tls
                )
                urls[f"{scheme} {kind}"] = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        sys.stdout.write(json.dumps({"urls": urls, "ca": ca.name}) + "\n")
        sys.stdout.flush()
        # It ends with whoever started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def canned_server() -> Iterator[Canned]:
    """Run the server for the time of the block."""
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield Canned(**json.loads(server.stdout.readline()))
        finally:
            server.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
