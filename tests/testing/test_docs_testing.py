"""Every example of docs/testing.md runs as it stands."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

from ecs_waiter.emulator.faults.injection import KINDS

pytest_plugins = ["pytester"]

_PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
_EXAMPLES = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
_TESTS = [example for example in _EXAMPLES if "def test_" in example]
_SCRIPTS = [example for example in _EXAMPLES if "def test_" not in example]


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_examples_that_are_tests_pass(pytester: pytest.Pytester, mode: str) -> None:
    """A reader's suite passes in either mode of pytest-asyncio."""
    pytester.makepyfile(**{f"test_example_{number}": example for number, example in enumerate(_TESTS)})
    scope = "asyncio_default_fixture_loop_scope=function"
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", scope, "-o", f"asyncio_mode={mode}")
    result.assert_outcomes(passed=sum(example.count("def test_") for example in _TESTS))


@pytest.mark.parametrize("example", _SCRIPTS, ids=["without pytest", "key pairs"])
def test_examples_that_are_scripts_run(tmp_path: Path, example: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script runs to its end and prints what it found."""
    script = tmp_path / "example.py"
    script.write_text(example)
    runpy.run_path(str(script), run_name="__main__")
    assert "cn-hangzhou" in capsys.readouterr().out


def test_every_fault_is_listed() -> None:
    """The page's table names every fault with all of its settings."""
    rows = dict(re.findall(r"^\| `(\w+)` \|.*?\|(.*)\|$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for kind, fault in KINDS.items():
        inherited = {"quota": {"retry_after", "code", "status", "message", "older_header"}}.get(kind, set())
        settings = {field.name for field in fields(fault) if field.init} - inherited
        assert settings <= set(re.findall(r"`(\w+)`", rows[kind])), kind
