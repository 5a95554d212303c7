"""The examples that await: run as programs, in memory and on virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from ecs_waiter.emulator import EcsEmulator

REASON = ("ImageFormatMismatch", "not a qcow2 file")
IMPORT = ("import_image.py", "us-west-1", "images", "2026/base.qcow2")


def test_import(virtual_ecs: EcsEmulator, exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """import_image.py tells each change of status, and the image at the end."""
    virtual_ecs.plan("ImportImage", duration=3600)
    assert exit_code(*IMPORT) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.endswith(": Processing")
    assert second.endswith(": Finished")
    assert last.startswith("imported as m-")
    start = virtual_ecs.requests[0]
    assert (start.action, start.region_id) == ("ImportImage", "us-west-1")
    assert start.params["ImageName"] == "base"
    assert start.params["DiskDeviceMapping.1.OSSObject"] == "2026/base.qcow2"


def test_import_that_fails(
    virtual_ecs: EcsEmulator, exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """import_image.py tells the service's reason."""
    virtual_ecs.plan("ImportImage", duration=3600, outcome="Failed", error=REASON)
    assert exit_code(*IMPORT) == 1
    assert "failed: ImageFormatMismatch: not a qcow2 file" in capsys.readouterr().out


def test_import_that_takes_too_long(
    virtual_ecs: EcsEmulator, exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """import_image.py names the task that it left behind."""
    virtual_ecs.plan("ImportImage", duration=1e9)
    assert exit_code(*IMPORT) == 2
    assert "still running: t-" in capsys.readouterr().out


def test_fan_out(virtual_ecs: EcsEmulator, exit_code: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """fan_out_regions.py exports what it can: one start is refused, one task fails, one never ends."""
    virtual_ecs.inject("refuse", region_id="eu-central-1")
    virtual_ecs.plan("ExportImage", duration=3600)
    virtual_ecs.plan("ExportImage", duration=600, outcome="Failed", error=REASON)
    virtual_ecs.plan("ExportImage", duration=1e9)
    images = ["cn-hangzhou:m-1", "cn-hangzhou:m-2", "us-west-1:m-3", "eu-central-1:m-4"]
    assert exit_code("fan_out_regions.py", "backup", *images) == 1
    told = capsys.readouterr().out
    assert "m-4 of eu-central-1 was not started: " in told
    assert "still running: t-" in told
    assert told.count(" is exported\n") == 1
    assert "ImageFormatMismatch: not a qcow2 file" in told
    assert told.endswith("1 of 4 exported\n")
    buckets = {request.params["OSSBucket"] for request in virtual_ecs.requests if request.action == "ExportImage"}
    assert buckets == {"backup-cn-hangzhou", "backup-us-west-1", "backup-eu-central-1"}


def test_fan_out_that_goes_well(virtual_ecs: EcsEmulator, exit_code: Callable[..., int]) -> None:
    """fan_out_regions.py ends with 0 when nothing is missing."""
    assert exit_code("fan_out_regions.py", "backup", "cn-hangzhou:m-1", "us-west-1:m-3") == 0


def test_resume(
    virtual_ecs: EcsEmulator,
    example: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """resume.py keeps the ID of what it started through a crash, and starts nothing twice."""
    state = tmp_path / "tasks.txt"
    virtual_ecs.plan("ExportImage", duration=3600)
    crash = virtual_ecs.inject("refuse", action="DescribeTasks")
    example("resume.py", str(state), "cn-hangzhou", "ExportImage", "ImageId=m-1", "OSSBucket=backup")
    (line,) = state.read_text().splitlines()
    assert line.startswith("cn-hangzhou t-")
    crash.remove()
    capsys.readouterr()
    example("resume.py", str(state))
    assert capsys.readouterr().out == f"{line.split()[1]}: Finished\n"
    assert state.read_text() == ""
    assert [request.action for request in virtual_ecs.requests].count("ExportImage") == 1


def test_resume_with_a_failure(
    virtual_ecs: EcsEmulator, example: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """resume.py forgets a task that failed, when it has told why."""
    state = tmp_path / "tasks.txt"
    failed = virtual_ecs.add_task(region_id="us-west-1", outcome="Failed", error=REASON)
    state.write_text(f"cn-hangzhou {virtual_ecs.add_task(duration=60)}\nus-west-1 {failed}\n")
    example("resume.py", str(state))
    assert "not a qcow2 file" in capsys.readouterr().out
    assert state.read_text() == ""


def test_watch_all(
    virtual_ecs: EcsEmulator, example: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """watch_all.py finds what runs in each region, and tells each change to the last."""
    here = virtual_ecs.add_task(duration=600)
    there = virtual_ecs.add_task(region_id="us-west-1", task_action="ExportImage", duration=1200)
    virtual_ecs.add_task()  # has ended
    example("watch_all.py", "cn-hangzhou", "us-west-1")
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "2 tasks are under way"
    told = [tuple(line.split()) for line in lines]
    assert {(line[1], line[3]) for line in told} == {
        (task_id, status) for task_id in (here, there) for status in ("Processing", "Finished")
    }
    assert ("us-west-1", there, "ExportImage", "Finished", "0:20:00") in told
