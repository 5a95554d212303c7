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
    ecs.add_task(task_id="t-running", region_id="us-west-1", duration=1e6, resource_id="m-1")
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


@pytest.mark.parametrize("content", [{}, {"RequestId": "r-1"}, {"TaskId": 7}])
def test_run_answered_without_a_task(ecs: EcsEmulator, command: Command, content: dict[str, object]) -> None:
    """An answer without the TaskId that the operation always gives is exit code 3, and the message says how to look."""
    answer = ecs.inject("body", content=content, action="ImportImage")
    done = command("run", "ImportImage", "-p", "ClientToken=mine", "--output", "json")
    answer.remove()
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("ecs-waiter: the answer to ImportImage in cn-hangzhou has ")
    assert "TaskId" in done.stderr
    assert ": it may have started, so look first: " in done.stderr
    assert "list --region cn-hangzhou --action ImportImage --since 10m" in done.stderr
    assert "--param ClientToken=mine starts it at most once" in done.stderr
    assert done.stderr.count("\n") == done.stderr.count("may have started") == 1


@pytest.mark.parametrize("operation", ["CopyImage", "CreateSnapshot", "CloneDisks", "RunInstances", "DescribeTasks"])
def test_run_of_what_starts_no_task(ecs: EcsEmulator, command: Command, operation: str) -> None:
    """An operation that is not known to start a task is a usage error before any call; the line says what to do."""
    before = len(ecs.requests)
    done = command("run", operation, "-p", "ImageId=m-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ecs-waiter: {operation} is not known to start a task")
    assert f"client.call('{operation}', ...)" in done.stderr
    assert "Describe" in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(ecs.requests) == before


@pytest.mark.parametrize("output", ["text", "json"])
def test_run_dry(ecs: EcsEmulator, command: Command, output: str) -> None:
    """A dry run that would succeed is exit code 0 and says so; it starts nothing and uses no token up."""
    done = command("run", "ImportImage", "-p", "DryRun=true", "--output", output)
    assert done.returncode == 0
    assert done.stderr == (
        "ImportImage in cn-hangzhou: the request would succeed; it was a dry run, so nothing was started\n"
    )
    assert (json.loads(done.stdout) if output == "json" else done.stdout) == (
        {"tasks": [], "summary": {}} if output == "json" else ""
    )
    assert "ClientToken" not in ecs.requests[-1].params
    refused = command("run", "ExportImage", "-p", "DryRun=true", "--output", output)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "MissingParameter" in refused.stderr


def test_run_with_a_used_token(command: Command) -> None:
    """A token that was used with other parameters is exit code 3; the line names it and says what to do."""
    assert command("run", "ImportImage", "-p", "ClientToken=used", "-p", "ImageName=a").returncode == 0
    done = command("run", "ImportImage", "-p", "ClientToken=used", "-p", "ImageName=b")
    assert done.returncode == 3
    assert "ClientToken 'used' was used before with other parameters: use another token" in done.stderr
    assert done.stderr.count("\n") == 1


def test_run_refused_at_the_repeat(ecs: EcsEmulator, command: Command) -> None:
    """A rejection after an attempt without an answer says how to find out what that attempt did."""
    first = ecs.inject("status", status=500, executed=True, action="ImportImage", times=1)
    then = ecs.inject("status", status=403, code="QuotaExceeded", action="ImportImage", where=lambda _: first.hits > 0)
    done = command("run", "ImportImage", "-p", "ClientToken=lost")
    then.remove()
    assert done.returncode == 3
    assert "QuotaExceeded" in done.stderr
    assert "an earlier attempt was not answered" in done.stderr
    assert "--param ClientToken=lost starts it at most once" in done.stderr
    assert done.stderr.count("may have started") == 1


def test_run_whose_start_is_at_work(ecs: EcsEmulator, command: Command) -> None:
    """A start whose answer was lost is asked for again until the service has its task."""
    ecs.plan("ImportImage", busy=1)
    ecs.inject("status", status=500, executed=True, action="ImportImage", times=1)
    before = len(ecs.requests)
    done = command("run", "ImportImage", "--output", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["summary"] == {"finished": 1}
    answers = [request.answered for request in ecs.requests[before:] if request.action == "ImportImage"]
    assert answers[0] == 500
    assert 403 in answers
    assert answers[-1] == 200


def test_run_refused(command: Command) -> None:
    """The service's refusal to start is one line and exit code 3."""
    done = command("run", "ExportImage")
    assert done.returncode == 3
    assert done.stderr.startswith("ecs-waiter: the service rejected the request (MissingParameter: ")
    assert done.stderr.count("\n") == 1


def test_run_in_doubt(ecs: EcsEmulator, command: Command, started: Started) -> None:
    """A start that is not answered in time, or interrupted, may have happened: how to look is told."""
    hanging = ecs.inject("hang", action="ImportImage")
    done = command("run", "ImportImage", "--timeout", "1", "-p", "ClientToken=token 1")
    assert done.returncode == 124
    assert "list --region cn-hangzhou --action ImportImage --since 10m" in done.stderr
    assert "--param ClientToken='token 1' starts it at most once" in done.stderr
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
    assert done.stderr.startswith("cn-hangzhou is not responding yet; retrying (Ctrl-C stops)\n")


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
    assert "task t-nope was not found in cn-hangzhou" in done.stderr


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
