"""The real thing: an Airflow of separate processes, two triggerers among them, against the emulator on loopback."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.airflow_cluster import Cluster, until

from ecs_waiter.testing.background import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.emulator import EcsEmulator, Request

_SIZE = 20
_BAD = 3
_REASON = ("ImageFormatMismatch", "the file is not a qcow2 image")


@pytest.fixture(scope="module")
def ecs() -> Iterator[EcsEmulator]:
    """The service, in a thread of its own."""
    with serve() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def cluster(ecs: EcsEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The processes; neither triggerer has room for all tasks."""
    settings = {"FLEET_SIZE": str(_SIZE), "AIRFLOW__TRIGGERER__CAPACITY": str(_SIZE * 3 // 4)}
    with Cluster(tmp_path_factory.mktemp("airflow"), ecs.url, settings=settings) as running:
        yield running


def _plan(ecs: EcsEmulator, duration: float) -> None:
    for number in range(_SIZE // 2):
        failing: dict[str, Any] = {"outcome": "Failed", "error": _REASON} if number == _BAD else {}
        ecs.plan("ImportImage", duration=duration, **failing)
        ecs.plan("ExportImage", duration=duration)


def _polls(requests: list[Request]) -> list[Request]:
    return [request for request in requests if request.action == "DescribeTasks"]


def _triggerers(cluster: Cluster, dag_id: str, run_id: str) -> Counter[int]:
    """How many of a run's tasks each triggerer waits for, by its job's ID: the later a job began, the higher."""
    jobs = [found["triggerer_job"] for found in cluster.instances(dag_id, run_id)]
    return Counter(job["id"] for job in jobs if job)


def test_providers_are_listed(cluster: Cluster) -> None:
    """Airflow's own commands list the provider, its hook and its trigger."""
    assert "ecs-waiter" in cluster.command("providers", "list")
    assert "ecs_waiter.airflow.hooks.EcsTaskHook" in cluster.command("providers", "hooks")
    assert "ecs_waiter.airflow.triggers" in cluster.command("providers", "triggers")


def test_fleet(cluster: Cluster, ecs: EcsEmulator) -> None:
    """Twenty tasks in two triggerers, one of which is killed: each ends once, the failed one with its reason."""
    _plan(ecs, duration=50)
    run = cluster.trigger("fleet")
    until("all are deferred", lambda: cluster.states("fleet", run) == ["deferred"] * _SIZE)
    until("both triggerers wait", lambda: len(_triggerers(cluster, "fleet", run)) == 2, 20)
    time.sleep(5)

    first = len(ecs.requests)
    time.sleep(8)
    watched = _polls(ecs.requests[first:])
    batches = {request.task_ids for request in watched}
    # One call a poll for each triggerer, as neither has more than a hundred tasks; every two seconds.
    assert len(batches) == 2
    assert len(set().union(*batches)) == sum(map(len, batches)) == _SIZE
    assert len(watched) <= 2 * 5

    cluster.signal("triggerer-1", signal.SIGKILL)
    until("all have ended", lambda: set(cluster.states("fleet", run)) <= {"success", "failed"}, 180)
    instances = cluster.instances("fleet", run)
    assert Counter(found["state"] for found in instances) == {"success": _SIZE - 1, "failed": 1}
    assert {found["try_number"] for found in instances} == {1}
    assert Counter(request.action for request in ecs.requests if request.action != "DescribeTasks") == {
        "ImportImage": _SIZE // 2,
        "ExportImage": _SIZE // 2,
        "DescribeTaskAttribute": 1,
    }
    for found in instances:
        log = cluster.log(found)
        if found["state"] == "failed":
            assert ": ".join(_REASON) in log
            assert "AirflowFailException" in log
        else:
            assert log.count("has finished; its resource is") == 1


def test_paused_triggerer_cancels_nothing(cluster: Cluster, ecs: EcsEmulator) -> None:
    """A triggerer that was paused wakes up to tasks that have moved on, and cancels none; a user's kill cancels one."""
    cluster.start("triggerer-1")
    _plan(ecs, duration=80)
    first = len(ecs.requests)

    def canceled() -> list[str]:
        return [request.task_ids[0] for request in ecs.requests[first:] if request.action == "CancelTask"]

    run = cluster.trigger("kill")
    until("all are deferred", lambda: cluster.states("kill", run) == ["deferred"] * _SIZE)
    held = until("both triggerers wait", lambda: len(found := _triggerers(cluster, "kill", run)) == 2 and found, 20)
    # The fuller one, for whose tasks the other has room.
    fuller = max(held, key=held.__getitem__)
    name = "triggerer-2" if fuller == min(held) else "triggerer-1"
    cluster.signal(name, signal.SIGSTOP)
    until("some move on", lambda: _triggerers(cluster, "kill", run)[fuller] < held[fuller], 60)
    cluster.signal(name, signal.SIGCONT)

    def spared() -> bool:
        return any("not canceled: " in cluster.log(found) for found in cluster.instances("kill", run))

    until("it wakes up, and finds that they are no longer its own", spared, 60)
    time.sleep(5)
    assert canceled() == []

    victim = next(found for found in cluster.instances("kill", run) if found["task_id"] == "exports")
    path = f"dags/kill/dagRuns/{run}/taskInstances/exports"
    task_id = cluster.get(f"{path}/xcomEntries/ecs_task_id", map_index=str(victim["map_index"]))["value"]
    cluster.send("PATCH", f"{path}/{victim['map_index']}", {"new_state": "failed"})
    until("its task is canceled", lambda: canceled() == [task_id], 30)
    until("all have ended", lambda: set(cluster.states("kill", run)) <= {"success", "failed"}, 180)
    assert canceled() == [task_id]
    assert Counter(cluster.states("kill", run)) == {"success": _SIZE - 2, "failed": 2}


def test_worker_that_is_killed(cluster: Cluster, ecs: EcsEmulator) -> None:
    """A worker that a user ends cancels its task; cleared, the task instance starts another one."""
    ecs.plan("ExportImage", duration=600)
    first = len(ecs.requests)

    def asked(action: str) -> list[tuple[str, ...]]:
        return [request.task_ids for request in ecs.requests[first:] if request.action == action]

    run = cluster.trigger("worker")
    [waited] = until("the worker waits", lambda: asked("DescribeTasks")[:1], 60)
    cluster.send("PATCH", f"dags/worker/dagRuns/{run}/taskInstances/export", {"new_state": "failed"})
    until("its task is canceled", lambda: asked("CancelTask") == [waited], 60)
    again = {"dry_run": False, "dag_run_id": run, "task_ids": ["export"], "only_failed": False, "reset_dag_runs": True}
    cluster.send("POST", "dags/worker/clearTaskInstances", again)
    until("the other has ended", lambda: cluster.states("worker", run) == ["success"], 60)
    assert len(asked("ExportImage")) == 2
    assert asked("CancelTask") == [waited]
