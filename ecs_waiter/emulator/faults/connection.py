"""Faults in how an answer travels: late, in part, for ever, or not at all."""
# ruff: noqa: D102 - Fault documents what its kinds override

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, ClassVar

from aiohttp import web

from ecs_waiter.emulator.faults.base import Fault, check_choice, check_number, check_whole

if TYPE_CHECKING:
    from ecs_waiter.emulator.answer import Answer, Packet
    from ecs_waiter.emulator.request import Request

__all__ = ["BadGzip", "Delay", "Drip", "Endless", "Hang", "Reset", "Truncate"]

# A reset overtakes bytes that the client's kernel still holds: give them a moment to be read.
_HEAD_START = 0.02
_ENDLESS_PIECE = 64 * 1024
# An endless body must let time pass, virtual time too, or no deadline of the client would ever come.
_ENDLESS_PAUSE = 0.001


async def begin(request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
    """Send status and headers of an answer that promises its whole body."""
    response = web.StreamResponse(status=packet.status, headers=packet.headers)
    response.content_length = len(packet.body)
    await response.prepare(request)
    return response


def close(request: web.BaseRequest, *, reset: bool) -> None:
    """End the connection under a request: in order, or by a reset as a crashed server's kernel does."""
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
    """A fault that is the delivery of the answer itself."""

    @property
    def sends_status(self) -> bool:
        """Whether the client gets to see the status."""
        return True

    def spoil(self, _request: Request, answer: Answer) -> None:
        answer.delivery = self

    async def deliver(self, request: web.BaseRequest, packet: Packet, /) -> web.StreamResponse:
        """Send what is to be sent."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Reset(ConnectionFault):
    """The connection breaks; the operation has taken effect.

    Attributes:
        when: ``before`` the answer, in the ``middle`` of it, or ``after`` it, while the connection is kept alive.
    """

    when: str = "before"

    def __post_init__(self) -> None:
        check_choice("when", self.when, ("before", "middle", "after"))

    @property
    def sends_status(self) -> bool:
        return self.when != "before"

    async def deliver(self, request: web.BaseRequest, packet: Packet) -> web.StreamResponse:
        if self.when == "before":
            close(request, reset=True)
            return web.StreamResponse(status=packet.status)
        response = await begin(request, packet)
        if self.when == "middle":
            await response.write(packet.body[: len(packet.body) // 2])
            await asyncio.sleep(_HEAD_START)
            close(request, reset=True)
        else:
            await response.write(packet.body)
            close(request, reset=False)
        return response


@dataclass(kw_only=True)
class Truncate(ConnectionFault):
    """The connection ends in order, but before the body does.

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

    @property
    def sends_status(self) -> bool:
        return False

    async def deliver(self, _request: web.BaseRequest, _packet: Packet) -> web.StreamResponse:
        await asyncio.get_running_loop().create_future()  # until the client hangs up, which cancels it
        raise AssertionError("nobody sets it")  # pragma: no cover


@dataclass(kw_only=True)
class Delay(Fault):
    """The answer comes late.

    Attributes:
        seconds: By how much.
    """

    alone: ClassVar[bool] = False
    seconds: float = 1

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, most=1e9)

    def spoil(self, _request: Request, answer: Answer) -> None:
        answer.delay += self.seconds


@dataclass(kw_only=True)
class Drip(ConnectionFault):
    """The body comes a few bytes at a time.

    Attributes:
        size: How many bytes come together.
        pause: Seconds between them.
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
            await response.write(b" " * _ENDLESS_PIECE)
            await asyncio.sleep(_ENDLESS_PAUSE)


@dataclass(kw_only=True)
class BadGzip(Fault):
    """The body says that it is gzip, and is not."""

    def spoil(self, _request: Request, answer: Answer) -> None:
        answer.content = b"\x1f\x8b\x08\x00 this is no deflate stream"
        answer.headers["Content-Encoding"] = "gzip"
