"""Which Pythons of a machine the release is tested on."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from scripts.release.__main__ import unpack_tests
from scripts.release.pythons import pythons

if TYPE_CHECKING:
    from pathlib import Path


def _interpreter(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_the_newest_of_each_minor_version(tmp_path: Path) -> None:
    """Each minor version from 3.11 on is taken once, the newest found; what does not run or is no release is not."""
    a, b = tmp_path / "a", tmp_path / "b"
    eleven = _interpreter(a, "python3.11", "echo 3 11 4 final")
    _interpreter(a, "python3.10", "echo 3 10 9 final")
    _interpreter(a, "python3.12", "echo 3 12 1 final")
    twelve = _interpreter(b, "python3.12", "echo 3 12 10 final")
    _interpreter(b, "python3.13", "echo 'python3.13: command not found' >&2; exit 127")
    _interpreter(b, "python3.14", "echo 3 14 0 candidate")
    _interpreter(b, "python3.11-config", "echo 3 11 9 final")
    assert pythons([a, b, tmp_path / "none"]) == {(3, 11, 4): eleven, (3, 12, 10): twelve}


def test_the_source_is_out_of_reach(tmp_path: Path) -> None:
    """The tests are unpacked without the package, lest they import it in the wheel's stead."""
    source = tmp_path / "ecs_waiter-1"
    for folder in ("ecs_waiter", "tests"):
        (source / folder).mkdir(parents=True)
        (source / folder / "one.py").touch()
    with tarfile.open(tmp_path / "sdist.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    unpacked = tmp_path / "unpacked"
    root = unpack_tests(tmp_path / "sdist.tar.gz", unpacked)
    assert [path.name for path in root.iterdir()] == ["tests"]
