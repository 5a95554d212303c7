"""The command as a process of its own, against an emulator that a module's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ecs_waiter.testing.background import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator

COMMAND = (sys.executable, "-m", "ecs_waiter.cli")


@pytest.fixture(scope="module")
def ecs() -> Iterator[EcsEmulator]:
    """An emulator over loopback."""
    with serve() as emulator:
        yield emulator


@pytest.fixture
def environment(ecs: EcsEmulator, tmp_path: Path) -> dict[str, str]:
    """All that the command is told by its environment: nothing of the developer's own."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "PYTHONPATH", "SYSTEMROOT", "COVERAGE_PROCESS_START")
        if name in os.environ
    }
    kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return kept | {
        "HOME": str(tmp_path),
        "PYTHONWARNINGS": "error",
        "ECS_WAITER_ENDPOINT": ecs.url,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "test",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "test",
        "ALIBABA_CLOUD_REGION_ID": "cn-hangzhou",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }


@pytest.fixture
def command(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end; keyword arguments are more of its environment, None takes a variable out."""

    def run(*arguments: str, stdin: str = "", **variables: str | None) -> subprocess.CompletedProcess[str]:
        told: dict[str, str | None] = {**environment, **variables}
        return subprocess.run(  # noqa: S603 - our own command
            [*COMMAND, *arguments],
            input=stdin,
            env={name: value for name, value in told.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def started(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command, and end it with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*COMMAND, *arguments],
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def spawn(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the command with streams of the test's choice, and end it with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        variables = streams.pop("variables", {})
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        process = subprocess.Popen([*COMMAND, *arguments], env={**environment, **variables}, **piped)  # noqa: S603 - our own command
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
