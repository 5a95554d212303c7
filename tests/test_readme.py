"""The README's code runs as it stands."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
FIRST, LAUNCH = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_first_example(virtual_ecs: EcsEmulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The example that opens the README waits for both tasks and prints their statuses."""
    for task_id in re.findall(r"t-[a-z0-9]{20}", FIRST):
        virtual_ecs.add_task(task_id=task_id, duration=3600)
    exec(compile(FIRST, "README.md", "exec"), {})  # noqa: S102 - that is the point
    assert capsys.readouterr().out.count("Finished") == 2


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("Finished", "imported as m-"), ("Failed", "ImageFormatMismatch: not a qcow2 file"), ("never", "still running:")],
)
def test_start_and_wait(virtual_ecs: EcsEmulator, capsys: pytest.CaptureFixture[str], outcome: str, told: str) -> None:
    """The second example tells of an import that finishes, one that fails and one that takes too long."""
    reason = ("ImageFormatMismatch", "not a qcow2 file") if outcome == "Failed" else None
    virtual_ecs.plan(
        "ImportImage",
        duration=1e6 if outcome == "never" else 3600,
        outcome="Finished" if outcome == "never" else outcome,
        error=reason,
    )
    names: dict[str, Any] = {}
    exec(compile(LAUNCH, "README.md", "exec"), names)  # noqa: S102 - that is the point
    asyncio.run(names["launch"]("base.qcow2"))
    assert told in capsys.readouterr().out
