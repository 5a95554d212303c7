"""The trigger: one event each, one poll for all, and no effect on other triggers."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from airflow.models.trigger import Trigger
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.serialization.decoders import smart_decode_trigger_kwargs

from ecs_waiter.airflow import EcsTaskTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

REGION = "cn-hangzhou"


def trigger(*task_ids: str, **more: Any) -> EcsTaskTrigger:
    """A trigger for these tasks."""
    return EcsTaskTrigger(**{"task_ids": list(task_ids), "region_id": REGION, **more})


async def events(waiting: EcsTaskTrigger) -> list[dict[str, Any]]:
    """All its events, through JSON."""
    return [json.loads(json.dumps(event.payload)) async for event in waiting.run()]


async def event(waiting: EcsTaskTrigger) -> dict[str, Any]:
    """Its one event, through JSON."""
    [only] = await events(waiting)
    return only


def polls(ecs: EcsEmulator) -> list[tuple[str, ...]]:
    """The IDs of each poll."""
    return [request.task_ids for request in ecs.requests if request.action == "DescribeTasks"]


@pytest.mark.asyncio
async def test_success(virtual: EcsEmulator) -> None:
    """When all tasks have finished, the event has the fields of each."""
    ids = [virtual.add_task(duration=600, resource_id=f"m-{number}") for number in range(3)]
    result = await event(trigger(*ids))
    assert result["status"] == "success"
    assert [task["resource_id"] for task in result["tasks"].values()] == ["m-0", "m-1", "m-2"]
    assert (result["errors"], result["pending"]) == ({}, [])


@pytest.mark.asyncio
async def test_failure_tells_the_reason(virtual: EcsEmulator) -> None:
    """A failed task's event holds the service's reason, and what the others came to."""
    good = virtual.add_task(duration=60)
    bad = virtual.add_task(duration=30, outcome="Failed", error=("NoSpace", "the bucket is full"))
    result = await event(trigger(good, bad))
    assert result["status"] == "failed"
    assert "NoSpace: the bucket is full" in result["message"]
    assert result["tasks"][good]["task_status"] == "Finished"
    assert result["tasks"][bad]["task_status"] == "Failed"


@pytest.mark.asyncio
async def test_thousand_triggers_share_one_poll(virtual: EcsEmulator) -> None:
    """A thousand triggers cost ten calls a poll."""
    policy = {"wait": {"factor": 0, "min": 10, "max": 10, "jitter": 0}}
    ids = [virtual.add_task(duration=95) for _ in range(1000)]
    result = await asyncio.gather(*(event(trigger(task_id, policy=policy)) for task_id in ids))
    assert {found["status"] for found in result} == {"success"}
    # At 0, 10, ... 90, and the last at 100 seconds. Connections are read in threads, so that not all come in one turn of
    # the loop: until their calls have found together, a few may go out half empty.
    assert 11 * 10 <= len(polls(virtual)) <= 12 * 10
    assert sum(map(len, polls(virtual))) >= 11 * 1000


@pytest.mark.asyncio
async def test_triggers_do_not_affect_each_other(virtual: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """Invalid input, an unknown ID, a deadline, an invalid region: each has its own event, and the others theirs."""
    good = [virtual.add_task(duration=300) for _ in range(50)]
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    endless = virtual.add_task(duration=10_000)
    invalid = {
        "timeout": trigger(endless, deadline=soon),
        "failed": trigger("t-unknown"),
        "error: no list": trigger(task_ids="t-1"),
        "error: no ID": trigger("a,b"),
        "error: nothing": trigger(task_ids=None),
        "error: region": trigger("t-1", region_id="no region!"),
        "error: deadline": trigger("t-1", deadline="next week"),
        "error: naive": trigger("t-1", deadline="2026-01-01T00:00:00"),
        "error: policy": trigger("t-1", policy={"pace": 5}),
        "error: numbers": trigger("t-1", policy={"wait": {"min": -1}}),
        "error: connection": trigger("t-1", alibabacloud_conn_id="nowhere"),
    }
    result = await asyncio.gather(*map(event, [*invalid.values(), *(trigger(task_id) for task_id in good)]))
    for what, found in zip(invalid, result, strict=False):
        assert found["status"] == what.partition(":")[0], what
        assert found["message"], what
    assert {found["status"] for found in result[len(invalid) :]} == {"success"}


@pytest.mark.asyncio
async def test_region_that_refuses(virtual: EcsEmulator) -> None:
    """Rejected credentials are an error, which may be retried; another region is not affected."""
    virtual.inject("refuse", region_id="us-west-1")
    here, there = virtual.add_task(duration=60), virtual.add_task(region_id="us-west-1")
    result = await asyncio.gather(event(trigger(here)), event(trigger(there, region_id="us-west-1")))
    assert [found["status"] for found in result] == ["success", "error"]


@pytest.mark.asyncio
async def test_no_ids(virtual: EcsEmulator) -> None:
    """No tasks are done already."""
    assert (await event(trigger()))["status"] == "success"


@pytest.mark.asyncio
async def test_cancellation_is_ones_own(virtual: EcsEmulator) -> None:
    """A canceled trigger gives no event, cancels nothing at the service, and leaves the others waiting."""
    shared, alone = virtual.add_task(duration=600), virtual.add_task(duration=600)
    going, gone = trigger(shared), trigger(shared, alone)
    stays = asyncio.create_task(events(going))
    leaves = asyncio.create_task(events(gone))
    await asyncio.sleep(100)
    leaves.cancel("__airflow_user_action__")
    with pytest.raises(asyncio.CancelledError) as caught:
        await leaves
    await gone.cleanup()
    # Airflow distinguishes a user's action from a shutdown by this message.
    assert caught.value.args == ("__airflow_user_action__",)
    before = len(virtual.requests)
    assert (await stays)[0]["status"] == "success"
    assert all(alone not in request.task_ids for request in virtual.requests[before:])
    assert {request.action for request in virtual.requests} == {"DescribeTasks"}


@pytest.mark.asyncio
async def test_last_one_closes(virtual: EcsEmulator) -> None:
    """When the last trigger ends, the library leaves nothing on the loop."""
    before = asyncio.all_tasks()
    await asyncio.gather(*(event(trigger(virtual.add_task(duration=number))) for number in range(5)))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.asyncio
async def test_a_trigger_that_comes_later_is_served(virtual: EcsEmulator) -> None:
    """After the last has closed the waiter, the next makes another."""
    for _ in range(2):
        assert (await event(trigger(virtual.add_task(duration=30))))["status"] == "success"


@pytest.mark.asyncio
async def test_shared_work_is_in_no_ones_context(virtual: EcsEmulator) -> None:
    """What the waiter logs for all does not land in the log of the trigger that came first."""
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
    seen: list[tuple[str, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.name, whose.get()))

    unknown = virtual.add_task(duration=1e9, status="Frobnicated")
    logger, handler = logging.getLogger("ecs_waiter"), Handler()
    logger.addHandler(handler)
    try:
        whose.set("the first trigger's")
        soon = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
        assert (await event(trigger(unknown, deadline=soon)))["status"] == "timeout"
    finally:
        logger.removeHandler(handler)
    assert seen
    assert {owner for _, owner in seen} == {"nobody's"}


@pytest.mark.asyncio
async def test_takeover(virtual: EcsEmulator) -> None:
    """A trigger recreated from its serialized form polls at the pace of the task's age, to the same deadline."""
    task_id = virtual.add_task(duration=4000)
    first = trigger(task_id, deadline=datetime.now(UTC) + timedelta(seconds=5000), policy={"not_found_grace": 5})
    running = asyncio.create_task(events(first))
    await asyncio.sleep(3000)
    running.cancel()
    row = Trigger.from_object(first)
    kwargs = {name: smart_decode_trigger_kwargs(value) for name, value in row.kwargs.items()}
    second = import_string(row.classpath)(**kwargs)
    assert second.serialize() == first.serialize()
    assert json.loads(json.dumps(kwargs)) == first.serialize()[1]
    before = len(polls(virtual))
    assert (await event(second))["status"] == "success"
    # Every thirty seconds or so, as an old task's pace is.
    assert 30 <= len(polls(virtual)) - before <= 50


@pytest.mark.asyncio
async def test_deadline_that_has_passed_is_one_look(virtual: EcsEmulator) -> None:
    """A trigger that is taken over after its deadline polls once: a task that has finished by then is not a timeout."""
    late = datetime.now(UTC) - timedelta(hours=1)
    done, going = virtual.add_task(), virtual.add_task(duration=600)
    result = await asyncio.gather(event(trigger(done, deadline=late)), event(trigger(going, deadline=late)))
    assert [found["status"] for found in result] == ["success", "timeout"]
    assert result[1]["pending"] == [going]


@pytest.mark.asyncio
async def test_key_that_changes(virtual: EcsEmulator, connect: Callable[..., str]) -> None:
    """When the connection's key changes, triggers that come later use the new one."""
    task_id = virtual.add_task(duration=300)
    early = asyncio.create_task(event(trigger(task_id)))
    await asyncio.sleep(60)
    connect(virtual.url, access_key_id="new-key-id")
    late = asyncio.create_task(event(trigger(task_id)))
    await asyncio.gather(early, late)
    assert {request.access_key_id for request in virtual.requests} == {"emulator-key-id", "new-key-id"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("state", "is_canceled"),
    [
        ("failed", True),
        ("success", True),
        ("deferred", False),
        ("running", False),
        ("up_for_retry", False),
        ("scheduled", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("map_index", [-1, 7])
async def test_kill_cancels_what_nobody_waits_for(
    virtual: EcsEmulator, monkeypatch: pytest.MonkeyPatch, state: str | None, is_canceled: bool, map_index: int
) -> None:
    """A task is canceled only if its task instance has ended: otherwise it waits elsewhere, or will wait."""

    def get_task_states(**asked: Any) -> dict[str, Any]:
        assert asked == {"dag_id": "d", "run_ids": ["r"], "task_ids": ["x"], "map_index": map_index}
        return {"r": {"x" if map_index < 0 else "x_7": state}} if state else {}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    killed = trigger(virtual.add_task(duration=600), cancel_on_kill=True)
    killed.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="x", map_index=map_index)  # type: ignore[assignment]
    await killed.on_kill()
    assert [request.action for request in virtual.requests] == ["CancelTask"] * is_canceled


@pytest.mark.asyncio
async def test_kill_outlives_being_canceled(virtual: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow cancels a trigger again while it is being killed; its tasks are canceled nevertheless."""
    states = {"r": {"x": "failed"}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(lambda **_: states))
    virtual.inject("delay", action="CancelTask", seconds=10)
    killed = trigger(virtual.add_task(duration=600), cancel_on_kill=True)
    killed.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="x", map_index=-1)  # type: ignore[assignment]
    killing = asyncio.create_task(killed.on_kill())
    for _ in range(5):
        await asyncio.sleep(1)
        killing.cancel("__airflow_user_action__")
    await killing
    assert [request.answered for request in virtual.requests] == [200]


@pytest.mark.asyncio
async def test_kill_in_a_scope_of_anyio(virtual: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scope that repeats its cancellation in each iteration of the loop does not keep the loop busy meanwhile."""
    states = {"r": {"x": "failed"}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(lambda **_: states))
    virtual.inject("delay", action="CancelTask", seconds=10)
    killed = trigger(virtual.add_task(duration=600), cancel_on_kill=True)
    killed.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="x", map_index=-1)  # type: ignore[assignment]
    turns = itertools.count()
    run_once = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]

    def turn(loop: asyncio.BaseEventLoop) -> None:
        assert next(turns) < 1000, "the loop never becomes idle"
        run_once(loop)

    monkeypatch.setattr(asyncio.BaseEventLoop, "_run_once", turn)
    with anyio.move_on_after(5):
        await killed.on_kill()
    assert [request.answered for request in virtual.requests] == [200]


@pytest.mark.asyncio
@pytest.mark.parametrize("more", [{}, {"cancel_on_kill": True, "deadline": "2026-01-01T00:00:00+00:00"}])
async def test_kill_cancels_nothing(virtual: EcsEmulator, more: dict[str, Any]) -> None:
    """By default a kill cancels nothing; neither does one after the deadline, whose event has ended the wait."""
    killed = trigger(virtual.add_task(duration=600), **more)
    await killed.on_kill()
    assert not virtual.requests
