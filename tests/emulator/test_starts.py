"""Operations that start a task answer with its ID."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest
from support.curling import curl

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

_RESOURCES = {
    "ExportImage": "ImageId",
    "ExportSnapshot": "SnapshotId",
    "ModifyDiskDeployment": "DiskId",
    "ModifyDiskSpec": "DiskId",
    "ModifyInstanceClockOptions": "InstanceId",
    "ModifyInstanceNetworkOptions": "InstanceId",
    "ModifySnapshotCategory": "SnapshotId",
    "RedeployInstance": "InstanceId",
}


@pytest.mark.asyncio
async def test_import_makes_an_image(virtual_ecs: EcsEmulator) -> None:
    """ImportImage answers with a new image's ID, on which the task works."""
    reply = await curl(virtual_ecs, "ImportImage", ImageName="golden")
    assert set(reply.data) == {"RequestId", "TaskId", "RegionId", "ImageId"}
    (row,) = (await curl(virtual_ecs, "DescribeTasks", TaskIds=reply.data["TaskId"])).data["TaskSet"]["Task"]
    assert (row["TaskAction"], row["ResourceId"]) == ("ImportImage", reply.data["ImageId"])


@pytest.mark.asyncio
@pytest.mark.parametrize(("action", "resource"), _RESOURCES.items())
async def test_others_work_on_a_resource(virtual_ecs: EcsEmulator, action: str, resource: str) -> None:
    """Each other operation needs its resource and starts a task on it."""
    assert (await curl(virtual_ecs, action)).code == "MissingParameter"
    reply = await curl(virtual_ecs, action, **{resource: "r-1"})
    (row,) = (await curl(virtual_ecs, "DescribeTasks", TaskIds=reply.data["TaskId"])).data["TaskSet"]["Task"]
    assert (row["TaskAction"], row["ResourceId"]) == (action, "r-1")


@pytest.mark.asyncio
async def test_region_comes_from_the_host_name(virtual_ecs: EcsEmulator) -> None:
    """Operations without a RegionId go to the region of the endpoint."""
    await curl(
        virtual_ecs, "RedeployInstance", region=None, InstanceId="i-1", headers={"Host": "ecs.eu-west-1.aliyuncs.com"}
    )
    assert virtual_ecs.requests[-1].region_id == "eu-west-1"
    assert len((await curl(virtual_ecs, "DescribeTasks", region="eu-west-1")).task_ids) == 1


@pytest.mark.asyncio
async def test_plans_come_one_for_each_start(virtual_ecs: EcsEmulator) -> None:
    """Each start of an operation takes the next plan made for it; without one it finishes at once."""
    virtual_ecs.plan("ImportImage", duration=60)
    virtual_ecs.plan("ImportImage", outcome="Failed", error=("NoSpace", "disk full"))
    started = [(await curl(virtual_ecs, "ImportImage")).data["TaskId"] for _ in range(3)]
    rows = (await curl(virtual_ecs, "DescribeTasks")).data["TaskSet"]["Task"]
    statuses = {row["TaskId"]: row["TaskStatus"] for row in rows}
    assert [statuses[task_id] for task_id in started] == ["Processing", "Failed", "Finished"]


@pytest.mark.asyncio
async def test_change_at_once_has_no_task(virtual_ecs: EcsEmulator) -> None:
    """A change that is done at once is answered without a TaskId."""
    virtual_ecs.plan("ModifyDiskSpec", at_once=True)
    reply = await curl(virtual_ecs, "ModifyDiskSpec", DiskId="d-1")
    assert (reply.status, set(reply.data)) == (200, {"RequestId"})


def test_plan_of_no_start_is_refused(virtual_ecs: EcsEmulator) -> None:
    """A plan for an operation that starts nothing names those that do."""
    with pytest.raises(ValueError, match="'DescribeTasks' starts no task; these do: ExportImage, "):
        virtual_ecs.plan("DescribeTasks")


@pytest.mark.asyncio
@pytest.mark.parametrize("params", [{}, {"InstanceId": "i-1"}], ids=["ImportImage", "ModifyInstanceClockOptions"])
async def test_client_token_makes_a_start_idempotent(virtual_ecs: EcsEmulator, params: dict[str, str]) -> None:
    """The same token with the same parameters is the same task; with others it is refused."""
    action = "ModifyInstanceClockOptions" if params else "ImportImage"
    first = await curl(virtual_ecs, action, ClientToken="c-1", **params)
    again = await curl(virtual_ecs, action, ClientToken="c-1", **params, SignatureNonce="of another attempt")
    other = await curl(virtual_ecs, action, ClientToken="c-2", **params)
    changed = await curl(virtual_ecs, action, ClientToken="c-1", **params, OwnerId="5")
    assert first.data["TaskId"] == again.data["TaskId"] != other.data["TaskId"]
    assert first.data["RequestId"] != again.data["RequestId"]
    assert (changed.status, changed.code) == (400, "IdempotentParameterMismatch")


@pytest.mark.asyncio
async def test_client_token_means_nothing_elsewhere(virtual_ecs: EcsEmulator) -> None:
    """Operations that take no token start again each time."""
    first = await curl(virtual_ecs, "ExportImage", ImageId="m-1", ClientToken="c-1")
    again = await curl(virtual_ecs, "ExportImage", ImageId="m-1", ClientToken="c-1")
    assert first.data["TaskId"] != again.data["TaskId"]


@pytest.mark.asyncio
async def test_long_client_token_is_refused(virtual_ecs: EcsEmulator) -> None:
    """A token has at most 64 ASCII characters."""
    assert (await curl(virtual_ecs, "ImportImage", ClientToken="c" * 65)).code == "InvalidParameter"
    assert (await curl(virtual_ecs, "ImportImage", ClientToken="ü")).code == "InvalidParameter"


_TAKE_DRY_RUN = {
    "ExportImage",
    "ImportImage",
    "ModifyDiskDeployment",
    "ModifyDiskSpec",
    "ModifyInstanceClockOptions",
}


@pytest.mark.asyncio
@pytest.mark.parametrize(("action", "resource"), [("ImportImage", "ImageName"), *_RESOURCES.items()])
async def test_dry_run_starts_nothing(virtual_ecs: EcsEmulator, action: str, resource: str) -> None:
    """A dry run that would pass is the error DryRunOperation, and no task; other operations ignore the parameter."""
    reply = await curl(virtual_ecs, action, DryRun="True", **{resource: "r-1"})
    started = (await curl(virtual_ecs, "DescribeTasks")).task_ids
    if action in _TAKE_DRY_RUN:
        assert (reply.status, reply.code, started) == (400, "DryRunOperation", [])
    else:
        assert (reply.status, [reply.data["TaskId"]]) == (200, started)


@pytest.mark.asyncio
async def test_dry_run_uses_no_token_up(virtual_ecs: EcsEmulator) -> None:
    """The token of a dry run can start a task afterwards."""
    await curl(virtual_ecs, "ImportImage", ClientToken="c-1", DryRun="true")
    assert (await curl(virtual_ecs, "ImportImage", ClientToken="c-1")).status == 200


@pytest.mark.asyncio
async def test_start_at_work(virtual_ecs: EcsEmulator) -> None:
    """While a start is at work, a repeat with its token is refused; then it is answered as the first request was."""
    virtual_ecs.plan("ImportImage", busy=5)
    first = await curl(virtual_ecs, "ImportImage", ClientToken="c-1")
    again = await curl(virtual_ecs, "ImportImage", ClientToken="c-1")
    assert (again.status, again.code) == (403, "LastTokenProcessing")
    assert (await curl(virtual_ecs, "ImportImage", ClientToken="c-2")).status == 200
    await asyncio.sleep(5)
    assert (await curl(virtual_ecs, "ImportImage", ClientToken="c-1")).data["TaskId"] == first.data["TaskId"]


@pytest.mark.parametrize(("action", "busy"), [("ExportImage", 1), ("ImportImage", -1), ("ImportImage", math.nan)])
def test_start_cannot_be_at_work(virtual_ecs: EcsEmulator, action: str, busy: float) -> None:
    """Only a start with a token can be at work, and only for a time."""
    with pytest.raises(ValueError, match=r"^busy "):
        virtual_ecs.plan(action, busy=busy)
