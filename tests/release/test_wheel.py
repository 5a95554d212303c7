"""What is in the wheel, and where its version comes from."""

from __future__ import annotations

import re
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

import ecs_waiter

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "ecs_waiter").exists(), reason="the installed wheel is tested, not its source"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built anew."""
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return ZipFile(path)


def test_contents(wheel: ZipFile) -> None:
    """It holds the whole package with its mark of being typed, and nothing else: no tests, no scripts."""
    package = {
        str(path.relative_to(ROOT)) for path in (ROOT / "ecs_waiter").rglob("*") if path.suffix in {".py", ".typed"}
    }
    held = set(wheel.namelist())
    assert "ecs_waiter/py.typed" in held
    assert {name for name in held if ".dist-info/" not in name} == package


def test_metadata(wheel: ZipFile) -> None:
    """Its version is the package's own, its long description the README, and every extra is there."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == ecs_waiter.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()
    assert {"airflow", "cli", "otel"} <= set(metadata.get_all("Provides-Extra", []))


def test_version_stands_in_one_place() -> None:
    """No other file of the package and its packaging repeats the version."""
    files = [ROOT / "pyproject.toml", ROOT / "Makefile", *(ROOT / "ecs_waiter").rglob("*.py")]
    holding = [path.name for path in files if ecs_waiter.__version__ in path.read_text(encoding="utf-8")]
    assert holding == ["version.py"]


def test_changelog() -> None:
    """Its newest entry is this version."""
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == ecs_waiter.__version__
