"""EcsConsoleTasksLink: links a task instance to the ECS console's page of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

__all__ = ["EcsConsoleTasksLink"]

# The service's guides to importing and exporting images link to it. No page of a single task is documented.
_TASKS_PAGE = "https://ecs.console.aliyun.com/#/task/region/{region_id}"


class EcsConsoleTasksLink(BaseOperatorLink):
    """A link to the tasks of the operator's region."""

    name = "ECS console tasks"
    key = "ecs_region_id"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the page's URL; an empty string if no region is known yet."""
        region_id: Any = XCom.get_value(key=self.key, ti_key=ti_key)
        return _TASKS_PAGE.format(region_id=region_id) if region_id else ""

    @classmethod
    def persist(cls, context: Context, region_id: str) -> None:
        """Store the region for `get_link`."""
        context["ti"].xcom_push(key=cls.key, value=region_id)
