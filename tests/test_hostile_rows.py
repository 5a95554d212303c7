"""Hostile rows: they harm at most the task concerned, in polls, look-ups and listings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from support.helpers import clock, every, failure, since
from support.hostile import Asked, finishes, hostile, page, row

from ecs_waiter import (
    EcsClient,
    PollPolicy,
    ServiceUnavailableError,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskWaiter,
    WaitTimeoutError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.asyncio

# -- rows that cannot be read are no absence ---------------------------------------------------------------------------

DOCUMENTED_2018 = {
    "RequestId": "A4FE4C3F-5A4D-4D43-9F0E-0B1B0D0A3C11",
    "TotalCount": 1,
    "TaskSet": [
        {
            "Task": [
                {
                    "TaskId": "t-1",
                    "TaskStatus": "Finished",
                    "TaskAction": "ImportImage",
                    "SupportCancel": True,
                    "CreationTime": "2018-11-24T12:50Z",
                    "FinishedTime": "2018-11-24T12:51Z",
                }
            ]
        }
    ],
}


async def test_the_shape_documented_in_2018() -> None:
    """A task set that is a list of one object with a `Task` list is read, bare boolean and missing fields included."""
    with hostile(lambda _: web.json_response(DOCUMENTED_2018)):
        task = await wait_for_task("t-1")
        assert (task.task_status, task.task_action, task.resource_id) == ("Finished", "ImportImage", "")
        assert task.support_cancel is True
        async with EcsClient() as client:
            assert [task.task_id for task in (await client.describe_tasks()).tasks] == ["t-1"]
            assert [task.task_id async for task in client.iter_tasks()] == ["t-1"]


async def test_the_old_shape_with_a_single_row() -> None:
    """Of a list of such objects each may hold one row or several."""
    rows = [{"Task": row("t-1", "Finished")}, {"Task": [row("t-2", "Finished")]}]
    with hostile(lambda _: web.json_response({"TaskSet": rows, "TotalCount": 2})):
        assert list(await wait_for_tasks(["t-1", "t-2"])) == ["t-1", "t-2"]


UNREADABLE: dict[str, object] = {
    "a number for an ID": {"TaskId": 5, "TaskStatus": "Finished"},
    "a row that is a list": ["t-1", "Finished"],
    "a row that is text": "t-1",
    "null": None,
    "lower-case keys": {"taskId": "t-1", "taskStatus": "Finished"},
    "no status": {"TaskId": "t-1"},
    "null for a status": {"TaskId": "t-1", "TaskStatus": None},
    "a list for a status": {"TaskId": "t-1", "TaskStatus": ["Finished"]},
}


@pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("counted", [True, False])
async def test_nothing_readable_is_a_fault(unreadable: object, counted: bool) -> None:
    """An answer of which no row can be read is a fault: its tasks are not unknown, and are found when it passes."""
    total = {"TotalCount": 1} if counted else {}

    def answer(asked: Asked) -> dict[str, Any]:
        is_odd = asked.number < 20
        return page(unreadable if is_odd else row("t-1", "Finished"), **total)

    with hostile(answer):
        assert (await wait_for_task("t-1", policy=every(7, not_found_grace=10))).task_status == "Finished"


@pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
async def test_nothing_readable_for_the_whole_budget(unreadable: object) -> None:
    """A region that never gives a readable row is an outage, not a region without the task."""
    with hostile(lambda _: page(unreadable)):
        policy = every(7, not_found_grace=10, outage_budget=60)
        error = await failure(ServiceUnavailableError, wait_for_task("t-1", policy=policy))
        assert error.region_id == "cn-hangzhou"
        assert "the answer does not hold a row" in str(error)


@pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE)
async def test_one_unreadable_row_is_no_absence(unreadable: object) -> None:
    """Where one of several rows cannot be read, no ID counts as absent, and the others finish as ever."""
    readable = ("t-2", "t-3")

    def answer(asked: Asked) -> dict[str, Any]:
        rows: list[object] = [row(task_id, "Finished") for task_id in asked.task_ids if task_id in readable]
        return page(*rows, *([unreadable] if "t-1" in asked.task_ids else []))

    with hostile(answer):
        async with TaskWaiter(policy=every(7, not_found_grace=10, outage_budget=100)) as waiter:
            error = await failure(WaitTimeoutError, waiter.wait(["t-1", "t-2", "t-3"], timeout=90))
            assert list(error.results) == ["t-2", "t-3"]
            assert error.last == {"t-1": None}
            unlisted = await failure(ServiceUnavailableError, waiter.wait(["t-1"]))
            assert unlisted.region_id == "cn-hangzhou"


# -- rows --------------------------------------------------------------------------------------------------------------


async def test_rows_of_other_types() -> None:
    """Rows that are no maps, and maps that name no task, harm no other row."""
    odd = [None, 5, 1.5, True, "t-1", [], ["t-1"], {}, {"TaskId": None}, {"TaskId": 5}, {"TaskId": ["t-1"]}]
    with hostile(lambda _: page(*odd, row(), *odd)) as service:
        await finishes(service, calls=1)


async def test_tasks_nobody_asked_for() -> None:
    """Rows of other tasks settle nothing."""
    with hostile(
        lambda asked: page(row("t-0"), row("t-1", "Processing" if asked.number < 3 else "Finished"))
    ) as service:
        assert list(await wait_for_tasks(["t-1"], policy=every(1))) == ["t-1"]
        assert len(service.asked) == 3


@pytest.mark.parametrize("status", [None, 5, True, [], {}, ["Finished"], "", "finished", " Finished", "\ud800", "\0"])
async def test_a_status_that_is_none(status: object) -> None:
    """A status of another type or an unknown word is not terminal: polling goes on."""
    with hostile(lambda asked: page(row("t-1", status if asked.number < 3 else "Finished"), row("t-2"))) as service:
        await wait_for_tasks(["t-1", "t-2"], policy=every(1))
        assert [asked.task_ids for asked in service.asked] == [("t-1", "t-2"), ("t-1",), ("t-1",)]


@pytest.mark.parametrize("name", ["TaskAction", "ResourceId", "SupportCancel", "CreationTime", "FinishedTime", "Extra"])
@pytest.mark.parametrize("value", [None, 5, 1e308, True, [], {}, [[]] * 10, "\ud800", "\0\x1b[31m\n", "x" * 10**6])
@pytest.mark.parametrize("status", ["Finished", "Failed", "Deleted"])
async def test_an_odd_field_beside_the_status(name: str, value: object, status: str) -> None:
    """A task settles by its status, whatever stands in its other fields."""
    with hostile(lambda _: page(row("t-1", status, **{name: value}), row("t-2"))) as service:
        results = await wait_for_tasks(["t-1", "t-2"], return_exceptions=True, timeout=60)
    kinds = {"Failed": TaskFailedError, "Deleted": TaskCanceledError}
    if status in kinds:
        assert isinstance(results["t-1"], kinds[status])
        assert str(results["t-1"]).isprintable()
    assert isinstance(results["t-2"], Task)
    assert sum(asked.action == "DescribeTasks" for asked in service.asked) == 1


async def test_only_id_and_status() -> None:
    """An ID and a status are enough."""
    with hostile(lambda _: {"TaskSet": {"Task": [{"TaskId": "t-1", "TaskStatus": "Finished"}]}}) as service:
        await finishes(service, calls=1)


@pytest.mark.parametrize("region", ["us-west-1", "", None, 5, ["cn-hangzhou"]])
async def test_a_wrong_region_in_a_row(region: object) -> None:
    """A task is of the region that was asked, whatever its row says."""
    with hostile(lambda _: page(row(RegionId=region), RegionId=region)):
        assert (await wait_for_task("t-1")).region_id == "cn-hangzhou"


@pytest.mark.parametrize("order", [1, -1])
async def test_rows_that_contradict_each_other(order: int) -> None:
    """Of two rows of one task the one that says it has ended is right."""
    rows = [row("t-1", "Processing"), row("t-1", "Finished")][::order]
    with hostile(lambda _: page(*rows)) as service:
        await finishes(service, calls=1)


async def test_a_status_that_goes_backwards() -> None:
    """What has settled once stays settled, though the service takes it back later."""

    def answer(asked: Asked) -> Any:
        first = "Finished" if asked.number == 1 else "Processing"
        return page(row("t-1", first), row("t-2", "Processing" if asked.number < 3 else "Finished"))

    with hostile(answer):
        tasks = await wait_for_tasks(["t-1", "t-2"], policy=every(1))
        assert [task.task_status for task in tasks.values()] == ["Finished", "Finished"]


async def test_a_flood_of_odd_words(caplog: pytest.LogCaptureFixture) -> None:
    """Unknown words are logged once each, on one line each, and a flood of them does not flood the log."""
    ids = [f"t-{n:03}" for n in range(100)]
    with (
        hostile(
            lambda asked: page(*(row(i, f"\n\x1b[31m\ud800{i}" if asked.number == 1 else "Finished") for i in ids))
        ),
        caplog.at_level(logging.WARNING, "ecs_waiter"),
    ):
        await wait_for_tasks(ids, policy=every(1))
    assert 1 <= len(caplog.messages) <= 25
    assert all(message.isprintable() for message in caplog.messages)


# -- the reason of a failure -------------------------------------------------------------------------------------------


def _failed(detail: Any, status: int = 200) -> Callable[[Asked], Any]:
    def answer(asked: Asked) -> Any:
        if asked.action == "DescribeTasks":
            return page(row("t-1", "Failed"))
        return web.json_response(detail, status=status)

    return answer


@pytest.mark.parametrize(
    "detail",
    [
        [], None, 5, {}, {"TaskId": "t-2"}, {"TaskId": 5}, {"OperationProgressSet": 5}, {"TaskStatus": "Finished"},
        {"OperationProgressSet": {"OperationProgress": [5, None]}}, {"Code": "A.B", "Message": "m"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400, 403, 404, 503])
async def test_a_look_up_that_fails(detail: Any, status: int) -> None:
    """A task known to have failed is told as failed in half a minute, whatever becomes of the look-up."""
    with hostile(_failed(detail, status)):
        start = clock()
        error = await failure(TaskFailedError, wait_for_task("t-1"))
        assert since(start) <= 30
        assert error.task is not None
        assert error.task.task_status == "Failed"


async def test_an_odd_reason() -> None:
    """A reason with odd characters is told, on one clean line."""
    step = {"ErrorCode": "C\ud800", "ErrorMsg": "first\nsecond\x1b[31m"}
    with hostile(_failed(row("t-1", "Failed", OperationProgressSet={"OperationProgress": [step]}))):
        error = await failure(TaskFailedError, wait_for_task("t-1"))
    assert "first" in str(error)
    assert str(error).isprintable()


# -- listings ----------------------------------------------------------------------------------------------------------


async def test_a_listing_of_unreadable_rows() -> None:
    """A listing leaves unreadable rows aside and goes on behind them."""
    pages: list[list[Any]] = [[row("t-1"), *[{"TaskId": 5}] * 99], [row("t-2"), None, "x"]]
    with hostile(lambda asked: page(*pages[asked.number - 1], TotalCount=103)):
        async with EcsClient() as client:
            assert [task.task_id async for task in client.iter_tasks()] == ["t-1", "t-2"]


async def test_a_listing_of_nothing_readable() -> None:
    """A page of which no row can be read is a fault of the service, not a page without tasks."""
    with hostile(lambda _: page({"TaskId": 5}, None, TotalCount=2)):
        async with EcsClient(policy=PollPolicy(outage_budget=10)) as client:
            with pytest.raises(ServiceUnavailableError, match="a row that can be read"):
                [task async for task in client.iter_tasks()]


async def test_a_listing_that_repeats_itself() -> None:
    """A service that gives the same page for ever is not listed for ever, and each task comes once."""
    same = [row(f"t-{n}") for n in range(100)]
    with hostile(lambda _: page(*same, TotalCount=10**9)) as service:
        async with EcsClient() as client:
            assert len([task async for task in client.iter_tasks()]) == 100
        assert len(service.asked) <= 20


async def test_a_listing_that_understates_its_size() -> None:
    """Full pages are followed by the next one, though the count says that there is none."""
    pages: list[list[Any]] = [[row(f"t-{n}-{m}") for m in range(100)] for n in range(3)]
    pages.append([])
    with hostile(lambda asked: page(*pages[asked.number - 1], TotalCount=0)):
        async with EcsClient() as client:
            assert len([task async for task in client.iter_tasks()]) == 300


@pytest.mark.parametrize("figure", [None, "x", -1, 10**300, [], True])
async def test_a_page_of_odd_figures(figure: object) -> None:
    """A page's figures that cannot be read are those that were asked for."""
    with hostile(lambda _: page(row(), TotalCount=figure, PageNumber=figure, PageSize=figure, RequestId=figure)):
        async with EcsClient(policy=PollPolicy(outage_budget=5)) as client:
            found = await client.describe_tasks(task_ids=["t-1"])
    assert [task.task_id for task in found.tasks] == ["t-1"]
    if figure != 10**300:
        assert (found.total_count, found.page_number, found.page_size, found.request_id) == (1, 1, 1, found.request_id)
