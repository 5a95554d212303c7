"""What each operation sends, and what it returns for an answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from unittest import mock

import aiohttp
import pytest
from yarl import URL

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.client import EcsClient
from ecs_waiter.api.credentials import Credentials, StaticCredentials
from ecs_waiter.api.limiter import Priority
from ecs_waiter.errors import ApiError, AuthenticationError, ServiceUnavailableError, ThrottledError
from ecs_waiter.models import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.stand_ins import Service, Wire

    from ecs_waiter.testing.virtual_time import VirtualTime

REGION = "cn-hangzhou"
KEYS = StaticCredentials("LTAI5tExample", "example-secret")


def client(**options: Any) -> EcsClient:
    """A client with keys."""
    return EcsClient(**{"credentials": KEYS, **options})


def row(number: int, **fields: Any) -> dict[str, Any]:
    """A task as DescribeTasks lists it."""
    return {"TaskId": f"t-{number:03}", "TaskStatus": "Processing", "TaskAction": "ImportImage", **fields}


def page(*rows: Any, total: int | None = None, **fields: Any) -> dict[str, Any]:
    """A DescribeTasks answer."""
    return {
        "RequestId": "R-1",
        "TotalCount": len(rows) if total is None else total,
        "PageNumber": 1,
        "PageSize": 100,
        "RegionId": REGION,
        "TaskSet": {"Task": list(rows)},
        **fields,
    }


@pytest.mark.asyncio
class TestDescribeTasks:
    async def test_a_batch(self, wire: Wire) -> None:
        """IDs are sent sorted, each once, with a page size that holds all of them."""
        wire.answer(page(row(1), row(2)))
        async with client() as ecs:
            found = await ecs.describe_tasks(task_ids=["t-002", "t-001", "t-002"], region_id=REGION)
        (sent,) = wire.sent
        assert sent.action == "DescribeTasks"
        assert sent.query == {"PageNumber": "1", "PageSize": "2", "RegionId": REGION, "TaskIds": "t-001,t-002"}
        assert URL(sent.target).host == "ecs-cn-hangzhou.aliyuncs.com"
        assert [task.task_id for task in found.tasks] == ["t-001", "t-002"]
        assert (found.total_count, found.page_number, found.page_size, found.region_id, found.request_id) == (
            2, 1, 100, REGION, "R-1",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [({}, 1), ({"Retry-After": "7"}, 7), ({"x-acs-retry-after": "2500"}, 2.5), ({"x-acs-retry-after": "200"}, 1)],
    )
    async def test_a_throttled_call(
        self, wire: Wire, clock: VirtualTime, headers: dict[str, str], seconds: float
    ) -> None:
        """It goes out again when the limiter's pause ends, which is as long as the service asked, without a backoff."""
        wire.answer({"Code": "Throttling.User", "Message": "slow down"}, status=429, headers=headers)
        wire.answer(page(row(1)))
        start = clock.time()
        async with client() as ecs:
            assert len((await ecs.describe_tasks(region_id=REGION)).tasks) == 1
        assert clock.time() - start == pytest.approx(seconds)
        assert len(wire.sent) == 2

    async def test_every_filter(self, wire: Wire) -> None:
        """All filters go out as the service spells them, times in UTC."""
        wire.answer(page())
        async with client() as ecs:
            await ecs.describe_tasks(
                region_id=REGION,
                task_action="ImportImage",
                task_status=TaskStatus.FAILED,
                start_time=datetime(2026, 1, 1, 8, 30, 15, 999, tzinfo=timezone(timedelta(hours=8))),
                end_time=datetime(2026, 1, 1, 0, 30, 15, 999, tzinfo=UTC),
                resource_ids=("m-1", "m-2"),
                page_number=3,
                page_size=7,
            )
        assert wire.sent[0].query == {
            "RegionId": REGION,
            "TaskAction": "ImportImage",
            "TaskStatus": "Failed",
            "StartTime": "2026-01-01T00:30:15Z",
            "EndTime": "2026-01-01T00:30:15Z",
            "ResourceIds.1": "m-1",
            "ResourceIds.2": "m-2",
            "PageNumber": "3",
            "PageSize": "7",
        }

    async def test_without_ids_a_page_is_full(self, wire: Wire) -> None:
        """The service's default page size of ten is never used."""
        wire.answer(page())
        async with client() as ecs:
            await ecs.describe_tasks(region_id=REGION)
        assert wire.sent[0].query["PageSize"] == "100"

    async def test_the_region_of_the_environment(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a region, that of the environment is used."""
        monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "us-west-1")
        wire.answer(page())
        async with client() as ecs:
            assert (await ecs.describe_tasks()).region_id == "us-west-1"
        assert wire.sent[0].query["RegionId"] == "us-west-1"

    async def test_a_bad_row_harms_itself(self, wire: Wire) -> None:
        """Unreadable rows are left out; the region is the one called, whatever a row says."""
        rows = [row(1, RegionId="elsewhere"), 7, None, {}, {"TaskId": 5}, ["t"], row(2, CreationTime={"a": 1})]
        wire.answer(page(*rows))
        async with client() as ecs:
            found = await ecs.describe_tasks(region_id=REGION)
        assert [(task.region_id, task.task_id) for task in found.tasks] == [(REGION, "t-001"), (REGION, "t-002")]
        assert found.total_count == 7

    async def test_what_is_left_out(self, wire: Wire) -> None:
        """A bare list of tasks and unreadable counts are accepted."""
        wire.answer({"TaskSet": [row(1)], "TotalCount": "many", "PageNumber": -1, "PageSize": True, "RequestId": 7})
        async with client() as ecs:
            found = await ecs.describe_tasks(region_id=REGION, page_number=2)
        assert (found.total_count, found.page_number, found.page_size, found.request_id) == (1, 2, 100, "")

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"task_ids": "t-1"}, TypeError, "list"),
            ({"task_ids": b"t-1"}, TypeError, "list"),
            ({"task_ids": []}, ValueError, "1 to 100"),
            ({"task_ids": [f"t-{number}" for number in range(101)]}, ValueError, "101"),
            ({"task_ids": [""]}, ValueError, "empty"),
            ({"task_ids": ["a,b"]}, ValueError, "commas"),
            ({"task_ids": ["a b"]}, ValueError, "white space"),
            ({"task_ids": ["a\u200bb"]}, ValueError, "control"),
            ({"task_ids": ["a\ud800"]}, ValueError, "control"),
            ({"task_ids": ["a" * 257]}, ValueError, "256"),
            ({"task_ids": [7]}, TypeError, "int"),
            ({"task_ids": 7}, TypeError, "int"),
            ({"task_action": ""}, ValueError, "task_action"),
            ({"task_status": 7}, TypeError, "task_status"),
            ({"start_time": "2026-01-01"}, TypeError, "start_time"),
            ({"start_time": datetime(2026, 1, 1)}, ValueError, "time zone"),  # noqa: DTZ001 - that is the point
            ({"end_time": datetime.min.replace(tzinfo=timezone(timedelta(hours=8)))}, ValueError, "out of range"),
            (
                {"start_time": datetime(2026, 1, 2, tzinfo=UTC), "end_time": datetime(2026, 1, 1, tzinfo=UTC)},
                ValueError,
                "before",
            ),
            ({"resource_ids": "m-1"}, TypeError, "list"),
            ({"resource_ids": []}, ValueError, "1 to 100"),
            ({"resource_ids": [f"m-{number}" for number in range(101)]}, ValueError, "101"),
            ({"resource_ids": [None]}, TypeError, "resource_ids"),
            ({"page_number": 0}, ValueError, "page_number"),
            ({"page_number": 1.0}, TypeError, "page_number"),
            ({"page_size": 101}, ValueError, "page_size"),
            ({"page_size": True}, TypeError, "page_size"),
            ({"region_id": "cn-hangzhou.evil.com/"}, ValueError, "region"),
        ],
    )
    async def test_misuse(self, wire: Wire, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
        """Invalid arguments raise before anything is sent."""
        async with client() as ecs:
            with pytest.raises(error, match=words):
                await ecs.describe_tasks(**{"region_id": REGION, **arguments})
        assert wire.sent == []

    @pytest.mark.parametrize(
        "body", [{}, {"TaskSet": None}, {"TaskSet": "x"}, {"TaskSet": {"Task": 7}}, {"TaskSet": {"Task": "t"}}]
    )
    async def test_no_set_of_tasks_is_a_fault(self, wire: Wire, clock: VirtualTime, body: Any) -> None:
        """Such an answer says nothing about the tasks, so the call is retried."""
        wire.answer(body)
        wire.answer(page(row(1)))
        async with client() as ecs:
            assert len((await ecs.describe_tasks(region_id=REGION)).tasks) == 1
            assert (ecs.counters(REGION).calls, ecs.counters(REGION).retried) == (2, 1)

    @pytest.mark.parametrize("found", [{}, [], {"Task": []}, {"Task": None}])
    async def test_an_empty_set(self, wire: Wire, found: Any) -> None:
        """An empty list is a valid answer."""
        wire.answer({"TaskSet": found, "TotalCount": 0})
        async with client() as ecs:
            assert (await ecs.describe_tasks(region_id=REGION)).tasks == ()

    async def test_a_single_row_without_its_list(self, wire: Wire) -> None:
        """A single task may come without a list."""
        wire.answer({"TaskSet": {"Task": row(1)}})
        async with client() as ecs:
            assert len((await ecs.describe_tasks(region_id=REGION)).tasks) == 1


@pytest.mark.asyncio
class TestIterTasks:
    async def test_all_pages(self, wire: Wire) -> None:
        """Pages of a hundred are read up to the total."""
        wire.answer(page(*(row(number) for number in range(100)), total=150))
        wire.answer(page(*(row(number) for number in range(100, 150)), total=150))
        async with client() as ecs:
            ids = [task.task_id async for task in ecs.iter_tasks(region_id=REGION, task_action="ImportImage")]
        assert ids == [f"t-{number:03}" for number in range(150)]
        assert [sent.query["PageNumber"] for sent in wire.sent] == ["1", "2"]
        assert {sent.query["PageSize"] + sent.query["TaskAction"] for sent in wire.sent} == {"100ImportImage"}

    async def test_pages_that_shift(self, wire: Wire) -> None:
        """A task that moves to the next page, or is listed twice on one, comes once."""
        wire.answer(page(row(1), row(1), row(2), total=201))
        wire.answer(page(row(2), row(3), total=201))
        wire.answer(page(row(4), total=201))
        wire.answer(page(total=201))
        async with client() as ecs:
            assert [task.task_id async for task in ecs.iter_tasks(region_id=REGION)] == [
                "t-001",
                "t-002",
                "t-003",
                "t-004",
            ]

    @pytest.mark.parametrize("last", [page(total=10**9), page(row(1), total=10**9)])
    async def test_a_total_that_lies(self, wire: Wire, last: dict[str, Any]) -> None:
        """An empty page, or a short one without a new task, is the end, whatever the total."""
        wire.answer(page(row(1), total=10**9))
        wire.answer(last)
        async with client() as ecs:
            assert len([task async for task in ecs.iter_tasks(region_id=REGION)]) == 1
        assert len(wire.sent) == 2

    async def test_no_total(self, wire: Wire) -> None:
        """Without a total, the iteration ends at a page without a new task."""
        for rows in ([row(1)], [row(2)], []):
            wire.answer(page(*rows, TotalCount=None))
        async with client() as ecs:
            assert len([task async for task in ecs.iter_tasks(region_id=REGION)]) == 2

    async def test_a_page_of_known_tasks_is_not_the_end(self, wire: Wire) -> None:
        """A hundred new tasks move a whole page of known ones; the tasks after it are not lost."""
        wire.answer(page(*(row(number) for number in range(100)), total=150))
        wire.answer(page(*(row(number) for number in range(100)), total=250))
        wire.answer(page(*(row(number) for number in range(100, 150)), total=250))
        async with client() as ecs:
            assert len([task async for task in ecs.iter_tasks(region_id=REGION)]) == 150

    async def test_a_service_that_repeats_itself(self, wire: Wire) -> None:
        """A full page that is repeated for every page number ends the iteration after ten calls."""
        for _ in range(11):
            wire.answer(page(*(row(number) for number in range(100)), total=10**9))
        async with client() as ecs:
            assert len([task async for task in ecs.iter_tasks(region_id=REGION)]) == 100

    async def test_misuse_is_told_at_once(self) -> None:
        """Arguments are checked when they are given, not when the iteration begins."""
        async with client() as ecs:
            with pytest.raises(TypeError):
                ecs.iter_tasks(task_ids="t-1", region_id=REGION)


@pytest.mark.asyncio
class TestOneTask:
    async def test_its_detail(self, wire: Wire) -> None:
        """The detail has the progress and the reason."""
        operation = {"OperationStatus": "Failed", "ErrorCode": "Odd", "ErrorMsg": "words"}
        progress = {"OperationProgressSet": {"OperationProgress": [operation]}}
        wire.answer({**row(1), "TaskProcess": "45%", "RegionId": "elsewhere", **progress})
        async with client() as ecs:
            detail = await ecs.describe_task_attribute("t-001", region_id=REGION, priority=Priority.LOOKUP)
        assert wire.sent[0].action == "DescribeTaskAttribute"
        assert wire.sent[0].query == {"RegionId": REGION, "TaskId": "t-001"}
        assert (detail.task_id, detail.region_id, detail.task_process) == ("t-001", REGION, 45)
        assert detail.reason == "Odd: words"

    @pytest.mark.parametrize("task_id", ["t-002", None, 7])
    async def test_another_tasks_detail_is_a_fault(self, wire: Wire, clock: VirtualTime, task_id: Any) -> None:
        """The detail of another task is a fault."""
        wire.answer(row(1, TaskId=task_id))
        wire.answer({"TaskStatus": "Failed"})
        async with client() as ecs:
            detail = await ecs.describe_task_attribute("t-001", region_id=REGION)
        assert (detail.task_id, detail.task_status) == ("t-001", TaskStatus.FAILED)

    async def test_cancel(self, wire: Wire) -> None:
        """CancelTask names the task; an error of the service is raised."""
        wire.answer({"RequestId": "R"})
        wire.answer({"Code": "InvalidTaskId.IncorrectTaskStatus", "Message": "done"}, status=403)
        async with client() as ecs:
            await ecs.cancel_task("t-001", region_id=REGION)
            with pytest.raises(ApiError, match="IncorrectTaskStatus"):
                await ecs.cancel_task("t-001", region_id=REGION)
        assert wire.sent[0].action == "CancelTask"
        assert wire.sent[0].query == {"RegionId": REGION, "TaskId": "t-001"}

    @pytest.mark.parametrize(("status", "is_told"), [("Deleted", False), ("Finished", True)])
    async def test_a_cancel_whose_answer_was_lost(
        self, wire: Wire, clock: VirtualTime, status: str, is_told: bool
    ) -> None:
        """A repeat may find the task canceled by the first attempt: the task's state decides."""
        wire.answer({"Code": "InternalError", "Message": "oops"}, status=500)
        wire.answer({"Code": "InvalidTaskId.IncorrectTaskStatus", "Message": "done"}, status=403)
        wire.answer(page(row(1, TaskStatus=status)))
        async with client() as ecs:
            if is_told:
                with pytest.raises(ApiError, match="IncorrectTaskStatus"):
                    await ecs.cancel_task("t-001", region_id=REGION)
            else:
                await ecs.cancel_task("t-001", region_id=REGION)

    @pytest.mark.parametrize("task_id", ["", "a,b", " a", 7, None])
    async def test_misuse(self, task_id: Any) -> None:
        """An invalid task ID is not sent."""
        async with client() as ecs:
            for operation in (ecs.describe_task_attribute, ecs.cancel_task):
                with pytest.raises((TypeError, ValueError)):
                    await operation(task_id, region_id=REGION)


@pytest.mark.asyncio
class TestCall:
    async def test_any_operation(self, wire: Wire) -> None:
        """Parameters are flattened, the region is added, and the answer is returned unchanged."""
        wire.answer({"TaskId": "t-1", "ImageId": "m-1"})
        async with client() as ecs:
            params = {"ImageId": "m-1", "Tag": [{"Key": "a", "Value": ""}], "DryRun": False}
            assert await ecs.call("ExportImage", region_id=REGION, params=params) == {"TaskId": "t-1", "ImageId": "m-1"}
        assert wire.sent[0].action == "ExportImage"
        assert wire.sent[0].query == {
            "RegionId": REGION,
            "ImageId": "m-1",
            "Tag.1.Key": "a",
            "Tag.1.Value": "",
            "DryRun": "false",
        }

    async def test_a_region_among_the_parameters(self, wire: Wire) -> None:
        """A RegionId among the parameters is the region; a different region_id raises."""
        wire.answer({})
        async with client() as ecs:
            assert await ecs.call("Odd", params={"RegionId": "us-west-1"}) == {}
            with pytest.raises(ValueError, match="name one"):
                await ecs.call("Odd", region_id=REGION, params={"RegionId": "us-west-1"})
        assert [sent.query for sent in wire.sent] == [{"RegionId": "us-west-1"}]

    @pytest.mark.parametrize(
        ("action", "params"),
        [("", None), ("a b", None), ("A\r\nX: 1", None), ("Ä", None), (7, None), ("Odd", [("a", "b")]), ("Odd", "a=b")],
    )
    async def test_misuse(self, wire: Wire, action: Any, params: Any) -> None:
        """An operation without a name and parameters that are not a mapping raise."""
        async with client() as ecs:
            with pytest.raises((TypeError, ValueError)):
                await ecs.call(action, region_id=REGION, params=params)
        assert wire.sent == []

    @pytest.mark.parametrize(
        ("action", "params", "calls"),
        [
            ("ExportImage", {}, 1),
            ("ExportImage", {"ClientToken": "c"}, 1),
            ("ImportImage", {"ClientToken": "c"}, 2),
            ("ImportImage", {"ClientToken": ""}, 1),
            ("DescribeImages", {}, 2),
            ("Describe", {}, 1),
        ],
    )
    async def test_what_may_have_happened(
        self, wire: Wire, clock: VirtualTime, action: str, params: dict[str, str], calls: int
    ) -> None:
        """After a fault, only calls that may be executed twice are repeated."""
        wire.answer({"Code": "InternalError", "Message": "oops"}, status=500)
        wire.answer({"TaskId": "t-1"})
        async with client() as ecs:
            if calls == 1:
                with pytest.raises(ServiceUnavailableError, match="may have started"):
                    await ecs.call(action, region_id=REGION, params=params)
            else:
                await ecs.call(action, region_id=REGION, params=params)
        assert len(wire.sent) == calls

    async def test_what_surely_did_not_happen(self, wire: Wire, clock: VirtualTime) -> None:
        """A start that was throttled or got no connection is repeated, each time with a new nonce."""
        wire.answer({"Code": "Throttling.User", "Message": "no"}, status=400)
        wire.answer(exception=aiohttp.ConnectionTimeoutError())
        wire.answer({"TaskId": "t-1"})
        async with client() as ecs:
            await ecs.call("ExportImage", region_id=REGION)
            assert (ecs.counters(REGION).calls, ecs.counters(REGION).throttled, ecs.counters(REGION).retried) == (
                3,
                1,
                2,
            )
        assert len({sent.headers["x-acs-signature-nonce"] for sent in wire.sent}) == 3

    async def test_a_start_does_not_ride_on_an_idle_connection(self, service: Service) -> None:
        """A call that cannot be repeated opens a connection; others share one."""
        service.answer(page())
        async with client(endpoint=service.url) as ecs:
            await ecs.describe_tasks(region_id=REGION)
            await ecs.call("ExportImage", region_id=REGION)
            await ecs.call("ImportImage", region_id=REGION, params={"ClientToken": "c"})
        assert len(service.connections) == 2


@pytest.mark.asyncio
class TestPoll:
    async def test_one_attempt_at_a_poll(self, wire: Wire) -> None:
        """It is one attempt, in the place that its caller holds; an unreadable row affects no other row."""
        wire.answer(page(row(1), 7, None, total=9), headers={"Date": "Thu, 01 Jan 1970 00:01:40 GMT"})
        wire.answer(status=500)
        async with client() as ecs:
            answer = await ecs.poll(REGION, ["t-002", "t-001"])
            asked = {"PageNumber": "1", "PageSize": "2", "RegionId": REGION, "TaskIds": "t-001,t-002"}
            assert wire.sent[0].query == asked
            assert answer.task("t-001").region_id == REGION
            assert (list(answer.statuses), answer.row_count, answer.unread) == (["t-001"], 1, 2)
            assert (answer.total_count, answer.date) == (9, 100.0)
            with pytest.raises(ServiceUnavailableError) as failed:
                await ecs.poll(REGION, ["t-001"])
            assert failed.value.region_id == REGION
            assert (ecs.counters(REGION).calls, ecs.limiter(REGION).in_flight) == (2, 0)

    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (500, {}, ServiceUnavailableError),
            (200, {}, ServiceUnavailableError),
            (400, {"Code": "Throttling"}, ThrottledError),
            (403, {"Code": "Forbidden.RAM"}, AuthenticationError),
            (404, {"Code": "InvalidRegionId.NotFound"}, ApiError),
        ],
    )
    async def test_it_is_not_repeated(self, wire: Wire, status: int, body: Any, error: type[ApiError]) -> None:
        """A fault is raised at once: the poller decides when to ask again."""
        wire.answer(body, status=status)
        async with client() as ecs:
            with pytest.raises(error):
                await ecs.poll(REGION, ["t-001"])
            assert ecs.counters(REGION).calls == 1


@pytest.mark.asyncio
class TestLimits:
    async def test_calls_of_a_region_share_its_limiter(self, wire: Wire, clock: VirtualTime) -> None:
        """Listings, details and starts share the region's rate limit; another region has its own."""
        wire.answer({**page(), "TaskId": "t-1"}, repeat=True)
        began = clock.time()
        async with client(policy=CallPolicy(max_calls_per_second=3)) as ecs:
            operations: list[Callable[[str], Any]] = [
                lambda region: ecs.describe_tasks(region_id=region),
                lambda region: ecs.describe_task_attribute("t-1", region_id=region),
                lambda region: ecs.call("Odd", region_id=region),
                lambda region: ecs.cancel_task("t-1", region_id=region),
            ]
            await asyncio.gather(*(operation("us-west-1") for operation in operations[:3]))
            assert clock.time() == began
            await asyncio.gather(*(operation(REGION) for operation in operations))
        assert clock.time() == began + 1

    @pytest.mark.parametrize("outcome", ["answer", "refusal", "fault"])
    async def test_every_place_is_released(self, wire: Wire, outcome: str) -> None:
        """Whatever a call's outcome, its place is released."""
        wire.answer(page() if outcome == "answer" else {"Code": "Odd"}, status=500 if outcome == "fault" else 400)
        async with client(policy=CallPolicy(outage_budget=0)) as ecs:
            with pytest.raises(ApiError):
                await ecs.describe_tasks(region_id=REGION)
            assert ecs.limiter(REGION).in_flight == 0

    async def test_cancellation_releases_the_place(self, service: Service) -> None:
        """A canceled call closes its connection and holds no place."""
        service.stay_silent()
        async with client(endpoint=service.url) as ecs:
            task = asyncio.create_task(ecs.describe_tasks(region_id=REGION))
            await service.asked.acquire()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await service.gone.acquire()
            assert ecs.limiter(REGION).in_flight == 0


class TestConstruction:
    def test_it_binds_no_loop(self) -> None:
        """It can be made outside of an event loop, and used and closed inside of one."""
        ecs = client()
        asyncio.run(ecs.aclose())

    @pytest.mark.parametrize(
        "options",
        [
            {"credentials": Credentials("id", "secret")},
            {"credentials": "secret"},
            {"policy": {"outage_budget": 1}},
            {"policy": CallPolicy},
            {"session": "session"},
            {"session": aiohttp.ClientSession},
            {"endpoint": 7},
            {"endpoint": "http://example.com"},
            {"endpoint": "ftp://127.0.0.1"},
        ],
    )
    def test_misuse(self, options: dict[str, Any]) -> None:
        """Its arguments are checked at once."""
        with pytest.raises((TypeError, ValueError)):
            client(**options)

    @pytest.mark.asyncio
    async def test_a_session_that_signs_for_itself(self) -> None:
        """A session with its own auth cannot send our signature."""
        async with aiohttp.ClientSession() as session:
            with (
                mock.patch.object(aiohttp.ClientSession, "auth", ("user", "password")),
                pytest.raises(ValueError, match="auth"),
            ):
                client(session=session)

    def test_its_repr_is_safe(self) -> None:
        """Its repr shows no secret."""
        assert "example-secret" not in repr(client()) + str(vars(client()))

    @pytest.mark.asyncio
    async def test_closed_is_closed(self) -> None:
        """A call on a closed client raises, however often it was closed."""
        async with client() as ecs:
            pass
        await ecs.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await ecs.describe_tasks(region_id=REGION)


@pytest.mark.asyncio
class TestRegion:
    async def _called(self, ecs: EcsClient, wire: Wire, *names: str) -> set[str]:
        """The regions that every operation calls when the argument names these."""
        given: dict[str, Any] = {"region_id": names[0]} if names else {}
        before = len(wire.sent)
        await ecs.describe_tasks(**given)
        assert [task async for task in ecs.iter_tasks(**given)] == []
        await ecs.describe_task_attribute("t-1", **given)
        await ecs.cancel_task("t-1", **given)
        await ecs.call("DescribeRegions", **given)
        assert len(wire.sent) == before + 5
        return {sent.query["RegionId"] for sent in wire.sent[before:]}

    async def test_the_order(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        """The argument, then the client's own region, then the environment."""
        wire.answer({**page(), "TaskId": "t-1"}, repeat=True)
        monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "cn-environment")
        async with client(region_id="cn-own") as ecs, client() as other:
            assert await self._called(ecs, wire, "cn-argument") == {"cn-argument"}
            assert await self._called(ecs, wire) == {"cn-own"}
            assert await self._called(other, wire) == {"cn-environment"}
            monkeypatch.delenv("ALIBABA_CLOUD_REGION_ID")
            with pytest.raises(ValueError, match="no region"):
                await other.describe_tasks()

    async def test_the_region_among_the_parameters(self, wire: Wire) -> None:
        """It takes precedence over the client's own."""
        wire.answer({}, repeat=True)
        async with client(region_id="cn-own") as ecs:
            await ecs.call("DescribeRegions", params={"RegionId": "cn-parameter"})
            with pytest.raises(ValueError, match="name one"):
                await ecs.call("DescribeRegions", region_id="cn-argument", params={"RegionId": "cn-parameter"})
        assert [sent.query["RegionId"] for sent in wire.sent] == ["cn-parameter"]

    @pytest.mark.parametrize(("region_id", "error"), [("CN", ValueError), ("", ValueError), (7, TypeError)])
    async def test_it_is_checked(self, region_id: Any, error: type[Exception]) -> None:
        """A region that is not one is rejected when the client is made."""
        with pytest.raises(error, match="region"):
            client(region_id=region_id)
