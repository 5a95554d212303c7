"""Imports the packages beside the tests without the project's root on the path, where it would shadow a wheel."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

__all__ = ["load_package"]

_ROOT = Path(__file__).parents[2]


def load_package(name: str) -> None:
    """Import a package of the project's root, so that its modules can be imported by name."""
    spec = importlib.util.spec_from_file_location(name, _ROOT / name / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
