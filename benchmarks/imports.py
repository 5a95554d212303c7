"""What importing costs: CPU beyond a bare interpreter's, and the modules loaded."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from pathlib import Path

import ecs_waiter
from benchmarks.figures import Goal, Result, of, ratios

__all__ = ["measure"]

_ROUNDS = 20
_PACKAGE = Path(ecs_waiter.__file__).parent
_PEERS = (
    "import aiohttp, pydantic, tenacity\n"
    "class Model(pydantic.BaseModel):\n"
    "    model_config = pydantic.ConfigDict(frozen=True)\n"
    "    name: str"
)
_OURS = "import ecs_waiter"
_USED = "from ecs_waiter import wait_for_tasks"
_SDK = (
    "from alibabacloud_ecs20140526 import models\n"
    "from alibabacloud_ecs20140526.client import Client\n"
    "from alibabacloud_tea_openapi.models import Config"
)
_PROGRAMS = {
    "nothing": "",
    "aiohttp, tenacity and pydantic with one model": _PEERS,
    "import ecs_waiter": _OURS,
    "from ecs_waiter import wait_for_tasks": _USED,
    "the official SDK": _SDK,
}


def measure() -> Result:
    """Start each program in turn, round by round."""
    # As an installer leaves it: a clone may hold no bytecode yet, or be told to write none.
    compileall.compile_dir(_PACKAGE, quiet=1)
    spent: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    for program in _PROGRAMS.values():
        _run(program)
    for _ in range(_ROUNDS):
        for name, program in _PROGRAMS.items():
            spent[name].append(_run(program))
    net = {name: [one - bare for one, bare in zip(spent[name], spent["nothing"], strict=True)] for name in spent}
    peers = net["aiohttp, tenacity and pydantic with one model"]
    figures = [of(name, "ms", [seconds * 1000 for seconds in net[name]]) for name in _PROGRAMS if name != "nothing"]
    figures += [
        of(f"{name} / aiohttp, tenacity and pydantic with one model", "x", ratios(net[name], peers), goal)
        for name, goal in (
            ("import ecs_waiter", Goal(at_most=1.1)),
            ("from ecs_waiter import wait_for_tasks", Goal(at_most=1.1)),
            ("the official SDK", None),
        )
    ]
    foreign = sorted(_foreign(_USED) - _foreign(_PEERS))
    figures.append(of("modules that wait_for_tasks loads besides", "modules", [len(foreign)], Goal(at_most=0)))
    named = f" Besides: {', '.join(foreign)}." if foreign else ""
    return Result(
        "What does the import cost?",
        figures,
        notes=[f"CPU of a whole process, less that of one which imports nothing.{named}"],
    )


def _run(program: str) -> float:
    """User and system time of a process."""
    process = subprocess.Popen([sys.executable, "-c", program])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program!r} ended with code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _foreign(program: str) -> set[str]:
    """The modules loaded that are none of ours."""
    command = [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return {name for name in told if name.partition(".")[0] != "ecs_waiter"}
