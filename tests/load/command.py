"""Measures ``ecs-waiter wait`` with many tasks: ``make load-command``.

The command is a process of its own, against a stand-in over loopback. For each scene a line gives its memory per task,
which is the growth of the peak of its resident memory over a run with a hundred tasks, and the seconds from the signal
or the deadline to its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.canned import canned_server

if TYPE_CHECKING:
    from collections.abc import Iterator

_MILLION = 1_000_000
_FEW = 100
_REGIONS = 20
_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class Scene:
    """One run.

    Attributes:
        kind: What the stand-in answers.
        words: Words of the command line.
        interrupts: Whether Ctrl-C ends it, once every task was polled; else it ends by itself.
        code: Its exit code.
    """

    kind: str
    words: tuple[str, ...]
    interrupts: bool
    code: int


def _scenes(seconds: float) -> dict[str, Scene]:
    deadline = ("--timeout", f"{seconds:g}s")
    return {
        "interrupted": Scene("http echo", (), interrupts=True, code=130),
        "deadline": Scene("http echo", deadline, interrupts=False, code=124),
        "finished": Scene("http echo Finished", (), interrupts=False, code=0),
        "finished, json": Scene("http echo Finished", ("--output", "json"), interrupts=False, code=0),
        "finished, jsonl": Scene("http echo Finished", ("--output", "jsonl"), interrupts=False, code=0),
    }


def _ids(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"cn-region-{number % _REGIONS}:t-bp1hvgwromzv3{number:09}\n"


def run(url: str, scene: Scene, count: int, seconds: float) -> tuple[int, float]:
    """Run a scene; returns the peak of its resident memory in bytes, and the seconds of its end."""
    variables = {
        **os.environ,
        "ECS_WAITER_ENDPOINT": url,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "test",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "test",
    }
    command = [sys.executable, "-m", "ecs_waiter.cli", "wait", "-", "--quiet", *scene.words]
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        stdin.writelines(line.encode() for line in _ids(count))
        stdin.seek(0)
        began = time.monotonic()
        process = subprocess.Popen(command, env=variables, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
        asked_at = began + seconds if scene.interrupts or scene.code else float("inf")
        if scene.interrupts:
            threading.Timer(seconds, process.send_signal, (signal.SIGINT,)).start()
        peak = 0
        while process.poll() is None:
            with contextlib.suppress(OSError, StopIteration):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
            time.sleep(_LOOK_EVERY / 10)
        ended = time.monotonic()
    assert process.returncode == scene.code, process.returncode
    return peak, ended - (asked_at if asked_at < float("inf") else began)


def main() -> None:
    """Measure every scene."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else _MILLION
    # Ten calls a second in each region, and some seconds to read the IDs.
    seconds = 20 + count / (_REGIONS * 10 * 100) * 1.5
    with canned_server() as server:
        for name, scene in _scenes(seconds).items():
            least, _ = run(server.urls[scene.kind], _scenes(5)[name], _FEW, 5)
            peak, took = run(server.urls[scene.kind], scene, count, seconds)
            sys.stdout.write(f"{name:16} {count:9,} tasks  {(peak - least) / count:6.0f} bytes a task  {took:6.2f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
