"""The documentation's programs pass a strict type checker, also where their functions have types."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from support.blocks import PAGES, ROOT, blocks_of

if TYPE_CHECKING:
    from pathlib import Path

STARTS = [block for path in PAGES for block in blocks_of(path) if "waiter.run(" in block.code]
# The bodies are checked as if the functions had types, which the pages leave out.
STRICT = ("--strict", "--allow-untyped-defs", "--allow-untyped-calls")


def test_starts_are_typed(tmp_path: Path) -> None:
    """`run` gives a Task for an operation that always starts one, so that its attributes need no check for None."""
    assert len(STARTS) >= 4
    for number, block in enumerate(STARTS):
        (tmp_path / f"program_{number}.py").write_text(block.code, encoding="utf-8")
    checked = subprocess.run(  # noqa: S603 - our own pages
        [sys.executable, "-m", "mypy", *STRICT, "--no-error-summary", f"--cache-dir={tmp_path}/cache", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout) == (0, "")
