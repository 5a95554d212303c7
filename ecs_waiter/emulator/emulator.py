"""EcsEmulator: a local ECS task API over HTTP, on loopback or in memory, with faults on demand."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

from ecs_waiter.emulator.clock import Clock
from ecs_waiter.emulator.faults import Faults, Injection, When, check_whole, make_fault
from ecs_waiter.emulator.memory import MemoryConnector
from ecs_waiter.emulator.regions import PUBLIC_REGIONS
from ecs_waiter.emulator.server import HttpFace
from ecs_waiter.emulator.service import Service
from ecs_waiter.emulator.signatures import Gatekeeper
from ecs_waiter.emulator.starts import STARTS, Plan
from ecs_waiter.emulator.state import EmulatedTask, Identifiers, check_plan, check_seconds

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from types import TracebackType

    from ecs_waiter.emulator.request import Request
    from ecs_waiter.emulator.signatures import KeyPair

__all__ = ["EcsEmulator"]

_STOP_TIMEOUT = 0.1
# Nothing listens there, so that a request which misses the connection in memory is refused.
_MEMORY_URL = "http://127.0.0.1:1"


class EcsEmulator:
    """The ECS task API of many regions; `async with` makes it listen on loopback, `session` joins it in memory.

    Args:
        host: Where to listen.
        port: Where to listen; 0 takes any free port.
        key_pairs: Each (access key ID, secret) or (access key ID, secret, STS token). If any is given, only requests
            signed with one of them are let in, and nonces and time stamps are checked; else whatever comes.
        regions: The regions that exist; adding a task to another one opens that too.
        start: What its clock shows at first; None takes the wall clock's time. From then on it follows `time`.
        time: A clock in seconds; None takes the time of the event loop it is used in, virtual or real.
        seed: Makes the IDs; the same seed gives the same IDs.
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
        check_plan(duration=duration)
        check_whole("keep_requests", keep_requests)
        self._host = host
        self._port = port
        self._clock = Clock(start, time)
        self._ids = Identifiers(seed)
        self._faults = Faults()
        self._service = Service(regions, self._ids, Plan(duration=duration))
        self._face = HttpFace(
            self._service, self._faults, self._clock, self._ids, Gatekeeper(key_pairs), keep_requests=keep_requests
        )
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: The port is in use, or the host is none of this machine.
            RuntimeError: It listens already.
        """
        if self._runner is not None:
            raise RuntimeError(f"this emulator listens already, on {self.url}")
        self._clock.now()
        runner = web.ServerRunner(self._server(), shutdown_timeout=_STOP_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno != errno.EADDRINUSE:
                raise
            told = f"port {self._port} of {self._host} is in use: choose another one, or 0 for any that is free"
            raise OSError(error.errno, told) from None
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and drop every connection."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        # A request that a fault keeps hanging would hold the clean-up back.
        for connection in runner.server.connections if runner.server else ():
            connection.force_close()
        await runner.cleanup()

    def _server(self) -> web.Server:
        # What waits for a client that is gone, as a hanging answer does, ends with its connection.
        # Nobody sends the service compressed requests, and what claims to be one must not break the server.
        return web.Server(self._face.handle, handler_cancellation=True, access_log=None, auto_decompress=False)

    def protocol(self) -> asyncio.Protocol:
        """Return the server's end of a new connection, for a transport of any kind in the running loop."""
        return self._server()()

    def connector(self, *, force_close: bool = False) -> aiohttp.BaseConnector:
        """Return a connector of the running loop whose every connection leads here, in memory.

        Args:
            force_close: Use each connection once.
        """
        return MemoryConnector(self.protocol, force_close=force_close)

    def session(self) -> aiohttp.ClientSession:
        """Return a session of the running loop whose every request, to whatever host, comes here without a socket."""
        return aiohttp.ClientSession(connector=self.connector(), cookie_jar=aiohttp.DummyCookieJar())

    @property
    def url(self) -> str:
        """The endpoint, e.g. ``http://127.0.0.1:43210``; unless it listens, only sessions in memory lead to it."""
        if self._runner is None:
            return _MEMORY_URL
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def requests(self) -> list[Request]:
        """The last requests seen, at most `keep_requests`, in the order of arrival."""
        return self._face.requests

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
            region_id: Its region, which is opened if it was unknown.
            task_action: The operation that it belongs to.
            duration: Seconds until its outcome, a finite number; one of ``1e9`` outlives any test.
            outcome: Its status then: a word of `TaskStatus`.
            error: The reason of a failure: code and message.
            task_id: Its ID; None makes one up.
            visible_after: Seconds until the service lists it.
            resource_id: What it works on; None makes one up.
            status: Its status until then: any word, also one that the service does not have.
            task_group_id: The group that it belongs to.

        Raises:
            ValueError: The ID is taken or cannot be one, a time is not a finite number of seconds, a word is not a
                status, or the outcome and the error disagree.
        """
        check_plan(duration=duration, visible_after=visible_after, outcome=outcome, error=error, status=status)
        if not region_id:
            raise ValueError("region_id takes the name of a region, such as 'cn-hangzhou'")
        task = EmulatedTask(
            region_id=region_id,
            task_id=self._ids.resource("t") if task_id is None else task_id,
            task_action=task_action,
            resource_id=self._ids.resource("m") if resource_id is None else resource_id,
            created=self._clock.now(),
            duration=duration,
            outcome=outcome,
            error=error,
            visible_after=visible_after,
            running=status,
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
        """Say what becomes of the next task that a client starts with the operation `task_action`.

        Plans queue up, one for each start. The arguments are those of `add_task`; with `at_once` the change is done
        at once, so that the answer carries no ``TaskId``. For `busy` seconds the start is at work: a repeat with its
        ``ClientToken`` is refused with ``LastTokenProcessing``. Inject a fault that loses the first answer, too.

        Raises:
            ValueError: The operation starts no task, or takes no token, or no task can go so.
        """
        if task_action not in STARTS:
            raise ValueError(f"{task_action!r} starts no task; these do: {', '.join(sorted(STARTS))}")
        check_plan(duration=duration, visible_after=visible_after, outcome=outcome, error=error, status=status)
        check_seconds("busy", busy)
        if busy and not STARTS[task_action].takes_token:
            tokens = ", ".join(sorted(name for name, start in STARTS.items() if start.takes_token))
            raise ValueError(f"busy is for operations that take a ClientToken ({tokens}), not {task_action}")
        plan = Plan(
            duration=duration,
            outcome=outcome,
            error=error,
            visible_after=visible_after,
            status=status,
            at_once=at_once,
            busy=busy,
        )
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
        """Put a fault in place; the returned handle tells how often it struck and takes it out.

        Args:
            kind: The fault's name; an unknown one raises an error that lists them all.
            times: How often it strikes; None for ever.
            probability: How likely it strikes a request that the filters let through, from 0 to 1.
            seed: Makes the same choices on every run.
            where: A predicate on the request; only requests for which it is true are struck.
            action: Only requests of this operation are struck.
            region_id: Only requests for this region are struck.
            **settings: What this kind of fault can be told.

        Raises:
            ValueError: There is no such fault or setting, or it cannot have that value.
        """
        when = When(times=times, probability=probability, seed=seed, where=where, action=action, region_id=region_id)
        injection = Injection(kind, make_fault(kind, settings), when)
        self._faults.add(injection)
        return injection

    def clear_faults(self) -> None:
        """Take every fault out."""
        self._faults.clear()
