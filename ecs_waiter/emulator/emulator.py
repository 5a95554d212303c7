"""EcsEmulator: a local ECS task API over HTTP, on loopback or in memory, with faults on demand."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

from ecs_waiter.emulator.clock import Clock
from ecs_waiter.emulator.faults.base import check_whole
from ecs_waiter.emulator.faults.injection import Faults, Injection, make_fault
from ecs_waiter.emulator.memory import MemoryConnector
from ecs_waiter.emulator.regions import PUBLIC_REGIONS
from ecs_waiter.emulator.server import Handler
from ecs_waiter.emulator.service import STARTS, Service
from ecs_waiter.emulator.signatures import SignatureVerifier
from ecs_waiter.emulator.task_store import EmulatedTask, Identifiers, Plan

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from types import TracebackType

    from ecs_waiter.emulator.signatures import KeyPair
    from ecs_waiter.emulator.wire import Request

__all__ = ["EcsEmulator"]

_STOP_TIMEOUT = 0.1
# Nothing listens on this port, so a request that does not use the connection in memory fails.
_MEMORY_URL = "http://127.0.0.1:1"


class EcsEmulator:
    """The ECS task API of many regions; `async with` makes it listen on loopback, `session` connects in memory.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 takes any free port.
        key_pairs: Each (access key ID, secret) or (access key ID, secret, STS token). If any is given, every request
            must be signed with one of them, and nonces and time stamps are checked; otherwise nothing is checked.
        regions: The regions that exist; adding a task to another one adds that region.
        start: The time that its clock shows first; None takes the wall clock's time. From then on it follows `time`.
        time: A clock in seconds; None takes the time of the event loop it is used in, virtual or real.
        seed: Seed of the IDs: the same seed gives the same IDs.
        duration: How many seconds a task takes that a client starts, unless `plan` says otherwise.
        keep_requests: How many of the last requests `requests` keeps.

    Raises:
        ValueError: An argument is invalid.
    """

    def __init__(  # noqa: PLR0913 - all are optional and by keyword
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key_pairs: Iterable[KeyPair | tuple[str, ...]] = (),
        regions: Iterable[str] = PUBLIC_REGIONS,
        start: datetime | None = None,
        time: Callable[[], float] | None = None,
        seed: int = 0,
        duration: float = 0,
        keep_requests: int = 10_000,
    ) -> None:
        check_whole("keep_requests", keep_requests)
        self._host = host
        self._port = port
        self._clock = Clock(start, time)
        self._ids = Identifiers(seed)
        self._faults = Faults()
        self._service = Service(regions, self._ids, Plan(duration=duration))
        verifier = SignatureVerifier(key_pairs)
        self._handler = Handler(
            self._service, self._faults, self._clock, self._ids, verifier, keep_requests=keep_requests
        )
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            OSError: The port is in use, or this machine does not have that address.
            RuntimeError: It is already listening.
        """
        if self._runner is not None:
            raise RuntimeError(f"this emulator is already listening on {self.url}")
        self._clock.now()
        runner = web.ServerRunner(self._server(), shutdown_timeout=_STOP_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno != errno.EADDRINUSE:
                raise
            message = f"port {self._port} of {self._host} is in use: choose another one, or 0 for any free port"
            raise OSError(error.errno, message) from None
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and drop every connection."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        # The cleanup would wait for a request that a fault keeps hanging.
        for connection in runner.server.connections if runner.server else ():
            connection.force_close()
        await runner.cleanup()

    def _server(self) -> web.Server:
        # Cancel a handler whose client is gone: a hanging answer would never end by itself.
        # Don't decompress: no client compresses requests, and an invalid compressed body would break the server.
        return web.Server(self._handler.handle, handler_cancellation=True, access_log=None, auto_decompress=False)

    def protocol(self) -> asyncio.Protocol:
        """Return the server's end of a new connection, for any transport in the running loop."""
        return self._server()()

    def connector(self, *, force_close: bool = False) -> aiohttp.BaseConnector:
        """Return a connector of the running loop that connects every host to this emulator, in memory.

        Args:
            force_close: Whether to use each connection only once.
        """
        return MemoryConnector(self.protocol, force_close=force_close)

    def session(self) -> aiohttp.ClientSession:
        """Return a session of the running loop that sends requests for every host here, without a socket."""
        return aiohttp.ClientSession(connector=self.connector(), cookie_jar=aiohttp.DummyCookieJar())

    @property
    def url(self) -> str:
        """The endpoint, e.g. ``http://127.0.0.1:43210``; unless it listens, only sessions in memory can use it."""
        if self._runner is None:
            return _MEMORY_URL
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def requests(self) -> list[Request]:
        """The last requests seen, at most `keep_requests`, in the order of arrival."""
        return self._handler.requests

    def now(self) -> datetime:
        """Return the time by the emulator's clock, in UTC."""
        return self._clock.now()

    def add_task(  # noqa: PLR0913 - all are optional and by keyword
        self,
        *,
        region_id: str = "cn-hangzhou",
        task_action: str = "ImportImage",
        duration: float = 0,
        outcome: str = "Finished",
        error: tuple[str, str] | None = None,
        task_id: str | None = None,
        visible_after: float = 0,
        resource_id: str | None = None,
        status: str = "Processing",
        task_group_id: str | None = None,
    ) -> str:
        """Add a task that starts now, and return its ID.

        Args:
            region_id: Its region, which is added if it does not exist.
            task_action: The operation that it belongs to.
            duration: Seconds until its outcome, a finite number; a task with ``1e9`` outlives any test.
            outcome: Its status then: a word of `TaskStatus`.
            error: The reason of a failure: code and message.
            task_id: Its ID; None makes one up.
            visible_after: Seconds until the service lists it.
            resource_id: What it works on; None makes one up.
            status: Its status until then: any word, including one that the service does not have.
            task_group_id: The group that it belongs to.

        Raises:
            ValueError: The ID exists or is invalid, a time is not a finite number of seconds, a word is not a status,
                or the outcome and the error contradict each other.
        """
        plan = Plan(duration=duration, outcome=outcome, error=error, visible_after=visible_after, status=status)
        if not region_id:
            raise ValueError("region_id takes the name of a region, such as 'cn-hangzhou'")
        task = EmulatedTask(
            region_id=region_id,
            task_id=self._ids.resource("t") if task_id is None else task_id,
            task_action=task_action,
            resource_id=self._ids.resource("m") if resource_id is None else resource_id,
            created=self._clock.now(),
            plan=plan,
            task_group_id=task_group_id,
        )
        self._service.tasks.add(task)
        self._service.regions.add(region_id)
        return task.task_id

    def plan(  # noqa: PLR0913 - all but one are optional and by keyword
        self,
        task_action: str,
        *,
        duration: float = 0,
        outcome: str = "Finished",
        error: tuple[str, str] | None = None,
        visible_after: float = 0,
        status: str = "Processing",
        at_once: bool = False,
        busy: float = 0,
    ) -> None:
        """Plan what happens to the next task that a client starts with the operation `task_action`.

        Plans queue up, one for each start. The arguments are those of `add_task`. With `at_once` the change is done
        at once, so the answer carries no ``TaskId``. For `busy` seconds the start is processed: a repeat with its
        ``ClientToken`` is rejected with ``LastTokenProcessing``. Also inject a fault that loses the first answer.

        Raises:
            ValueError: The operation starts no task, or takes no token, or another argument is invalid.
        """
        if task_action not in STARTS:
            raise ValueError(f"{task_action!r} starts no task; these do: {', '.join(sorted(STARTS))}")
        plan = Plan(
            duration=duration,
            outcome=outcome,
            error=error,
            visible_after=visible_after,
            status=status,
            at_once=at_once,
            busy=busy,
        )
        if busy and not STARTS[task_action].takes_token:
            tokens = ", ".join(sorted(name for name, operation in STARTS.items() if operation.takes_token))
            raise ValueError(f"busy is for operations that take a ClientToken ({tokens}), not {task_action}")
        self._service.plan(task_action, plan)

    def inject(  # noqa: PLR0913 - all but one are optional and by keyword
        self,
        kind: str,
        /,
        *,
        times: int | None = None,
        probability: float = 1,
        seed: int = 0,
        where: Callable[[Request], bool] | None = None,
        action: str | None = None,
        region_id: str | None = None,
        **settings: Any,
    ) -> Injection:
        """Inject a fault; the returned handle counts its hits and removes it.

        Args:
            kind: The fault's name; the error for an unknown one lists them all.
            times: How many requests it hits; None for no limit.
            probability: How likely it hits a request that matches the filters, from 0 to 1.
            seed: The same seed makes the same choices on every run.
            where: A predicate on the request; the fault hits only requests for which it is true.
            action: The fault hits only requests of this operation.
            region_id: The fault hits only requests for this region.
            **settings: The settings of this kind of fault.

        Raises:
            ValueError: The fault or a setting is unknown, or a value is invalid.
        """
        injection = Injection(
            kind,
            make_fault(kind, settings),
            times=times,
            probability=probability,
            seed=seed,
            where=where,
            action=action,
            region_id=region_id,
        )
        self._faults.add(injection)
        return injection

    def clear_faults(self) -> None:
        """Remove every fault."""
        self._faults.clear()
