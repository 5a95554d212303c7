"""Resolver: addresses of host names, looked up by the operating system in daemon threads.

aiohttp looks names up in the default executor of the loop. A few names whose servers do not answer fill it: nothing
else of the program runs in it then, and `asyncio.run` waits for it at the end. An asynchronous resolver would not
block, but it does not see all that the operating system sees, such as a VPN's names or mDNS.
"""

from __future__ import annotations

import asyncio
import copy
import socket
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from ecs_waiter.api.daemons import joined, start_daemon
from ecs_waiter.forking import in_forked_child

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Resolver"]

_FAILURE_COUNTS = 1.0
"""Seconds for which a failed look-up is not repeated. What was found is kept by aiohttp's connector."""

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_NUMERIC_NAMES = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
_SCOPE = 3

_Name: TypeAlias = tuple[str, int, socket.AddressFamily]
_Answer: TypeAlias = "list[ResolveResult] | Exception"


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    at: float

    def counts(self, now: float) -> bool:
        # Loops may disagree about the time: one on virtual time starts its own.
        return self.at <= now < self.at + _FAILURE_COUNTS


class _LookUps:
    """The look-ups of this process: at most one at a time for each name, shared by all sessions of all loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # never held while a name is looked up
        self._running: dict[_Name, Future[_Answer]] = {}
        self._failures: dict[_Name, _Failure] = {}

    async def addresses(self, name: _Name) -> list[ResolveResult]:
        """Join the look-up of a name, or start one.

        Raises:
            OSError: The name does not exist, or its server does not answer.
            RuntimeError: No thread can be started.
        """
        time = asyncio.get_running_loop().time
        with self._lock:
            failure = self._failures.get(name)
            if failure is not None and failure.counts(time()):
                raise copy.copy(failure.error)
            running = self._running.get(name)
            if running is None:
                running = self._running[name] = start_daemon("resolver", partial(self._look_up, name))
        answer = await joined(running)
        if isinstance(answer, Exception):
            now = time()
            with self._lock:
                self._failures = {each: failure for each, failure in self._failures.items() if failure.counts(now)}
                self._failures[name] = _Failure(answer, now)
            # A copy: many calls may raise it, and each adds its own traceback.
            raise copy.copy(answer)
        return [*answer]

    def _look_up(self, name: _Name) -> _Answer:
        try:
            return _addresses(*name)
        except Exception as error:  # noqa: BLE001 - raised in the loop, where it is a fault
            return error.with_traceback(None)
        finally:
            with self._lock:
                del self._running[name]


_look_ups = _LookUps()


def _forget_parent() -> None:
    global _look_ups  # noqa: PLW0603 - a look-up that the parent has under way ends in no child
    _look_ups = _LookUps()


in_forked_child(_forget_parent)


class Resolver(AbstractResolver):
    """Resolves names for a connector, in threads that nobody waits for when the program ends."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: There are none, or they cannot be found now.
            RuntimeError: No thread can be started.
        """
        return await _look_ups.addresses((host, port, family))

    async def close(self) -> None:
        """Nothing to close: look-ups belong to the process."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Ask the operating system. This blocks."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except socket.gaierror:
        # A machine without a network has no configured address, but itself.
        if host.rstrip(".").lower() != "localhost":
            raise
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    results = []
    for kind, _, protocol, _, address in found:
        if any(address[_SCOPE:]):
            # The name of a link-local address has its network card in it.
            numeric, service = socket.getnameinfo(address, _NUMERIC_NAMES)
            place = numeric, int(service)
        elif isinstance(address[0], str):
            place = address[0], int(address[1])
        else:  # an IPv6 address in a Python without IPv6
            continue
        results.append(
            ResolveResult(hostname=host, host=place[0], port=place[1], family=kind, proto=protocol, flags=_NUMERIC)
        )
    if not results:
        raise OSError(None, f"no usable address of {host}")
    return results
