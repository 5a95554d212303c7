"""Runs the tests against the wheel in dist/, on Python 3.11 and every newer Python that this machine has.

    make release           # or, after make dist: python -m scripts.release [3.11 ...]

The tests are those of the sdist, unpacked without the package: what they import is what the wheel installed, into a
virtual environment that is made for it. Further arguments are the only Python versions to take.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.release.pythons import folders, pythons

if TYPE_CHECKING:
    from collections.abc import Sequence

DIST = Path(__file__).parents[2] / "dist"
_TESTS = ("-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider")
_WHERE = "import ecs_waiter, pathlib; print(pathlib.Path(ecs_waiter.__file__).resolve())"


def unpack_tests(sdist: Path, folder: Path) -> Path:
    """Unpack all but the package, which could be imported in the wheel's stead; returns the tests' root."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    shutil.rmtree(root / "ecs_waiter")
    return root


def test_on(python: Path, wheel: Path, sdist: Path) -> bool:
    """Install the wheel in a new environment and run the tests there; whether they passed."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder, "venv").resolve()
        own = environment / "bin" / "python"
        _run(str(python), "-m", "venv", str(environment))
        _run(str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[dev]")
        root = unpack_tests(sdist, Path(folder, "sdist"))
        imported = subprocess.run([own, "-c", _WHERE], cwd=root, capture_output=True, text=True, check=True).stdout  # noqa: S603
        if not Path(imported).is_relative_to(environment):
            raise RuntimeError(f"the tests would import {imported.strip()}, which the wheel did not install")
        # The command's own name, too, is the wheel's.
        path = os.pathsep.join([str(own.parent), os.environ.get("PATH", os.defpath)])
        return subprocess.run([own, *_TESTS], cwd=root, env={**os.environ, "PATH": path}, check=False).returncode == 0  # noqa: S603


def main(versions: Sequence[str]) -> int:
    """Test on each; returns the exit code."""
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    found = {f"{major}.{minor}": python for (major, minor, _), python in pythons(folders()).items()}
    if missing := set(versions) - set(found):
        print("this machine has no Python", *sorted(missing))
        return 2
    passed = {}
    for version in versions or found:
        print(f"== {wheel.name} on Python {version}: {found[version]}", flush=True)
        passed[version] = test_on(found[version], wheel, sdist)
    for version, is_good in passed.items():
        print(f"Python {version}: {'passed' if is_good else 'FAILED'}")
    return 0 if all(passed.values()) else 1


def _run(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603 - pip and venv


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
