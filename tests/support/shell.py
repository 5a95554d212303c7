"""Shell: the commands and scripts of the documentation, run by bash against an emulator on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Command", "Shell", "commands_in"]

_DOCUMENTED = "127.0.0.1:8042"
"""Where the documentation's emulator listens. The port may be taken on the machine of whoever runs the tests."""

_MARK = re.compile(r"^@@@ (\d+) @@@\n", re.MULTILINE)
_COMMAND = re.compile(r"^\$ (?P<line>(?:[^\n]*\\\n)*[^\n]*)\n(?P<output>(?:(?!\$ )[^\n]*\n)*)", re.MULTILINE)
_STAND_INS = Path(__file__).parent / "commands"


@dataclass(frozen=True)
class Command:
    """One command at a prompt, and what the page shows of its output."""

    line: str
    output: str


def commands_in(code: str) -> list[Command]:
    """Return the commands of a console block."""
    return [Command(match["line"], match["output"]) for match in _COMMAND.finditer(code)]


class Shell:
    """Bash with the command, its credentials and an emulator at hand, and nothing of the developer's own.

    Args:
        url: The emulator's.
        directory: Where it works.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self._address = url.removeprefix("http://")
        self._directory = directory
        kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        self._environment = kept | {
            "PATH": f"{_STAND_INS}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "HOME": str(directory),
            "COLUMNS": "80",
            "ECS_WAITER_ENDPOINT": url,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "test",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "test",
            "ALIBABA_CLOUD_REGION_ID": "cn-hangzhou",
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        }

    def run(self, script: str) -> tuple[int, str]:
        """Run a script; returns its exit code, and its output and errors as a terminal shows them."""
        done = subprocess.run(  # noqa: S603 - our own pages
            ["bash", "-euo", "pipefail", "-c", script.replace(_DOCUMENTED, self._address)],  # noqa: S607 - bash is bash
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.replace(self._address, _DOCUMENTED)

    def type(self, commands: Iterable[Command]) -> list[tuple[int, str]]:
        """Type commands one after another; returns the exit code and the output of each."""
        mark = "mark() { local code=$?; printf '@@@ %d @@@\\n' $code; return $code; }"
        script = "\n".join(["set +e", mark, *(f"{command.line}\nmark" for command in commands), "exit 0"])
        _, told = self.run(script)
        *parts, _ = _MARK.split(told)
        return [(int(code), output) for output, code in zip(parts[::2], parts[1::2], strict=True)]
