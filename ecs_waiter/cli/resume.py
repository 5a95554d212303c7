"""The command line that continues a wait."""

from __future__ import annotations

import shlex
import shutil
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecs_waiter.cli.inputs import TaskRef

__all__ = ["program", "resume_command"]

_MOST_ARGUMENTS = 50
_LINES_AT_ONCE = 1000


def resume_command(refs: Sequence[TaskRef], options: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a command for a POSIX shell; many IDs go through stdin, as a command line has a limit.

    Args:
        refs: The pending tasks.
        options: The options to keep.
    """
    regions = {ref.region_id for ref in refs}
    is_one_region = len(regions) == 1
    if is_one_region:
        options = ["--region", *regions, *options]
    words = (ref.task_id for ref in refs) if is_one_region else map(str, refs)
    start = f"{program()} wait {shlex.join(options)}".rstrip()
    if len(refs) <= _MOST_ARGUMENTS:
        yield f"{start} {shlex.join(words)}"
        return
    yield f"{start} - <<'END'"
    # In pieces, because there may be a million.
    while piece := "\n".join(islice(words, _LINES_AT_ONCE)):
        yield piece
    yield "END"


def program() -> str:
    """Return the words with which a shell can run this program again."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m ecs_waiter.cli"
    found = shutil.which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return shlex.quote(called.name)
    return shlex.quote(sys.argv[0])
