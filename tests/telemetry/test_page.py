"""docs/observing.md lists what there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.helpers import REASON, REGION, failure

from ecs_waiter import TaskFailedError, TaskWaiter

if TYPE_CHECKING:
    from support.collecting import Collected

    from ecs_waiter.emulator import EcsEmulator

PAGE = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")


@pytest.mark.asyncio
async def test_every_metric_is_listed(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """The table of metrics names each with its unit."""
    async with TaskWaiter() as waiter:
        await waiter.wait([virtual_ecs.add_task()], region_id=REGION)
        units = collected.units()
    assert dict(re.findall(r"^\| `(ecs_waiter\.[\w.]+)` \| [a-z -]+, `([^`]+)` \|", PAGE, re.MULTILINE)) == units


@pytest.mark.asyncio
async def test_every_attribute_of_a_wait_is_listed(virtual_ecs: EcsEmulator, collected: Collected) -> None:
    """The table of a wait's attributes names all that the span of a failed one has."""
    async with TaskWaiter() as waiter:
        ids = [virtual_ecs.add_task(outcome="Failed", error=REASON)]
        await failure(TaskFailedError, waiter.wait(ids, region_id=REGION))
    (span,) = collected.spans("ecs_waiter.wait")
    names = set(span.attributes or {}) - {"cloud.provider"}
    assert names
    assert names <= {
        name for row in re.findall(r"^\| (.*) \|", PAGE, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
