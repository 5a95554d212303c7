"""Runs the examples as their readers would: as programs, with arguments."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run an example to its end in this process; returns its names."""

    def run(name: str, *arguments: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return run


@pytest.fixture
def exit_code(example: Callable[..., dict[str, Any]]) -> Callable[..., int]:
    """Run an example that ends with an exit code; returns it."""

    def run(name: str, *arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            example(name, *arguments)
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run
