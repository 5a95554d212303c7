"""Without the extra: nothing is imported, and everything else is as it was."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import REGION

from ecs_waiter import TaskWaiter, telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.emulator import EcsEmulator


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenTelemetry cannot be imported."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    telemetry._shared.cache_clear()
    yield
    telemetry._shared.cache_clear()


@pytest.mark.asyncio
async def test_a_wait(missing: None, virtual_ecs: EcsEmulator) -> None:
    """A waiter waits, iterates and submits with no telemetry at all."""
    ids = [virtual_ecs.add_task(duration=60), virtual_ecs.add_task(duration=60, outcome="Failed", error=("A", "b"))]
    async with TaskWaiter() as waiter:
        assert waiter._telemetry is None
        future = waiter.submit(ids[0], region_id=REGION)
        assert len([outcome async for outcome in waiter.as_completed(ids, region_id=REGION)]) == 2
        await future
    polled: Any = waiter._pollers[REGION]._observer
    assert polled is None


_WAIT = """
import asyncio, sys
sys.modules["opentelemetry"] = None if {missing} else sys.modules.get("opentelemetry")
if not {missing}: del sys.modules["opentelemetry"]
from ecs_waiter import StaticCredentials, TaskWaiter
from ecs_waiter.emulator import EcsEmulator

async def main():
    ecs = EcsEmulator()
    async with ecs.session() as session, TaskWaiter(StaticCredentials("key", "secret"), ecs.url, session=session) as waiter:
        await waiter.wait([ecs.add_task()], region_id="cn-hangzhou")

asyncio.run(main())
print(*sorted(name for name, module in sys.modules.items() if name.startswith("opentelemetry") and module))
"""


def _loaded(*, missing: bool) -> set[str]:
    code = _WAIT.format(missing=missing)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return set(run.stdout.split())


def test_nothing_is_imported() -> None:
    """A whole wait loads no module of OpenTelemetry where it is missing, and no SDK where only its API is."""
    assert _loaded(missing=True) == set()
    loaded = _loaded(missing=False)
    assert "opentelemetry.trace" in loaded
    assert not any(name.startswith("opentelemetry.sdk") for name in loaded)
