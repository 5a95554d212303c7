"""Connections in memory behave as sockets do, and open none."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from support.curling import curl

from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.emulator.memory import MemoryTransport, join


class Recorder(asyncio.Protocol):
    """Records what a transport passes to it."""

    def __init__(self) -> None:
        self.transport: MemoryTransport
        self.events: list[str] = []
        self.data = b""
        self.keep_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect."""
        self.data += data

    def eof_received(self) -> bool:
        """Record it, and keep the own direction open if `keep_open` is set."""
        self.events.append("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.events.append(f"lost {type(exc).__name__ if exc else 'in order'}")

    def pause_writing(self) -> None:
        """Note it."""
        self.events.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.events.append("resume")


async def _pair() -> tuple[Recorder, Recorder]:
    near, far = Recorder(), Recorder()
    join(asyncio.get_running_loop(), near, far)
    await _settle()
    return near, far


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_no_socket_is_opened(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session in memory works where every socket is forbidden, host names and all."""

    async def ask() -> int:
        async with (
            virtual_ecs.session() as session,
            session.get("https://ecs.us-west-1.aliyuncs.com/?Action=DescribeTasks") as response,
        ):
            return response.status

    with asyncio.Runner() as runner:
        runner.get_loop()  # its own self-pipe is a pair of sockets, made before any test code runs
        monkeypatch.setattr(socket, "socket", _forbidden)
        monkeypatch.setattr(socket, "getaddrinfo", _forbidden)
        assert runner.run(ask()) == 400
        monkeypatch.undo()


def _forbidden(*args: object, **kwargs: object) -> None:
    raise AssertionError(f"a socket: {args} {kwargs}")


@pytest.mark.asyncio
async def test_memory_works_on_real_time_too() -> None:
    """Without virtual time a session in memory is a session like any other."""
    reply = await curl(EcsEmulator(), "DescribeTasks")
    assert reply.status == 200


@pytest.mark.asyncio
async def test_server_ends_with_its_client(virtual_ecs: EcsEmulator) -> None:
    """No task of the server outlives the session, not even one that hangs."""
    virtual_ecs.inject("hang")
    with pytest.raises(TimeoutError):
        async with virtual_ecs.session() as session:
            await session.get(virtual_ecs.url, timeout=aiohttp.ClientTimeout(total=60))
    await _settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_forced_close_uses_a_connection_once(virtual_ecs: EcsEmulator) -> None:
    """A connector made with `force_close` keeps no connection alive."""
    connector = virtual_ecs.connector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(virtual_ecs.url) as response:
        assert response.headers["Connection"] == "close"


@pytest.mark.asyncio
async def test_bytes_arrive_in_order() -> None:
    """What is written on one end is received on the other, in order."""
    near, far = await _pair()
    sent = b"".join(n.to_bytes(4) for n in range(50_000))
    for start in range(0, len(sent), 7000):
        near.transport.write(sent[start : start + 7000])
    far.transport.write(b"back")
    assert far.data == b""
    await _settle()
    assert (far.data, near.data) == (sent, b"back")
    assert near.transport.get_write_buffer_size() == 0


@pytest.mark.asyncio
async def test_close_delivers_what_was_written() -> None:
    """An orderly close comes after the data; both ends are lost in order."""
    near, far = await _pair()
    near.transport.write(b"last words")
    near.transport.close()
    near.transport.write(b"too late")
    assert near.transport.is_closing()
    await _settle()
    assert far.data == b"last words"
    assert (near.events, far.events) == (["lost in order"], ["eof", "lost in order"])


@pytest.mark.asyncio
async def test_half_closed_end_closes_itself_later() -> None:
    """A protocol that keeps its end open on EOF closes when it likes."""
    near, far = await _pair()
    far.keep_open = True
    near.transport.close()
    await _settle()
    assert far.events == ["eof"]
    far.transport.close()
    await _settle()
    assert far.events == ["eof", "lost in order"]


@pytest.mark.asyncio
async def test_abort_resets_the_other_end() -> None:
    """An abort drops what was written; the other end sees a reset, once."""
    near, far = await _pair()
    near.transport.write(b"lost words")
    near.transport.abort()
    near.transport.abort()
    await _settle()
    assert far.data == b""
    assert (near.events, far.events) == (["lost in order"], ["lost ConnectionResetError"])


@pytest.mark.asyncio
async def test_both_ends_may_close_at_once() -> None:
    """Two closes that cross lose each end once."""
    near, far = await _pair()
    near.transport.close()
    far.transport.close()
    await _settle()
    assert (near.events, far.events) == (["lost in order"], ["lost in order"])


@pytest.mark.asyncio
async def test_flow_control() -> None:
    """A paused reader holds data back; the writer is paused above its limit and resumed below it."""
    near, far = await _pair()
    near.transport.set_write_buffer_limits(high=100)
    assert near.transport.get_write_buffer_limits() == (25, 100)
    far.transport.pause_reading()
    assert not far.transport.is_reading()
    near.transport.write(b"x" * 100)
    assert near.events == []
    near.transport.write(b"x")
    near.transport.write(b"x")
    await _settle()
    assert (near.events, far.data) == (["pause"], b"")
    far.transport.resume_reading()
    await _settle()
    assert (near.events, far.data) == (["pause", "resume"], b"x" * 102)


@pytest.mark.asyncio
async def test_transport_tells_of_itself() -> None:
    """What asyncio asks of a transport is answered as a loopback socket would."""
    near, far = await _pair()
    assert near.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert near.transport.get_extra_info("socket") is None
    assert not near.transport.can_write_eof()
    assert near.transport.get_protocol() is near
    near.transport.set_protocol(other := Recorder())
    far.transport.write(b"hello")
    await _settle()
    assert (other.data, near.data) == (b"hello", b"")
    with pytest.raises(TypeError, match=r"takes an asyncio\.Protocol, not BaseProtocol"):
        near.transport.set_protocol(asyncio.BaseProtocol())
