"""The library's own waits, against the emulator in memory and on loopback, with nothing set up but a fixture."""

from __future__ import annotations

import asyncio
import socket
from unittest import mock

import pytest

from ecs_waiter import (
    EcsClient,
    EcsWaiterError,
    PollPolicy,
    StaticCredentials,
    TaskFailedError,
    blocking,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.testing import background

_REASON = ("ImageFormatMismatch", "not a qcow2 file")


@pytest.mark.asyncio
async def test_two_hours_throttled_for_ten_minutes(virtual_ecs: EcsEmulator) -> None:
    """An import of two hours that is throttled for ten minutes and then fails raises its reason, on virtual time."""
    start = virtual_ecs.now()
    task_id = virtual_ecs.add_task(duration=7200, outcome="Failed", error=_REASON)
    throttle = virtual_ecs.inject("throttle", where=lambda request: 600 <= (request.at - start).total_seconds() < 1200)
    with pytest.raises(TaskFailedError, match="ImageFormatMismatch: not a qcow2 file"):
        await wait_for_task(task_id, policy=PollPolicy(outage_budget=900))
    assert throttle.hits > 0
    assert 7200 <= (virtual_ecs.now() - start).total_seconds() < 7240


def test_waiting_opens_no_socket(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole wait, credentials and all, works where every socket is forbidden."""

    def forbidden(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    with asyncio.Runner() as runner:
        runner.get_loop()  # its own self-pipe is a pair of sockets, made before the library runs
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", forbidden)
            patch.setattr(socket, "getaddrinfo", forbidden)
            task = runner.run(wait_for_task(virtual_ecs.add_task(duration=3600)))
    assert task.task_status == "Finished"


@pytest.mark.asyncio
async def test_nothing_is_left_behind(virtual_ecs: EcsEmulator) -> None:
    """After the last wait neither the library nor the emulator has a task of the loop under way."""
    ids = [virtual_ecs.add_task(duration=60) for _ in range(250)]
    assert list(await wait_for_tasks(ids)) == ids
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_a_session_of_the_callers(virtual_ecs: EcsEmulator) -> None:
    """`session` connects to any emulator in memory, with any endpoint."""
    ecs = EcsEmulator()
    task_id = ecs.add_task(region_id="us-west-1", duration=3600)
    async with (
        ecs.session() as session,
        EcsClient(StaticCredentials("key", "secret"), endpoint=ecs.url, session=session) as client,
    ):
        page = await client.describe_tasks(task_ids=[task_id], region_id="us-west-1")
    assert [task.task_status for task in page.tasks] == ["Processing"]
    assert virtual_ecs.requests == []


def test_waiting_on_loopback(ecs_emulator: EcsEmulator) -> None:
    """A blocking wait finds the emulator on loopback by the environment alone."""
    task_id = ecs_emulator.add_task(outcome="Failed", error=_REASON)
    with pytest.raises(TaskFailedError, match="not a qcow2 file"):
        blocking.wait_for_task(task_id)
    assert [request.action for request in ecs_emulator.requests] == ["DescribeTasks", "DescribeTaskAttribute"]


def test_virtual_time_refuses_other_threads(virtual_ecs: EcsEmulator) -> None:
    """A loop in another thread cannot be on virtual time, and says what to use."""
    with pytest.raises(EcsWaiterError) as caught:
        blocking.wait_for_task(virtual_ecs.add_task())
    assert str(caught.value.__cause__).endswith("use the fixture ecs_emulator")


def test_an_emulator_that_cannot_start_is_the_tests_error() -> None:
    """If the emulator cannot listen, the error is raised in the test."""

    def broken() -> EcsEmulator:
        return EcsEmulator(host="192.0.2.1")

    with mock.patch.object(background, "EcsEmulator", broken), pytest.raises(OSError, match=r"192\.0\.2\.1"):
        background.serve().__enter__()
