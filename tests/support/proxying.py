"""A proxy on loopback that serves CONNECT and plain requests, and a door that lets only some connections through."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Door", "Proxy", "serving"]

Handler = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"


@contextlib.asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serve connections on loopback; gives the port."""
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handle(reader, writer)
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes = b""
) -> None:
    far_reader, far_writer = await asyncio.open_connection(host, port)
    far_writer.write(first)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pipe(reader, far_writer))
            group.create_task(_pipe(far_reader, writer))
    finally:
        far_writer.close()


@dataclass
class Proxy:
    """A proxy.

    Attributes:
        refusals: Status and reason of its next answers; then it connects.
        login: The ``user:password`` in base64 that it requires, or None.
        asked: The request lines that it got.
        headers: The headers of each of them.
    """

    port: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)
    login: str | None = None
    asked: list[str] = field(default_factory=list)
    headers: list[CIMultiDict[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its URL, without a login."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        """Listen until the block ends."""
        async with serving(self._serve) as self.port:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.split("\r\n")
        headers: CIMultiDict[str] = CIMultiDict(each.split(": ", 1) for each in lines if each)  # type: ignore[misc]
        self.asked.append(line)
        self.headers.append(headers)
        if self.login is not None and headers.get("Proxy-Authorization") != f"Basic {self.login}":
            self._refuse(writer, 407, "Proxy Authentication Required")
        elif self.refusals:
            self._refuse(writer, *self.refusals.pop(0))
        elif line.startswith("CONNECT "):
            host, _, port = line.split()[1].rpartition(":")
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _join(reader, writer, host, int(port))
        else:
            method, target, version = line.split()
            origin, slash, path = target.removeprefix("http://").partition("/")
            host, _, port = origin.rpartition(":")
            kept = [each for each in lines if not each.lower().startswith("proxy-")]
            first = "\r\n".join([f"{method} {slash}{path} {version}", *kept]).encode("latin-1")
            await _join(reader, writer, host, int(port), first)

    @staticmethod
    def _refuse(writer: asyncio.StreamWriter, status: int, reason: str) -> None:
        writer.write(f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())


@dataclass
class Door:
    """Ends the first connections in some way, and joins the others to a port.

    Attributes:
        port: Where the others go.
        first: How each of the first connections is handled.
        came: How many connections came.
    """

    port: int
    first: list[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]]
    came: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.came += 1
        if self.first:
            await self.first.pop(0)(reader, writer)
        else:
            await _join(reader, writer, "127.0.0.1", self.port)
