"""Every DAG of docs/airflow.md runs as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.dag_runs import run_dag

from ecs_waiter.emulator.service import STARTS

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.usefixtures("airflow_db", "connection")


def starts(ecs: EcsEmulator) -> list[str]:
    """The operations that were started."""
    return [request.action for request in ecs.requests if request.action in STARTS]


def test_golden_image(ecs_emulator: EcsEmulator) -> None:
    """The instance is launched from the image that was imported."""
    # The emulator launches none.
    launched = b'{"InstanceIdSets": {"InstanceIdSet": ["i-1"]}}'
    ecs_emulator.inject("body", action="RunInstances", content=launched, content_type="application/json", status=200)
    ran = run_dag("golden_image")
    assert ran.states == {"image": "success", "launch": "success"}
    assert starts(ecs_emulator) == ["ImportImage"]
    [launch] = [request for request in ecs_emulator.requests if request.action == "RunInstances"]
    assert launch.params["ImageId"] == ran.xcoms["image"]["image_id"]
    assert ran.xcoms["launch"]["return_value"] == "i-1"


def test_spread_image(ecs_emulator: EcsEmulator) -> None:
    """The export is waited for, then imported in each region."""
    ran = run_dag("spread_image")
    assert ran.states == {"export": "success", "exported": "success", "imports": "success"}
    assert starts(ecs_emulator) == ["ExportImage"] + ["ImportImage"] * 3
    regions = {request.region_id for request in ecs_emulator.requests if request.action == "ImportImage"}
    assert regions == {"cn-beijing", "eu-central-1", "us-west-1"}
