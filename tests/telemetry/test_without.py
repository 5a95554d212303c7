"""Without the extra: nothing is imported, and everything else is as it was."""

from __future__ import annotations

import subprocess
import sys

_WAIT = """
import asyncio, sys
sys.modules["opentelemetry"] = None if {missing} else sys.modules.get("opentelemetry")
if not {missing}: del sys.modules["opentelemetry"]
from ecs_waiter import StaticCredentials, TaskWaiter
from ecs_waiter.emulator import EcsEmulator

async def main():
    ecs = EcsEmulator()
    async with ecs.session() as session, TaskWaiter(StaticCredentials("key", "secret"), ecs.url, session=session) as waiter:
        ids = [ecs.add_task(), ecs.add_task(outcome="Failed", error=("A", "b"))]
        future = waiter.submit(ids[0], region_id="cn-hangzhou")
        assert len([outcome async for outcome in waiter.as_completed(ids, region_id="cn-hangzhou")]) == 2
        await future
        await waiter.wait(ids[:1], region_id="cn-hangzhou")

asyncio.run(main())
print(*sorted(name for name, module in sys.modules.items() if name.startswith("opentelemetry") and module))
"""


def _loaded(*, missing: bool) -> set[str]:
    code = _WAIT.format(missing=missing)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return set(run.stdout.split())


def test_nothing_is_imported() -> None:
    """Waiting, iterating and submitting loads no module of OpenTelemetry where it is missing, and no SDK where only its API is."""
    assert _loaded(missing=True) == set()
    loaded = _loaded(missing=False)
    assert "opentelemetry.trace" in loaded
    assert not any(name.startswith("opentelemetry.sdk") for name in loaded)
