"""The tables of the reference say what the code says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from support.blocks import ROOT, text_of

import ecs_waiter
from ecs_waiter import errors
from ecs_waiter.cli.exit_codes import ExitCode
from ecs_waiter.emulator.faults.injection import KINDS
from ecs_waiter.models import OperationProgress, Task, TaskDetail, TaskPage, TaskStatus

DOCS = ROOT / "docs"
# Where it is imported from, which is not here when the built wheel is tested.
PACKAGE = Path(ecs_waiter.__file__).parent
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for path in PACKAGE.rglob("*.py")
    if path.parent.name not in {"testing", "airflow"}
}


def rows(page: str) -> list[list[str]]:
    """Return the cells of every row of a page's tables."""
    return [
        re.split(r" *(?<!\\)\| *", row) for row in re.findall(r"^\| *(.*?) *\|$", text_of(DOCS / page), re.MULTILINE)
    ]


def test_every_fault_is_listed() -> None:
    """The table of faults names each with all of its settings."""
    table = {cells[0].strip("`"): cells[-1] for cells in rows("testing.md")}
    for kind, fault in KINDS.items():
        inherited = {field.name for field in fields(KINDS["throttle"])} if kind == "quota" else set()
        settings = {field.name for field in fields(fault) if field.init} - inherited
        assert settings <= set(re.findall(r"`(\w+)`", table[kind])), kind


def test_every_exit_code_is_listed() -> None:
    """The table of exit codes has each, and no other."""
    assert [int(cells[0]) for cells in rows("reference/exit-codes.md") if cells[0].isdigit()] == sorted(ExitCode)


def test_every_variable_is_listed() -> None:
    """The tables of variables name each that the code reads."""
    listed = {name for cells in rows("reference/environment.md") for name in re.findall(r"`([A-Z_]{4,})`", cells[0])}
    read = {
        name for text in SOURCES.values() for name in re.findall(r'"(_?(?:ALIBABA_CLOUD|ECS_WAITER)_[A-Z_]+)"', text)
    }
    # Read by Python and by the terminal library.
    others = {"HOME", "TERM", "NO_COLOR", "COLUMNS", "SSL_CERT_FILE", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    assert listed == read | others


def test_the_tree_of_errors() -> None:
    """The page's tree is that of the code's own docstring, and its table has each error that can be met."""
    page = text_of(DOCS / "reference/errors.md")
    assert errors.__doc__ is not None
    tree = re.search(r"^ {4}EcsWaiterError\n(?: {4}[├│└].*\n)+", errors.__doc__, re.MULTILINE)
    assert tree is not None
    assert re.sub(r"^ {4}", "", tree[0], flags=re.MULTILINE) in page
    listed = {cells[0].strip("`") for cells in rows("reference/errors.md")}
    assert {*errors.__all__} - {"EcsWaiterError", "TaskError"} <= listed
    assert set(re.findall(r"^::: ecs_waiter\.(\w+)", page, re.MULTILINE)) == {*errors.__all__}


def test_the_api_is_complete() -> None:
    """Every public name stands in the reference, once."""
    pages = text_of(DOCS / "reference/api.md") + text_of(DOCS / "reference/errors.md")
    assert sorted(re.findall(r"^::: ecs_waiter\.(\w+)$", pages, re.MULTILINE)) == sorted(ecs_waiter.__all__)


@pytest.mark.parametrize("model", [Task, OperationProgress, TaskPage, TaskDetail])
def test_every_field_is_listed(model: type[Task | OperationProgress | TaskPage]) -> None:
    """The tables of the models have every field, in their order."""
    section = text_of(DOCS / "reference/api.md").partition(f"::: ecs_waiter.{model.__name__}\n")[2].partition(":::")[0]
    own = [name for name in model.model_fields if model is not TaskDetail or name not in Task.model_fields]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == own


def test_every_status_is_listed() -> None:
    """The table of statuses has each word once."""
    table = [name for cells in rows("reference/api.md") for name in re.findall(r"`([A-Z]+)`", cells[0])]
    assert sorted(table) == sorted(TaskStatus.__members__)


def test_every_path_of_the_architecture_exists() -> None:
    """What the page on architecture names is there: files, folders, and what to touch in them."""
    text = text_of(DOCS / "architecture.md")
    paths = set(re.findall(r"`((?:ecs_waiter|tests|docs)/[^`]*)`", text))
    assert len(paths) > 30
    assert not [path for path in paths if not _home(path).exists()]
    for name, path in re.findall(
        r"`(_?[A-Za-z_]+)`[^`|]*(?:`[A-Z_]+`[^`|]*)? (?:in|of) `(ecs_waiter/[\w/]+\.py)`", text
    ):
        assert re.search(rf"\b{name}\b", _home(path).read_text(encoding="utf-8")), (name, path)


def _home(path: str) -> Path:
    return (PACKAGE.parent if path.startswith("ecs_waiter/") else ROOT) / path


def test_every_module_is_on_a_floor() -> None:
    """The page on architecture knows every part of the package."""
    text = text_of(DOCS / "architecture.md")
    parts = [path for path in sorted(PACKAGE.iterdir()) if (path / "__init__.py").exists()]
    assert all(f"`ecs_waiter/{path.name}/`" in text for path in parts)


def test_permissions() -> None:
    """The page on permissions names each operation that the library calls by itself."""
    called = {
        name
        for path, text in SOURCES.items()
        if path.parent == PACKAGE / "api"
        for name in re.findall(r'"((?:Describe|Cancel)Task[A-Za-z]*)"', text)
    }
    listed = set(re.findall(r"^\| `ecs:(\w+)` \|", text_of(DOCS / "explanation/permissions.md"), re.MULTILINE))
    assert called == listed == {"DescribeTasks", "DescribeTaskAttribute", "CancelTask"}
