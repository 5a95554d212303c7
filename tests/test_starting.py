"""Starting is not idempotent: what may have happened is not done twice, unless a ClientToken makes it safe."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from support.helpers import REGION, clock, failure, since
from support.hostile import Asked, hostile, page, row

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    Credentials,
    EcsClient,
    PollPolicy,
    ServiceUnavailableError,
    Task,
    TaskFailedError,
    TaskWaiter,
    ThrottledError,
    WaiterClosedError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

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
        assert [listed async for listed in client.iter_tasks(region_id=REGION)] == [task]


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


async def test_a_start_at_work(virtual_ecs: EcsEmulator) -> None:
    """LastTokenProcessing on a repeat is asked again, with the same token, until the first request has given its task."""
    virtual_ecs.plan("ImportImage", busy=40)
    virtual_ecs.inject("status", status=500, executed=True, action="ImportImage", times=1)
    start = clock()
    async with TaskWaiter() as waiter:
        task = await waiter.run("ImportImage", region_id=REGION)
        assert since(start) >= 40
        assert [listed async for listed in waiter.client.iter_tasks(region_id=REGION)] == [task]
    answers = [request.answered for request in virtual_ecs.requests if request.action == "ImportImage"]
    assert answers == [500, *[403] * (len(answers) - 2), 200]
    assert 4 <= len(answers) <= 10
    assert len({r.params["ClientToken"] for r in virtual_ecs.requests if r.action == "ImportImage"}) == 1


async def test_a_callers_token_at_work(virtual_ecs: EcsEmulator) -> None:
    """A start with a token whose first request is still at work elsewhere joins that one."""
    virtual_ecs.plan("ImportImage", busy=30)
    async with TaskWaiter() as waiter:
        first = await waiter.client.call("ImportImage", region_id=REGION, params={"ClientToken": "mine"})
        task = await waiter.run("ImportImage", region_id=REGION, params={"ClientToken": "mine"})
    assert task.task_id == first["TaskId"]


@pytest.mark.parametrize("timeout", [None, 20])
async def test_a_start_that_stays_at_work(virtual_ecs: EcsEmulator, timeout: float | None) -> None:
    """A start that stays at work ends with the budget or the deadline, and the error says which token to use."""
    virtual_ecs.plan("ImportImage", busy=1e9)
    virtual_ecs.inject("reset", when="middle", action="ImportImage", times=1)
    start = clock()
    async with TaskWaiter(policy=PollPolicy(outage_budget=100)) as waiter:
        kind = ServiceUnavailableError if timeout is None else WaitTimeoutError
        error = await failure(kind, waiter.run("ImportImage", region_id=REGION, timeout=timeout))
    assert 60 <= since(start) <= 100 if timeout is None else since(start) == 20
    assert_names_token(error, virtual_ecs)


@pytest.mark.parametrize("token", [None, "mine"])
@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("status", {"status": 400, "code": "IdempotentParameterMismatch"}, ApiError),
        ("status", {"status": 400, "code": "InvalidImageName.Duplicated"}, ApiError),
        ("status", {"status": 403, "code": "QuotaExceeded"}, ApiError),
        ("refuse", {}, AuthenticationError),
        ("throttle", {}, ThrottledError),
        ("status", {"status": 503}, ServiceUnavailableError),
        ("hang", {}, ServiceUnavailableError),
    ],
)
async def test_an_answer_to_a_repeat(
    virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any], expected: type[ApiError], token: str | None
) -> None:
    """An answer to a repeat does not prove that the attempt before started nothing: the error names the token."""
    virtual_ecs.inject("status", status=500, executed=True, times=1)
    virtual_ecs.inject(kind, where=lambda _: len(virtual_ecs.requests) > 1, **settings)
    async with TaskWaiter() as waiter:
        run = waiter.run("ImportImage", region_id=REGION, params={"ClientToken": token})
        error = await failure(expected, run)
    assert type(error) is expected
    assert_names_token(error, virtual_ecs)
    assert error.code == (settings.get("code") or error.code)


async def test_a_first_refusal_is_final(virtual_ecs: EcsEmulator) -> None:
    """A refusal of the first attempt started nothing, and the error casts no doubt."""
    virtual_ecs.inject("status", status=403, code="QuotaExceeded")
    async with TaskWaiter() as waiter:
        error = await failure(ApiError, waiter.run("ImportImage", region_id=REGION))
    assert "may have started" not in str(error)
    assert len(virtual_ecs.requests) == 1


async def test_a_token_with_other_parameters(virtual_ecs: EcsEmulator) -> None:
    """IdempotentParameterMismatch says which token was used with other parameters, and what to do."""
    async with TaskWaiter() as waiter:
        await waiter.run("ImportImage", region_id=REGION, params={"ClientToken": "mine", "ImageName": "a"})
        for start in (waiter.run, waiter.client.call):
            params = {"ClientToken": "mine", "ImageName": "b"}
            error = await failure(ApiError, start("ImportImage", region_id=REGION, params=params))
            assert error.code == "IdempotentParameterMismatch"
            assert "ClientToken 'mine' was used before with other parameters: use another token, or" in str(error)
            assert "may have started" not in str(error)
            assert copy.copy(error).message == pickle.loads(pickle.dumps(error)).message  # noqa: S301 - our own


@pytest.mark.parametrize("operation", ["ImportImage", "ExportImage"])
@pytest.mark.parametrize("how", ["timeout", "closed", "caller's deadline"])
async def test_a_start_that_is_given_up(virtual_ecs: EcsEmulator, operation: str, how: str) -> None:
    """A start that a deadline or the closing of the waiter ends says how to find out: by its token, or by looking."""
    virtual_ecs.inject("hang")
    waiter = TaskWaiter()
    told: str
    if how == "timeout":
        error: BaseException = await failure(WaitTimeoutError, waiter.run(operation, region_id=REGION, timeout=5))
        told = str(error)
    elif how == "closed":
        run = asyncio.create_task(waiter.run(operation, region_id=REGION))
        await asyncio.sleep(1)
        await waiter.aclose()
        told = str(await failure(WaiterClosedError, run))
    else:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(5):
                await waiter.run(operation, region_id=REGION)
        assert caught.value.__cause__ is not None
        told = caught.value.__cause__.__notes__[0]
    await waiter.aclose()
    token = virtual_ecs.requests[0].params.get("ClientToken")
    assert f"{operation} in {REGION} was not answered" in told
    assert "it may have started" in told
    assert (token or f"look for {operation} among the tasks of {REGION} (DescribeTasks)") in told


@pytest.mark.parametrize(
    ("operation", "look"),
    [
        ("CopyImage", "DescribeImages"),
        ("CreateSnapshot", "DescribeSnapshots"),
        ("RunInstances", "a Describe operation"),
    ],
)
async def test_a_doubtful_call(virtual_ecs: EcsEmulator, operation: str, look: str) -> None:
    """`call` says of any operation how to look for what may have started, or which token to repeat it with."""
    virtual_ecs.inject("reset", when="before")
    async with EcsClient(policy=PollPolicy(outage_budget=5)) as client:
        error = await failure(ServiceUnavailableError, client.call(operation, region_id=REGION))
        assert f"it may have started; look with {look}" in error.message
        call = client.call(operation, region_id=REGION, params={"ClientToken": "mine"})
        assert "it may have started; to find out, repeat" in (await failure(ServiceUnavailableError, call)).message
        reading = client.call("DescribeDisks", region_id=REGION)
        assert "may have started" not in (await failure(ServiceUnavailableError, reading)).message


def assert_names_token(error: Exception, ecs: EcsEmulator) -> None:
    """The error says that the import may have started, and which token to use to find out."""
    assert "it may have started; to find out, repeat ImportImage" in str(error)
    assert f"ClientToken '{ecs.requests[0].params['ClientToken']}'" in str(error)


async def test_a_start_has_a_connection_of_its_own() -> None:
    """A start never rides on an idle connection, while reads share one."""

    def answer(asked: Asked) -> Any:
        return page(row()) if asked.action == "DescribeTasks" else {"RequestId": "R", "TaskId": "t-1"}

    with hostile(answer) as service:
        async with EcsClient() as client:
            for action in ("DescribeTasks", "ExportImage", "ExportImage", "DescribeTasks"):
                await client.call(action)
        assert [asked.connection for asked in service.asked] == [1, 2, 3, 1]


@pytest.mark.parametrize("how", ["timeout", "close", "cancel"])
@pytest.mark.parametrize("why", ["throttled", "no credentials"])
async def test_a_start_cut_off_before_anything_was_done(virtual_ecs: EcsEmulator, why: str, how: str) -> None:
    """A start that was cut off before an attempt could take effect says so, and gives the last fault."""

    class Sealed:
        async def get_credentials(self) -> Credentials:
            raise ConnectionError("the vault is sealed")

    if why == "throttled":
        virtual_ecs.inject("throttle", retry_after=1)
    credentials = Sealed() if why == "no credentials" else None
    async with TaskWaiter(credentials) as waiter:
        run = asyncio.ensure_future(
            waiter.run(
                "ExportImage", region_id=REGION, params={"ImageId": "m-1"}, timeout=30 if how == "timeout" else None
            )
        )
        if how == "close":
            await asyncio.sleep(30)
        if how == "cancel":
            await asyncio.sleep(30)
            run.cancel()
        error: BaseException | None = None
        if how != "close":
            error = await failure({"timeout": WaitTimeoutError, "cancel": asyncio.CancelledError}[how], run)
    if how == "close":
        error = await failure(WaiterClosedError, run)
    words = str(error) or getattr(error, "__notes__", [""])[0]
    assert "nothing was sent, so it was not started; the last fault: " in words
    assert "may have started" not in words
    assert ("Throttling.User" if why == "throttled" else "the credentials provider raised ConnectionError") in words
    if isinstance(error, WaitTimeoutError):
        assert list(error.faults) == [REGION]


async def test_a_start_cut_off_while_it_is_sent(virtual_ecs: EcsEmulator) -> None:
    """A start that was cut off while its answer was awaited may have started, whatever went before."""
    virtual_ecs.inject("throttle", times=1)
    virtual_ecs.inject("hang")
    async with TaskWaiter() as waiter:
        run = waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"}, timeout=20)
        error = await failure(WaitTimeoutError, run)
    assert "it may have started" in str(error)
    assert "the last fault: Throttling.User" in str(error)


@pytest.mark.parametrize("message", ["Forbidden", "QuotaExceeded", "IdempotentParameterMismatch", ""])
async def test_words_that_repeat_the_code(virtual_ecs: EcsEmulator, message: str) -> None:
    """What is added to a service's message never ends up inside its code."""
    code = f"{message}.RAM" if message == "Forbidden" else message or "QuotaExceeded"
    virtual_ecs.inject("status", times=1, executed=True)
    virtual_ecs.inject("status", status=403, code=code, message=message)
    async with EcsClient() as client:
        params = {"ImageName": "x", "ClientToken": "token-1"}
        error = await failure(ApiError, client.call("ImportImage", region_id=REGION, params=params))
    assert error.code == code
    assert str(error).startswith(f"{code}: ")
    assert "may have started" in error.message


@pytest.mark.parametrize("how", ["callback", "cancel"])
async def test_the_task_is_named_whatever_ends_the_wait(virtual_ecs: EcsEmulator, how: str) -> None:
    """If the caller's own code ends `run` after the start, a note names the task that was started."""
    virtual_ecs.plan("ImportImage", duration=3600)

    def on_update(_task: Task) -> None:
        if how == "callback":
            raise LookupError("not found")

    async with TaskWaiter() as waiter:
        run = asyncio.ensure_future(waiter.run("ImportImage", region_id=REGION, params={}, on_update=on_update))
        await asyncio.sleep(60)
        run.cancel()
        error = await failure({"callback": LookupError, "cancel": asyncio.CancelledError}[how], run)
    assert error.__notes__ == [f"ImportImage was started in {REGION} as task {_only_task(virtual_ecs)}"]


def _only_task(ecs: EcsEmulator) -> str:
    return next(request.task_ids[0] for request in ecs.requests if request.action == "DescribeTasks")


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_a_start_cut_off_as_its_answer_comes(
    virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A start that was answered is never said not to have been sent, however close its end and the answer are."""
    loop_time: Any = asyncio.get_running_loop().time
    virtual_ecs.plan("ExportImage", duration=1e6)
    async with TaskWaiter() as waiter:
        call = waiter.client.recorded_call

        async def and_then(*arguments: Any, **options: Any) -> dict[str, Any]:
            answer = await call(*arguments, **options)
            if how == "deadline":
                loop_time.__self__.jump(1)
                await asyncio.sleep(0)
            else:
                asyncio.get_running_loop().call_soon(run.cancel)
            return answer

        monkeypatch.setattr(waiter.client, "recorded_call", and_then)
        params = {"ImageId": "m-1"}
        run = asyncio.ensure_future(waiter.run("ExportImage", region_id=REGION, params=params, timeout=0.5))
        error = await failure(WaitTimeoutError if how == "deadline" else asyncio.CancelledError, run)
    assert "nothing was sent" not in f"{error} {getattr(error, '__notes__', '')}"


async def test_calls_of_a_provider_are_no_attempts(virtual_ecs: EcsEmulator) -> None:
    """What a credentials provider calls itself does not make a start doubtful that was never sent."""
    virtual_ecs.inject("hang", action="DescribeTasks")

    class Asking:
        async def get_credentials(self) -> Credentials:
            async with EcsClient() as client:
                await client.describe_tasks(task_ids=["t-1"], region_id=REGION)
            raise AssertionError

    async with TaskWaiter(Asking()) as waiter:
        run = waiter.run("ExportImage", region_id=REGION, params={"ImageId": "m-1"}, timeout=5)
        error = await failure(WaitTimeoutError, run)
    assert "nothing was sent" in str(error)
