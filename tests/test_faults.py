"""Faults: what passes is tried again within the outage budget, what is refused ends at once, and starts are not doubled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from helpers import REGION, asked, clock, every, failure, since, times
from hostile import Asked, hostile, page, row

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    Credentials,
    EcsClient,
    EcsWaiterError,
    PollPolicy,
    ServiceUnavailableError,
    TaskFailedError,
    TasksFailedError,
    TaskWaiter,
    ThrottledError,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter import Task
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

# Faults that pass, with their settings.
PASSING: list[tuple[str, dict[str, Any]]] = [
    ("throttle", {}),
    ("throttle", {"code": "Throttling", "status": 429}),
    ("throttle", {"code": "Throttling.Api", "status": 503}),
    ("status", {"status": 500, "code": "InternalError"}),
    ("status", {"status": 503}),
    ("status", {"status": 504, "body": "html"}),
    ("status", {"status": 503, "body": "xml"}),
    ("status", {"status": 403, "body": "html"}),
    ("status", {"status": 404, "body": "html"}),
    ("status", {"status": 400, "code": "ServiceUnavailable"}),
    ("status", {"status": 400, "code": "UnknownError"}),
    ("status", {"status": 400, "code": "SignatureNonceUsed"}),
    ("reset", {"when": "before"}),
    ("reset", {"when": "middle"}),
    ("truncate", {}),
    ("truncate", {"keep": 0}),
    ("bad_gzip", {}),
    ("body", {"content": "<html>sorry</html>"}),
    ("body", {"content": []}),
    ("body", {"content": {"RequestId": "R"}}),
    ("endless", {}),
]

REFUSALS = [
    ("InvalidAccessKeyId.NotFound", 404),
    ("InvalidAccessKeyId.Inactive", 400),
    ("SignatureDoesNotMatch", 400),
    ("IncompleteSignature", 400),
    ("InvalidSecurityToken.Malformed", 400),
    ("Forbidden.RAM", 403),
    ("Forbidden", 403),
    ("NoPermission", 403),
]


@dataclass
class Provider:
    """A provider that does what it is told, and counts how often it was asked."""

    give: Callable[[int], Any]
    asked: int = 0

    async def get_credentials(self) -> Credentials:
        """Give or raise what is told."""
        self.asked += 1
        given = self.give(self.asked)
        if isinstance(given, BaseException):
            raise given
        return given  # type: ignore[no-any-return]


def _tokens(number: int) -> Credentials:
    return Credentials("example-key-id", "example-key-secret", f"example-token-{number}")


# -- what passes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "settings"), PASSING)
async def test_a_wait_outlives_it(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """A fault that passes delays a wait by less than a minute, and shows in its stats alone."""
    task_id = virtual_ecs.add_task()
    injection = virtual_ecs.inject(kind, times=2, **settings)
    start = clock()
    async with TaskWaiter() as waiter:
        (task,) = (await waiter.wait([task_id])).values()
        assert task.task_status == "Finished"
        assert injection.struck == 2
        assert waiter.stats.regions[REGION].retried == 2
    assert 0 < since(start) < 60


@pytest.mark.parametrize(("kind", "settings"), PASSING)
async def test_a_call_outlives_it(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """A fault that passes delays a call that only reads."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject(kind, times=2, **settings)
    async with EcsClient() as client:
        assert [task.task_id async for task in client.iter_tasks()] == [task_id]


async def test_a_hanging_call_ends(virtual_ecs: EcsEmulator) -> None:
    """A call that hangs is given up after `call_timeout`, and made again."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("hang", times=1)
    await wait_for_task(task_id, policy=every(1, call_timeout=7))
    first, second = times(virtual_ecs)
    assert 7 <= second - first < 9


@pytest.mark.parametrize("older", [False, True])
async def test_the_wait_asked_for_is_obeyed(virtual_ecs: EcsEmulator, older: bool) -> None:
    """No call goes out before the time that the service asked to wait, in either of its ways."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("throttle", times=1, retry_after=12.5, older_header=older)
    await wait_for_task(task_id, policy=every(1))
    assert times(virtual_ecs) == [0, 12.5]


async def test_the_wait_asked_for_is_the_regions(virtual_ecs: EcsEmulator) -> None:
    """While a region asks for patience, nobody calls it: neither polls of others nor listings."""
    first, second = virtual_ecs.add_task(), virtual_ecs.add_task()
    virtual_ecs.inject("throttle", times=1, retry_after=20)
    async with TaskWaiter(policy=every(1)) as waiter:
        one = waiter.submit(first)
        await asyncio.sleep(1)
        two = waiter.submit(second)
        await asyncio.gather(one, two)
    assert times(virtual_ecs) == [0, 20]
    assert asked(virtual_ecs, second) == [20]


async def test_the_outage_budget(virtual_ecs: EcsEmulator) -> None:
    """A region that gives no good answer for the whole budget ends its waits to the second, with the last fault."""
    virtual_ecs.inject("status", status=503, code="ServiceUnavailable")
    start = clock()
    error = await failure(ServiceUnavailableError, wait_for_task(virtual_ecs.add_task()))
    assert since(start) == 600
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert (error.code, error.http_status) == ("ServiceUnavailable", 503)
    assert REGION in str(error)


async def test_one_good_answer_renews_the_budget(virtual_ecs: EcsEmulator) -> None:
    """The budget is for one spell without a good answer, not for all faults together."""
    task_id = virtual_ecs.add_task(duration=1000)
    virtual_ecs.inject("status", where=lambda request: (request.at.timestamp() % 100) >= 10)
    await wait_for_task(task_id, policy=every(1, outage_budget=200))
    assert any(request.answered == 503 for request in virtual_ecs.requests)


@pytest.mark.parametrize("kind", ["throttle", "status", "reset"])
async def test_the_outage_budget_of_a_call(virtual_ecs: EcsEmulator, kind: str) -> None:
    """A call is given up within the budget."""
    virtual_ecs.inject(kind)
    expected = ThrottledError if kind == "throttle" else ServiceUnavailableError
    start = clock()
    async with EcsClient(policy=PollPolicy(outage_budget=30)) as client:
        await failure(expected, client.describe_tasks(REGION))
    assert since(start) <= 30


async def test_faults_do_not_use_up_the_grace(virtual_ecs: EcsEmulator) -> None:
    """A task that an outage keeps from being seen is not unknown."""
    task_id = virtual_ecs.add_task(visible_after=30)
    virtual_ecs.inject("status", where=lambda _: 5 < clock() - start < 300)
    start = clock()
    await wait_for_task(task_id, policy=every(5))
    assert since(start) >= 300


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), REFUSALS)
async def test_refused_credentials(virtual_ecs: EcsEmulator, code: str, status: int) -> None:
    """Refused credentials end every wait of the region at once, by one call."""
    ids = [virtual_ecs.add_task(duration=100) for _ in range(3)]
    virtual_ecs.inject("refuse", code=code, status=status)
    start = clock()
    error = await failure(AuthenticationError, wait_for_tasks(ids))
    assert (error.code, error.http_status) == (code, status)
    assert error.request_id
    assert since(start) == 0
    assert len(virtual_ecs.requests) == 1


async def test_refused_later(virtual_ecs: EcsEmulator) -> None:
    """Credentials that are refused in the middle of a wait end it, and what had settled stays settled."""
    first, second = virtual_ecs.add_task(), virtual_ecs.add_task(duration=100)
    virtual_ecs.inject("refuse", where=lambda request: request.at.timestamp() % 60 >= 10)
    results = await wait_for_tasks([first, second], policy=every(10), return_exceptions=True)
    assert [type(result).__name__ for result in results.values()] == ["Task", "AuthenticationError"]


async def test_a_403_that_is_no_refusal(virtual_ecs: EcsEmulator) -> None:
    """A 403 is judged by its code: a task that cannot be canceled is no matter of credentials."""
    done, fixed = virtual_ecs.add_task(), virtual_ecs.add_task(task_action="ModifyDiskSpec", duration=100)
    async with EcsClient() as client:
        for task_id, code in ((done, "IncorrectTaskStatus"), (fixed, "TaskActionNotSupport")):
            error = await failure(ApiError, client.cancel_task(REGION, task_id))
            assert (type(error), error.code, error.http_status) == (ApiError, f"InvalidTaskId.{code}", 403)


async def test_a_look_up_that_is_refused(virtual_ecs: EcsEmulator) -> None:
    """Who may list tasks but not look into them waits on: a failure is told without its reason."""
    failed = virtual_ecs.add_task(outcome="Failed", error=("C", "why"))
    running = virtual_ecs.add_task(duration=100)
    virtual_ecs.inject("refuse", action="DescribeTaskAttribute")
    start = clock()
    results = await wait_for_tasks([failed, running], policy=every(10), return_exceptions=True)
    assert [type(result).__name__ for result in results.values()] == ["TaskFailedError", "Task"]
    assert since(start) == 100


@pytest.mark.parametrize(
    "raised",
    [ValueError("x"), OSError(5, "x"), TimeoutError("x"), RuntimeError("x"), ApiError("A.B", "x"),
     ThrottledError("Throttling", "x"), ServiceUnavailableError(None, "x"), ExceptionGroup("x", [ValueError()])],
    ids=repr,
)  # fmt: skip
async def test_a_provider_that_raises(virtual_ecs: EcsEmulator, raised: Exception) -> None:
    """A provider that raises counts as refused, at once, its error as the cause."""
    start = clock()
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: raised)))
    assert error.__cause__ is raised
    assert since(start) == 0
    assert virtual_ecs.requests == []


async def test_a_provider_that_is_refused_itself(virtual_ecs: EcsEmulator) -> None:
    """A provider's own AuthenticationError is told as it is, or as the cause."""
    refused = AuthenticationError("NoRole", "no such role")
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: refused)))
    assert "NoRole" in f"{error} {error.__cause__}"


@pytest.mark.parametrize("given", [None, ("id", "secret"), {"id": "secret"}, "secret"])
async def test_a_provider_that_gives_no_credentials(virtual_ecs: EcsEmulator, given: object) -> None:
    """What is no Credentials counts as refused, and is not repeated in the message."""
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: given)))
    assert isinstance(error.__cause__, TypeError)
    assert "secret" not in f"{error} {error.__cause__}"


async def test_a_provider_that_lets_a_cancellation_out(virtual_ecs: EcsEmulator) -> None:
    """A cancellation that is nobody's ends the wait with an error, and hangs nobody."""
    canceled = asyncio.CancelledError()
    error = await failure(EcsWaiterError, wait_for_task("t-1", credentials=Provider(lambda _: canceled)))
    assert isinstance(error.__cause__, asyncio.CancelledError)


async def test_a_slow_provider_stalls_no_one() -> None:
    """A provider that takes its time delays the call, and is a passing fault after `call_timeout`."""

    @dataclass
    class Slow:
        seconds: list[float]

        async def get_credentials(self) -> Credentials:
            await asyncio.sleep(self.seconds.pop())
            return _tokens(0)

    with hostile(lambda _: page(row())) as service:
        await wait_for_task("t-1", credentials=Slow([20]))
        start = clock()
        await wait_for_task("t-1", credentials=Slow([0, 1e6]), policy=every(1, call_timeout=10))
        assert 10 <= since(start) < 15
        assert len(service.asked) == 2


# -- an expired token, a wrong clock -----------------------------------------------------------------------------------


async def test_an_expired_token_is_renewed(virtual_ecs: EcsEmulator) -> None:
    """An expired token gets one try with freshly fetched credentials, at once, and no wait notices."""
    provider = Provider(_tokens)
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400, times=1)
    start = clock()
    await wait_for_task(virtual_ecs.add_task(), credentials=provider)
    sent = [request.headers["x-acs-security-token"] for request in virtual_ecs.requests]
    assert sent == ["example-token-1", "example-token-2"]
    assert since(start) < 1


async def test_a_token_that_stays_expired(virtual_ecs: EcsEmulator) -> None:
    """If the fresh token is refused as well, so are the credentials."""
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400)
    await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(_tokens)))
    assert len(virtual_ecs.requests) == 2


async def test_the_same_token_is_not_tried_again(virtual_ecs: EcsEmulator) -> None:
    """A provider that has nothing fresh saves the second try."""
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400)
    await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: _tokens(0))))
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize("date", ["Thu, 01 Jan 2099 00:00:00 GMT", "Thu, 01 Jan 1998 00:00:00 GMT"])
async def test_a_wrong_clock_is_corrected(date: str) -> None:
    """A clock that the service finds wrong is set by the answer's date, and the user is not told."""

    def answer(asked: Asked) -> web.Response:
        if asked.headers["x-acs-date"][:4] == date.split()[3]:
            return web.json_response(page(row("t-1", "Processing" if asked.number < 5 else "Finished")))
        code = {"Code": "InvalidTimeStamp.Expired", "Message": "Specified time stamp is expired."}
        return web.json_response(code, status=400, headers={"Date": date})

    with hostile(answer) as service:
        start = clock()
        await wait_for_task("t-1", policy=every(1))
        assert (len(service.asked), since(start)) == (5, 3)


async def test_a_clock_that_cannot_be_set() -> None:
    """Without a date in the answer a wrong clock is a fault like others, until the budget is spent."""
    refusal = {"Code": "InvalidTimeStamp.Expired", "Message": "expired"}
    with hostile(lambda _: web.json_response(refusal, status=400, headers={"Date": "?"})):
        error = await failure(ServiceUnavailableError, wait_for_task("t-1", policy=every(1, outage_budget=30)))
        assert error.code == "InvalidTimeStamp.Expired"


# -- starting ----------------------------------------------------------------------------------------------------------

# What may have happened although no good answer came.
DOUBTFUL: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": 503}),
    ("status", {"status": 503, "executed": True}),
    ("status", {"status": 403, "body": "html"}),
    ("reset", {"when": "before"}),
    ("reset", {"when": "middle"}),
    ("truncate", {}),
    ("hang", {}),
    ("body", {"content": []}),
]


@pytest.mark.parametrize(("kind", "settings"), DOUBTFUL)
async def test_a_doubtful_start(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """What may have started is not started again: the error says so."""
    virtual_ecs.inject(kind, times=1, **settings)
    async with EcsClient() as client:
        call = client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
        error = await failure(ServiceUnavailableError, call)
    assert "may have started" in str(error)
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize(("kind", "settings"), DOUBTFUL)
async def test_a_doubtful_start_with_a_token(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """With a ClientToken, which `run` adds by itself, the start is tried again and starts one task."""
    virtual_ecs.inject(kind, times=1, action="ImportImage", **settings)
    async with TaskWaiter() as waiter:
        task = await waiter.run("ImportImage", region_id=REGION)
    tokens = {request.params.get("ClientToken") for request in virtual_ecs.requests if request.action == "ImportImage"}
    assert len(tokens) == 1
    async with EcsClient() as client:
        assert [listed async for listed in client.iter_tasks(REGION)] == [task]


async def test_a_throttled_start(virtual_ecs: EcsEmulator) -> None:
    """What surely did not happen is tried again, with or without a token."""
    virtual_ecs.inject("throttle", times=2, action="ExportImage")
    async with TaskWaiter() as waiter:
        task = await waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
    assert task is not None
    assert [request.action for request in virtual_ecs.requests].count("ExportImage") == 3


async def test_a_refused_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was refused started nothing: the start is tried again, and the error casts no doubt."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "example-key-id")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "example-key-secret")
    policy = PollPolicy(outage_budget=0.01)
    async with EcsClient(endpoint="http://127.0.0.1:1", policy=policy) as client:
        error = await failure(ServiceUnavailableError, client.call("ExportImage", region_id=REGION))
    assert error.sent is False
    assert "may have started" not in str(error)
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert isinstance(error.__cause__.__cause__, aiohttp.ClientConnectorError)


async def test_a_change_done_at_once(virtual_ecs: EcsEmulator) -> None:
    """An answer without a task's ID makes `run` return None."""
    virtual_ecs.plan("ModifyDiskSpec", at_once=True)
    async with TaskWaiter() as waiter:
        assert await waiter.run("ModifyDiskSpec", region_id=REGION, params={"DiskId": "d-1"}) is None


async def test_a_deadline_before_the_answer(virtual_ecs: EcsEmulator) -> None:
    """A deadline that passes before the start is answered is a timeout without pending IDs."""
    virtual_ecs.inject("hang", action="ExportImage")
    start = clock()
    async with TaskWaiter() as waiter:
        run = waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"}, timeout=10)
        error = await failure(WaitTimeoutError, run)
    assert (error.pending, error.results, since(start)) == ((), {}, 10)


async def test_one_deadline_for_start_and_task(virtual_ecs: EcsEmulator) -> None:
    """Start and task together have the one deadline."""
    virtual_ecs.plan("ImportImage", duration=100)
    virtual_ecs.inject("delay", action="ImportImage", seconds=6)
    start = clock()
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, waiter.run("ImportImage", region_id=REGION, timeout=10))
    assert (len(error.pending), since(start)) == (1, 10)


async def test_a_started_task_that_fails(virtual_ecs: EcsEmulator) -> None:
    """A started task's failure is raised with its reason."""
    virtual_ecs.plan("ImportImage", outcome="Failed", error=("C", "why"))
    async with TaskWaiter() as waiter:
        assert "C: why" in str(await failure(TaskFailedError, waiter.run("ImportImage", region_id=REGION)))


async def test_a_start_has_a_connection_of_its_own() -> None:
    """A start never rides on an idle connection, while reads share one."""

    def answer(asked: Asked) -> Any:
        return page(row()) if asked.action == "DescribeTasks" else {"RequestId": "R", "TaskId": "t-1"}

    with hostile(answer) as service:
        async with EcsClient() as client:
            for action in ("DescribeTasks", "ExportImage", "ExportImage", "DescribeTasks"):
                await client.call(action)
        assert [asked.connection for asked in service.asked] == [1, 2, 3, 1]


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_a_stormy_day(virtual_ecs: EcsEmulator, seed: int) -> None:
    """With faults of every kind at random, each task comes to its own end and none is doubled."""
    bad = {virtual_ecs.add_task(duration=10.0 * n, outcome="Failed", error=("C", "why")) for n in range(20)}
    good = {virtual_ecs.add_task(duration=7.0 * n, visible_after=min(7.0 * n, 30)) for n in range(230)}
    for number, (kind, settings) in enumerate(PASSING):
        virtual_ecs.inject(kind, probability=0.02, seed=100 * seed + number, **settings)
    for number, kind in enumerate(("drop", "double", "foreign", "delay", "cut_short")):
        virtual_ecs.inject(kind, probability=0.05, seed=1000 * seed + number)
    group = await failure(TasksFailedError, wait_for_tasks([*good, *bad], timeout=7200))
    failed = {task_id for task_id, result in group.results.items() if isinstance(result, TaskFailedError)}
    finished: dict[str, Task] = {i: r for i, r in group.results.items() if not isinstance(r, EcsWaiterError)}
    assert (failed, set(finished)) == (bad, good)
