"""A thousand deferred Airflow tasks in two triggerers, one of which is killed: what they ask, and what they cost.

Takes half an hour on two cores, nearly all of it Airflow's own start of two thousand worker processes. Run it with the
environment of ``make test-airflow`` and an empty Postgres database:

    PYTHONPATH=tests .venv-airflow/bin/python tests/airflow/thousand.py postgresql+psycopg2://user@127.0.0.1/airflow
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from support.airflow_cluster import Cluster, until

from ecs_waiter.testing.background import serve

SIZE, PACE, WATCHED = 1000, 10, 120


def still_going(answer: dict[str, Any]) -> dict[str, Any]:
    """Let every task run on until the fault is removed."""
    for task in answer.get("TaskSet", {}).get("Task", []):
        task.update(TaskStatus="Processing", FinishedTime="")
    return answer


def main(database: str) -> None:
    """Run it once, and print what was seen."""
    began = time.monotonic()

    def report(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)  # noqa: T201 - this is a program

    settings = {
        "FLEET_SIZE": str(SIZE),
        "FLEET_PACE": str(PACE),
        # As Airflow has it.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
    }
    with serve() as ecs, tempfile.TemporaryDirectory() as home:
        hold = ecs.inject("rewrite", action="DescribeTasks", change=still_going)
        with Cluster(Path(home), ecs.url, database=database, settings=settings) as cluster:
            report("the cluster is up")
            run = cluster.trigger("fleet")

            def counted() -> Counter[str]:
                return Counter(cluster.states("fleet", run))

            def all_deferred() -> bool:
                states = counted()
                report(f"{dict(states)}; requests so far: {len(ecs.requests)}")
                time.sleep(10)
                return states["deferred"] == SIZE

            def watch(what: str) -> None:
                first, cpu = len(ecs.requests), cluster.cost()
                time.sleep(WATCHED)
                polls = [r for r in ecs.requests[first:] if r.action == "DescribeTasks"]
                asked = sum(len(poll.task_ids) for poll in polls)
                report(f"{what}: {len(polls)} calls for {asked} ID-polls in {WATCHED} s, a poll every {PACE} s")
                for name, (seconds, megabytes) in cluster.cost().items():
                    used = seconds - cpu[name][0]
                    report(f"    {name}: {used / WATCHED:.1%} of a core, {megabytes:.0f} MB resident")

            until("all are deferred", all_deferred, 3600)
            time.sleep(2 * PACE)
            watch("two triggerers")
            cluster.signal("triggerer-1", signal.SIGKILL)
            watch("from the kill of one on")
            known = {task_id for r in ecs.requests if r.action == "DescribeTasks" for task_id in r.task_ids}
            recent = [r for r in ecs.requests if (ecs.now() - r.at).total_seconds() < PACE + 2]
            report(f"the other one polls {len({task_id for r in recent for task_id in r.task_ids})} of {len(known)}")
            hold.remove()
            released = time.monotonic()
            until("no task is deferred", lambda: not counted()["deferred"], 3600)
            report(f"all tasks ended at once; the last event was handled after {time.monotonic() - released:.0f} s")
            until("the run ends", lambda: set(counted()) <= {"success", "failed"}, 3600)
            instances = cluster.instances("fleet", run)
            report(f"{dict(counted())}, tries: {dict(Counter(found['try_number'] for found in instances))}")
            report(f"requests: {dict(Counter(request.action for request in ecs.requests))}")


if __name__ == "__main__":
    main(sys.argv[1])
