"""The operations of the ECS task API on the emulator's state. Knows nothing of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecs_waiter.emulator import parameters
from ecs_waiter.emulator.answer import ServiceError
from ecs_waiter.emulator.starts import STARTS, Plan, Start
from ecs_waiter.emulator.state import EmulatedTask, Identifiers, Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ecs_waiter.emulator.clock import Moment
    from ecs_waiter.emulator.request import Request

__all__ = ["Service", "task_row"]

_DEFAULT_PAGE = 10
_LARGEST_PAGE = 100
_LAST_PAGE = 999_999_999
_MOST_IDS = 100
_LONGEST_TOKEN = 64
_KNOWN_STATUSES = frozenset({"Finished", "Processing", "Failed"})
_FALLBACK_REGION = "cn-hangzhou"
# What differs between two attempts at one and the same call.
_OF_THE_ATTEMPT = frozenset({"Signature", "SignatureNonce", "Timestamp", "AccessKeyId", "SecurityToken"})


def task_row(task: EmulatedTask, moment: Moment) -> dict[str, Any]:
    """Return a task as DescribeTasks lists it."""
    row = {
        "CreationTime": moment.tell(task.created),
        "TaskStatus": task.status(moment.now),
        "SupportCancel": "true" if task.supports_cancel else "false",
        "TaskId": task.task_id,
        "TaskAction": task.task_action,
        "ResourceId": task.resource_id,
    }
    finished = task.finished(moment.now)
    if finished is not None:
        row["FinishedTime"] = moment.tell(finished)
    return row


class Service:
    """Answers one operation at a time.

    Args:
        regions: The regions that exist; more are opened by adding a task there.
        identifiers: Where new IDs come from.
        plan: What becomes of tasks that clients start, unless a test plans otherwise.
    """

    def __init__(self, regions: Iterable[str], identifiers: Identifiers, plan: Plan) -> None:
        self.tasks = Tasks()
        self.regions = set(regions)
        self._ids = identifiers
        self._plan = plan
        self._plans: dict[str, list[Plan]] = {}
        # What each token was used for: the parameters, the answer, when that was, and the seconds that it is at work.
        self._tokens: dict[tuple[str, str, str], tuple[Mapping[str, str], dict[str, Any], datetime, float]] = {}

    def plan(self, task_action: str, plan: Plan) -> None:
        """Say what becomes of the next task that a client starts with this operation."""
        self._plans.setdefault(task_action, []).append(plan)

    def answer(self, request: Request, moment: Moment) -> dict[str, Any]:
        """Return the operation's answer, without its ``RequestId``.

        Raises:
            ServiceError: The service refuses.
        """
        if request.action in STARTS:
            return self._start(request, STARTS[request.action], moment)
        match request.action:
            case "DescribeTasks":
                return self._describe_tasks(request, moment)
            case "DescribeTaskAttribute":
                return self._describe_task_attribute(request, moment)
            case "CancelTask":
                return self._cancel_task(request, moment)
        raise ServiceError(
            404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."
        )

    def _region(self, params: Mapping[str, str]) -> str:
        region_id = parameters.required(params, "RegionId")
        if region_id not in self.regions:
            raise ServiceError(400, "InvalidRegionId.NotFound", "The specified RegionId does not exist.")
        return region_id

    def _task(self, request: Request, moment: Moment) -> EmulatedTask:
        region_id = self._region(request.params)
        task = self.tasks.get(region_id, parameters.required(request.params, "TaskId"), moment.now)
        if task is None:
            raise ServiceError(400, "InvalidTaskId.NotFound", "The specified task ID does not exist.")
        return task

    def _describe_tasks(self, request: Request, moment: Moment) -> dict[str, Any]:
        params = request.params
        region_id = self._region(params)
        number = parameters.whole(params, "PageNumber", default=1, least=1, most=_LAST_PAGE)
        size = parameters.whole(params, "PageSize", default=_DEFAULT_PAGE, least=1, most=_LARGEST_PAGE)
        found = sorted(self._matching(request, region_id, moment), key=lambda task: task.created, reverse=True)
        page = found[(number - 1) * size : number * size]
        return {
            "PageSize": size,
            "PageNumber": number,
            "TotalCount": len(found),
            "RegionId": region_id,
            "TaskSet": {"Task": [task_row(task, moment) for task in page]},
        }

    def _matching(self, request: Request, region_id: str, moment: Moment) -> Iterable[EmulatedTask]:
        params, now = request.params, moment.now
        if group := params.get("TaskGroupId"):
            # The other conditions are then ignored, those that would be refused too.
            yield from (task for task in self.tasks.listed(region_id, now) if task.task_group_id == group)
            return
        if len(request.task_ids) > _MOST_IDS:
            raise parameters.invalid("TaskIds", f"it takes at most {_MOST_IDS} task IDs")
        since = parameters.time(params, "StartTime", moment)
        until = parameters.time(params, "EndTime", moment)
        resources = parameters.values(params, "ResourceIds")
        action, status = params.get("TaskAction", ""), params.get("TaskStatus", "")
        if params.get("TaskIds"):
            named = (self.tasks.get(region_id, task_id, now) for task_id in dict.fromkeys(request.task_ids))
            found = [task for task in named if task is not None]
        else:
            found = self.tasks.listed(region_id, now)
        for task in found:
            # The wire has whole seconds, so a range includes the second it names.
            created = task.created.replace(microsecond=0)
            if (
                (not action or task.task_action == action)
                and (status not in _KNOWN_STATUSES or task.status(now) == status)
                and (not resources or task.resource_id in resources)
                and (since is None or created >= since)
                and (until is None or created <= until)
            ):
                yield task

    def _describe_task_attribute(self, request: Request, moment: Moment) -> dict[str, Any]:
        task = self._task(request, moment)
        status = task.status(moment.now)
        steps = []
        if status == "Failed":
            code, message = task.error or ("", "")
            related = {"RelatedItem": [{"Name": "ResourceId", "Value": task.resource_id}]}
            steps = [
                {"OperationStatus": "Failed", "ErrorCode": code, "ErrorMsg": message, "RelatedItemSet": related},
            ]
        return {
            **task_row(task, moment),
            "RegionId": task.region_id,
            "TaskProcess": f"{task.percent(moment.now)}%",
            "TotalCount": 1,
            "SuccessCount": int(status == "Finished"),
            "FailedCount": int(status == "Failed"),
            "OperationProgressSet": {"OperationProgress": steps},
        }

    def _cancel_task(self, request: Request, moment: Moment) -> dict[str, Any]:
        task = self._task(request, moment)
        if not task.supports_cancel:
            raise ServiceError(
                403, "InvalidTaskId.TaskActionNotSupport", "The specified task action does not support cancellation."
            )
        if task.finished(moment.now) is not None:
            raise ServiceError(
                403, "InvalidTaskId.IncorrectTaskStatus", "The current status of the task does not support this."
            )
        task.canceled = moment.now
        return {}

    def _start(self, request: Request, start: Start, moment: Moment) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if name not in _OF_THE_ATTEMPT}
        params["RegionId"] = request.region_id or _FALLBACK_REGION
        region_id = self._region(params)
        resource_id = parameters.required(params, start.resource) if start.resource else self._ids.resource("m")
        if start.takes_dry_run and params.get("DryRun", "").lower() == "true":
            raise ServiceError(400, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
        token = params.get("ClientToken", "") if start.takes_token else ""
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            raise parameters.invalid("ClientToken", f"it takes at most {_LONGEST_TOKEN} ASCII characters")
        key = (region_id, request.action, token)
        if token and key in self._tokens:
            first, answer, began, busy = self._tokens[key]
            if first != params:
                raise ServiceError(
                    400,
                    "IdempotentParameterMismatch",
                    "The specified clientToken is used, and the request parameters differ from the first request's.",
                )
            if (moment.now - began).total_seconds() < busy:
                raise ServiceError(403, "LastTokenProcessing", "The last token request is processing.")
            return dict(answer)
        planned = self._plans.get(request.action)
        plan = planned.pop(0) if planned else self._plan
        answer = self._started(plan, request.action, region_id, resource_id, moment)
        if start.tells_region:
            answer["RegionId"] = region_id
        if request.action == "ImportImage":
            answer["ImageId"] = resource_id
        if token:
            self._tokens[key] = (params, answer, moment.now, plan.busy)
        return dict(answer)

    def _started(self, plan: Plan, action: str, region_id: str, resource_id: str, moment: Moment) -> dict[str, Any]:
        if plan.at_once:
            return {}
        task = EmulatedTask(
            region_id=region_id,
            task_id=self._ids.resource("t"),
            task_action=action,
            resource_id=resource_id,
            created=moment.now,
            duration=plan.duration,
            outcome=plan.outcome,
            error=plan.error,
            visible_after=plan.visible_after,
            running=plan.status,
        )
        self.tasks.add(task)
        return {"TaskId": task.task_id}
