"""The official SDKs run the whole life of a task against the emulator and notice nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException, ThrottlingException
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkecs.request.v20140526.CancelTaskRequest import CancelTaskRequest
from aliyunsdkecs.request.v20140526.DescribeTaskAttributeRequest import DescribeTaskAttributeRequest
from aliyunsdkecs.request.v20140526.DescribeTasksRequest import DescribeTasksRequest
from aliyunsdkecs.request.v20140526.ExportImageRequest import ExportImageRequest
from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest

from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.testing import background

if TYPE_CHECKING:
    from collections.abc import Iterator

_REASON = ("ImageFormatMismatch", "not a qcow2 file")


class Service:
    """An emulator that checks signatures, on a clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ecs: EcsEmulator

    def make(self) -> EcsEmulator:
        """Make the emulator."""
        keys = [("key", "secret"), ("sts", "other", "token")]
        self.ecs = EcsEmulator(key_pairs=keys, time=lambda: self.seconds)
        return self.ecs


@pytest.fixture
def service() -> Iterator[Service]:
    """Return one that listens on loopback for the time of the test."""
    service = Service()
    with mock.patch.object(background, "EcsEmulator", service.make), background.serve():
        yield service


def _client(service: Service, key_id: str = "key", secret: str = "secret", token: str | None = None) -> Any:
    return Client(
        Config(
            access_key_id=key_id,
            access_key_secret=secret,
            security_token=token,
            endpoint=service.ecs.url.removeprefix("http://"),
            protocol="http",
            region_id="cn-hangzhou",
        )
    )


def _import() -> Any:
    mapping = models.ImportImageRequestDiskDeviceMapping(ossbucket="images", ossobject="gold en+1.qcow2")
    return models.ImportImageRequest(
        region_id="cn-hangzhou", image_name="gölden", client_token="once", disk_device_mapping=[mapping]
    )


def _tasks(*task_ids: str) -> Any:
    return models.DescribeTasksRequest(region_id="cn-hangzhou", task_ids=",".join(task_ids), page_size=100)


def _one(model: Any, task_id: str) -> Any:
    return model(region_id="cn-hangzhou", task_id=task_id)


def test_whole_life_of_an_import(service: Service) -> None:
    """Import, list, look at its progress, wait, and read why it failed: every field arrives typed."""
    client = _client(service)
    service.ecs.plan("ImportImage", duration=100, outcome="Failed", error=_REASON)
    started = client.import_image(_import()).body
    assert client.import_image(_import()).body.task_id == started.task_id
    assert (started.region_id, started.image_id[:2]) == ("cn-hangzhou", "m-")

    service.seconds = 40
    page = client.describe_tasks(_tasks(started.task_id)).body
    assert (page.page_number, page.page_size, page.total_count, page.region_id) == (1, 100, 1, "cn-hangzhou")
    (task,) = page.task_set.task
    assert (task.task_status, task.task_action, task.resource_id) == ("Processing", "ImportImage", started.image_id)
    assert (task.support_cancel, task.finished_time) == ("true", None)
    detail = client.describe_task_attribute(_one(models.DescribeTaskAttributeRequest, started.task_id)).body
    assert (detail.task_process, detail.total_count, detail.success_count) == ("40%", 1, 0)

    service.seconds = 100
    (task,) = client.describe_tasks(_tasks(started.task_id)).body.task_set.task
    assert (task.task_status, task.finished_time[-1]) == ("Failed", "Z")
    detail = client.describe_task_attribute(_one(models.DescribeTaskAttributeRequest, started.task_id)).body
    (step,) = detail.operation_progress_set.operation_progress
    assert (step.operation_status, step.error_code, step.error_msg) == ("Failed", *_REASON)
    assert step.related_item_set.related_item[0].value == started.image_id


def test_async_life_of_an_export(service: Service) -> None:
    """The asynchronous client, with an STS token: export, list, cancel, and a second cancel refused."""
    client = _client(service, "sts", "other", "token")
    service.ecs.plan("ExportImage", duration=100)

    async def live() -> None:
        request = models.ExportImageRequest(region_id="cn-hangzhou", image_id="m-1", ossbucket="images")
        task_id = (await client.export_image_async(request)).body.task_id
        cancel = _one(models.CancelTaskRequest, task_id)
        assert (await client.cancel_task_async(cancel)).body.request_id
        (task,) = (await client.describe_tasks_async(_tasks(task_id))).body.task_set.task
        assert task.task_status == "Deleted"
        with pytest.raises(ClientException) as refused:
            await client.cancel_task_async(cancel)
        assert (refused.value.code, refused.value.status_code) == ("InvalidTaskId.IncorrectTaskStatus", 403)

    asyncio.run(live())


def test_tasks_of_a_group(service: Service) -> None:
    """The SDK lists the tasks of a group, and those that archive snapshots."""
    client = _client(service)
    grouped = service.ecs.add_task(task_group_id="tg-1", task_action="ArchiveSnapshot", resource_id="s-1")
    service.ecs.add_task()
    for condition in ({"task_group_id": "tg-1", "task_ids": "t-none"}, {"task_action": "ArchiveSnapshot"}):
        request = models.DescribeTasksRequest(region_id="cn-hangzhou", **condition)
        (task,) = client.describe_tasks(request).body.task_set.task
        assert (task.task_id, task.task_action, task.resource_id) == (grouped, "ArchiveSnapshot", "s-1")


def test_unknown_task(service: Service) -> None:
    """An unknown task is an error of status 400 in the operations on one task."""
    client = _client(service)
    for call, model in (
        (client.describe_task_attribute, models.DescribeTaskAttributeRequest),
        (client.cancel_task, models.CancelTaskRequest),
    ):
        with pytest.raises(ClientException) as refused:
            call(_one(model, "t-none"))
        assert (refused.value.code, refused.value.status_code) == ("InvalidTaskId.NotFound", 400)


def test_errors_arrive_as_the_services(service: Service) -> None:
    """The SDK reads code, message and request ID out of a refusal, and the wait out of a throttling."""
    with pytest.raises(ClientException) as refused:
        _client(service).describe_tasks(models.DescribeTasksRequest(region_id="cn-atlantis"))
    assert refused.value.code == "InvalidRegionId.NotFound"
    assert len(refused.value.request_id) == 36
    with pytest.raises(ClientException) as refused:
        _client(service, secret="wrong").describe_tasks(_tasks("t-1"))
    assert refused.value.code == "SignatureDoesNotMatch"
    service.ecs.inject("throttle", retry_after=5)
    with pytest.raises(ThrottlingException) as throttled:
        _client(service).describe_tasks(_tasks("t-1"))
    assert throttled.value.retry_after == 5000
    service.ecs.clear_faults()
    service.ecs.inject("quota", calls=1, per=60, aligned=True, retry_after=60)
    _client(service).describe_tasks(_tasks("t-1"))
    with pytest.raises(ThrottlingException):
        _client(service).describe_tasks(_tasks("t-1"))
    service.seconds += 60
    assert _client(service).describe_tasks(_tasks("t-1")).body.total_count == 0


def test_older_sdk(service: Service) -> None:
    """The older SDK, which signs by HMAC-SHA1 in the query: import, list, wait, fail with reason; export and cancel."""
    client = AcsClient("key", "secret", "cn-hangzhou")

    def call(kind: type[Any], **fields: str) -> Any:
        request = kind()
        request.set_endpoint(service.ecs.url.removeprefix("http://"))
        for name, value in fields.items():
            getattr(request, f"set_{name}")(value)
        return json.loads(client.do_action_with_exception(request))

    service.ecs.plan("ImportImage", duration=100, outcome="Failed", error=_REASON)
    task_id = call(ImportImageRequest, ImageName="gölden *~'", OSType="linux")["TaskId"]
    listed = call(DescribeTasksRequest, TaskIds=f"{task_id},t-none", TaskAction="ImportImage")
    assert [row["TaskStatus"] for row in listed["TaskSet"]["Task"]] == ["Processing"]
    service.seconds = 100
    listed = call(DescribeTasksRequest, TaskIds=task_id)
    assert [row["TaskStatus"] for row in listed["TaskSet"]["Task"]] == ["Failed"]
    (step,) = call(DescribeTaskAttributeRequest, TaskId=task_id)["OperationProgressSet"]["OperationProgress"]
    assert (step["ErrorCode"], step["ErrorMsg"]) == _REASON

    service.ecs.plan("ExportImage", duration=100)
    task_id = call(ExportImageRequest, ImageId="m-1", OSSBucket="images")["TaskId"]
    call(CancelTaskRequest, TaskId=task_id)
    with pytest.raises(ServerException) as refused:
        call(CancelTaskRequest, TaskId=task_id)
    assert refused.value.get_error_code() == "InvalidTaskId.IncorrectTaskStatus"
    assert refused.value.get_http_status() == 403
