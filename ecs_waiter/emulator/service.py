"""The operations of the ECS task API on the emulator's state. Knows nothing of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator import parameters
from ecs_waiter.emulator.task_store import EmulatedTask, Identifiers, Plan, TaskStore
from ecs_waiter.emulator.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ecs_waiter.emulator.clock import ServiceTime
    from ecs_waiter.emulator.wire import Request

__all__ = ["STARTS", "Service"]

_DEFAULT_PAGE = 10
_MAX_PAGE_SIZE = 100
_MAX_PAGE = 999_999_999
_MAX_IDS = 100
_MAX_TOKEN_LENGTH = 64
_KNOWN_STATUSES = frozenset({"Finished", "Processing", "Failed"})
_DEFAULT_REGION = "cn-hangzhou"
# What differs between two attempts at the same call.
_OF_THE_ATTEMPT = frozenset({"Signature", "SignatureNonce", "Timestamp", "AccessKeyId", "SecurityToken"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOperation:
    """An operation that starts a task.

    Attributes:
        resource: The parameter that names what the task works on; empty for an import, which makes a new image.
        takes_token: Whether it takes a ``ClientToken``.
        takes_dry_run: Whether it takes ``DryRun``.
        returns_region: Whether its answer carries a ``RegionId``.
    """

    resource: str = ""
    takes_token: bool = False
    takes_dry_run: bool = False
    returns_region: bool = False


STARTS = {
    "ImportImage": TaskOperation(takes_token=True, returns_region=True, takes_dry_run=True),
    "ExportImage": TaskOperation(resource="ImageId", returns_region=True, takes_dry_run=True),
    "ExportSnapshot": TaskOperation(resource="SnapshotId"),
    "ModifyDiskDeployment": TaskOperation(resource="DiskId", takes_dry_run=True),
    "ModifyDiskSpec": TaskOperation(resource="DiskId", takes_dry_run=True),
    "ModifyInstanceClockOptions": TaskOperation(resource="InstanceId", takes_token=True, takes_dry_run=True),
    "ModifyInstanceNetworkOptions": TaskOperation(resource="InstanceId"),
    "ModifySnapshotCategory": TaskOperation(resource="SnapshotId"),
    "RedeployInstance": TaskOperation(resource="InstanceId"),
}


def _row(task: EmulatedTask, time: ServiceTime) -> dict[str, Any]:
    row = {
        "CreationTime": time.format(task.created),
        "TaskStatus": task.status(time.now),
        "SupportCancel": "true" if task.supports_cancel else "false",
        "TaskId": task.task_id,
        "TaskAction": task.task_action,
        "ResourceId": task.resource_id,
    }
    finished = task.finished(time.now)
    if finished is not None:
        row["FinishedTime"] = time.format(finished)
    return row


class Service:
    """Executes one operation at a time.

    Args:
        regions: The regions that exist; adding a task elsewhere adds that region.
        identifiers: Makes new IDs.
        plan: What happens to tasks that clients start, unless a test plans otherwise.
    """

    def __init__(self, regions: Iterable[str], identifiers: Identifiers, plan: Plan) -> None:
        self.tasks = TaskStore()
        self.regions = set(regions)
        self._ids = identifiers
        self._default_plan = plan
        self._plans: dict[str, list[Plan]] = {}
        # For each token: the parameters of its request, the answer, its time, and for how many seconds it is busy.
        self._tokens: dict[tuple[str, str, str], tuple[Mapping[str, str], dict[str, Any], datetime, float]] = {}

    def plan(self, task_action: str, plan: Plan) -> None:
        """Plan the next task that a client starts with this operation."""
        self._plans.setdefault(task_action, []).append(plan)

    def answer(self, request: Request, time: ServiceTime) -> dict[str, Any]:
        """Return the operation's answer, without its ``RequestId``.

        Raises:
            ServiceError: The service rejects the request.
        """
        if request.action in STARTS:
            return self._start(request, STARTS[request.action], time)
        match request.action:
            case "DescribeTasks":
                return self._describe_tasks(request, time)
            case "DescribeTaskAttribute":
                return self._describe_task_attribute(request, time)
            case "CancelTask":
                return self._cancel_task(request, time)
        raise ServiceError(
            404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."
        )

    def _region(self, params: Mapping[str, str]) -> str:
        region_id = parameters.required(params, "RegionId")
        if region_id not in self.regions:
            raise ServiceError(400, "InvalidRegionId.NotFound", "The specified RegionId does not exist.")
        return region_id

    def _task(self, request: Request, time: ServiceTime) -> EmulatedTask:
        region_id = self._region(request.params)
        task = self.tasks.get(region_id, parameters.required(request.params, "TaskId"), time.now)
        if task is None:
            raise ServiceError(400, "InvalidTaskId.NotFound", "The specified task ID does not exist.")
        return task

    def _describe_tasks(self, request: Request, time: ServiceTime) -> dict[str, Any]:
        params = request.params
        region_id = self._region(params)
        number = parameters.whole(params, "PageNumber", default=1, least=1, most=_MAX_PAGE)
        size = parameters.whole(params, "PageSize", default=_DEFAULT_PAGE, least=1, most=_MAX_PAGE_SIZE)
        found = sorted(self._matching(request, region_id, time), key=lambda task: task.created, reverse=True)
        page = found[(number - 1) * size : number * size]
        return {
            "PageSize": size,
            "PageNumber": number,
            "TotalCount": len(found),
            "RegionId": region_id,
            "TaskSet": {"Task": [_row(task, time) for task in page]},
        }

    def _matching(self, request: Request, region_id: str, time: ServiceTime) -> Iterable[EmulatedTask]:
        params, now = request.params, time.now
        if group := params.get("TaskGroupId"):
            # The service then ignores all other conditions, invalid ones included.
            yield from (task for task in self.tasks.listed(region_id, now) if task.task_group_id == group)
            return
        if len(request.task_ids) > _MAX_IDS:
            raise parameters.invalid("TaskIds", f"it takes at most {_MAX_IDS} task IDs")
        since = parameters.utc_time(params, "StartTime", time)
        until = parameters.utc_time(params, "EndTime", time)
        resources = parameters.values(params, "ResourceIds")
        action, status = params.get("TaskAction", ""), params.get("TaskStatus", "")
        if params.get("TaskIds"):
            named = (self.tasks.get(region_id, task_id, now) for task_id in dict.fromkeys(request.task_ids))
            found = [task for task in named if task is not None]
        else:
            found = self.tasks.listed(region_id, now)
        for task in found:
            # The API has whole seconds, so a range includes the second it names.
            created = task.created.replace(microsecond=0)
            if (
                (not action or task.task_action == action)
                and (status not in _KNOWN_STATUSES or task.status(now) == status)
                and (not resources or task.resource_id in resources)
                and (since is None or created >= since)
                and (until is None or created <= until)
            ):
                yield task

    def _describe_task_attribute(self, request: Request, time: ServiceTime) -> dict[str, Any]:
        task = self._task(request, time)
        status = task.status(time.now)
        steps = []
        if status == "Failed":
            code, message = task.plan.error or ("", "")
            related = {"RelatedItem": [{"Name": "ResourceId", "Value": task.resource_id}]}
            steps = [
                {"OperationStatus": "Failed", "ErrorCode": code, "ErrorMsg": message, "RelatedItemSet": related},
            ]
        return {
            **_row(task, time),
            "RegionId": task.region_id,
            "TaskProcess": f"{task.percent(time.now)}%",
            "TotalCount": 1,
            "SuccessCount": int(status == "Finished"),
            "FailedCount": int(status == "Failed"),
            "OperationProgressSet": {"OperationProgress": steps},
        }

    def _cancel_task(self, request: Request, time: ServiceTime) -> dict[str, Any]:
        task = self._task(request, time)
        if not task.supports_cancel:
            raise ServiceError(
                403, "InvalidTaskId.TaskActionNotSupport", "The specified task action does not support cancellation."
            )
        if task.finished(time.now) is not None:
            raise ServiceError(
                403, "InvalidTaskId.IncorrectTaskStatus", "The current status of the task does not support this."
            )
        task.canceled = time.now
        return {}

    def _start(self, request: Request, operation: TaskOperation, time: ServiceTime) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if name not in _OF_THE_ATTEMPT}
        params["RegionId"] = request.region_id or _DEFAULT_REGION
        region_id = self._region(params)
        resource_id = parameters.required(params, operation.resource) if operation.resource else self._ids.resource("m")
        if operation.takes_dry_run and params.get("DryRun", "").lower() == "true":
            raise ServiceError(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
        token = params.get("ClientToken", "") if operation.takes_token else ""
        if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
            raise parameters.invalid("ClientToken", f"it takes at most {_MAX_TOKEN_LENGTH} ASCII characters")
        key = (region_id, request.action, token)
        if token and key in self._tokens:
            first, answer, started, busy = self._tokens[key]
            if first != params:
                raise ServiceError(
                    400,
                    "IdempotentParameterMismatch",
                    "The specified clientToken is used, and the request parameters differ from the first request's.",
                )
            if (time.now - started).total_seconds() < busy:
                raise ServiceError(403, "LastTokenProcessing", "The last token request is processing.")
            return dict(answer)
        planned = self._plans.get(request.action)
        plan = planned.pop(0) if planned else self._default_plan
        answer = {}
        if not plan.at_once:
            task = EmulatedTask(
                region_id=region_id,
                task_id=self._ids.resource("t"),
                task_action=request.action,
                resource_id=resource_id,
                created=time.now,
                plan=plan,
            )
            self.tasks.add(task)
            answer["TaskId"] = task.task_id
        if operation.returns_region:
            answer["RegionId"] = region_id
        if request.action == "ImportImage":
            answer["ImageId"] = resource_id
        if token:
            self._tokens[key] = (params, answer, time.now, plan.busy)
        return dict(answer)
