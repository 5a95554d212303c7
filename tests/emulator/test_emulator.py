"""EcsEmulator: where it listens, what its clock shows, and which tasks cannot be."""

from __future__ import annotations

import asyncio
import errno
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from support.curling import curl

from ecs_waiter import TaskStatus
from ecs_waiter.emulator import EcsEmulator, Request

_START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.asyncio
async def test_listens_on_loopback_within_its_block() -> None:
    """Inside `async with` it answers on its URL; afterwards nobody does."""
    async with EcsEmulator() as ecs, aiohttp.ClientSession() as session:
        url = ecs.url
        assert url.startswith("http://127.0.0.1:")
        async with session.post(url, params={"Action": "DescribeTasks"}) as response:
            assert (await response.json())["Code"] == "MissingVersion"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


@pytest.mark.asyncio
async def test_url_of_ipv6_is_in_brackets() -> None:
    """An IPv6 address in a URL stands in brackets."""
    try:
        async with EcsEmulator(host="::1") as ecs:
            assert ecs.url.startswith("http://[::1]:")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


@pytest.mark.asyncio
async def test_port_in_use_is_told() -> None:
    """A port that is taken is named, with what to do."""
    async with EcsEmulator() as ecs:
        port = int(ecs.url.rpartition(":")[2])
        with pytest.raises(OSError, match=rf"port {port} of 127\.0\.0\.1 is in use: choose another one") as caught:
            await EcsEmulator(port=port).__aenter__()
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.asyncio
async def test_foreign_host_is_an_error() -> None:
    """An address that this machine does not have raises the system's own error."""
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        await EcsEmulator(host="192.0.2.1").__aenter__()


@pytest.mark.asyncio
async def test_listens_once() -> None:
    """Entering it twice is refused."""
    async with EcsEmulator() as ecs:
        with pytest.raises(RuntimeError, match="already listening"):
            await ecs.__aenter__()


@pytest.mark.asyncio
async def test_stops_under_a_hanging_request() -> None:
    """Leaving the block drops a request that never would be answered."""
    async with aiohttp.ClientSession() as session:
        async with EcsEmulator() as ecs:
            arrived = asyncio.Event()

            def arrives(_request: Request) -> bool:
                arrived.set()
                return True

            ecs.inject("hang", where=arrives)
            request = asyncio.create_task(session.get(ecs.url))
            await arrived.wait()
        with pytest.raises(aiohttp.ClientConnectionError):
            await request


@pytest.mark.asyncio
async def test_reset_on_loopback_is_a_reset() -> None:
    """Over a real socket too, a reset is one and no orderly end."""
    async with EcsEmulator() as ecs, aiohttp.ClientSession() as session:
        ecs.inject("reset", times=1)
        with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
            await session.post(ecs.url)


def test_clock_stands_still_until_it_is_used_in_a_loop() -> None:
    """Without an event loop the clock stands still at its start."""
    ecs = EcsEmulator(start=_START)
    assert ecs.now() == ecs.now() == _START
    assert abs(EcsEmulator().now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_clock_follows_the_loop(virtual_ecs: EcsEmulator) -> None:
    """From its first use in a loop on, the clock is as fast as the loop's."""
    ecs = EcsEmulator(start=_START)
    task_id = ecs.add_task(duration=10)

    async def live() -> tuple[datetime, str]:
        await asyncio.sleep(100)
        await curl(ecs, "DescribeTasks")
        await asyncio.sleep(9)
        row = (await curl(ecs, "DescribeTasks", TaskIds=task_id)).data["TaskSet"]["Task"][0]
        return ecs.now(), row["TaskStatus"]

    assert asyncio.run(live()) == (_START + timedelta(seconds=9), "Processing")


def test_clock_of_the_tests_own() -> None:
    """A test may move the clock itself."""
    seconds = 5.0
    ecs = EcsEmulator(start=_START, time=lambda: seconds)
    seconds += 60
    assert ecs.now() == _START + timedelta(seconds=60)


def test_naive_start_is_refused() -> None:
    """A start without a time zone is refused."""
    with pytest.raises(ValueError, match="start takes an aware datetime"):
        EcsEmulator(start=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_same_seed_same_ids() -> None:
    """IDs come out the same on every run; another seed gives others."""
    first, again, other = (EcsEmulator(seed=seed).add_task() for seed in (1, 1, 2))
    assert first == again != other
    assert first.startswith("t-bp1")
    assert len(first) == 22


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"duration": -1}, "duration takes seconds, 0 or more, not -1"),
        ({"duration": math.nan}, "duration takes seconds, 0 or more, not nan"),
        ({"duration": math.inf}, "duration takes seconds, 0 or more, not inf: .* use a finite number such as 1e9"),
        ({"duration": 10**400}, "duration takes seconds, 0 or more, not 1000.* use a finite number such as 1e9"),
        ({"duration": "1h"}, "duration takes seconds, 0 or more, not '1h': use a number such as 3600"),
        ({"duration": timedelta(hours=1)}, "duration takes seconds, .*: use a number such as 3600"),
        ({"duration": None}, "duration takes seconds, 0 or more, not None: use a number such as 3600"),
        ({"duration": True}, "duration takes seconds, 0 or more, not True: use a number such as 3600"),
        ({"visible_after": -1}, "visible_after takes seconds"),
        ({"visible_after": math.inf}, "visible_after takes seconds, 0 or more, not inf"),
        ({"visible_after": "1m"}, "visible_after takes seconds, 0 or more, not '1m'"),
        ({"outcome": "failed"}, "outcome takes a status .*, not 'failed': did you mean 'Failed'\\?"),
        ({"outcome": "Finshed"}, "outcome takes a status .*, not 'Finshed': did you mean 'Finished'\\?"),
        ({"outcome": "Weird"}, "not 'Weird'; the words are Processing, Finished, Failed, .*; only status= takes any"),
        ({"status": ""}, "status takes a word such as 'Waiting', not ''"),
        ({"status": None}, "status takes a word such as 'Waiting', not None"),
        ({"outcome": ""}, "outcome takes a status such as 'Finished' or 'Failed', not ''"),
        ({"outcome": None}, "outcome takes a status"),
        ({"error": ("Code", "message")}, "error is the reason of a failure, so it needs outcome='Failed'"),
        ({"outcome": "Failed", "error": "Code"}, r"error takes a pair \(code, message\), not 'Code'"),
        ({"outcome": "Failed", "error": ("Code",)}, r"error takes a pair"),
        ({"outcome": "Failed", "error": ("Code", 5)}, r"error takes a pair"),
        ({"task_id": ""}, "a task ID takes neither commas nor white space, and is not empty: ''"),
        ({"task_id": "t-1,t-2"}, "neither commas"),
        ({"task_id": "t 1"}, "neither commas"),
        ({"region_id": ""}, "region_id takes the name of a region"),
    ],
)
def test_task_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    """Each thing that a task cannot have is refused with what it can."""
    with pytest.raises(ValueError, match=message):
        EcsEmulator().add_task(**settings)


@pytest.mark.parametrize("outcome", [*TaskStatus, *(str(word) for word in TaskStatus)], ids=repr)
def test_every_word_of_the_service_can_be_the_outcome(outcome: str) -> None:
    """Each status that the library knows can be a task's outcome."""
    EcsEmulator().add_task(outcome=outcome)


@pytest.mark.parametrize("duration", [math.inf, math.nan, -1, "1h"])
def test_time_that_cannot_be_is_refused_everywhere(duration: Any) -> None:
    """A plan and the emulator's own duration refuse what `add_task` refuses."""
    with pytest.raises(ValueError, match="duration takes seconds"):
        EcsEmulator().plan("ImportImage", duration=duration)
    with pytest.raises(ValueError, match="duration takes seconds"):
        EcsEmulator(duration=duration)


def test_word_that_cannot_be_is_refused_in_a_plan() -> None:
    """A plan refuses an unknown outcome and a status that is not a word."""
    with pytest.raises(ValueError, match="did you mean 'Failed'"):
        EcsEmulator().plan("ImportImage", outcome="failed")
    with pytest.raises(ValueError, match="status takes a word"):
        EcsEmulator().plan("ImportImage", status="")


@pytest.mark.asyncio
async def test_requests_are_the_last_ten_thousand(virtual_ecs: EcsEmulator) -> None:
    """By default the last 10,000 requests are kept, in a list like any other."""
    assert virtual_ecs.requests == []
    async with virtual_ecs.session() as session:
        for number in range(10_002):
            (await session.get(virtual_ecs.url, params={"Number": str(number)})).release()
    kept = virtual_ecs.requests
    assert len(kept) == 10_000
    assert [request.params["Number"] for request in (kept[0], *kept[1:3], kept[-1])] == ["2", "3", "4", "10001"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("keep", "expected"), [(0, []), (1, ["2"]), (2, ["1", "2"]), (50, ["0", "1", "2"])])
async def test_requests_kept_can_be_chosen(virtual_ecs: EcsEmulator, keep: int, expected: list[str]) -> None:
    """`keep_requests` says how many requests are kept."""
    ecs = EcsEmulator(keep_requests=keep)
    for number in range(3):
        await curl(ecs, "DescribeTasks", Number=number)
    assert [request.params["Number"] for request in ecs.requests] == expected


@pytest.mark.parametrize("keep", [-1, 1.5, None, "10", math.inf])
def test_requests_kept_that_cannot_be_are_refused(keep: Any) -> None:
    """`keep_requests` takes a whole number."""
    with pytest.raises(ValueError, match=r"keep_requests takes a (whole )?number"):
        EcsEmulator(keep_requests=keep)


def test_duplicate_task_id_is_refused() -> None:
    """A task ID is unique in all regions together."""
    ecs = EcsEmulator()
    ecs.add_task(task_id="t-1")
    with pytest.raises(ValueError, match="task 't-1' already exists"):
        ecs.add_task(task_id="t-1", region_id="us-west-1")


@pytest.mark.asyncio
async def test_regions_can_be_chosen(virtual_ecs: EcsEmulator) -> None:
    """Only the regions that were given exist."""
    ecs = EcsEmulator(regions=["eu-nowhere-1"])
    assert (await curl(ecs, "DescribeTasks", region="eu-nowhere-1")).status == 200
    assert (await curl(ecs, "DescribeTasks", region="cn-hangzhou")).code == "InvalidRegionId.NotFound"


@pytest.mark.asyncio
async def test_duration_of_what_clients_start(virtual_ecs: EcsEmulator) -> None:
    """`duration` is how long each task takes that a client starts."""
    ecs = EcsEmulator(duration=30)
    await curl(ecs, "ImportImage")
    await asyncio.sleep(29)
    assert (await curl(ecs, "DescribeTasks", TaskStatus="Finished")).task_ids == []
    await asyncio.sleep(1)
    assert len((await curl(ecs, "DescribeTasks", TaskStatus="Finished")).task_ids) == 1
