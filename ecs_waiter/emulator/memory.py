"""Connects aiohttp's client and server in memory: a pair of transports, and a connector that creates them."""
# ruff: noqa: D102 - asyncio documents the methods of a transport

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler

__all__ = ["MemoryConnector", "MemoryTransport", "join"]

_CHUNK = 64 * 1024  # as much as a socket delivers at once
_HIGH_WATER = 64 * 1024
_ADDRESS = ("127.0.0.1", 1)


class MemoryTransport(asyncio.Transport):
    """One end of a connection: the other end's protocol receives what is written here, one iteration of the loop later.

    It behaves as asyncio's socket transports do: it keeps the order, has flow control in both directions, delivers
    what was written before a close but not before an abort, and calls `connection_lost` once at each end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": _ADDRESS, "sockname": _ADDRESS})
        self.other: MemoryTransport
        self._loop = loop
        self._protocol = protocol
        self._outgoing = bytearray()
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._closing = False
        self._aborted = False
        self._lost = False
        self._reading = True
        self._writing_paused = False
        self._pumping = False

    def is_closing(self) -> bool:
        return self._closing

    def get_protocol(self) -> asyncio.Protocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"a stream takes an asyncio.Protocol, not {type(protocol).__name__}")
        self._protocol = protocol

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self.other.pump()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._outgoing)

    def can_write_eof(self) -> bool:
        return False  # HTTP never closes one direction alone.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._closing:
            return
        self._outgoing += data
        if len(self._outgoing) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()
        self.pump()

    def close(self) -> None:
        self._closing = True
        self.pump()

    def abort(self) -> None:
        self._closing = self._aborted = True
        self._outgoing.clear()
        reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self._loop.call_soon(self._lose, None)
        self._loop.call_soon(self.other._lose, reset)  # noqa: SLF001 - the other end is of this class

    def pump(self) -> None:
        """Deliver data, or the end of it, to the other end in the loop's next iteration."""
        if not self._pumping and not self._lost:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._lost or self._aborted:
            return
        other = self.other
        if self._outgoing and not other.is_closing():
            if not other.is_reading():
                return
            chunk = bytes(self._outgoing[:_CHUNK])
            del self._outgoing[:_CHUNK]
            if self._writing_paused and len(self._outgoing) <= self._low:
                self._writing_paused = False
                self._protocol.resume_writing()
            other.get_protocol().data_received(chunk)
            if self._outgoing or self._closing:
                self.pump()
        elif self._closing:
            self._lose(None)
            other.end()

    def end(self) -> None:
        """Handle the other end's close."""
        if self._lost:
            return
        if not self._closing and self._protocol.eof_received():
            return
        self.close()

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._outgoing.clear()
            self._protocol.connection_lost(error)


def join(loop: asyncio.AbstractEventLoop, client: asyncio.Protocol, server: asyncio.Protocol) -> None:
    """Connect two protocols, as a socket and its accepted socket are."""
    near, far = MemoryTransport(loop, client), MemoryTransport(loop, server)
    near.other, far.other = far, near
    loop.call_soon(server.connection_made, far)
    client.connection_made(near)


class MemoryConnector(aiohttp.BaseConnector):
    """Connects every host to one server in memory.

    Args:
        server: Returns the protocol for an accepted connection.
        force_close: Whether to use each connection only once.
    """

    def __init__(self, server: Callable[[], asyncio.Protocol], *, force_close: bool = False) -> None:
        super().__init__(limit=0, force_close=force_close)
        self._server = server

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,  # noqa: ARG002 - the signature is aiohttp's
        traces: list[aiohttp.tracing.Trace],  # noqa: ARG002
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002
    ) -> ResponseHandler:
        protocol: ResponseHandler = self._factory()
        join(self._loop, protocol, self._server())
        return protocol
