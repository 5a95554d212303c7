"""Tests that freeze or move the wall clock do not stop the emulator's clock."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from unittest import mock

import freezegun
import pytest
from support.helpers import REGION, every

from ecs_waiter import StaticCredentials, blocking, wait_for_task
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from ecs_waiter import Task

_KEYS = StaticCredentials("key", "secret")
_LIFE = 0.05
_PATIENCE = 20  # seconds; reached only where the emulator's clock stands still
_DATES = pytest.mark.parametrize("date", ["2020-01-01", "2038-01-01"])


async def _waited(ecs: EcsEmulator, task_id: str) -> Task:
    async with ecs.session() as session:
        return await wait_for_task(
            task_id,
            region_id=REGION,
            endpoint=ecs.url,
            credentials=_KEYS,
            session=session,
            policy=every(0.02),
            timeout=_PATIENCE,
        )


@_DATES
def test_frozen_while_the_emulator_runs(ecs_emulator: EcsEmulator, date: str) -> None:
    """Freezing the wall clock under a running emulator does not stop its tasks."""
    with freezegun.freeze_time(date, real_asyncio=True):
        task = blocking.wait_for_task(ecs_emulator.add_task(duration=_LIFE), policy=every(0.02), timeout=_PATIENCE)
    assert task.task_status == "Finished"


@_DATES
@pytest.mark.asyncio
async def test_frozen_in_the_same_loop(date: str) -> None:
    """An emulator that runs in the test's own loop goes on when the test freezes the wall clock."""
    async with EcsEmulator(key_pairs=[("key", "secret")]) as ecs:
        with freezegun.freeze_time(date, real_asyncio=True):
            task = await _waited(ecs, ecs.add_task(duration=_LIFE))
    assert task.task_status == "Finished"


@_DATES
def test_tasks_added_before_the_freeze(date: str) -> None:
    """A task that was added before the wall clock was frozen ends as planned."""
    ecs = EcsEmulator(key_pairs=[("key", "secret")])
    task_id = ecs.add_task(duration=_LIFE)
    with freezegun.freeze_time(date, real_asyncio=True):
        task = asyncio.run(_waited(ecs, task_id))
    assert task.task_status == "Finished"


@_DATES
def test_tasks_added_in_the_freeze(date: str) -> None:
    """A task that was added while the wall clock was frozen ends as planned after it."""
    with freezegun.freeze_time(date, real_asyncio=True):
        ecs = EcsEmulator(key_pairs=[("key", "secret")])
        task_id = ecs.add_task(duration=_LIFE)
    assert asyncio.run(_waited(ecs, task_id)).task_status == "Finished"


@_DATES
@pytest.mark.asyncio
async def test_frozen_on_virtual_time(virtual_ecs: EcsEmulator, date: str) -> None:
    """On virtual time a frozen wall clock changes nothing."""
    with freezegun.freeze_time(date, real_asyncio=True):
        task = await wait_for_task(virtual_ecs.add_task(duration=3600))
    assert task.task_status == "Finished"


@pytest.mark.parametrize("seconds", [0.0, 4e9])
def test_time_alone_is_replaced(ecs_emulator: EcsEmulator, seconds: float) -> None:
    """Replacing `time.time` alone, as some tools do, does not stop the emulator's tasks."""
    with mock.patch.object(time, "time", return_value=seconds):
        task = blocking.wait_for_task(ecs_emulator.add_task(duration=_LIFE), policy=every(0.02), timeout=_PATIENCE)
    assert task.task_status == "Finished"
