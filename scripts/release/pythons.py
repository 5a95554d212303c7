"""pythons: the interpreters of this machine that the package supports, one of each minor version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["folders", "pythons"]

_OLDEST = (3, 11)
_NAME = re.compile(r"python3\.\d+")
_TELL = "import sys; print(*sys.version_info[:3], sys.version_info.releaselevel)"

Version = tuple[int, int, int]


def folders() -> Iterator[Path]:
    """Where interpreters are found: the PATH, and what pyenv and uv keep off it."""
    yield Path(sys.executable).resolve().parent
    yield from map(Path, os.environ.get("PATH", os.defpath).split(os.pathsep))
    home = Path.home()
    yield from Path(os.environ.get("PYENV_ROOT", home / ".pyenv")).glob("versions/*/bin")
    yield from Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local/share/uv/python")).glob("*/bin")


def pythons(places: Iterable[Path]) -> dict[Version, Path]:
    """Return version -> interpreter for the newest release of each supported minor version, oldest first."""
    newest: dict[tuple[int, int], tuple[Version, Path]] = {}
    for place in places:
        for path in sorted(place.glob("python3.*")) if place.is_dir() else ():
            version = _version(path) if _NAME.fullmatch(path.name) else None
            if version is not None and version[:2] >= _OLDEST:
                best = newest.get(version[:2])
                if best is None or version > best[0]:
                    newest[version[:2]] = version, path
    return dict(sorted(newest.values()))


def _version(python: Path) -> Version | None:
    """What it says it is; None if it does not run, as a shim of pyenv may not, or is no release yet."""
    try:
        told = subprocess.run([python, "-c", _TELL], capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S603 - an interpreter
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, patch, level = told.split()
    return (int(major), int(minor), int(patch)) if level == "final" else None
