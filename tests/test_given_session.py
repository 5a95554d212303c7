"""A session that the user passes: its exceptions are faults, its pool may be full, and it may be closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from support.helpers import REGION, clock, every, failure, since

from ecs_waiter import (
    EcsClient,
    EcsWaiterError,
    PollPolicy,
    ServiceUnavailableError,
    StaticCredentials,
    TaskWaiter,
    WaiterClosedError,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.emulator.memory import MemoryConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

SECRET = "example-key-secret"
CREDENTIALS = StaticCredentials("example-key-id", SECRET)
EXPORT = {"ImageId": "m-1", "OSSBucket": "b"}


class SocksError(Exception):
    """What a third-party connector raises: no relative of aiohttp's errors."""


class UnprintableError(Exception):
    """An exception whose texts raise."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


FOREIGN: list[BaseException] = [
    SocksError("the SOCKS server said no"),
    KeyError("host"),
    RuntimeError("event loop trouble"),
    ValueError("a bad value"),
    UnicodeError("label too long"),
    TypeError("not a string"),
    MemoryError(),
    RecursionError("too deep"),
    AssertionError(),
    StopAsyncIteration(),
    LookupError("no such codec"),
    ExceptionGroup("all addresses failed", [OSError("one"), OSError("two")]),
    UnprintableError(),
    asyncio.CancelledError("the connector canceled its own task"),
]


class Failing(MemoryConnector):
    """A connector that fails to connect as often as it has errors."""

    def __init__(self, ecs: EcsEmulator, *errors: BaseException) -> None:
        super().__init__(ecs.protocol, force_close=True)
        self.errors = list(errors)

    async def _create_connection(self, *arguments: Any, **more: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return await super()._create_connection(*arguments, **more)


Place = "Callable[[EcsEmulator, BaseException], aiohttp.ClientSession]"


def in_connector(ecs: EcsEmulator, error: BaseException) -> aiohttp.ClientSession:
    """A session whose connector raises twice."""
    return aiohttp.ClientSession(connector=Failing(ecs, error, error))


def in_middleware(ecs: EcsEmulator, error: BaseException) -> aiohttp.ClientSession:
    """A session whose middleware raises after the answer, twice."""
    errors = [error, error]

    async def middleware(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await handler(request)
        if errors:
            response.close()
            raise errors.pop()
        return response

    return aiohttp.ClientSession(connector=ecs.connector(), middlewares=(middleware,))


def in_trace(ecs: EcsEmulator, error: BaseException) -> aiohttp.ClientSession:
    """A session whose trace hook raises twice."""
    errors = [error, error]

    async def hook(*_: object) -> None:
        if errors:
            raise errors.pop()

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(hook)
    return aiohttp.ClientSession(connector=ecs.connector(), trace_configs=[trace])


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", [in_connector, in_middleware, in_trace])
async def test_any_exception_is_a_fault(virtual_ecs: EcsEmulator, place: Any, error: BaseException) -> None:
    """A wait retries after any exception that a connector, a middleware or a trace hook raises."""
    task_id = virtual_ecs.add_task()
    async with place(virtual_ecs, error) as session, TaskWaiter(CREDENTIALS, session=session) as waiter:
        (task,) = (await waiter.wait([task_id], region_id=REGION)).values()
        assert task.task_status == "Finished"
        assert waiter.stats.regions[REGION].retried == 2


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
async def test_an_exception_without_end(virtual_ecs: EcsEmulator, error: BaseException) -> None:
    """When the outage budget is spent, the wait raises ServiceUnavailableError; the original ends the cause chain."""
    connector = Failing(virtual_ecs, *[error] * 1000)
    start = clock()
    async with aiohttp.ClientSession(connector=connector) as session:
        caught = await failure(
            ServiceUnavailableError,
            wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session),
        )
    assert 600 <= since(start) < 640
    assert type(error).__name__ in str(caught)
    fault = caught.__cause__
    assert isinstance(fault, ServiceUnavailableError)
    if isinstance(error, UnprintableError):
        assert "UnprintableError" in str(fault.__cause__)
    else:
        assert fault.__cause__ is error


CALLS: dict[str, Callable[[EcsClient], Awaitable[object]]] = {
    "describe_tasks": lambda client: client.describe_tasks(region_id=REGION),
    "iter_tasks": lambda client: anext(client.iter_tasks(region_id=REGION)),
    "describe_task_attribute": lambda client: client.describe_task_attribute("t-1", region_id=REGION),
    "cancel_task": lambda client: client.cancel_task("t-1", region_id=REGION),
    "call": lambda client: client.call("DescribeImages", region_id=REGION),
}


@pytest.mark.parametrize("name", CALLS)
async def test_calls_retry_after_any_exception(virtual_ecs: EcsEmulator, name: str) -> None:
    """Every call of the client ends with ServiceUnavailableError whose cause's cause is the original."""
    error = SocksError("no route")
    async with (
        aiohttp.ClientSession(connector=Failing(virtual_ecs, *[error] * 1000)) as session,
        EcsClient(CREDENTIALS, session=session) as client,
    ):
        caught = await failure(ServiceUnavailableError, CALLS[name](client))
    assert isinstance(caught.__cause__, ServiceUnavailableError)
    assert caught.__cause__.__cause__ is error
    assert not caught.sent


async def test_a_start_after_a_failed_connection(virtual_ecs: EcsEmulator) -> None:
    """A start is repeated when the connector raised: nothing of the request was written."""
    connector = Failing(virtual_ecs, SocksError("no route"), KeyError("host"), asyncio.CancelledError())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        EcsClient(CREDENTIALS, session=session) as client,
    ):
        answer = await client.call("ExportImage", region_id=REGION, params=EXPORT)
    assert answer["TaskId"]
    assert len(virtual_ecs.requests) == 1


async def test_a_start_after_a_failed_middleware(virtual_ecs: EcsEmulator) -> None:
    """A start is not repeated when the request was written before the middleware raised."""
    async with (
        in_middleware(virtual_ecs, KeyError("host")) as session,
        EcsClient(CREDENTIALS, session=session) as client,
    ):
        caught = await failure(ServiceUnavailableError, client.call("ExportImage", region_id=REGION, params=EXPORT))
    assert caught.sent
    assert "may have started" in str(caught)
    assert len(virtual_ecs.requests) == 1


async def test_a_middleware_that_repeats(virtual_ecs: EcsEmulator) -> None:
    """A refused connection proves nothing when a middleware had written the request before."""
    connector = Failing(virtual_ecs)

    async def middleware(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await handler(request)
        response.close()
        connector.errors.append(aiohttp.ClientConnectorError(request.connection_key, OSError(111, "refused")))
        return await handler(request)  # type: ignore[no-any-return]

    async with (
        aiohttp.ClientSession(connector=connector, middlewares=(middleware,)) as session,
        EcsClient(CREDENTIALS, session=session) as client,
    ):
        caught = await failure(ServiceUnavailableError, client.call("ExportImage", region_id=REGION, params=EXPORT))
    assert caught.sent
    assert len(virtual_ecs.requests) == 1


async def test_a_cancellation_of_the_callers(virtual_ecs: EcsEmulator) -> None:
    """A cancellation by the caller stays one, whatever the session makes of it."""
    virtual_ecs.inject("hang")
    async with virtual_ecs.session() as session, EcsClient(CREDENTIALS, session=session) as client:
        task = asyncio.create_task(client.describe_tasks(region_id=REGION))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "error",
    [
        SocksError(f"login failed for {SECRET}"),
        ExceptionGroup("both failed", [OSError(f"password {SECRET}")]),
        OSError("cannot reach http://me:proxy-password@proxy.example:3128/"),
    ],
    ids=["text", "group", "proxy"],
)
async def test_secrets_in_exceptions(
    virtual_ecs: EcsEmulator, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """No secret in an exception's text, notes or members reaches an error, its causes or the log."""
    error.add_note(f"sent {SECRET}")
    caplog.set_level(logging.DEBUG)
    async with aiohttp.ClientSession(connector=Failing(virtual_ecs, *[error] * 1000)) as session:
        caught = await failure(
            EcsWaiterError, wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session)
        )
    links: list[BaseException | None] = [caught]
    while (link := links.pop()) is not None:
        links.append(link.__cause__)
        assert SECRET not in f"{link}{link!r}{getattr(link, '__notes__', '')}"
        assert "proxy-password" not in f"{link}{link!r}"
        assert link is not error
    assert SECRET not in caplog.text
    assert "proxy-password" not in caplog.text


# -- a session that cannot be used any more ---------------------------------------------------------------------------


async def test_closed_before_a_wait(virtual_ecs: EcsEmulator) -> None:
    """A wait on a closed session raises WaiterClosedError at once, and says what to do."""
    session = virtual_ecs.session()
    await session.close()
    start = clock()
    caught = await failure(
        WaiterClosedError, wait_for_tasks(["t-1", "t-2"], region_id=REGION, credentials=CREDENTIALS, session=session)
    )
    assert since(start) == 0
    assert "session" in str(caught)
    assert "keep it open" in str(caught)
    async with EcsClient(CREDENTIALS, session=session) as client:
        assert "keep it open" in str(await failure(WaiterClosedError, client.describe_tasks(region_id=REGION)))


async def test_closed_under_a_wait(virtual_ecs: EcsEmulator) -> None:
    """A wait whose session is closed between two polls raises WaiterClosedError at the next poll."""
    task_id = virtual_ecs.add_task(duration=3600)
    async with virtual_ecs.session() as session:
        wait = asyncio.create_task(
            wait_for_task(task_id, region_id=REGION, credentials=CREDENTIALS, policy=every(5), session=session)
        )
        await asyncio.sleep(7)
    start = clock()
    caught = await failure(WaiterClosedError, wait)
    assert since(start) <= 5
    assert "the session that was given is closed" in str(caught)


async def test_closed_under_a_poll(virtual_ecs: EcsEmulator) -> None:
    """A wait whose session is closed during a poll raises WaiterClosedError then."""
    virtual_ecs.inject("hang")
    async with virtual_ecs.session() as session:
        wait = asyncio.create_task(wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session))
        await asyncio.sleep(7)
    start = clock()
    assert "the session that was given is closed" in str(await failure(WaiterClosedError, wait))
    assert since(start) < 1


async def test_closed_under_a_start(virtual_ecs: EcsEmulator) -> None:
    """A start that was under way when its session was closed says that it may have been received."""
    virtual_ecs.inject("hang")
    async with virtual_ecs.session() as session, EcsClient(CREDENTIALS, session=session) as client:
        call = asyncio.create_task(client.call("ExportImage", region_id=REGION, params=EXPORT))
        await asyncio.sleep(1)
        await session.close()
        assert "may have been received" in str(await failure(WaiterClosedError, call))


async def test_a_closed_connector(virtual_ecs: EcsEmulator) -> None:
    """A session whose connector is closed counts as closed."""
    session = virtual_ecs.session()
    assert session.connector is not None
    await session.connector.close()
    await failure(WaiterClosedError, wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session))


def _session_of_another_loop(ecs: EcsEmulator) -> aiohttp.ClientSession:
    async def make() -> aiohttp.ClientSession:
        return ecs.session()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(make())
    finally:
        loop.close()


async def test_a_session_of_another_loop(virtual_ecs: EcsEmulator) -> None:
    """A session that belongs to another event loop is reported at once."""
    session = await asyncio.to_thread(_session_of_another_loop, virtual_ecs)
    start = clock()
    caught = await failure(
        WaiterClosedError, wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session)
    )
    assert since(start) == 0
    assert "session" in str(caught)
    assert "another event loop" in str(caught)
    assert session.connector is not None
    session.detach()


async def test_a_login_in_netrc(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A session that finds a login in a .netrc file is an error at once, which says what to do."""
    (tmp_path / "netrc").write_text("default login me password example-password\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with aiohttp.ClientSession(connector=virtual_ecs.connector(), trust_env=True) as session:
        caught = await failure(
            EcsWaiterError, wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session)
        )
    assert not isinstance(caught, ServiceUnavailableError)
    assert ".netrc" in str(caught)
    assert "example-password" not in str(caught)


# -- a session whose pool is full -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def uploading(ecs: EcsEmulator, seconds: float, **limits: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose only connection is taken by a request of the program's own."""
    connector = ecs.connector()
    connector._limit = limits.get("limit", 0)
    connector._limit_per_host = limits.get("limit_per_host", 0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def body() -> AsyncIterator[bytes]:
            yield b"begin"
            await asyncio.sleep(seconds)
            yield b"end"

        async def upload() -> None:
            async with session.post(ecs.url, data=body()) as response:
                response.close()

        task = asyncio.create_task(upload())
        await asyncio.sleep(0.1)
        ecs.requests.clear()
        try:
            yield session
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("limits", [{"limit": 1}, {"limit_per_host": 1}], ids=str)
async def test_a_full_pool_is_no_outage(virtual_ecs: EcsEmulator, limits: dict[str, int]) -> None:
    """A wait that gets its connection within `call_timeout` sees no fault, however small the outage budget."""
    task_id = virtual_ecs.add_task()
    policy = PollPolicy(outage_budget=0, call_timeout=30)
    start = clock()
    async with (
        uploading(virtual_ecs, 29, **limits) as session,
        TaskWaiter(CREDENTIALS, policy=policy, session=session) as waiter,
    ):
        (task,) = (await waiter.wait([task_id], region_id=REGION)).values()
        assert waiter.stats.regions[REGION].retried == 0
    assert task.task_status == "Finished"
    assert since(start) >= 29


async def test_the_service_has_all_of_its_time(virtual_ecs: EcsEmulator) -> None:
    """The time in the queue for a connection does not count against the call."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("delay", action="DescribeTasks", seconds=25)
    policy = PollPolicy(outage_budget=0, call_timeout=30)
    async with uploading(virtual_ecs, 25, limit=1) as session:
        task = await wait_for_task(task_id, region_id=REGION, credentials=CREDENTIALS, policy=policy, session=session)
    assert task.task_status == "Finished"


async def test_a_slow_answer_after_the_queue(virtual_ecs: EcsEmulator) -> None:
    """A call still ends `call_timeout` seconds after it got its connection."""
    virtual_ecs.inject("hang", action="DescribeTasks")
    policy = PollPolicy(outage_budget=0, call_timeout=10)
    async with (
        uploading(virtual_ecs, 8, limit=1) as session,
        EcsClient(CREDENTIALS, policy=policy, session=session) as client,
    ):
        start = clock()
        caught = await failure(ServiceUnavailableError, client.describe_tasks(region_id=REGION))
    assert since(start) == pytest.approx(17.9)
    assert "no answer within 10 s" in str(caught)


@pytest.mark.parametrize(("limits", "words"), [({"limit": 1}, "limit 1"), ({"limit_per_host": 1}, "1 for each host")])
async def test_a_pool_that_stays_full(virtual_ecs: EcsEmulator, limits: dict[str, int], words: str) -> None:
    """The error names the pool and its limit, and says what to do; nothing was sent."""
    policy = PollPolicy(outage_budget=0, call_timeout=30)
    async with (
        uploading(virtual_ecs, 10_000, **limits) as session,
        EcsClient(CREDENTIALS, policy=policy, session=session) as client,
    ):
        start = clock()
        caught = await failure(ServiceUnavailableError, client.call("ExportImage", region_id=REGION, params=EXPORT))
    assert since(start) == pytest.approx(30)
    for part in ("no free connection in the session's pool", words, "within 30 s", "raise the connector's limit"):
        assert part in str(caught)
    assert not caught.sent
    assert "may have started" not in str(caught)
    assert virtual_ecs.requests == []


async def test_a_wait_outlives_a_full_pool(virtual_ecs: EcsEmulator) -> None:
    """A pool that is full for minutes is retried within the outage budget."""
    task_id = virtual_ecs.add_task()
    async with uploading(virtual_ecs, 400, limit=1) as session:
        task = await wait_for_task(task_id, region_id=REGION, credentials=CREDENTIALS, session=session)
    assert task.task_status == "Finished"


async def test_other_requests_of_the_session(virtual_ecs: EcsEmulator) -> None:
    """The program's own requests and trace hooks work on a session as they did before."""
    seen: list[object] = []

    async def hook(_session: object, context: Any, _params: object) -> None:
        seen.append(context.trace_request_ctx)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(hook)
    async with aiohttp.ClientSession(connector=virtual_ecs.connector(), trace_configs=[trace]) as session:
        await wait_for_task(virtual_ecs.add_task(), region_id=REGION, credentials=CREDENTIALS, session=session)
        async with session.get("https://ecs-cn-hangzhou.aliyuncs.com/mine", trace_request_ctx="mine") as response:
            assert response.status >= 400
        assert seen == [*[None] * (len(seen) - 1), "mine"]
