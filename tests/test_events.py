"""`events`: every change and every outcome in one iteration, exactly one of them final for each ID."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest
from support.helpers import ELSEWHERE, REASON, REGION, clock, collect, every, failure, since, turns

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    PollPolicy,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskWaiter,
    WaiterClosedError,
    WaitEvent,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

FOREVER = 1e9


def spoken(events: list[WaitEvent], task_id: str) -> list[tuple[str | None, str | None, bool]]:
    """Status, type of the error and finality of the events of one task."""
    return [
        (
            None if event.task is None else str(event.task.task_status),
            None if event.error is None else type(event.error).__name__,
            event.final,
        )
        for event in events
        if event.task_id == task_id
    ]


async def test_changes_then_the_end(virtual_ecs: EcsEmulator) -> None:
    """A first sight and each change of status is an event; the end is one final event, not also a change."""
    task_id = virtual_ecs.add_task(duration=95)
    virtual_ecs.inject("backwards", where=lambda request: 25 < request.at.timestamp() % 3600 < 55, status="Paused")
    async with TaskWaiter(policy=every(10)) as waiter:
        events = await collect(waiter.events([task_id], region_id=REGION))
    assert spoken(events, task_id) == [
        ("Processing", None, False),
        ("Paused", None, False),
        ("Processing", None, False),
        ("Finished", None, True),
    ]
    assert {event.region_id for event in events} == {REGION}


async def test_what_has_ended_at_first_sight(virtual_ecs: EcsEmulator) -> None:
    """What has ended when it is first seen is one event."""
    ids = [virtual_ecs.add_task(outcome=outcome) for outcome in ("Finished", "Failed", "Deleted")]
    async with TaskWaiter() as waiter:
        events = await collect(waiter.events([*ids, "t-unknown"]))
    assert [spoken(events, task_id) for task_id in ids] == [
        [("Finished", None, True)],
        [("Failed", "TaskFailedError", True)],
        [("Deleted", "TaskCanceledError", True)],
    ]
    assert spoken(events, "t-unknown") == [(None, "TaskNotFoundError", True)]


async def test_a_failure_comes_with_its_reason(virtual_ecs: EcsEmulator) -> None:
    """A failed task is one event, once its reason is known."""
    virtual_ecs.inject("delay", action="DescribeTaskAttribute", seconds=7)
    task_id = virtual_ecs.add_task(duration=15, outcome="Failed", error=REASON)
    start = clock()
    async with TaskWaiter(policy=every(10)) as waiter:
        events = await collect(waiter.events([task_id]))
    assert since(start) == 27
    assert spoken(events, task_id) == [("Processing", None, False), ("Failed", "TaskFailedError", True)]
    assert isinstance(events[-1].error, TaskFailedError)
    assert REASON[0] in str(events[-1].error)


async def test_a_failure_whose_reason_does_not_come(virtual_ecs: EcsEmulator) -> None:
    """A failed task whose reason does not come is reported after 30 s, without one."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    start = clock()
    async with TaskWaiter() as waiter:
        (event,) = await collect(waiter.events([virtual_ecs.add_task(outcome="Failed")]))
    assert since(start) == 30
    assert isinstance(event.error, TaskFailedError)
    assert event.error.detail is None


async def test_exactly_one_final_event(virtual_ecs: EcsEmulator) -> None:
    """Each ID gets exactly one final event, which is its last; a region's error is final for each of its IDs."""
    virtual_ecs.inject("refuse", region_id=ELSEWHERE)
    finished, slow = virtual_ecs.add_task(), virtual_ecs.add_task(duration=95)
    failed, canceled = virtual_ecs.add_task(outcome="Failed", error=REASON), virtual_ecs.add_task(outcome="Deleted")
    asked = {ELSEWHERE: ["t-1", "t-2"], REGION: [finished, slow, failed, canceled, "t-unknown"]}
    async with TaskWaiter() as waiter:
        events = await collect(waiter.events(asked))
    last = {event.task_id: event for event in events}
    assert [event for event in events if event.final] == [event for event in events if last[event.task_id] is event]
    assert {task_id: type(event.error or event.task) for task_id, event in last.items()} == {
        "t-1": AuthenticationError,
        "t-2": AuthenticationError,
        finished: Task,
        slow: Task,
        failed: TaskFailedError,
        canceled: TaskCanceledError,
        "t-unknown": TaskNotFoundError,
    }
    assert {event.region_id for event in events if event.task_id in asked[ELSEWHERE]} == {ELSEWHERE}


async def test_a_task_that_vanishes(virtual_ecs: EcsEmulator) -> None:
    """The error of a task that is no longer listed stands beside its last known state."""
    task_id = virtual_ecs.add_task(duration=FOREVER)
    virtual_ecs.inject("drop", task_id=task_id, where=lambda _: len(virtual_ecs.requests) > 2)
    async with TaskWaiter(policy=every(10)) as waiter:
        events = await collect(waiter.events([task_id]))
    assert spoken(events, task_id) == [("Processing", None, False), ("Processing", "TaskNotFoundError", True)]


async def test_a_region_that_fails(virtual_ecs: EcsEmulator) -> None:
    """The error of a region stands beside the last known state of each task, with all its fields."""
    ids = [virtual_ecs.add_task(duration=FOREVER, resource_id="m-1") for _ in range(2)]
    virtual_ecs.inject("refuse", where=lambda _: len(virtual_ecs.requests) > 2)
    async with TaskWaiter(policy=every(10)) as waiter:
        events = await collect(waiter.events(ids))
    assert [spoken(events, task_id) for task_id in ids] == [
        [("Processing", None, False), ("Processing", "AuthenticationError", True)]
    ] * 2
    assert {event.task.resource_id for event in events if event.task} == {"m-1"}


async def test_a_strategy_that_raises(virtual_ecs: EcsEmulator) -> None:
    """An error that names no region is final for each ID, with the ID's region."""

    def broken(_state: object) -> float:
        raise LookupError

    near = [virtual_ecs.add_task(duration=FOREVER) for _ in range(2)]
    far = virtual_ecs.add_task(region_id=ELSEWHERE, duration=FOREVER)
    async with TaskWaiter(policy=PollPolicy(wait=broken)) as waiter:
        events = await collect(waiter.events({REGION: near, ELSEWHERE: [far]}))
    assert {event.task_id: event.region_id for event in events if event.final} == {
        **dict.fromkeys(near, REGION),
        far: ELSEWHERE,
    }


async def test_a_deadline(virtual_ecs: EcsEmulator) -> None:
    """What is pending at the deadline gets no final event; the error names it, and holds no task, which events gave."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    virtual_ecs.inject("status", region_id=ELSEWHERE)
    failed, endless = virtual_ecs.add_task(outcome="Failed"), virtual_ecs.add_task(duration=FOREVER)
    events: list[WaitEvent] = []
    start = clock()
    async with TaskWaiter() as waiter:
        iteration = waiter.events({REGION: [failed, endless], ELSEWHERE: ["t-1"]}, timeout=20)
        error = await failure(WaitTimeoutError, collect(iteration, events))
        assert since(start) == 20
        await turns(3)
        assert sum(region.waiting for region in waiter.stats.regions.values()) == 0
    assert [(event.task_id, type(event.error)) for event in events if event.final] == [(failed, TaskFailedError)]
    assert spoken(events, endless) == [("Processing", None, False)]
    assert (error.results, error.pending, error.last) == ({}, (endless, "t-1"), {})
    assert set(error.faults) == {ELSEWHERE}
    assert f"still waiting after 20 s for 2 of 3: {endless}, t-1; {ELSEWHERE} is failing: " in str(error)


async def test_a_single_poll(virtual_ecs: EcsEmulator) -> None:
    """A timeout of 0 is a single poll: what has ended is final, a failure without its reason."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    running = virtual_ecs.add_task(duration=FOREVER)
    ids = [virtual_ecs.add_task(), virtual_ecs.add_task(outcome="Failed"), running]
    events: list[WaitEvent] = []
    start = clock()
    async with TaskWaiter() as waiter:
        error = await failure(WaitTimeoutError, collect(waiter.events(ids, timeout=0), events))
    assert since(start) == 0
    assert {event.task_id for event in events if event.final} == {ids[0], ids[1]}
    assert error.pending == (running,)


async def test_closing(virtual_ecs: EcsEmulator) -> None:
    """A waiter that is closed under an iteration raises WaiterClosedError, after what is known was given."""
    virtual_ecs.inject("hang", action="DescribeTaskAttribute")
    failed, endless = virtual_ecs.add_task(outcome="Failed"), virtual_ecs.add_task(duration=FOREVER)
    events: list[WaitEvent] = []
    waiter = TaskWaiter()
    iterating = asyncio.create_task(collect(waiter.events([failed, endless]), events))
    await asyncio.sleep(20)
    await waiter.aclose()
    error = await failure(WaiterClosedError, iterating)
    assert (error.results, error.pending) == ({}, (endless,))
    assert [event.task_id for event in events if event.final] == [failed]
    with pytest.raises(WaiterClosedError):
        waiter.events([endless])


async def test_others_wait_on(virtual_ecs: EcsEmulator) -> None:
    """Who leaves an iteration takes no task away from others who wait for it."""
    shared, own = virtual_ecs.add_task(duration=600), virtual_ecs.add_task(duration=600)
    async with TaskWaiter() as waiter:
        future = waiter.submit(shared)
        events = waiter.events([shared, own])
        await anext(events)
        await events.aclose()
        await turns(3)
        assert waiter.stats.regions[REGION].waiting == 1
        assert (await future).task_id == shared


async def test_again_at_once(virtual_ecs: EcsEmulator) -> None:
    """Who leaves an iteration and begins another at once, with a call under way, is given the task as anybody is."""
    task_id = virtual_ecs.add_task(duration=60)
    async with TaskWaiter() as waiter:
        first = waiter.events([task_id])
        assert (await anext(first)).task_id == task_id
        await first.aclose()
        events = await collect(waiter.events([task_id]))
    assert spoken(events, task_id) == [("Processing", None, False), ("Finished", None, True)]


async def test_who_joins_late(virtual_ecs: EcsEmulator) -> None:
    """Who joins while a failure's reason is looked up gets the one final event, when the reason is known."""
    virtual_ecs.inject("delay", action="DescribeTaskAttribute", seconds=9)
    task_id = virtual_ecs.add_task(outcome="Failed", error=REASON)
    async with TaskWaiter() as waiter:
        future = waiter.submit(task_id)
        await asyncio.sleep(5)
        start = clock()
        events = await collect(waiter.events([task_id]))
        assert since(start) == 4
        await failure(TaskFailedError, future)
    assert spoken(events, task_id) == [("Failed", "TaskFailedError", True)]


async def test_a_bad_id(virtual_ecs: EcsEmulator) -> None:
    """A rejected ID is a final event like any other, in its region."""
    good = virtual_ecs.add_task()
    virtual_ecs.inject("reject", task_id="t-bad")
    async with TaskWaiter() as waiter:
        events = await collect(waiter.events({REGION: [good, "t-bad"]}))
    (bad,) = (event for event in events if event.task_id == "t-bad")
    assert isinstance(bad.error, ApiError)
    assert (bad.region_id, bad.task, bad.final) == (REGION, None, True)


async def test_events_are_frozen(virtual_ecs: EcsEmulator) -> None:
    """An event cannot be changed."""
    async with TaskWaiter() as waiter:
        (event,) = await collect(waiter.events([virtual_ecs.add_task()]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.final = False
