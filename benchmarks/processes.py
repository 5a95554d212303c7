"""Processes that measure one peer each, and stand still between their rounds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Measured", "answer_rounds", "measured_once"]


def measured_once(script: str, *arguments: str) -> Any:
    """What ``python benchmarks/<script> <arguments>`` prints, a JSON value."""
    command = [sys.executable, script, *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


class Measured:
    """One peer's process, which runs a round when it is asked to: ``python benchmarks/<script> <arguments>``."""

    def __init__(self, script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, script, *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def round(self, asked: object = None) -> Any:
        """Have it run one round, and return what it measured.

        Raises:
            RuntimeError: The process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with code {self._process.wait()}")
        return json.loads(line)


async def answer_rounds(measure: Callable[[Any], Awaitable[object]]) -> None:
    """In such a process: run a round for each line that comes in.

    The loop is blocked in between on purpose: what stands still costs nothing and disturbs nobody.
    """
    await asyncio.sleep(0)
    while line := sys.stdin.readline():
        sys.stdout.write(json.dumps(await measure(json.loads(line))) + "\n")
        sys.stdout.flush()
