"""Mapped imports and exports, all deferred: what the cluster runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG

from ecs_waiter.airflow import EcsExportImageOperator, EcsImportImageOperator

SIZE = int(os.environ.get("FLEET_SIZE", "20")) // 2
SECONDS = int(os.environ.get("FLEET_PACE", "2"))
PACE = {"wait": {"factor": 0, "min": SECONDS, "max": SECONDS, "jitter": 0}}
COMMON: dict[str, Any] = {"oss_bucket": "images", "deferrable": True, "policy": PACE, "retries": 2}


def dag(name: str) -> DAG:
    """A DAG without a schedule."""
    return DAG(name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), max_active_tasks=2 * SIZE)


with dag("worker"):
    EcsExportImageOperator(task_id="export", image_id="m-1", cancel_on_kill=True, **{**COMMON, "deferrable": False})

for name, cancel_on_kill in (("fleet", False), ("kill", True)):
    with dag(name):
        EcsImportImageOperator.partial(
            task_id="imports", image_name="base", cancel_on_kill=cancel_on_kill, **COMMON
        ).expand(oss_object=[f"base-{number}.qcow2" for number in range(SIZE)])
        EcsExportImageOperator.partial(task_id="exports", cancel_on_kill=cancel_on_kill, **COMMON).expand(
            image_id=[f"m-{number}" for number in range(SIZE)]
        )
