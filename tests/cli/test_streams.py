"""The standard streams, as the shell may leave them, and what goes to them."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ecs_waiter.cli.inputs import TaskRef
from ecs_waiter.cli.resume import resume_command
from ecs_waiter.cli.streams import is_interactive, messages_to, say, show_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = (sys.executable, "-m", "ecs_waiter.cli")


def sh(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a shell's script, in which "$@" is the command."""
    return subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", script, "sh", *RUN], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("script", "code", "stdout"),
    [
        ('"$@" --version >&-', 0, ""),
        ('"$@" --version 2>&-', 0, "ecs-waiter "),
        ('"$@" wait - <&- 2>/dev/null', 2, ""),
        ('"$@" wait 2>/dev/full', 2, ""),
        ('"$@" completion bash | true', 0, ""),
    ],
)
def test_streams_that_are_not_there(environment: dict[str, str], script: str, code: int, stdout: str) -> None:
    """Closed, full and broken streams are quiet, and the exit code stays what it is."""
    done = sh(script, environment)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(stdout)


def test_encoding(environment: dict[str, str]) -> None:
    """What the encoding of the terminal lacks is shown as its number."""
    done = sh('"$@" show "cn-hangzhou:t-\u4efb"', {**environment, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert "task t-\\u4efb was not found" in done.stderr


def test_binary_stdin(environment: dict[str, str]) -> None:
    """What is no text is misuse."""
    done = sh("printf '\\377\\376' | \"$@\" wait -", environment)
    assert (done.returncode, done.stderr) == (2, "ecs-waiter: stdin is not UTF-8 text\n")


@pytest.mark.parametrize(("term", "expected"), [("xterm", True), ("dumb", False), ("", False)])
def test_interactive(monkeypatch: pytest.MonkeyPatch, term: str, expected: bool) -> None:
    """A terminal that can only print is not interactive; what is no terminal never is."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert is_interactive(sys.stdout, {"TERM": term}) is expected
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert not is_interactive(sys.stdout, {"TERM": term})


def test_speaker(capsys: pytest.CaptureFixture[str]) -> None:
    """What has stderr for itself writes what others say, for as long as it has."""
    lines: list[str] = []
    with messages_to(lines.append):
        say("within")
    say("after")
    assert (lines, capsys.readouterr().err) == (["within"], "after\n")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The library's logger, with the root's handlers put back at the end."""
    root, ours = logging.getLogger(), logging.getLogger("ecs_waiter")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers = []
    yield ours
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_logs(logger: logging.Logger) -> None:
    """Warnings are lines like all others: printable, without a traceback, and not what is told already."""
    lines: list[str] = []
    with messages_to(lines.append):
        show_logs(is_verbose=False, is_debugging=False)
        logger.warning("odd\x1b word")
        logger.debug("a call")
        logger.warning("%s is responding again", "cn-hangzhou")
        logger.error("broken", exc_info=ValueError("why"))
    assert lines == ["warning: odd\\x1b word", "error: broken"]


def test_logs_to_debug(logger: logging.Logger) -> None:
    """To debug, all is logged, with tracebacks."""
    lines: list[str] = []
    with messages_to(lines.append):
        show_logs(is_verbose=False, is_debugging=True)
        logger.debug("a call")
        logger.error("broken", exc_info=ValueError("why"))
    assert lines[:2] == ["debug: a call", "error: broken"]
    assert lines[2] == "ValueError: why"


@pytest.mark.parametrize(
    ("refs", "expected"),
    [
        ([TaskRef("cn-hangzhou", "t-1")], "wait --region cn-hangzhou --timeout 2h t-1"),
        ([TaskRef("cn-hangzhou", "t-'1;"), TaskRef("cn-hangzhou", "t-2")], "--timeout 2h 't-'\"'\"'1;' t-2"),
        (
            [TaskRef("cn-hangzhou", "t-1"), TaskRef("us-west-1", "t-2")],
            "wait --timeout 2h cn-hangzhou:t-1 us-west-1:t-2",
        ),
    ],
)
def test_going_on(monkeypatch: pytest.MonkeyPatch, refs: list[TaskRef], expected: str) -> None:
    """The command that goes on is quoted for a shell."""
    monkeypatch.setattr(sys, "argv", ["/opt/not on the path/ecs-waiter"])
    (told,) = resume_command(refs, ["--timeout", "2h"])
    assert told.startswith("'/opt/not on the path/ecs-waiter' wait ")
    assert told.endswith(expected)
