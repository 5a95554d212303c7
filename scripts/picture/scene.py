"""The scene: a shell in which `ecs-waiter wait` waits for eight tasks of an emulator, one of which fails."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ecs_waiter.testing.background import serve
from scripts.picture.session import Session, record

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

__all__ = ["LINE", "play"]

LINE = "ecs-waiter wait - --timeout 2h < tasks.txt"

_COLUMNS, _LINES = 104, 20
_REGIONS = ("cn-hangzhou", "us-west-1")
_ACTIONS = ("ImportImage", "ImportImage", "ExportImage", "ExportImage")
# In seconds, task by task.
_DURATIONS = (8.0, 11.0, 14.0, 4.0, 9.5, 5.0, 13.0, 6.5)
_FAILING = 5
_REASON = ("ImageFormatMismatch", "not a qcow2 file")


def play() -> Session:
    """Record the command's run against an emulator on loopback, which takes a quarter of a minute."""
    with serve() as ecs, tempfile.TemporaryDirectory() as folder:
        Path(folder, "tasks.txt").write_text("".join(f"{task}\n" for task in _start_tasks(ecs)), encoding="utf-8")
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": folder,
            "LANG": "C.UTF-8",
            "ECS_WAITER_ENDPOINT": ecs.url,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "test",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "test",
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        }
        return record(LINE, environment, Path(folder), columns=_COLUMNS, lines=_LINES)


def _start_tasks(ecs: EcsEmulator) -> list[str]:
    tasks = []
    for number, duration in enumerate(_DURATIONS):
        region_id = _REGIONS[number % len(_REGIONS)]
        fails = number == _FAILING
        task_id = ecs.add_task(
            region_id=region_id,
            task_action=_ACTIONS[number % len(_ACTIONS)],
            duration=duration,
            outcome="Failed" if fails else "Finished",
            error=_REASON if fails else None,
        )
        tasks.append(f"{region_id}:{task_id}")
    return tasks
