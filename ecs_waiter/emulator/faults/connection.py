"""Faults in how an answer is sent: late, in part, without an end, or not at all."""
# ruff: noqa: D102 - Fault documents the methods that its kinds override

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, ClassVar

from aiohttp import web

from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_whole

if TYPE_CHECKING:
    from ecs_waiter.emulator.wire import Answer, Packet

__all__ = ["BadGzip", "Delay", "Drip", "Endless", "Hang", "Reset", "Truncate"]

# A reset discards bytes that the client has not read from its kernel yet, so give it time to read them.
_BEFORE_RESET = 0.02
_ENDLESS_CHUNK = 64 * 1024
# Virtual time passes only during a pause; without one, the client's deadline would never come.
_ENDLESS_PAUSE = 0.001


async def begin(request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
    """Send the headers, with the length of the whole body."""
    response = web.StreamResponse(status=packet.status, headers=packet.headers)
    response.content_length = len(packet.body)
    await response.prepare(request)
    return response


def close(request: web.BaseRequest, *, reset: bool) -> None:
    """Close the connection of a request, with or without a TCP reset."""
    transport = request.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class ConnectionFault(Fault):
    """A fault that sends the answer itself."""

    def modify(self, answer: Answer) -> None:
        answer.deliver = self.deliver

    async def deliver(self, request: web.BaseRequest, packet: Packet, /) -> web.StreamResponse:
        """Send the answer, or a part of it."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Reset(ConnectionFault):
    """The connection breaks after the operation was executed.

    Attributes:
        when: ``before`` the answer, in the ``middle`` of it, or ``after`` it, while the connection is kept alive.
    """

    when: str = "before"

    def __post_init__(self) -> None:
        check_choice("when", self.when, ("before", "middle", "after"))

    def modify(self, answer: Answer) -> None:
        super().modify(answer)
        answer.sends_status = self.when != "before"

    async def deliver(self, request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
        if self.when == "before":
            close(request, reset=True)
            return web.StreamResponse(status=packet.status)
        response = await begin(request, packet)
        if self.when == "middle":
            await response.write(packet.body[: len(packet.body) // 2])
            await asyncio.sleep(_BEFORE_RESET)
            close(request, reset=True)
        else:
            await response.write(packet.body)
            close(request, reset=False)
        return response


@dataclass(kw_only=True)
class Truncate(ConnectionFault):
    """The connection closes before the end of the body.

    Attributes:
        keep: The share of the body that is sent, from 0 to 1.
    """

    keep: float = 0.5

    def __post_init__(self) -> None:
        check_number("keep", self.keep, most=1)

    async def deliver(self, request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
        response = await begin(request, packet)
        await response.write(packet.body[: min(int(len(packet.body) * self.keep), len(packet.body) - 1)])
        close(request, reset=False)
        return response


@dataclass(kw_only=True)
class Hang(ConnectionFault):
    """The request is read and never answered."""

    def modify(self, answer: Answer) -> None:
        super().modify(answer)
        answer.sends_status = False

    async def deliver(self, _request: web.BaseRequest, _packet: Packet) -> web.StreamResponse:
        await asyncio.get_running_loop().create_future()  # canceled when the client disconnects
        raise AssertionError("the future never completes")  # pragma: no cover


@dataclass(kw_only=True)
class Delay(Fault):
    """The answer comes late.

    Attributes:
        seconds: By how many seconds.
    """

    exclusive: ClassVar[bool] = False
    seconds: float = 1

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, most=1e9)

    def modify(self, answer: Answer) -> None:
        answer.delay += self.seconds


@dataclass(kw_only=True)
class Drip(ConnectionFault):
    """The body comes a few bytes at a time.

    Attributes:
        size: The bytes in one chunk.
        pause: Seconds between two chunks.
    """

    size: int = 16
    pause: float = 1

    def __post_init__(self) -> None:
        check_whole("size", self.size, least=1)
        check_number("pause", self.pause, most=1e9)

    async def deliver(self, request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
        response = await begin(request, packet)
        for at in range(0, len(packet.body), self.size):
            await response.write(packet.body[at : at + self.size])
            await asyncio.sleep(self.pause)
        return response


@dataclass(kw_only=True)
class Endless(ConnectionFault):
    """The body never ends: about 64 MB in a second of the loop's time."""

    async def deliver(self, request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
        response = web.StreamResponse(status=packet.status, headers=packet.headers)
        await response.prepare(request)
        await response.write(packet.body[:-1])
        while True:
            await response.write(b" " * _ENDLESS_CHUNK)
            await asyncio.sleep(_ENDLESS_PAUSE)


@dataclass(kw_only=True)
class BadGzip(Fault):
    """The header declares gzip, but the body is invalid."""

    def modify(self, answer: Answer) -> None:
        answer.content = b"\x1f\x8b\x08\x00 not a deflate stream"
        answer.headers["Content-Encoding"] = "gzip"
