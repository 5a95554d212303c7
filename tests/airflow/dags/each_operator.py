"""One DAG for each operator, waiting in the worker and in the triggerer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from ecs_waiter.airflow import EcsExportImageOperator, EcsImportImageOperator, EcsRunTaskOperator, EcsTaskSensor

# A brisk pace, as the emulator's tasks are short.
PACE = {"wait": {"factor": 0, "min": 0.1, "max": 0.1, "jitter": 0}, "not_found_grace": 0.5, "outage_budget": 2}
FILE = {"oss_bucket": "images", "oss_object": "base.qcow2"}
AGAIN: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(0)}


def dag(name: str) -> DAG:
    """A DAG without a schedule."""
    return DAG(name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


for deferrable in (False, True):
    how = "deferred" if deferrable else "here"
    common: dict[str, Any] = {"deferrable": deferrable, "policy": PACE}

    with dag(f"import_{how}"):
        EcsImportImageOperator(task_id="step", image_name="base-{{ run_id }}", **FILE, **common, **AGAIN)

    with dag(f"export_{how}"):
        EcsExportImageOperator(
            task_id="step",
            image_id="{{ dag_run.conf['image'] }}",
            oss_bucket="images",
            oss_prefix="x",
            **common,
            **AGAIN,
        )

    with dag(f"run_{how}"):
        EcsRunTaskOperator(
            task_id="step",
            operation="{{ dag_run.conf.get('operation', 'RedeployInstance') }}",
            parameters={
                "InstanceId": "{{ dag_run.conf['resource'] }}",
                "DiskId": "{{ dag_run.conf['resource'] }}",
                "DryRun": "{{ dag_run.conf.get('dry_run', False) }}",
            },
            **common,
            **AGAIN,
        )

    with dag(f"brief_{how}"):
        # The first try is too short for the task.
        EcsExportImageOperator(task_id="step", image_id="m-1", oss_bucket="images", timeout=0.5, **common, **AGAIN)

    with dag(f"wait_{how}"):
        # The starts do not wait; the sensor does, for both.
        starts = EcsExportImageOperator.partial(task_id="start", oss_bucket="images", wait_for_completion=False).expand(
            image_id=["m-1", "m-2"]
        )
        EcsTaskSensor(task_id="step", task_ids=starts.output, poke_interval=0.2, timeout=20, **common, **AGAIN)

    with dag(f"wait_told_{how}"):
        EcsTaskSensor(
            task_id="step",
            task_ids="{{ dag_run.conf['ids'] }}",
            region_id="us-west-1",
            poke_interval=0.2,
            timeout=2,
            **common,
            **AGAIN,
        )
