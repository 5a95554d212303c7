"""after_the_sdk.py: a process of its own, with the real SDK, over loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

PROGRAM = Path(__file__).parents[2] / "examples" / "after_the_sdk.py"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "m-bp1 is in backup"),
        (("OSSBucketNotFound", "no such bucket"), "failed: OSSBucketNotFound: no such bucket"),
    ],
)
def test_export(ecs_emulator: EcsEmulator, error: tuple[str, str] | None, told: str) -> None:
    """What the SDK has started is waited for to its end, good or bad."""
    ecs_emulator.plan("ExportImage", duration=0.2, outcome="Failed" if error else "Finished", error=error)
    program = [sys.executable, str(PROGRAM), "cn-hangzhou", "m-bp1", "backup"]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert told in ran.stdout
    assert ecs_emulator.requests[0].action == "ExportImage"
