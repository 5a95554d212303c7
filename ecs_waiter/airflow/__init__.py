"""An Airflow provider: a thousand deferred tasks share one poll. Needs the extra ``airflow`` (Airflow 3).

Importing this package does not import Airflow; using one of its names does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecs_waiter.airflow.hooks import EcsTaskHook
    from ecs_waiter.airflow.links import EcsConsoleTasksLink
    from ecs_waiter.airflow.operators import EcsExportImageOperator, EcsImportImageOperator, EcsRunTaskOperator
    from ecs_waiter.airflow.sensors import EcsTaskSensor
    from ecs_waiter.airflow.triggers import EcsTaskTrigger

__all__ = [
    "EcsConsoleTasksLink",
    "EcsExportImageOperator",
    "EcsImportImageOperator",
    "EcsRunTaskOperator",
    "EcsTaskHook",
    "EcsTaskSensor",
    "EcsTaskTrigger",
]

_MODULES = {
    "EcsConsoleTasksLink": "links",
    "EcsExportImageOperator": "operators",
    "EcsImportImageOperator": "operators",
    "EcsRunTaskOperator": "operators",
    "EcsTaskHook": "hooks",
    "EcsTaskSensor": "sensors",
    "EcsTaskTrigger": "triggers",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
