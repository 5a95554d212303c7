"""``ecs-waiter run``, ``list``, ``show`` and ``cancel`` as scripts see them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator

    Command = Callable[..., subprocess.CompletedProcess[str]]
    Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module", autouse=True)
def tasks(ecs: EcsEmulator) -> None:
    """What the service knows."""
    ecs.add_task(task_id="t-running", region_id="us-west-1", duration=3600, resource_id="m-1")
    ecs.add_task(task_id="t-done", region_id="us-west-1", task_action="ExportImage", resource_id="m-2")
    reason = ("ImageFormatMismatch", "no qcow2 image")
    ecs.add_task(task_id="t-failed", region_id="us-west-1", outcome="Failed", error=reason, resource_id="m-3")


def test_run_starts_and_waits(ecs: EcsEmulator, command: Command, tmp_path: Path) -> None:
    """`run` sends lists and maps flattened, tells the task's ID on stderr, and waits for it."""
    (tmp_path / "params.json").write_text('{"ImageName": "web", "Tag": [{"Key": "a", "Value": "1"}]}')
    done = command(
        "run", "ImportImage", "--params", str(tmp_path / "params.json"), "-p", "Tag.2.Key=b", "--output", "json"
    )
    assert done.returncode == 0
    (task,) = json.loads(done.stdout)["tasks"]
    assert (task["outcome"], task["task_action"]) == ("finished", "ImportImage")
    assert done.stderr.splitlines()[0] == f"ImportImage in cn-hangzhou is task {task['task_id']}"
    start = next(request for request in ecs.requests if request.action == "ImportImage")
    sent = {name: start.params[name] for name in ("ImageName", "Tag.1.Key", "Tag.1.Value", "Tag.2.Key")}
    assert sent == {"ImageName": "web", "Tag.1.Key": "a", "Tag.1.Value": "1", "Tag.2.Key": "b"}
    assert start.params["ClientToken"]


def test_run_done_at_once(ecs: EcsEmulator, command: Command) -> None:
    """What the service did at once leaves nothing to wait for."""
    ecs.plan("ModifyDiskSpec", at_once=True)
    done = command("run", "ModifyDiskSpec", "-p", "DiskId=d-1", "-p", "RegionId=us-west-1", "--output", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"tasks": [], "summary": {}}
    assert done.stderr == "ModifyDiskSpec in us-west-1 was done at once: there is nothing to wait for\n"


def test_run_refused(command: Command) -> None:
    """The service's refusal to start is one line and exit code 3."""
    done = command("run", "ExportImage")
    assert done.returncode == 3
    assert done.stderr.startswith("ecs-waiter: the service refused (MissingParameter: ")
    assert done.stderr.count("\n") == 1


def test_run_in_doubt(ecs: EcsEmulator, command: Command, started: Started) -> None:
    """A start that is not answered in time, or interrupted, may have happened: how to look is told."""
    hanging = ecs.inject("hang", action="ImportImage")
    done = command("run", "ImportImage", "--timeout", "1", "-p", "ClientToken=token 1")
    assert done.returncode == 124
    assert "list --region cn-hangzhou --action ImportImage --since 10m" in done.stderr
    assert "--param ClientToken='token 1' starts it once at most" in done.stderr
    before = len(ecs.requests)
    process = started("run", "ImportImage")
    while len(ecs.requests) == before:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    hanging.remove()
    assert process.returncode == 130
    assert stderr.startswith("ecs-waiter: interrupted before ImportImage was answered: it may have started")


def test_run_refused_connection_is_tried_again(command: Command) -> None:
    """A service that cannot be reached is said to be tried again, for a start surely did not happen."""
    done = command("run", "RedeployInstance", "-t", "2", ECS_WAITER_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 124
    assert done.stderr.startswith("cn-hangzhou gives no good answer yet: trying again (Ctrl-C stops)\n")


def test_list_interrupted(ecs: EcsEmulator, started: Started) -> None:
    """Ctrl-C ends a listing quietly."""
    hanging = ecs.inject("hang", action="DescribeTasks")
    before = len(ecs.requests)
    process = started("list")
    while len(ecs.requests) == before:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    hanging.remove()
    assert (process.returncode, stderr) == (130, "ecs-waiter: interrupted\n")


def test_list(command: Command) -> None:
    """`list` filters; its text is a line a task, its JSON goes into `wait -`."""
    done = command("list", "--region", "us-west-1", "--status", "processing", "--since", "2h")
    assert done.returncode == 0
    assert [line.split()[:4] for line in done.stdout.splitlines()] == [
        ["t-running", "Processing", "ImportImage", "m-1"]
    ]
    listed = command("list", "-r", "us-west-1", "--action", "ExportImage", "--resource", "m-2", "-o", "json")
    assert json.loads(listed.stdout)["summary"] == {"finished": 1}
    assert command("wait", "-", stdin=listed.stdout).returncode == 0


def test_show(command: Command) -> None:
    """`show` tells the progress, the reason of a failure and what belongs to it."""
    done = command("show", "us-west-1:t-failed")
    assert done.returncode == 0
    assert "reason      ImageFormatMismatch: no qcow2 image\n" in done.stdout
    assert "related     ResourceId m-3\n" in done.stdout
    shown = command("show", "t-running", "-r", "us-west-1", "-o", "jsonl")
    assert json.loads(shown.stdout)["task_process"] == 0


def test_show_unknown(command: Command) -> None:
    """An unknown ID is exit code 1, and names the region asked."""
    done = command("show", "t-nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert "task t-nope is unknown in cn-hangzhou" in done.stderr


def test_show_what_has_no_details(ecs: EcsEmulator, command: Command) -> None:
    """Where the service tells no details, `show` tells what the list knows."""
    ecs.add_task(task_id="t-plain", task_action="RedeployInstance", resource_id="i-1")
    code, message = "InvalidTaskId.TaskActionNotSupport", "no details"
    injected = ecs.inject("status", action="DescribeTaskAttribute", status=400, code=code, message=message)
    done = command("show", "t-plain")
    injected.remove()
    assert done.returncode == 0
    assert "action      RedeployInstance\n" in done.stdout


def test_cancel(ecs: EcsEmulator, command: Command) -> None:
    """`cancel` tells of each task whether it was canceled, and explains each refusal."""
    ecs.add_task(task_id="t-import", duration=3600)
    ecs.add_task(task_id="t-disk", duration=3600, task_action="ModifyDiskSpec")
    done = command("cancel", "t-import", "us-west-1:t-done", "t-disk", "t-nope", "--output", "json")
    assert done.returncode == 3
    told = {task["task_id"]: task["outcome"] for task in json.loads(done.stdout)["tasks"]}
    assert told == {"t-import": "canceled", "t-done": "error", "t-disk": "error", "t-nope": "not_found"}
    assert "us-west-1:t-done: the task has ended already" in done.stderr
    assert "cn-hangzhou:t-disk: only imports and exports of images can be canceled" in done.stderr
    assert command("cancel", "t-nope").returncode == 1
    ecs.add_task(task_id="t-export", duration=3600, task_action="ExportImage")
    assert command("cancel", "-", stdin="t-export\n").stdout == "t-export  canceled\n"
