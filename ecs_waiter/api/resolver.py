"""Resolver: addresses of host names, looked up by the operating system in daemon threads.

aiohttp looks names up in the default executor of the loop. A few names whose servers do not answer occupy all of its
threads: the program cannot use it, and `asyncio.run` waits for it at the end. An asynchronous resolver does not block,
but it lacks names that the operating system resolves, such as those of a VPN or of mDNS.
"""

from __future__ import annotations

import asyncio
import copy
import socket
from functools import partial
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from ecs_waiter.after_fork import after_fork
from ecs_waiter.api.daemons import DaemonCalls

__all__ = ["Resolver"]

_FAILURE_COUNTS = 1.0
"""Seconds for which a failed look-up is not repeated. What was found is kept by aiohttp's connector."""

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_NUMERIC_NAMES = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV

_Name: TypeAlias = tuple[str, int, socket.AddressFamily]

# Shared by all sessions of all loops, so that a name whose server is silent holds one thread.
_look_ups: DaemonCalls[list[ResolveResult] | Exception] = DaemonCalls("resolver")
after_fork(_look_ups.reset)

_failures: dict[_Name, tuple[float, Exception]] = {}
"""When each look-up failed, by the time of the loop that made it, and how."""


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
        name = (host, port, family)
        time = asyncio.get_running_loop().time
        found: list[ResolveResult] | Exception
        if name in _failures and _counts(_failures[name][0], time()):
            found = _failures[name][1]
        else:
            found = await _look_ups.join(name, partial(_look_up, *name))
            if isinstance(found, Exception):
                now = time()
                for other, (at, _) in tuple(_failures.items()):
                    if not _counts(at, now):
                        _failures.pop(other, None)
                _failures[name] = now, found
        if isinstance(found, Exception):
            # A copy, because every caller that raises it adds a traceback.
            raise copy.copy(found)
        return [*found]

    async def close(self) -> None:
        """Nothing to close: look-ups belong to the process."""


def _counts(failed_at: float, now: float) -> bool:
    # Loops may disagree about the time: one on virtual time starts its own.
    return failed_at <= now < failed_at + _FAILURE_COUNTS


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | Exception:
    """Return the addresses, or why there are none. This blocks."""
    try:
        return _addresses(host, port, family)
    except Exception as error:  # noqa: BLE001 - raised in the loops of the callers
        return error.with_traceback(None)


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except socket.gaierror:
        # A machine without a network has no configured address but its loopback address.
        if host.rstrip(".").lower() != "localhost":
            raise
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    results = []
    for kind, _, protocol, _, address in found:
        if isinstance(address[0], str):  # not an IPv6 address in a Python without IPv6
            # The numeric name of a link-local address includes its network interface.
            numeric, service = socket.getnameinfo(address, _NUMERIC_NAMES)
            results.append(
                ResolveResult(
                    hostname=host, host=numeric, port=int(service), family=kind, proto=protocol, flags=_NUMERIC
                )
            )
    if not results:
        raise OSError(None, f"no usable address of {host}")
    return results
