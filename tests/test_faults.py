"""Faults that pass are tried again within the outage budget, and no task is lost on a stormy day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import REGION, asked, clock, every, failure, since, times

from ecs_waiter import (
    EcsClient,
    EcsWaiterError,
    PollPolicy,
    ServiceUnavailableError,
    TaskFailedError,
    TasksFailedError,
    TaskWaiter,
    ThrottledError,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.api import exchange, service_errors, transport

if TYPE_CHECKING:
    from types import ModuleType

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


@pytest.mark.parametrize(("kind", "settings"), PASSING)
async def test_a_wait_outlives_it(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """A fault that passes delays a wait by less than a minute, and shows in its stats alone."""
    task_id = virtual_ecs.add_task()
    injection = virtual_ecs.inject(kind, times=2, **settings)
    start = clock()
    async with TaskWaiter() as waiter:
        (task,) = (await waiter.wait([task_id])).values()
        assert task.task_status == "Finished"
        assert injection.hits == 2
        assert waiter.stats.regions[REGION].retried == 2
    assert 0 < since(start) < 60


@pytest.mark.parametrize(("kind", "settings"), PASSING)
async def test_a_call_outlives_it(virtual_ecs: EcsEmulator, kind: str, settings: dict[str, Any]) -> None:
    """A fault that passes delays a call that only reads."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject(kind, times=2, **settings)
    async with EcsClient() as client:
        assert [task.task_id async for task in client.iter_tasks()] == [task_id]


async def test_a_session_that_cannot_be_opened(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception from opening the library's own session is a fault: waits and starts are repeated."""
    task_id = virtual_ecs.add_task()
    errors: list[Exception] = [RuntimeError("aiodns needs a SelectorEventLoop"), OSError(24, "Too many open files")]
    new_connector = transport.new_connector

    def failing(*, force_close: bool = False) -> Any:
        if errors:
            raise errors.pop()
        return new_connector(force_close=force_close)

    monkeypatch.setattr(transport, "new_connector", failing)
    async with TaskWaiter() as waiter:
        await waiter.wait([task_id])
        assert waiter.stats.regions[REGION].retried == 2
        errors.append(RuntimeError("once more"))
        answer = await waiter.client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
    assert answer["TaskId"]


@pytest.mark.parametrize(
    ("module", "name"), [(exchange, "unpack"), (transport, "read_reply"), (service_errors, "parsed")]
)
async def test_no_memory_to_read_an_answer(
    virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    """An answer that does not fit into memory is a fault: it is asked for again."""
    task_id = virtual_ecs.add_task()
    read = getattr(module, name)
    failures = [MemoryError(), MemoryError()]

    def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(*arguments)

    monkeypatch.setattr(module, name, failing)
    async with TaskWaiter() as waiter:
        await waiter.wait([task_id])
        assert waiter.stats.regions[REGION].retried == 2
        failures.append(MemoryError())
        with pytest.raises(ServiceUnavailableError, match=r"MemoryError|not enough memory.*; it may have started"):
            await waiter.client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})


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
        await failure(expected, client.describe_tasks(region_id=REGION))
    assert since(start) <= 30


async def test_faults_do_not_use_up_the_grace(virtual_ecs: EcsEmulator) -> None:
    """A task that an outage keeps from being seen is not unknown."""
    task_id = virtual_ecs.add_task(visible_after=30)
    virtual_ecs.inject("status", where=lambda _: 5 < clock() - start < 300)
    start = clock()
    await wait_for_task(task_id, policy=every(5))
    assert since(start) >= 300


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


async def test_an_outage_is_logged_once(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """A region that gives no good answer for a while is named once, with the fault, and once more when it recovers."""
    caplog.set_level("INFO", logger="ecs_waiter")
    task_id = virtual_ecs.add_task(duration=100)
    virtual_ecs.inject("status", times=8)
    await wait_for_task(task_id, policy=every(10))
    told = [record.getMessage() for record in caplog.records if record.name == "ecs_waiter.polling"]
    assert len(told) == 2
    assert told[0].startswith(f"{REGION} is not responding; retrying for 600 s: ServiceUnavailable")
    assert told[1] == f"{REGION} is responding again"


async def test_faults_that_pass_soon_are_not_logged(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """A fault that the next calls mend is nobody's business, however often it comes."""
    task_id = virtual_ecs.add_task(duration=3600)
    virtual_ecs.inject("status", probability=0.3, seed=3)
    await wait_for_task(task_id, policy=every(10))
    assert [record for record in caplog.records if record.name.startswith("ecs_waiter")] == []


async def test_a_pause_that_is_asked_for_with_a_fault(virtual_ecs: EcsEmulator) -> None:
    """x-acs-retry-after counts for every fault, not for throttling only."""
    task_id = virtual_ecs.add_task()
    virtual_ecs.inject("status", status=503, headers={"x-acs-retry-after": "60000"}, times=1)
    await wait_for_task(task_id, policy=every(10))
    assert times(virtual_ecs) == [0, 60]


async def test_a_listing_is_tried_for_the_whole_budget(virtual_ecs: EcsEmulator) -> None:
    """A call other than a poll outlives an outage that the budget outlives."""
    virtual_ecs.add_task()
    start = clock()
    virtual_ecs.inject("status", where=lambda _request: since(start) < 400)
    async with EcsClient() as client:
        assert (await client.describe_tasks(region_id=REGION)).total_count == 1
    assert 400 <= since(start) <= 430
