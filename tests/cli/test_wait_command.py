"""``ecs-waiter wait`` as scripts see it."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

    Command = Callable[..., subprocess.CompletedProcess[str]]
    Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module", autouse=True)
def tasks(ecs: EcsEmulator) -> None:
    """What the service knows."""
    for number in range(3):
        ecs.add_task(task_id=f"t-done{number}", resource_id="m-1")
    ecs.add_task(task_id="t-west", region_id="us-west-1", task_action="ExportImage", resource_id="m-2")
    reason = ("ImageFormatMismatch", "the file\x1b[31m is no [bold]qcow2[/bold] image")
    ecs.add_task(task_id="t-failed", outcome="Failed", error=reason, resource_id="m-3")
    ecs.add_task(task_id="t-canceled", outcome="Deleted", resource_id="m-4")
    ecs.add_task(task_id="t-slow", duration=3600, resource_id="m-5")
    ecs.add_task(task_id="t-slower", duration=3600, resource_id="m-6")
    ecs.inject("refuse", region_id="eu-central-1", code="Forbidden.RAM")


def outcomes(document: str) -> dict[str, str]:
    """The outcome of each task in a JSON document, in its order."""
    return {task["task_id"]: task["outcome"] for task in json.loads(document)["tasks"]}


def test_all_finished(command: Command) -> None:
    """In a pipe: results on stdout, a line on every change on stderr, no control codes, exit code 0."""
    done = command("wait", "t-done1", "us-west-1:t-west", "t-done0")
    assert done.returncode == 0
    assert done.stdout == (
        "t-done1  finished  ImportImage  cn-hangzhou  m-1  -\n"
        "t-west   finished  ExportImage  us-west-1    m-2  -\n"
        "t-done0  finished  ImportImage  cn-hangzhou  m-1  -\n"
    )
    *changes, end = done.stderr.splitlines()
    assert sorted(changes) == [
        "t-done0 (cn-hangzhou): finished",
        "t-done1 (cn-hangzhou): finished",
        "t-west (us-west-1): finished",
    ]
    assert end.endswith(": 3 finished")


def test_json(command: Command) -> None:
    """`--output json` tells all fields of every task in the order asked, and counts the outcomes."""
    done = command("wait", "t-failed", "t-done0", "t-canceled", "--output", "json", "--quiet")
    assert done.returncode == 1
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["summary"] == {"finished": 1, "failed": 1, "canceled": 1}
    failed, finished, canceled = document["tasks"]
    assert failed["error"] == {
        "type": "TaskFailedError",
        "code": "ImageFormatMismatch",
        "message": "the file\x1b[31m is no [bold]qcow2[/bold] image",
        "request_id": None,
    }
    assert finished == {
        "region_id": "cn-hangzhou",
        "task_id": "t-done0",
        "task_status": "Finished",
        "task_action": "ImportImage",
        "resource_id": "m-1",
        "creation_time": finished["creation_time"],
        "finished_time": finished["creation_time"],
        "outcome": "finished",
        "error": None,
    }
    assert finished["creation_time"].endswith("Z")
    assert (canceled["outcome"], canceled["error"]["type"]) == ("canceled", "TaskCanceledError")


def test_text_of_the_service_is_made_printable(command: Command) -> None:
    """What the service says can neither steer the terminal nor forge a line."""
    done = command("wait", "t-failed")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "ImageFormatMismatch: the file\\x1b[31m is no [bold]qcow2[/bold] image" in done.stdout


def test_unknown_task(command: Command) -> None:
    """An unknown ID fails by itself, and says what to check; the others finish."""
    done = command("wait", "t-nope", "t-done0", "--not-found-grace", "0", "--output", "json")
    assert done.returncode == 1
    assert outcomes(done.stdout) == {"t-nope": "not_found", "t-done0": "finished"}
    assert "task t-nope was not found in cn-hangzhou: check the ID" in done.stderr


def test_refused_region(command: Command) -> None:
    """Refused credentials are said once for a region, with the other region's tasks finished: exit code 3."""
    done = command("wait", "eu-central-1:t-1", "eu-central-1:t-2", "t-done0", "--output", "json")
    assert done.returncode == 3
    assert outcomes(done.stdout) == {"t-1": "error", "t-2": "error", "t-done0": "finished"}
    assert json.loads(done.stdout)["tasks"][0]["error"]["code"] == "Forbidden.RAM"
    assert done.stderr.count("RAM policy") == 1


def test_timeout(command: Command) -> None:
    """A deadline ends with 124, the rest pending, and the command that goes on with it."""
    done = command("wait", "t-done0", "t-slow", "--timeout", "0.5s", "--output", "json")
    assert done.returncode == 124
    assert outcomes(done.stdout) == {"t-done0": "finished", "t-slow": "pending"}
    assert done.stderr.splitlines()[-1].endswith("wait --region cn-hangzhou --timeout 0.5s --output json t-slow")
    assert done.stderr.splitlines()[-2] == "the tasks keep running at the service; to keep waiting, run:"


def test_a_timeout_does_not_claim_that_unlisted_tasks_run(command: Command) -> None:
    """At a timeout, IDs that the service never listed are named, and not said to run."""
    done = command("wait", "t-slow", "t-nowhere", "--timeout", "0")
    assert done.returncode == 124
    unlisted, running = done.stderr.splitlines()[-3:-1]
    assert unlisted == "never listed by the service: cn-hangzhou:t-nowhere"
    assert running == "the other tasks keep running at the service; to keep waiting, run:"
    alone = command("wait", "t-nowhere", "--timeout", "0")
    assert alone.stderr.splitlines()[-2] == "to keep waiting, run:"
    assert "keep running" not in alone.stderr


def test_a_timeout_names_the_fault(command: Command, ecs: EcsEmulator) -> None:
    """At a timeout in an outage the present fault of the region is named."""
    fault = ecs.inject("status", message="Maintenance until noon.")
    done = command("wait", "t-slow", "--timeout", "0.5s")
    fault.remove()
    assert done.returncode == 124
    assert "cn-hangzhou is failing: ServiceUnavailable: Maintenance until noon." in done.stderr.splitlines()


def test_one_look(command: Command) -> None:
    """`--timeout 0` is one look."""
    done = command("wait", "t-slow", "t-done0", "t-failed", "--timeout", "0", "--output", "jsonl")
    assert done.returncode == 124
    told = {task["task_id"]: task["outcome"] for task in map(json.loads, done.stdout.splitlines())}
    assert told == {"t-slow": "pending", "t-done0": "finished", "t-failed": "failed"}


def test_fail_fast(command: Command) -> None:
    """`--fail-fast` ends at the first failure; what is left is pending."""
    done = command("wait", "t-slow", "t-failed", "--fail-fast", "--output", "json")
    assert done.returncode == 1
    assert outcomes(done.stdout) == {"t-slow": "pending", "t-failed": "failed"}
    assert "stopped at the first failure" in done.stderr


def test_stdin(command: Command) -> None:
    """What the official command prints goes in as it stands, beside lists of IDs."""
    printed = '{\n  "RegionId": "us-west-1",\n  "TaskId": "t-west",\n  "RequestId": "1"\n}\n'
    done = command("wait", "-", "-q", stdin=f"# from yesterday\n\nt-done0\n{printed}cn-hangzhou:t-done1\n")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["t-done0", "t-west", "t-done1"]


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("TaskId\n------\nt-done0\n", "line 1 of stdin: 'TaskId' is a table header or other text, not a task ID"),
        ("t-done0\n------\n", "line 2 of stdin: '------' is a line of a table, not a task ID"),
        (
            "ERROR: SDK.ServerError\nErrorCode: X\n",
            "line 1 of stdin: 'ERROR: SDK.ServerError' is a message of a command",
        ),
    ],
)
def test_other_output_on_stdin(command: Command, ecs: EcsEmulator, printed: str, told: str) -> None:
    """Tables and error messages on stdin are rejected before any call, with the line's number."""
    before = len(ecs.requests)
    done = command("wait", "-", stdin=printed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ecs-waiter: {told}")
    assert len(ecs.requests) == before


def test_empty_stdin_is_misuse(command: Command) -> None:
    """An empty pipe means that the command before it failed: nothing finished."""
    done = command("wait", "-", stdin="")
    assert done.returncode == 2
    assert done.stderr == "ecs-waiter: stdin named no task: did the command before the pipe fail?\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(started: Started, number: int) -> None:
    """An interrupt prints what has settled and the exact command that goes on with the rest: exit code 130."""
    process = started("wait", "t-done0", "t-slow", "us-west-1:t-elsewhere", "--timeout", "2h", "--output", "json")
    assert process.stderr is not None
    for line in process.stderr:
        if line == "t-done0 (cn-hangzhou): finished\n":
            break
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert outcomes(stdout) == {"t-done0": "finished", "t-slow": "pending", "t-elsewhere": "pending"}
    going_on = stderr.splitlines()[-1]
    assert going_on.endswith("wait --timeout 2h --output json cn-hangzhou:t-slow us-west-1:t-elsewhere")


def test_cancel_on_interrupt(ecs: EcsEmulator, started: Started) -> None:
    """`--cancel-on-interrupt` cancels what can be, says what cannot, and leaves only that to go on with."""
    ecs.add_task(task_id="t-cancelable", duration=3600)
    ecs.add_task(task_id="t-stubborn", duration=3600, task_action="ModifyDiskSpec")
    process = started("wait", "t-cancelable", "t-stubborn", "--cancel-on-interrupt", "--output", "json")
    assert process.stderr is not None
    seen = {process.stderr.readline().split()[0] for _ in range(2)}
    assert seen == {"t-cancelable", "t-stubborn"}
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert outcomes(stdout) == {"t-cancelable": "canceled", "t-stubborn": "pending"}
    assert "not canceled: cn-hangzhou:t-stubborn: ModifyDiskSpec cannot be canceled, it continues to run\n" in stderr
    assert stderr.splitlines()[-1].endswith(" t-stubborn")
    canceled = [request.params["TaskId"] for request in ecs.requests if request.action == "CancelTask"]
    assert canceled == ["t-cancelable"]


def test_results_stream(started: Started) -> None:
    """`--output jsonl` tells each task as it settles; a reader that has enough ends the wait, quietly."""
    process = started("wait", "t-slow", "t-done0", "--output", "jsonl", "--quiet")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["task_id"] == "t-done0"
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == ""


def test_lost_stderr_is_no_matter(started: Started) -> None:
    """A closed stderr neither ends the wait nor makes a noise on stdout."""
    process = started("wait", "t-done0", "t-slow", "--timeout", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stderr.close()
    assert "t-done0" in process.stdout.read()
    assert process.wait(timeout=30) == 124


def test_heredoc_for_many(command: Command) -> None:
    """The command that goes on with many tasks has them on stdin, and a shell understands it."""
    asked = [f"t-many{number}" for number in range(60)]
    done = command("wait", *asked, "--timeout", "0.1", "--quiet")
    assert done.returncode == 124
    going_on = done.stderr.partition("to keep waiting, run:\n")[2]
    assert going_on.endswith("\nt-many59\nEND\n")
    listing = subprocess.run(  # noqa: S603 - what our own command printed
        ["/bin/sh", "-c", f"cat {going_on.partition(' - ')[2]}"], capture_output=True, text=True, check=True
    )
    assert listing.stdout.split() == asked
