"""The log of transitions: one record each, its fields in `extra`, nothing for a poll without news."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import REASON, REGION

from ecs_waiter import TaskWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

FIELDS = ("region_id", "task_id", "outcome", "task_status", "task_action", "resource_id")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[..., list[logging.LogRecord]]:
    """The records of a logger, at one level."""
    caplog.set_level(logging.DEBUG, "ecs_waiter")

    def records(level: int, logger: str = "ecs_waiter.tasks") -> list[logging.LogRecord]:
        return [record for record in caplog.records if (record.name, record.levelno) == (logger, level)]

    return records


async def _wait(*task_ids: str) -> None:
    async with TaskWaiter() as waiter:
        await waiter.wait(task_ids, region_id=REGION, return_exceptions=True)


@pytest.mark.asyncio
async def test_a_task_that_finishes(virtual_ecs: EcsEmulator, told: Callable[..., list[logging.LogRecord]]) -> None:
    """First sight is DEBUG, the end INFO, and the many polls between are nothing."""
    task_id = virtual_ecs.add_task(duration=3600, resource_id="m-1")
    await _wait(task_id)
    (seen,), (settled,) = told(logging.DEBUG), told(logging.INFO)
    assert seen.getMessage() == f"task {task_id} in {REGION}: Processing"
    assert _fields(seen) == {"region_id": REGION, "task_id": task_id, "task_status": "Processing"}
    assert settled.getMessage() == f"task {task_id} in {REGION}: finished"
    assert _fields(settled) == {
        "region_id": REGION,
        "task_id": task_id,
        "outcome": "finished",
        "task_status": "Finished",
        "task_action": "ImportImage",
        "resource_id": "m-1",
    }


@pytest.mark.asyncio
async def test_other_ends(virtual_ecs: EcsEmulator, told: Callable[..., list[logging.LogRecord]]) -> None:
    """Each end is told once, in one word; an unknown ID has no other fields."""
    failed = virtual_ecs.add_task(outcome="Failed", error=REASON)
    canceled = virtual_ecs.add_task(outcome="Deleted")
    await _wait(failed, canceled, "t-unknown")
    ends = {fields["task_id"]: fields for fields in map(_fields, told(logging.INFO))}
    outcomes = {task_id: fields["outcome"] for task_id, fields in ends.items()}
    assert outcomes == {failed: "failed", canceled: "canceled", "t-unknown": "not_found"}
    assert ends["t-unknown"]["task_status"] is None
    assert told(logging.DEBUG) == []


@pytest.mark.asyncio
async def test_each_change_of_status(virtual_ecs: EcsEmulator, told: Callable[..., list[logging.LogRecord]]) -> None:
    """A task that goes on in another status is told again; the service's words are made printable."""
    task_id = virtual_ecs.add_task(duration=600)
    virtual_ecs.inject("backwards", task_id=task_id, status="Pau\x1b[2Jsed", times=3)
    await _wait(task_id)
    words = [_fields(record)["task_status"] for record in told(logging.DEBUG)]
    assert words == ["Pau\\x1b[2Jsed", "Processing"]


@pytest.mark.asyncio
async def test_quiet(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """Unless it is asked for, a wait that goes well logs nothing."""
    await _wait(virtual_ecs.add_task(duration=60))
    assert [record for record in caplog.records if record.name.startswith("ecs_waiter")] == []


@pytest.mark.asyncio
async def test_an_outage_names_its_region(
    virtual_ecs: EcsEmulator, told: Callable[..., list[logging.LogRecord]]
) -> None:
    """A region that stops answering, and one that answers again, are told with the region as a field."""
    virtual_ecs.inject("status", status=503, times=8)
    await _wait(virtual_ecs.add_task(duration=60))
    for level in (logging.WARNING, logging.INFO):
        assert [_fields(record) for record in told(level, "ecs_waiter.polling")] == [{"region_id": REGION}]
