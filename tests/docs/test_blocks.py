"""Every block of the README, of CONTRIBUTING and of the documentation does what its page says."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.blocks import PAGES, ROOT, Block, blocks_of
from support.programs import files_in, prepare, run, service_for
from support.shell import Shell, commands_in

from ecs_waiter.testing.background import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Command

pytest_plugins = ["pytester"]

NOT_TYPED = {
    r"pip install ": "the tests' own environment is installed by the Makefile, in the same way",
    r"make [a-z]+": "it would run this test; that the Makefile has the target is checked",
    r"git ": "it would change this very clone",
    r"opentelemetry-instrument ": "its distribution is no tool of this project's",
    r"ecs-waiter demo": "it takes 15 s of real time; tests/cli runs it",
}
"""Commands that are not run, and why."""

NOT_RUN = {"docs/airflow.md": "tests/airflow runs its DAGs, in Airflow's own environment"}
"""Pages whose Python is compiled and not run, and why."""

BLOCKS = [block for path in PAGES for block in blocks_of(path) if not block.is_output]
FILES = defaultdict(list)
for _block in BLOCKS:
    if _block.language == "python" and _block.title:
        FILES[_block.page].append(_block)


def of(*languages: str, tests: bool = False) -> list[Any]:
    """Blocks of these languages, as parameters named by page and line."""
    return [
        pytest.param(block, id=str(block))
        for block in BLOCKS
        if block.language in languages and block.is_test == tests and block.page not in NOT_RUN
    ]


def is_imported(block: Block) -> bool:
    """Whether it is a file that another block imports or runs, so that it is not run by itself."""
    if block.title is None:
        return False
    module = re.compile(rf"\b(from|import) {re.escape(block.title.removesuffix('.py'))}\b|{re.escape(block.title)}")
    return any(module.search(other.code) for other in BLOCKS if other.page == block.page and other is not block)


PROGRAMS = [param for param in of("python") if not is_imported(param.values[0])]


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Undo what a block's surroundings needed."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize("block", PROGRAMS)
def test_program(block: Block, patch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program runs to its end and prints what the page says."""
    with service_for(block, patch), files_in(tmp_path, FILES[block.page]):
        assert run(block) in {None, 0}
    if block.output is not None:
        assert_told(capsys.readouterr().out, block.output)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_tests(pytester: pytest.Pytester, mode: str) -> None:
    """A reader's tests pass, in either mode of pytest-asyncio."""
    tests = [param.values[0] for param in of("python", tests=True)]
    for number, block in enumerate(tests):
        folder = pytester.path / re.sub(r"\W", "_", block.page)
        folder.mkdir(exist_ok=True)
        for file in FILES[block.page]:
            if not file.is_test:
                (folder / str(file.title)).write_text(file.code)
        (folder / f"test_block_{number}.py").write_text(block.code)
    scope = "asyncio_default_fixture_loop_scope=function"
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", scope, "-o", f"asyncio_mode={mode}")
    result.assert_outcomes(passed=sum(block.code.count("def test_") for block in tests))


@pytest.mark.parametrize("block", of("console"))
def test_commands(block: Block, tmp_path: Path) -> None:
    """Commands end well, unless the page shows with what code they end, and print what it shows."""
    commands = [command for command in commands_in(block.code) if is_typed(command)]
    with serve() as ecs, files_in(tmp_path, FILES[block.page]):
        prepare(block, ecs)
        results = Shell(ecs.url, tmp_path).type(commands)
    for number, (command, (code, told)) in enumerate(zip(commands, results, strict=True)):
        is_code_shown = number + 1 < len(commands) and commands[number + 1].line == "echo $?"
        assert code == 0 or is_code_shown, f"{command.line} ended with {code}:\n{told}"
        if command.output:
            assert_told(told, command.output)


@pytest.mark.parametrize("block", of("bash"))
def test_script(block: Block, tmp_path: Path) -> None:
    """A script ends well and prints what the page says."""
    run_script(block, block.code, tmp_path)


@pytest.mark.parametrize("block", of("yaml"))
def test_pipeline(block: Block, tmp_path: Path) -> None:
    """A pipeline's file is YAML, and the scripts in it end well, one after another."""
    script = "\n".join(scripts_in(yaml.safe_load(block.code)))
    run_script(block, "\n".join(line for line in script.splitlines() if "pip install" not in line), tmp_path)


@pytest.mark.parametrize("block", of("json"))
def test_json(block: Block) -> None:
    """JSON is JSON."""
    assert json.loads(block.code)


def test_what_cannot_be_run_here() -> None:
    """What cannot be run here is Python at least."""
    for block in BLOCKS:
        assert block.page not in NOT_RUN or block.language != "python" or ast.parse(block.code).body


def test_no_block_is_left_out() -> None:
    """Each block is of a language that is run here, but for plain text, which draws; and each file is used."""
    assert {block.language for block in BLOCKS} <= {"python", "console", "bash", "yaml", "json", "text"}
    unused = [str(file) for files in FILES.values() for file in files if not file.is_test and not is_imported(file)]
    assert not [name for name in unused if name not in {str(param.values[0]) for param in PROGRAMS}]


def is_typed(command: Command) -> bool:
    """Whether a command is run here; the target of one that is for make exists."""
    if target := re.match(r"make ([a-z]+)", command.line):
        assert re.search(rf"^{target[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return not any(re.match(pattern, command.line) for pattern in NOT_TYPED)


def run_script(block: Block, script: str, directory: Path) -> None:
    """Run a script against an emulator of its own."""
    with serve() as ecs, files_in(directory, FILES[block.page]):
        prepare(block, ecs)
        code, told = Shell(ecs.url, directory).run(script)
    assert code == 0, told
    if block.output is not None:
        assert_told(told, block.output)


def scripts_in(node: object) -> Iterator[str]:
    """The shell lines of GitHub's `run` and of GitLab's `script`, in the order they stand."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"run", "script"}:
                yield from [value] if isinstance(value, str) else value
            else:
                yield from scripts_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from scripts_in(item)


def assert_told(told: str, shown: str) -> None:
    """What was printed is what the page shows, where `...` stands for anything.

    How long the command took is not compared: the page's hour is a moment here.
    """
    told, shown = (re.sub(r"\bafter (\d+[dhms])+:", "after a while:", text) for text in (told, shown))
    pattern = ".*".join(map(re.escape, shown.rstrip().split("...")))
    if not re.fullmatch(pattern, told.rstrip(), re.DOTALL):
        pytest.fail(f"the page shows:\n{shown}\nit printed:\n{told}", pytrace=False)
