"""aiohttp's client and server joined in memory: two transports back to back, and a connector that makes them."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler

__all__ = ["MemoryConnector", "MemoryTransport", "join"]

_PIECE = 64 * 1024  # what a socket gives at a time
_HIGH_WATER = 64 * 1024
_ADDRESS = ("127.0.0.1", 1)


class MemoryTransport(asyncio.Transport):
    """One end of a connection: what is written here is received by the other end's protocol, a turn of the loop later.

    It keeps what asyncio's socket transports promise: order, flow control in both directions, an orderly close that
    delivers what was written, an abort that does not, and one `connection_lost` for each end.
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
        """Whether it takes nothing more."""
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol at this end."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put another protocol at this end."""
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"a stream takes an asyncio.Protocol, not {type(protocol).__name__}")
        self._protocol = protocol

    def is_reading(self) -> bool:
        """Whether the protocol wants data."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Hold data back."""
        self._reading = False

    def resume_reading(self) -> None:
        """Let data through again."""
        self._reading = True
        self.other.pump()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told to pause and to resume writing, in bytes."""
        self._high = _HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the other end has not taken yet."""
        return len(self._outgoing)

    def can_write_eof(self) -> bool:
        """Whether one direction can be closed alone; HTTP has no use for it."""
        return False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send."""
        if self._closing:
            return
        self._outgoing += data
        if len(self._outgoing) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()
        self.pump()

    def close(self) -> None:
        """Send what is written, then end the connection in order."""
        self._closing = True
        self.pump()

    def abort(self) -> None:
        """End the connection at once; the other end sees a reset."""
        self._closing = self._aborted = True
        self._outgoing.clear()
        reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self._loop.call_soon(self._lose, None)
        self._loop.call_soon(self.other._lose, reset)  # noqa: SLF001 - the two ends are one thing

    def pump(self) -> None:
        """Move data, or the end of it, to the other end in the loop's next turn."""
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
            piece = bytes(self._outgoing[:_PIECE])
            del self._outgoing[:_PIECE]
            if self._writing_paused and len(self._outgoing) <= self._low:
                self._writing_paused = False
                self._protocol.resume_writing()
            other.get_stream_protocol().data_received(piece)
            if self._outgoing or self._closing:
                self.pump()
        elif self._closing:
            self._lose(None)
            other.end()

    def get_stream_protocol(self) -> asyncio.Protocol:
        """Return the protocol at this end, as the stream protocol that it is."""
        return self._protocol

    def end(self) -> None:
        """Take the other end's orderly close."""
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
    """Connect two protocols, as a socket and an accepted socket would be."""
    near, far = MemoryTransport(loop, client), MemoryTransport(loop, server)
    near.other, far.other = far, near
    loop.call_soon(server.connection_made, far)
    client.connection_made(near)


class MemoryConnector(aiohttp.BaseConnector):
    """A connector whose every connection, to whatever host, leads to one server in memory.

    Args:
        server: Makes the protocol of an accepted connection.
        force_close: Use each connection once.
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
