"""Each operator with `dag.test()`, in the worker and deferred."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest
from support.dag_runs import run_dag

from ecs_waiter.airflow import EcsRunTaskOperator

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = [pytest.mark.usefixtures("airflow_db", "connection"), pytest.mark.parametrize("how", ["here", "deferred"])]


def starts(ecs: EcsEmulator, action: str) -> list[dict[str, str]]:
    """The parameters of each start of an operation."""
    return [dict(request.params) for request in ecs.requests if request.action == action]


def logged(capfd: pytest.CaptureFixture[str]) -> str:
    """What the task instance has logged: Airflow writes that to the standard streams."""
    captured = capfd.readouterr()
    return captured.out + captured.err


def test_import(how: str, ecs_emulator: EcsEmulator) -> None:
    """An import gives the task's ID, the image's ID and what it worked on."""
    ecs_emulator.plan("ImportImage", duration=0.5)
    ran = run_dag(f"import_{how}")
    assert ran.states == {"step": "success"}
    xcoms = ran.xcoms["step"]
    assert xcoms["return_value"] == xcoms["ecs_task_id"]
    assert xcoms["image_id"] == xcoms["resource_id"]
    [start] = starts(ecs_emulator, "ImportImage")
    assert start["ImageName"].startswith("base-manual__")
    assert (start["DiskDeviceMapping.1.OSSBucket"], start["DiskDeviceMapping.1.OSSObject"]) == ("images", "base.qcow2")
    assert len(start["ClientToken"]) == 64


def test_export(how: str, ecs_emulator: EcsEmulator) -> None:
    """An export's fields are rendered."""
    ran = run_dag(f"export_{how}", image="m-9")
    assert ran.states == {"step": "success"}
    [start] = starts(ecs_emulator, "ExportImage")
    assert (start["ImageId"], start["OSSBucket"], start["OSSPrefix"]) == ("m-9", "images", "x")
    assert "ClientToken" not in start


def test_any_operation(how: str, ecs_emulator: EcsEmulator) -> None:
    """Any operation with a TaskId can be run; its parameters are rendered."""
    ran = run_dag(f"run_{how}", resource="i-1")
    assert ran.states == {"step": "success"}
    assert starts(ecs_emulator, "RedeployInstance")[0]["InstanceId"] == "i-1"


def test_done_at_once(how: str, ecs_emulator: EcsEmulator) -> None:
    """ModifyDiskSpec without a TaskId was done at once: nothing is waited for."""
    ecs_emulator.plan("ModifyDiskSpec", at_once=True)
    ran = run_dag(f"run_{how}", operation="ModifyDiskSpec", resource="d-1")
    assert ran.states == {"step": "success"}
    assert "ecs_task_id" not in ran.xcoms.get("step", {})


def test_answer_without_a_task(how: str, ecs_emulator: EcsEmulator, capfd: pytest.CaptureFixture[str]) -> None:
    """An operation that always gives a TaskId fails without one, and is not started again."""
    ecs_emulator.inject("body", content={}, action="RedeployInstance")
    ran = run_dag(f"run_{how}", resource="i-1")
    assert (ran.states, ran.tries) == ({"step": "failed"}, {"step": 1})
    assert len(starts(ecs_emulator, "RedeployInstance")) == 1
    assert "look for RedeployInstance among the tasks of cn-hangzhou" in logged(capfd)


def test_answer_without_a_task_with_a_token(how: str, ecs_emulator: EcsEmulator) -> None:
    """Where the start has a token, the retry finds what the first try has started."""
    ecs_emulator.inject("body", content={"TaskId": None}, action="ImportImage", times=1)
    ran = run_dag(f"import_{how}")
    assert (ran.states, ran.tries) == ({"step": "success"}, {"step": 2})
    assert len({start["ClientToken"] for start in starts(ecs_emulator, "ImportImage")}) == 1


@pytest.mark.parametrize("operation", ["CopyImage", "CloneDisks", "RunInstances"])
def test_no_task_to_wait_for(
    how: str, ecs_emulator: EcsEmulator, capfd: pytest.CaptureFixture[str], operation: str
) -> None:
    """An operation that is not known to start a task fails without a retry, before any call; the log says what to do."""
    ran = run_dag(f"run_{how}", operation=operation, resource="m-1")
    assert (ran.states, ran.tries) == ({"step": "failed"}, {"step": 1})
    assert ecs_emulator.requests == []
    assert f"client.call('{operation}', ...)" in logged(capfd)


def test_dry_run(how: str, ecs_emulator: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run that would succeed is a success and logged as one: it starts nothing and uses no token up."""
    log = mock.Mock()
    monkeypatch.setattr(EcsRunTaskOperator, "log", log)
    ran = run_dag(f"run_{how}", operation="ImportImage", resource="i-1", dry_run=True)
    assert ran.states == {"step": "success"}
    assert ran.xcoms.get("step", {}).get("ecs_task_id") is None
    [start] = starts(ecs_emulator, "ImportImage")
    assert start["DryRun"] == "True"
    assert "ClientToken" not in start
    log.info.assert_called_once_with(
        "ImportImage in cn-hangzhou: the request would succeed; it was a dry run, so nothing was started"
    )


def test_start_at_work(how: str, ecs_emulator: EcsEmulator) -> None:
    """A start whose answer was lost, and which is still at work, is asked for again with its token."""
    ecs_emulator.plan("ImportImage", busy=0.6)
    ecs_emulator.inject("status", status=500, executed=True, action="ImportImage", times=1)
    ran = run_dag(f"import_{how}")
    assert (ran.states, ran.tries) == ({"step": "success"}, {"step": 1})
    answers = [request.answered for request in ecs_emulator.requests if request.action == "ImportImage"]
    assert (answers[0], answers[-1], 403 in answers) == (500, 200, True)


def test_used_token(how: str, ecs_emulator: EcsEmulator, capfd: pytest.CaptureFixture[str]) -> None:
    """A token that was used with other parameters fails the task instance; the log names the token."""
    ecs_emulator.inject("status", status=400, code="IdempotentParameterMismatch", action="ImportImage")
    ran = run_dag(f"import_{how}")
    assert ran.states == {"step": "failed"}
    token = starts(ecs_emulator, "ImportImage")[0]["ClientToken"]
    assert f"ClientToken '{token}' was used before with other parameters" in logged(capfd)


def test_failure_is_not_retried(how: str, ecs_emulator: EcsEmulator) -> None:
    """A task that fails at the service fails the task instance at its first try."""
    ecs_emulator.plan("ImportImage", outcome="Failed", error=("ImageFormatMismatch", "not a qcow2 file"))
    ran = run_dag(f"import_{how}")
    assert (ran.states, ran.tries) == ({"step": "failed"}, {"step": 1})
    assert len(starts(ecs_emulator, "ImportImage")) == 1


def test_timeout_is_retried_and_starts_nothing_twice(how: str, ecs_emulator: EcsEmulator) -> None:
    """After a timeout, the retry takes up the task that the first try has started."""
    ecs_emulator.plan("ExportImage", duration=0.8)
    ran = run_dag(f"brief_{how}")
    assert (ran.states, ran.tries) == ({"step": "success"}, {"step": 2})
    assert len(starts(ecs_emulator, "ExportImage")) == 1


def test_doubtful_start_is_not_repeated(how: str, ecs_emulator: EcsEmulator) -> None:
    """A start that may have happened, and has no token, fails without a retry."""
    ecs_emulator.inject("reset", action="ExportImage", when="before", times=1)
    ran = run_dag(f"export_{how}", image="m-9")
    assert (ran.states, ran.tries) == ({"step": "failed"}, {"step": 1})


def test_lost_answer_with_a_token(how: str, ecs_emulator: EcsEmulator) -> None:
    """A start that carries a token is repeated, and is one start for the service."""
    ecs_emulator.inject("reset", action="ImportImage", when="before", times=1)
    ran = run_dag(f"import_{how}")
    assert ran.states == {"step": "success"}
    assert len({start["ClientToken"] for start in starts(ecs_emulator, "ImportImage")}) == 1


def test_sensor_waits_for_xcoms(how: str, ecs_emulator: EcsEmulator) -> None:
    """The sensor waits for the IDs that mapped operators have pushed, and returns the fields of each task."""
    ecs_emulator.plan("ExportImage", duration=0.5)
    ran = run_dag(f"wait_{how}")
    assert ran.states == {"start": "success", "step": "success"}
    assert {task["resource_id"] for task in ran.xcoms["step"]["return_value"].values()} == {"m-1", "m-2"}


def test_sensor_takes_templates(how: str, ecs_emulator: EcsEmulator) -> None:
    """A template may render to a list, or to IDs with commas; the operator's region takes precedence."""
    ids = [ecs_emulator.add_task(region_id="us-west-1", duration=0.3) for _ in range(3)]
    for given in (ids, ", ".join(ids)):
        ran = run_dag(f"wait_told_{how}", ids=given)
        assert ran.states == {"step": "success"}
        assert list(ran.xcoms["step"]["return_value"]) == ids


def test_sensor_fails_with_a_task(how: str, ecs_emulator: EcsEmulator) -> None:
    """One failed task fails the sensor, without a retry, after all have ended."""
    good = ecs_emulator.add_task(region_id="us-west-1", duration=0.5)
    bad = ecs_emulator.add_task(region_id="us-west-1", outcome="Failed", error=("NoSpace", "the bucket is full"))
    ran = run_dag(f"wait_told_{how}", ids=[good, bad])
    assert (ran.states, ran.tries) == ({"step": "failed"}, {"step": 1})


def test_sensor_unknown_id(how: str, ecs_emulator: EcsEmulator) -> None:
    """An unknown ID fails the sensor without a retry, once the grace is over."""
    ran = run_dag(f"wait_told_{how}", ids=["t-nowhere"])
    assert (ran.states, ran.tries) == ({"step": "failed"}, {"step": 1})


def test_sensor_timeout_is_retried(how: str, ecs_emulator: EcsEmulator) -> None:
    """The sensor's deadline may be retried."""
    task = ecs_emulator.add_task(region_id="us-west-1", duration=2.6)
    ran = run_dag(f"wait_told_{how}", ids=[task])
    assert (ran.states, ran.tries) == ({"step": "success"}, {"step": 2})
