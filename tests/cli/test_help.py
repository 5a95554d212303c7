"""Help, version and completion: quick, complete, and without the library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ecs_waiter import __version__

COMMANDS = ("wait", "run", "list", "show", "cancel", "emulator", "demo", "completion")


def ecs_waiter(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "ecs_waiter.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


def test_version() -> None:
    """`--version` is the package's."""
    assert ecs_waiter("--version").stdout == f"ecs-waiter {__version__}\n"


def test_help_names_all() -> None:
    """`--help` names every command, and what each exit code means."""
    told = ecs_waiter("--help").stdout
    assert all(f"\n  {name} " in told for name in COMMANDS)
    assert all(f"\n    {code} " in told for code in (0, 1, 2, 3, 124, 130))


def test_every_command_has_an_example() -> None:
    """The help of each command has an example of it."""
    from click.testing import CliRunner  # noqa: PLC0415 - one process for all of them

    from ecs_waiter.cli.app import cli  # noqa: PLC0415 - the same

    for name in COMMANDS:
        told = CliRunner().invoke(cli, [name, "--help"]).output
        assert f"ecs-waiter {name}" in told.partition("Examples:")[2]


def test_no_arguments() -> None:
    """Without arguments the help is on stderr: it is misuse."""
    done = ecs_waiter()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ecs-waiter")


def test_help_is_light() -> None:
    """Help loads neither the HTTP client nor the models nor rich, so that it is there at once."""
    code = (
        "import sys; from ecs_waiter.cli.app import run; run(['wait', '--help']);"
        "sys.exit(sorted({'aiohttp', 'pydantic', 'rich', 'tenacity'} & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "[]\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    """The script of each shell asks the command itself."""
    done = ecs_waiter("completion", shell)
    assert done.returncode == 0
    assert f"_ECS_WAITER_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ecs-waiter wa", "wait"),
        ("ecs-waiter wait --output js", "json"),
        ("ecs-waiter wait --region cn-hang", "cn-hangzhou"),
        ("ecs-waiter run Imp", "ImportImage"),
    ],
)
def test_completion(words: str, expected: str) -> None:
    """Commands, options' values, regions and operations complete."""
    count = str(len(words.split()) - 1)
    done = ecs_waiter(_ECS_WAITER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert f"plain,{expected}" in done.stdout.splitlines()
