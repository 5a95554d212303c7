"""Hostile rows: they harm at most the task concerned, in polls, look-ups and listings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from helpers import clock, every, failure, since
from hostile import Asked, finishes, hostile, page, row

from ecs_waiter import (
    EcsClient,
    PollPolicy,
    Task,
    TaskCanceledError,
    TaskFailedError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.asyncio

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
    pages: list[list[Any]] = [[{"TaskId": 5}] * 100, [row("t-1"), None, "x"]]
    with hostile(lambda asked: page(*pages[asked.number - 1], TotalCount=103)):
        async with EcsClient() as client:
            assert [task.task_id async for task in client.iter_tasks()] == ["t-1"]


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
