"""The command line that goes on waiting for what is left."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecs_waiter.cli.task_refs import TaskRef

__all__ = ["command_for", "program"]

_MOST_ARGUMENTS = 50


def command_for(refs: Sequence[TaskRef], options: Sequence[str]) -> str:
    """Return a command for a POSIX shell; many tasks go by stdin, for a command line is not endless.

    Args:
        refs: The tasks that are left.
        options: The options to keep.
    """
    regions = {ref.region_id for ref in refs}
    if len(regions) == 1:
        words = [ref.task_id for ref in refs]
        options = ["--region", *regions, *options]
    else:
        words = [str(ref) for ref in refs]
    start = f"{program()} wait {shlex.join(options)}".rstrip()
    if len(words) <= _MOST_ARGUMENTS:
        return f"{start} {shlex.join(words)}"
    listed = "\n".join(words)
    return f"{start} - <<'END'\n{listed}\nEND"


def program() -> str:
    """Return how this process was called, such that a shell finds it again."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m ecs_waiter.cli"
    found = shutil.which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return shlex.quote(called.name)
    return shlex.quote(sys.argv[0])
