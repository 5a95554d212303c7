"""The provider's description for Airflow: its operators, sensors, hooks, triggers, links and connection type."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["get_provider_info"]

_INTEGRATION = "Alibaba Cloud ECS"
_OFFICIAL = "apache-airflow-providers-alibaba"
_SECRET = {"type": ["string", "null"], "format": "password"}
_TEXT = {"type": ["string", "null"]}


def get_provider_info() -> dict[str, Any]:
    """Describe this provider, in the form of Airflow's ``provider_info.schema.json``."""
    info: dict[str, Any] = {
        "package-name": "ecs-waiter",
        "name": _INTEGRATION,
        "description": "Long-running tasks of Alibaba Cloud ECS; all deferred tasks of a triggerer share one poll.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.alibabacloud.com/help/en/ecs/",
                "tags": ["alibaba"],
            }
        ],
        "extra-links": ["ecs_waiter.airflow.links.EcsConsoleTasksLink"],
        "connection-types": _connection_types(),
    }
    for kind in ("hooks", "operators", "sensors", "triggers"):
        info[kind] = [{"integration-name": _INTEGRATION, "python-modules": [f"ecs_waiter.airflow.{kind}"]}]
    return info


def _connection_types() -> list[dict[str, Any]]:
    try:
        version(_OFFICIAL)
    except PackageNotFoundError:
        return [
            {
                "connection-type": "alibaba_cloud",
                "hook-class-name": "ecs_waiter.airflow.hooks.EcsTaskHook",
                "hook-name": _INTEGRATION,
                "ui-field-behaviour": {"hidden-fields": ["host", "schema", "login", "password", "port"]},
                "conn-fields": {
                    "access_key_id": {"label": "Access Key ID", "schema": _SECRET},
                    "access_key_secret": {"label": "Access Key Secret", "schema": _SECRET},
                    "security_token": {"label": "Security Token", "schema": _SECRET},
                    "region": {"label": "Region", "schema": _TEXT},
                    "endpoint": {"label": "Endpoint", "schema": _TEXT},
                },
            }
        ]
    # The official provider owns this type: if both registered it, Airflow would warn at each start.
    return []
