"""What Airflow knows of the provider, and what the library does without Airflow."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from ecs_waiter.airflow import provider


def test_schema() -> None:
    """The description matches Airflow's own schema, and the entry point returns it."""
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(provider.get_provider_info(), schema)
    [found] = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith("ecs_waiter")]
    assert found.load() is provider.get_provider_info


def test_every_name_exists() -> None:
    """Each module and class that the description names can be imported."""
    info = provider.get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for row in info[kind]:
            for name in row["python-modules"]:
                importlib.import_module(name)
    for path in [*info["extra-links"], *(row["hook-class-name"] for row in info["connection-types"])]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_beside_the_official_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the official provider is installed, the connection type stays its own."""

    def version(name: str) -> str:
        return "3.5.2"

    monkeypatch.setattr(provider, "version", version)
    assert provider.get_provider_info()["connection-types"] == []


def test_manager(airflow_db: None) -> None:
    """Airflow's manager finds the provider, its hook and its link."""
    manager = ProvidersManager()
    assert "ecs-waiter" in manager.providers
    hook: Any = ProvidersManagerTaskRuntime().hooks["alibaba_cloud"]
    assert hook.hook_class_name == "ecs_waiter.airflow.hooks.EcsTaskHook"
    assert hook.connection_id_attribute_name == "alibabacloud_conn_id"
    assert "ecs_waiter.airflow.links.EcsConsoleTasksLink" in manager.extra_links_class_names


def test_names() -> None:
    """Every public name is at hand, and none else."""
    package = importlib.import_module("ecs_waiter.airflow")
    assert list(package.__all__) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = package.EcsCluster


@pytest.mark.parametrize("name", ["ecs_waiter", "ecs_waiter.airflow", "ecs_waiter.blocking", "ecs_waiter.cli"])
def test_library_leaves_airflow_alone(name: str) -> None:
    """Importing the library, even the provider's package, does not import Airflow."""
    check = f"import sys, {name}; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0  # noqa: S603 - our own


def test_parsing_a_dag_is_light() -> None:
    """Operators and triggers can be imported without what speaks HTTP."""
    check = "import sys, ecs_waiter.airflow.operators, ecs_waiter.airflow.sensors; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0  # noqa: S603 - our own
