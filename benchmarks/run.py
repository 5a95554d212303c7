"""Runs the benchmarks and writes what they found: ``make bench``, or some of them: ``make bench ONLY="cpu calls"``."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Result
from benchmarks.machine import described
from benchmarks.readme_table import put_into
from benchmarks.report import console, read, write

__all__ = ["ALL", "main"]

ALL = ("cpu", "calls", "promptness", "eta", "quotas", "memory", "pauses", "scaling", "imports", "latency")
_HERE = Path(__file__).parent
_README = _HERE.parent / "README.md"


def main(names: list[str]) -> int:
    """Measure what is named, or all, and keep the other figures that are there."""
    if unknown := set(names) - set(ALL):
        sys.stderr.write(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}\n")
        return 2
    results = read(_HERE)
    missed = []
    for name in [name for name in ALL if name in names or not names]:
        sys.stderr.write(f"{name} ...\n")
        began = time.monotonic()
        result = import_module(f"benchmarks.{name}").measure()
        results[name] = {"seconds": round(time.monotonic() - began, 1), "machine": described(), **result.to_json()}
        write(_HERE, {known: results[known] for known in ALL if known in results})
        sys.stdout.write(console(name, result) + "\n")
        sys.stdout.flush()
        missed += [f"{name}: {figure.what}" for figure in result.figures if figure.is_met is False]
    if set(results) == set(ALL):
        parsed = {name: Result.from_json(data) for name, data in results.items()}
        _README.write_text(put_into(_README.read_text(), parsed))
    for goal in missed:
        sys.stdout.write(f"goal not met: {goal}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
