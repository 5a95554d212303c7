"""EcsTaskSensor: waits for tasks that something else started."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from ecs_waiter.airflow.hooks import EcsTaskHook
from ecs_waiter.airflow.links import EcsConsoleTasksLink
from ecs_waiter.airflow.policies import PolicyArgument, policy_from_numbers, policy_to_numbers
from ecs_waiter.airflow.trigger_events import checked_event, tasks_of
from ecs_waiter.airflow.triggers import EcsTaskTrigger
from ecs_waiter.ids import check_task_id
from ecs_waiter.polling.policy import PollPolicy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EcsTaskSensor"]

_LOOKUP_SECONDS = 30.0  # to look up the reason of a failure


class EcsTaskSensor(BaseSensorOperator):
    """Waits until all tasks have finished, and returns ID -> the task's fields.

    Its ``timeout`` is a deadline for all of them. Airflow retries after the deadline, but not after a task has failed.

    Args:
        task_ids: The IDs: a list, XComs of operators that started them, or a template that renders to one ID, to IDs
            with commas between them, or to a list. None, which an operator returns for "done at once", is ignored.
            (templated)
        region_id: Their region; the connection's by default. (templated)
        alibabacloud_conn_id: The connection; None for the default credentials chain. (templated)
        deferrable: Whether to wait in the triggerer, which occupies no worker slot. Otherwise the sensor pokes.
        policy: When to poll, and how long to retry: a PollPolicy with `wait_proportional` or tenacity's
            ``wait_fixed``, or its numbers by name. A sensor that pokes has its own interval.
        **kwargs: Those of Airflow's sensors, all times in seconds.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is invalid.
    """

    template_fields: Sequence[str] = ("task_ids", "region_id", "alibabacloud_conn_id")
    operator_extra_links = (EcsConsoleTasksLink(),)
    ui_color = "#ffe0cc"

    def __init__(
        self,
        *,
        task_ids: str | Sequence[str | None],
        region_id: str | None = None,
        alibabacloud_conn_id: str | None = EcsTaskHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        policy: PolicyArgument = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task_ids = task_ids
        self.region_id = region_id
        self.alibabacloud_conn_id = alibabacloud_conn_id
        self.deferrable = deferrable
        self.policy = policy_to_numbers(policy)

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait in this process or in the triggerer."""
        task_ids = _read(self.task_ids)
        hook = self._hook()
        region_id = hook.region()
        EcsConsoleTasksLink.persist(context, region_id)
        if not task_ids:
            self.log.info("no tasks to wait for")
            return {}
        if self.deferrable:
            self.defer(
                trigger=EcsTaskTrigger(
                    task_ids=task_ids,
                    region_id=region_id,
                    alibabacloud_conn_id=self.alibabacloud_conn_id,
                    deadline=datetime.now(UTC) + timedelta(seconds=self.timeout),
                    policy=self.policy,
                ),
                method_name="execute_complete",
            )
        try:
            return super().execute(context)  # type: ignore[no-any-return]
        except AirflowSensorTimeout as error:
            # Airflow never retries after AirflowSensorTimeout, but a new try can still find the task finished.
            raise AirflowException(str(error)) from error

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Return ID -> the task's fields.

        Raises:
            AirflowFailException: A task failed, was canceled or is unknown; the message has the service's reason.
            AirflowException: The deadline passed, or the service did not respond.
        """
        return tasks_of(checked_event(event))

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Poll every task once.

        Raises:
            AirflowFailException: A task failed, was canceled or is unknown.
            AirflowException: The service did not respond.
        """
        hook, task_ids = self._hook(), _read(self.task_ids)
        seen: set[str] = set()
        polled = hook.wait(task_ids, timeout=0, on_update=lambda task: seen.add(task.task_id))
        if running := seen.intersection(polled["pending"]):
            self.log.info("%d of %d tasks are not finished yet", len(running), len(task_ids))
            return PokeReturnValue(is_done=False)
        tasks = tasks_of(polled)
        # A single poll finds neither the reason of a failure nor whether an unlisted task will appear.
        if unclear := [task_id for task_id in task_ids if task_id not in tasks or task_id in polled["errors"]]:
            grace = (hook.policy or PollPolicy()).not_found_grace
            event = hook.wait(unclear, timeout=grace + _LOOKUP_SECONDS)
            if event["status"] == "timeout":
                return PokeReturnValue(is_done=False)
            tasks.update(tasks_of(checked_event(event)))
        return PokeReturnValue(is_done=True, xcom_value={task_id: tasks[task_id] for task_id in task_ids})

    def _hook(self) -> EcsTaskHook:
        return EcsTaskHook(self.alibabacloud_conn_id, self.region_id, policy_from_numbers(self.policy))


def _read(task_ids: object) -> list[str]:
    """Return the distinct IDs in the rendered field.

    Raises:
        TypeError: The field holds no IDs.
        ValueError: An ID is invalid.
    """
    if isinstance(task_ids, str):
        text = task_ids.strip()
        task_ids = ast.literal_eval(text) if text.startswith("[") else re.findall(r"[^,\s]+", text)
    if not isinstance(task_ids, Iterable):
        raise TypeError(f"task_ids takes IDs, not {type(task_ids).__name__}")
    return list(dict.fromkeys(check_task_id(task_id) for task_id in task_ids if task_id is not None))
