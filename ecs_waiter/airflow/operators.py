"""Operators that start a long-running ECS operation and wait for its task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from ecs_waiter.airflow.cancel import cancel_if_ended_blocking
from ecs_waiter.airflow.hooks import EcsTaskHook
from ecs_waiter.airflow.links import EcsConsoleTasksLink
from ecs_waiter.airflow.policies import PolicyArgument, policy_from_numbers, policy_to_numbers
from ecs_waiter.airflow.state import Earlier, client_token, recall, remember
from ecs_waiter.airflow.trigger_events import checked_event, tasks_of
from ecs_waiter.airflow.triggers import EcsTaskTrigger
from ecs_waiter.api.call_policy import check_seconds
from ecs_waiter.errors import ApiError
from ecs_waiter.escaping import escape_control
from ecs_waiter.models import TaskStatus
from ecs_waiter.starting import Start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from ecs_waiter.models import Task
    from ecs_waiter.starting import StartedTask

__all__ = ["EcsExportImageOperator", "EcsImportImageOperator", "EcsRunTaskOperator"]


class EcsRunTaskOperator(BaseOperator):
    """Runs an ECS operation that starts a task, e.g. ``RedeployInstance``, and waits for the task.

    Returns the task's ID. Returns None if the change was done at once (``ModifyDiskSpec`` only), or if the parameters
    ask for a dry run (``DryRun``) and the request would succeed. Pushes the XCom ``ecs_task_id`` (and
    ``image_id`` for an import) after the start, and ``resource_id`` when the task has finished.

    An operation that starts no task, such as ``CopyImage``, fails the task instance before any call.

    A retry resumes the task that an earlier try has started, unless a try has seen its end. If the operation takes a
    ``ClientToken``, the start carries one that is made from the task instance. Without a token, a start that may or
    may not have happened fails without a retry.

    Args:
        operation: The operation's name. It must be one that starts a task. (templated)
        parameters: Its parameters; lists and maps are flattened as the service wants them. (templated)
        region_id: The region; the connection's by default. (templated)
        alibabacloud_conn_id: The connection; None for the default credentials chain. (templated)
        wait_for_completion: Whether to wait for the task; otherwise the operator succeeds after the start.
        deferrable: Whether to wait in the triggerer, which occupies no worker slot.
        timeout: How long to wait for the task, in seconds or as timedelta; None for no limit.
        policy: When to poll, and how long to retry: a PollPolicy with `wait_proportional` or tenacity's
            ``wait_fixed``, or its numbers by name.
        cancel_on_kill: Whether to cancel the task at the service when a user marks the task instance as failed or
            successful. A task instance that is cleared, taken over or retried keeps its task.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is invalid.
    """

    template_fields: Sequence[str] = ("operation", "parameters", "region_id", "alibabacloud_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}
    operator_extra_links = (EcsConsoleTasksLink(),)
    ui_color = "#ffe0cc"

    def __init__(  # noqa: PLR0913 - the usual options of an operator
        self,
        *,
        operation: str,
        parameters: Mapping[str, Any] | None = None,
        region_id: str | None = None,
        alibabacloud_conn_id: str | None = EcsTaskHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float | timedelta | None = None,
        policy: PolicyArgument = None,
        cancel_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.operation = operation
        self.parameters = parameters
        self.region_id = region_id
        self.alibabacloud_conn_id = alibabacloud_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        self.timeout = None if seconds is None else check_seconds("timeout", seconds)
        self.policy = policy_to_numbers(policy)
        self.cancel_on_kill = cancel_on_kill
        self._running: tuple[Any, str] | None = None  # the task instance and its task, for `on_kill`

    def request(self) -> dict[str, Any]:
        """Return the parameters of the call, from the rendered fields."""
        return dict(self.parameters or {})

    def execute(self, context: Context) -> str | None:
        """Start the task, or resume the one of an earlier try; then wait in this process or in the triggerer."""
        hook = self._hook()
        region_id = hook.region()
        EcsConsoleTasksLink.persist(context, region_id)
        task_id = self._begin(context, hook)
        if task_id is None or not self.wait_for_completion:
            return task_id
        self._running = context["ti"], task_id
        if self.deferrable:
            deadline = None if self.timeout is None else datetime.now(UTC) + timedelta(seconds=self.timeout)
            self.defer(
                trigger=EcsTaskTrigger(
                    task_ids=[task_id],
                    region_id=region_id,
                    alibabacloud_conn_id=self.alibabacloud_conn_id,
                    deadline=deadline,
                    policy=self.policy,
                    cancel_on_kill=self.cancel_on_kill,
                ),
                method_name="execute_complete",
                timeout=self.execution_timeout,
            )
        event = hook.wait([task_id], timeout=self.timeout, on_update=self._log_update)
        return self.execute_complete(context, event)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Return the task's ID.

        Raises:
            AirflowFailException: The task failed, was canceled or is unknown; the message has the service's reason.
            AirflowException: The deadline passed, or the service did not respond.
        """
        try:
            tasks = tasks_of(checked_event(event))
        except AirflowFailException:
            if (task_id := recall(context).task_id) is not None:
                remember(context, task_id, ended=True)
            raise
        [(task_id, task)] = tasks.items()
        remember(context, task_id, ended=True)
        context["ti"].xcom_push(key="resource_id", value=task["resource_id"])
        self.log.info("task %s has finished; its resource is %s", task_id, escape_control(task["resource_id"]))
        return task_id

    def on_kill(self) -> None:
        """Cancel the task, if `cancel_on_kill` is set and the task instance has ended."""
        if self.cancel_on_kill and self._running is not None:
            ti, task_id = self._running
            cancel_if_ended_blocking(self._hook(), ti, [task_id], self.log)

    def _hook(self) -> EcsTaskHook:
        return EcsTaskHook(self.alibabacloud_conn_id, self.region_id, policy_from_numbers(self.policy))

    def _log_update(self, task: Task) -> None:
        self.log.info("task %s is %s", escape_control(task.task_id), escape_control(task.task_status))

    def _begin(self, context: Context, hook: EcsTaskHook) -> str | None:
        """Return the ID of the task to wait for; None if there is nothing to wait for."""
        earlier = recall(context)
        # Before any call, because it rejects operations that start no task.
        start = self._new_start(context, hook, earlier.task_id or earlier.ended)
        if earlier.task_id is not None and _failure(hook, earlier.task_id) is not TaskStatus.CANCELED:
            self.log.info("%s in %s was started before, as task %s", self.operation, start.region_id, earlier.task_id)
            remember(context, earlier.task_id)
            return earlier.task_id
        started = self._send(hook, start)
        # Before Airflow 3.3 a retry remembers nothing, so its token may return an earlier try's task that has failed.
        may_be_old = start.adds_token and earlier == Earlier() and context["ti"].try_number != 1
        if started.task_id is not None and may_be_old and _failure(hook, started.task_id) is not None:
            started = self._send(hook, self._new_start(context, hook, started.task_id))
        if started.task_id is None:
            return None
        remember(context, started.task_id)
        self.log.info("%s in %s is task %s", self.operation, started.region_id, started.task_id)
        if self.operation == "ImportImage" and started.resource_id is not None:
            context["ti"].xcom_push(key="image_id", value=started.resource_id)
        return started.task_id

    def _send(self, hook: EcsTaskHook, start: Start) -> StartedTask:
        try:
            started = hook.start(start)
        except ApiError as error:
            if start.client_token is not None or not start.is_in_doubt(error):
                raise
            raise AirflowFailException(f"{error}; clearing this task instance starts it again") from error
        if started.task_id is None:
            self.log.info(start.why_no_task)
        return started

    def _new_start(self, context: Context, hook: EcsTaskHook, ended: str) -> Start:
        def new_token() -> str:
            return client_token(context["ti"], ended)

        try:
            return Start(self.operation, hook.region(), self.request(), new_token=new_token)
        except (TypeError, ValueError) as error:
            raise AirflowFailException(str(error)) from error  # a retry would raise it again


def _failure(hook: EcsTaskHook, task_id: str) -> TaskStatus | None:
    """Poll a task once; return FAILED or CANCELED, or None for any other result."""
    event = hook.wait([task_id], timeout=0)
    if task_id not in event["errors"] or task_id not in tasks_of(event):
        return None
    status = TaskStatus(tasks_of(event)[task_id]["task_status"])
    return TaskStatus.CANCELED if status.is_canceled else status


class EcsImportImageOperator(EcsRunTaskOperator):
    """Imports an image file from OSS (``ImportImage``); the new image's ID is the XCom ``image_id``.

    Args:
        image_name: The new image's name. (templated)
        oss_bucket: The bucket that contains the image file. (templated)
        oss_object: The image file. (templated)
        image_format: ``RAW``, ``VHD`` or ``QCOW2``; the service detects it by default. (templated)
        parameters: Further parameters of the operation, e.g. ``Architecture``, ``OSType``, ``Tag``. (templated)
        **kwargs: Those of `EcsRunTaskOperator`.
    """

    template_fields: Sequence[str] = (
        "image_name",
        "oss_bucket",
        "oss_object",
        "image_format",
        *EcsRunTaskOperator.template_fields,
    )

    def __init__(
        self,
        *,
        image_name: str,
        oss_bucket: str,
        oss_object: str,
        image_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"operation": "ImportImage", **kwargs})
        self.image_name = image_name
        self.oss_bucket = oss_bucket
        self.oss_object = oss_object
        self.image_format = image_format

    def request(self) -> dict[str, Any]:
        """Return the parameters of the call, from the rendered fields."""
        file = {"OSSBucket": self.oss_bucket, "OSSObject": self.oss_object}
        if self.image_format:
            file["Format"] = self.image_format
        return {"ImageName": self.image_name, "DiskDeviceMapping": [file], **super().request()}


class EcsExportImageOperator(EcsRunTaskOperator):
    """Exports an image to OSS (``ExportImage``).

    Args:
        image_id: The image. (templated)
        oss_bucket: The bucket to write to. (templated)
        oss_prefix: The prefix of the file's name. (templated)
        image_format: ``raw``, ``vhd``, ``qcow2``, ``vmdk`` or ``vdi``; the service's default is raw. (templated)
        parameters: Further parameters of the operation, e.g. ``RoleName``. (templated)
        **kwargs: Those of `EcsRunTaskOperator`.
    """

    template_fields: Sequence[str] = (
        "image_id",
        "oss_bucket",
        "oss_prefix",
        "image_format",
        *EcsRunTaskOperator.template_fields,
    )

    def __init__(
        self,
        *,
        image_id: str,
        oss_bucket: str,
        oss_prefix: str | None = None,
        image_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"operation": "ExportImage", **kwargs})
        self.image_id = image_id
        self.oss_bucket = oss_bucket
        self.oss_prefix = oss_prefix
        self.image_format = image_format

    def request(self) -> dict[str, Any]:
        """Return the parameters of the call, from the rendered fields."""
        params = {
            "ImageId": self.image_id,
            "OSSBucket": self.oss_bucket,
            "OSSPrefix": self.oss_prefix,
            "ImageFormat": self.image_format,
        }
        return {**{name: value for name, value in params.items() if value}, **super().request()}
