"""The server accepts every form of request that the service accepts, and rejects others with the service's errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from support.curling import curl

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio


async def test_get_and_post_query_and_form(virtual_ecs: EcsEmulator) -> None:
    """Parameters may come in the query of a GET or POST, in a form, or in both."""
    task_id = virtual_ecs.add_task()
    whole = {"Action": "DescribeTasks", "Version": "2014-05-26", "RegionId": "cn-hangzhou"}
    replies = [
        await curl(virtual_ecs, "DescribeTasks", method="GET"),
        await curl(virtual_ecs, "DescribeTasks", method="POST"),
        await curl(virtual_ecs, version=None, region=None, form=whole),
        await curl(virtual_ecs, "DescribeTasks", region=None, form={"RegionId": "cn-hangzhou"}),
    ]
    assert [reply.task_ids for reply in replies] == [[task_id]] * 4


async def test_action_and_version_may_be_headers(virtual_ecs: EcsEmulator) -> None:
    """ACS3 names the operation in headers."""
    reply = await curl(
        virtual_ecs, version=None, headers={"x-acs-action": "DescribeTasks", "x-acs-version": "2014-05-26"}
    )
    assert reply.status == 200


async def test_xml_on_demand(virtual_ecs: EcsEmulator) -> None:
    """Format=XML gives the same fields as XML, errors too."""
    virtual_ecs.add_task(task_id="t-1")
    virtual_ecs.add_task(task_id="t-2", resource_id="<&>")
    root = ET.fromstring((await curl(virtual_ecs, "DescribeTasks", Format="XML")).body)  # noqa: S314 - our own answer
    assert root.tag == "DescribeTasksResponse"
    assert [row.findtext("TaskId") for row in root.findall("TaskSet/Task")] == ["t-1", "t-2"]
    assert [row.findtext("ResourceId") for row in root.findall("TaskSet/Task")][1] == "<&>"
    error = ET.fromstring((await curl(virtual_ecs, "CancelTask", Format="XML")).body)  # noqa: S314
    assert (error.tag, error.findtext("Code")) == ("Error", "MissingParameter")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"Action": "NoSuchAction"}, (404, "InvalidAction.NotFound")),
        ({}, (404, "InvalidAction.NotFound")),
        ({"Action": "DescribeTasks", "path": "/v2"}, (404, "InvalidAction.NotFound")),
        ({"Action": "DescribeTasks", "version": None}, (400, "MissingVersion")),
        ({"Action": "DescribeTasks", "version": "2015-01-01"}, (400, "InvalidVersion")),
        ({"Action": "DescribeTasks", "method": "PUT"}, (405, "UnsupportedHTTPMethod")),
        ({"Action": "DescribeTasks", "form": b"x" * 2_000_000}, (413, "RequestEntityTooLarge")),
    ],
)
async def test_refusals_are_in_the_services_words(
    virtual_ecs: EcsEmulator, request_: dict[str, Any], expected: tuple[int, str]
) -> None:
    """What the service does not know is refused with a code, never with a page of HTML."""
    reply = await curl(virtual_ecs, **request_)
    assert (reply.status, reply.code) == expected


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("ecs.us-west-1.aliyuncs.com", "cn-hangzhou"),
        ("ecs-vpc.us-west-1.aliyuncs.com", "cn-hangzhou"),
        ("ECS.us-west-1.aliyuncs.com:443", "cn-hangzhou"),
        ("ecs-cn-hangzhou.aliyuncs.com", "us-west-1"),
        ("ecs.aliyuncs.com", "cn-beijing-finance-1"),
    ],
)
async def test_wrong_host_is_refused(virtual_ecs: EcsEmulator, host: str, region: str) -> None:
    """A host of the service serves its own regions only."""
    reply = await curl(virtual_ecs, "DescribeTasks", region=region, headers={"Host": host})
    assert (reply.status, reply.code) == (404, "InvalidOperation.NotSupportedEndpoint")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("ecs.cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("ecs-vpc.cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("ecs-cn-hangzhou.aliyuncs.com", "cn-shenzhen-finance-1"),
        ("ecs.aliyuncs.com", "cn-north-2-gov-1"),
        ("ecs.cn-beijing-finance-1.aliyuncs.com", "cn-beijing-finance-1"),
        ("127.0.0.1:8042", "us-west-1"),
        ("gateway.example.com", "us-west-1"),
    ],
)
async def test_right_host_answers(virtual_ecs: EcsEmulator, host: str, region: str) -> None:
    """A region's own hosts serve it; a host that is not the service's serves all."""
    assert (await curl(virtual_ecs, "DescribeTasks", region=region, headers={"Host": host})).status == 200


async def test_date_is_the_emulators_time(virtual_ecs: EcsEmulator) -> None:
    """The Date header follows the emulator's clock, not the machine's."""
    await asyncio.sleep(3600)
    assert (await curl(virtual_ecs, "DescribeTasks")).headers["Date"] == "Thu, 01 Jan 2026 01:00:00 GMT"
    assert virtual_ecs.now().isoformat() == "2026-01-01T01:00:00+00:00"


async def test_requests_are_kept_for_asserting(virtual_ecs: EcsEmulator) -> None:
    """Each recorded request has its parameters and the status of its answer."""
    await curl(virtual_ecs, "DescribeTasks", TaskIds="t-2, t-1", region="us-west-1", method="GET")
    await curl(virtual_ecs, "CancelTask", TaskId="t-1")
    first, second = virtual_ecs.requests
    assert (first.action, first.region_id, first.task_ids) == ("DescribeTasks", "us-west-1", ("t-2", "t-1"))
    assert (first.answered, first.method, first.params["TaskIds"]) == (200, "GET", "t-2, t-1")
    assert first.headers["accept"] == "*/*"
    assert first.at == virtual_ecs.now()
    assert (second.action, second.task_ids, second.answered) == ("CancelTask", ("t-1",), 400)
    assert "region_id='us-west-1'" in repr(first)
