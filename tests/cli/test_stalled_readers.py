"""Readers of stdout and stderr who do not read, are slow, or are gone; and disks that are full."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

    Spawn = Callable[..., subprocess.Popen[bytes]]

MANY = [f"t-many{number}" for number in range(1200)]
"""So many that what is said of them fills any pipe."""
PATIENCE = 60
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110 - a device


@pytest.fixture(scope="module", autouse=True)
def tasks(ecs: EcsEmulator) -> None:
    """What the service knows."""
    for task_id in MANY:
        ecs.add_task(task_id=task_id, resource_id="m-1")
    ecs.add_task(task_id="t-slow", duration=36_000)
    for number in range(100):
        ecs.add_task(task_id=f"t-failed{number}", outcome="Failed", error=("ImageFormatMismatch", "not a qcow2 file"))


def until_polled(ecs: EcsEmulator, process: subprocess.Popen[bytes], task_ids: list[str]) -> None:
    """Wait until the service has been asked for all of these since the call."""
    left = set(task_ids)
    seen = 0
    while left:
        assert process.poll() is None
        requests = ecs.requests[seen:]
        seen += len(requests)
        for request in requests:
            left.difference_update(request.task_ids)
        time.sleep(0.01)  # a busy loop would slow the emulator's thread


STALLED = [
    pytest.param(("--output", "jsonl", "--quiet"), "stdout", id="jsonl"),
    pytest.param((), "stderr", id="progress"),
    pytest.param(("--output", "jsonl"), "both", id="both"),
]


@pytest.mark.parametrize(("words", "unread"), STALLED)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_nobody_reads(
    ecs: EcsEmulator, spawn: Spawn, words: tuple[str, ...], unread: str, number: int
) -> None:
    """A signal ends the command with 130 although nobody reads its results, its progress, or either of them."""
    ecs.requests.clear()
    process = spawn("wait", "t-slow", *MANY, *words)
    until_polled(ecs, process, MANY)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 130
    if unread == "stdout":
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert "ecs-waiter: stdout is not being read: " in told
        assert "to keep waiting, run:" in told


@pytest.mark.parametrize(("words", "unread"), STALLED)
def test_a_deadline_ends_what_nobody_reads(spawn: Spawn, words: tuple[str, ...], unread: str) -> None:
    """The deadline ends the command with 124 although nobody reads its results, its progress, or either of them."""
    process = spawn("wait", "t-slow", *MANY, *words, "--timeout", "2s")
    if unread == "stderr":
        assert process.stdout is not None
        assert len(process.stdout.read().splitlines()) == len(MANY) + 1
    assert process.wait(PATIENCE) == 124


@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_a_signal_while_the_results_are_written(ecs: EcsEmulator, spawn: Spawn, output: str) -> None:
    """A signal ends the command with 130 when all has finished but nobody reads the results."""
    ecs.requests.clear()
    process = spawn("wait", *MANY, "--output", output)
    until_polled(ecs, process, MANY)
    assert process.stderr is not None
    for line in process.stderr:
        if b"finished" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_a_slow_reader_gets_everything(ecs: EcsEmulator, spawn: Spawn, output: str) -> None:
    """A reader who begins to read late gets every result, in order, and the exit code is that of the outcomes."""
    ecs.requests.clear()
    process = spawn("wait", *MANY, "--output", output, "--quiet")
    until_polled(ecs, process, MANY)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (0, b"")
    if output == "text":
        found = [line.split()[0].decode() for line in stdout.splitlines()]
    elif output == "json":
        found = [task["task_id"] for task in json.loads(stdout)["tasks"]]
    else:
        found = sorted((json.loads(line)["task_id"] for line in stdout.splitlines()), key=MANY.index)
    assert found == MANY


def test_a_stopped_terminal(ecs: EcsEmulator, spawn: Spawn) -> None:
    """A terminal that takes nothing, as after Ctrl-S, does not keep a signal from ending the live view."""
    ecs.requests.clear()
    failed = [f"t-failed{number}" for number in range(100)]
    master, child = pty.openpty()
    try:
        process = spawn("wait", "t-slow", *failed, stdout=child, stderr=child, variables={"TERM": "xterm-256color"})
        until_polled(ecs, process, failed)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        os.close(child)
        os.close(master)


def test_a_signal_ends_a_list_that_nobody_reads(ecs: EcsEmulator, spawn: Spawn) -> None:
    """Ctrl-C ends a single call whose results nobody reads."""
    ecs.requests.clear()
    process = spawn("list", "--output", "json", "--limit", "1000")
    while len(ecs.requests) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stderr is not None
    said = process.stderr.read()
    # The signal comes before or after the last page of the list.
    assert said == b"ecs-waiter: interrupted\n" or said.endswith(b" bytes of the results were not written\n")


EVERY_OUTPUT = [
    ("--help",),
    ("wait", "--help"),
    ("--version",),
    ("completion", "zsh"),
    ("list", "--limit", "1"),
    ("list", "--limit", "1", "--output", "json"),
    ("show", "t-slow"),
    ("show", "t-slow", "--output", "jsonl"),
    ("emulator",),
    ("demo",),
]
COMPLETING = {"_ECS_WAITER_COMPLETE": "bash_complete", "COMP_WORDS": "ecs-waiter wa", "COMP_CWORD": "1"}


@FULL
@pytest.mark.parametrize(
    "arguments",
    [*EVERY_OUTPUT, *(("wait", MANY[0], "--quiet", "--output", output) for output in ("text", "json", "jsonl"))],
    ids=" ".join,
)
def test_full_disk(spawn: Spawn, arguments: tuple[str, ...]) -> None:
    """Any output that cannot be written is exit code 3 and one line with the reason."""
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        process = spawn(*arguments, stdout=full)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (3, b"ecs-waiter: cannot write to stdout: No space left on device\n")


@FULL
def test_completions_on_a_full_disk(spawn: Spawn) -> None:
    """What the Tab key asks for is an output like the others."""
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        process = spawn(stdout=full, variables=COMPLETING)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (3, b"ecs-waiter: cannot write to stdout: No space left on device\n")


@FULL
def test_results_that_cannot_be_written_end_a_stream(spawn: Spawn) -> None:
    """A stream of results that cannot be written ends the wait at once, and cancels nothing."""
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        process = spawn("wait", MANY[0], "t-slow", "-q", "-o", "jsonl", "--cancel-on-interrupt", stdout=full)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (3, b"ecs-waiter: cannot write to stdout: No space left on device\n")


def gone() -> int:
    """The end of a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("arguments", EVERY_OUTPUT, ids=" ".join)
def test_reader_gone(spawn: Spawn, arguments: tuple[str, ...]) -> None:
    """A reader who is gone ends any command quietly, with the exit code of a broken pipe."""
    writer = gone()
    process = spawn(*arguments, stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (141, b"")


def test_reader_of_the_results_of_a_wait_gone(spawn: Spawn) -> None:
    """What nobody reads was still waited for: the exit code is that of the outcomes."""
    writer = gone()
    process = spawn("wait", MANY[0], "t-failed0", "--quiet", stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (1, b"")


def test_lost_stderr_of_a_wait(spawn: Spawn) -> None:
    """A reader of stderr who is gone is no reason to stop."""
    writer = gone()
    process = spawn("wait", *MANY[:3], stderr=writer)
    os.close(writer)
    stdout, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert len(stdout.splitlines()) == 3


def test_the_pipe_stays_blocking(ecs: EcsEmulator, spawn: Spawn) -> None:
    """The command leaves the flags of its streams alone: other processes share them."""
    ecs.requests.clear()
    reader, writer = os.pipe()
    try:
        process = spawn("wait", "t-slow", stdout=writer, stderr=writer)
        until_polled(ecs, process, ["t-slow"])
        assert os.get_blocking(writer)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        with contextlib.suppress(OSError):
            os.close(reader)
        os.close(writer)
