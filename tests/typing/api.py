"""Every public call with the types that a user sees: type-checked, never run."""
# ruff: noqa: D102, D103, T201, TC002, TC003 - it is read by the type checker alone, and as a user would write it

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import tenacity

from ecs_waiter import (
    ApiError,
    Credentials,
    CredentialsProvider,
    EcsClient,
    EcsWaiterError,
    OperationProgress,
    PollPolicy,
    StartedTask,
    StaticCredentials,
    Task,
    TaskDetail,
    TaskError,
    TaskFailedError,
    TaskPage,
    TasksFailedError,
    TaskStatus,
    TaskWaiter,
    ThrottledError,
    WaitEvent,
    WaitTimeoutError,
    as_completed,
    blocking,
    cancel_task,
    events,
    run,
    start,
    updates,
    wait_for_task,
    wait_for_tasks,
    wait_proportional,
)
from ecs_waiter.emulator import EcsEmulator


class Vault:
    """A provider of a user's own."""

    async def get_credentials(self) -> Credentials:
        return Credentials("id", "secret", security_token="token")


provider: CredentialsProvider = Vault()
also_a_provider: CredentialsProvider = StaticCredentials("id", "secret")
policy: PollPolicy = PollPolicy(wait=wait_proportional(factor=0.1, min=1, max=60, jitter=0.2), max_in_flight=2)
fixed: PollPolicy = PollPolicy(wait=tenacity.wait_fixed(15), call_timeout=5)
summed: PollPolicy = PollPolicy(wait=wait_proportional() + tenacity.wait_random(0, 1))
plain: PollPolicy = PollPolicy(wait=lambda state: state.attempt_number * 2.0)


def show(task: Task) -> None:
    word: TaskStatus | str = task.task_status
    created: datetime | None = task.creation_time
    cancelable: bool | None = task.support_cancel
    texts: tuple[str, str, str, str] = (task.region_id, task.task_id, task.task_action, task.resource_id)
    print(word, created, cancelable, *texts)


async def waits(session: aiohttp.ClientSession) -> None:
    one: Task = await wait_for_task("t-1", region_id="cn-hangzhou", timeout=3600, on_update=show)
    several: dict[str, Task] = await wait_for_tasks(["t-1", "t-2"], region_id="cn-hangzhou")
    generated: dict[str, Task] = await wait_for_tasks((f"t-{n}" for n in range(3)), fail_fast=True)
    regions: dict[str, Task] = await wait_for_tasks({"cn-hangzhou": ["t-1"], "us-west-1": {"t-9"}})
    both: dict[str, Task | EcsWaiterError] = await wait_for_tasks(["t-1"], return_exceptions=True)
    all_of_it: dict[str, Task] = await wait_for_tasks(
        ("t-1",), credentials=provider, endpoint="http://127.0.0.1:1", policy=policy, session=session, timeout=1.5
    )
    print(one, several, generated, regions, both, all_of_it)


async def mistakes(flag: bool) -> None:
    """What a type checker is to find: an ignore that is not needed is an error too."""
    wrong: dict[str, int] = await wait_for_tasks(["t-1"])  # type: ignore[assignment]
    unchecked: dict[str, Task] = await wait_for_tasks(["t-1"], return_exceptions=True)  # type: ignore[assignment]
    either: dict[str, Task | EcsWaiterError] = await wait_for_tasks(["t-1"], return_exceptions=flag)
    blocked: dict[str, Task] = blocking.wait_for_tasks(["t-1"], return_exceptions=True)  # type: ignore[assignment]
    async with TaskWaiter() as waiter:
        waited: dict[str, Task] = await waiter.wait(["t-1"], return_exceptions=True)  # type: ignore[assignment]
        async for settled in waiter.as_completed(["t-1"]):
            show(settled)  # type: ignore[arg-type]
        changed: Task = await waiter.run("ModifyDiskSpec")  # type: ignore[assignment]
    print(wrong, unchecked, either, blocked, waited, changed)


async def functions() -> None:
    everything: AsyncGenerator[WaitEvent, None] = events(["t-1"], region_id="cn-hangzhou", timeout=5)
    outcomes: AsyncGenerator[Task | EcsWaiterError, None] = as_completed({"cn-hangzhou": ["t-1"]}, policy=policy)
    changes: AsyncGenerator[Task, None] = updates(["t-1"], credentials=provider, trust_env=True)
    started: StartedTask = await start("ImportImage", region_id="cn-hangzhou", params={"ImageName": "a"}, timeout=5)
    ids: tuple[str, str | None, str | None, str, str | None] = (
        started.region_id,
        started.task_id,
        started.resource_id,
        started.request_id,
        started.client_token,
    )
    always: Task = await run("ExportImage", params={"ImageId": "m-1"}, on_update=show, endpoint="http://127.0.0.1:1")
    perhaps: Task | None = await run("ModifyDiskSpec")
    is_canceled: bool = await cancel_task("t-1", region_id="cn-hangzhou")
    async for event in everything:
        fields: tuple[str, str, Task | None, EcsWaiterError | None, bool] = (
            event.task_id,
            event.region_id,
            event.task,
            event.error,
            event.final,
        )
        event.final = False  # type: ignore[misc]
        print(fields)
    print(outcomes, changes, ids, always, perhaps, is_canceled)


async def waiter() -> None:
    async with TaskWaiter(None, None, PollPolicy(), None, region_id="cn-hangzhou", trust_env=False) as waiter:
        future: asyncio.Future[Task] = waiter.submit("t-1", region_id="cn-hangzhou")
        task: Task = await future
        tasks: dict[str, Task] = await waiter.wait(["t-1"], timeout=5, on_update=show, fail_fast=True)
        both: dict[str, Task | EcsWaiterError] = await waiter.wait({"cn-hangzhou": ["t-1"]}, return_exceptions=True)
        settled: Task | EcsWaiterError
        async for settled in waiter.as_completed(["t-1"], region_id="cn-hangzhou", timeout=5):
            if isinstance(settled, EcsWaiterError):
                raise settled
            show(settled)
        change: Task
        async for change in waiter.updates({"cn-hangzhou": ["t-1"]}, timeout=5):
            show(change)
        started: Task = await waiter.run("ImportImage", region_id="cn-hangzhou", params={"Tag": [{"Key": "a"}]})
        redeployed: Task = await waiter.run("RedeployInstance", timeout=60, on_update=show)
        perhaps: Task | None = await waiter.run("ModifyDiskSpec")
        operation: str = "ImportImage"
        any_one: Task | None = await waiter.run(operation)
        started_task: StartedTask = await waiter.start("ImportImage", region_id="cn-hangzhou", params={}, timeout=5)
        is_canceled: bool = await waiter.cancel_task("t-1", region_id="cn-hangzhou")
        one: Task = await waiter.wait_for_task("t-1", timeout=5)
        several: dict[str, Task] = await waiter.wait_for_tasks(["t-1"], timeout=5)
        either: dict[str, Task | EcsWaiterError] = await waiter.wait_for_tasks(["t-1"], return_exceptions=True)
        event: WaitEvent
        async for event in waiter.events(["t-1"], region_id="cn-hangzhou", timeout=5):
            print(event.task_id, started_task, is_canceled, one, several, either)
        calls: int = waiter.stats.regions["cn-hangzhou"].calls
        print(task, tasks, both, started, redeployed, perhaps, any_one, calls)


async def client() -> None:
    async with EcsClient(credentials=provider, policy=policy) as client:
        page: TaskPage = await client.describe_tasks(task_ids=["t-1"], region_id="cn-hangzhou")
        tasks: tuple[Task, ...] = page.tasks
        figures: tuple[int, int, int] = (page.total_count, page.page_number, page.page_size)
        since = datetime.now(UTC) - timedelta(hours=2)
        listed: list[Task] = [
            task
            async for task in client.iter_tasks(
                region_id="cn-hangzhou",
                task_action="ImportImage",
                task_status=TaskStatus.PROCESSING,
                start_time=since,
                end_time=datetime.now(UTC),
                resource_ids=["m-1"],
            )
        ]
        detail: TaskDetail = await client.describe_task_attribute("t-1", region_id="cn-hangzhou")
        percent: int | None = detail.task_process
        operations: tuple[OperationProgress, ...] = detail.operations
        items: Mapping[str, str] = operations[0].related_items
        await client.cancel_task("t-1", region_id="cn-hangzhou")
        answer: dict[str, Any] = await client.call("ExportImage", region_id="cn-hangzhou", params={"ImageId": "m-1"})
        print(tasks, figures, listed, percent, items, answer)


async def errors() -> None:
    try:
        await wait_for_tasks(["t-1"])
    except TaskFailedError as error:
        reason: TaskDetail | None = error.detail
        print(reason)
    except TaskError as error:
        known: Task | None = error.task
        print(error.task_id, error.region_id, known)
    except ThrottledError as error:
        after: float | None = error.retry_after
        print(after)
    except ApiError as error:
        code: str | None = error.code
        status: int | None = error.http_status
        print(code, error.message, error.request_id, status)
    except WaitTimeoutError as error:
        pending: tuple[str, ...] = error.pending
        so_far: Mapping[str, Task | EcsWaiterError] = error.results
        print(pending, so_far)
    except TasksFailedError as group:
        each: tuple[EcsWaiterError | ExceptionGroup[EcsWaiterError], ...] = group.exceptions
        print(each, group.results, group.pending)


def threads() -> None:
    one: Task = blocking.wait_for_task("t-1", region_id="cn-hangzhou", timeout=5, on_update=show)
    several: dict[str, Task] = blocking.wait_for_tasks(["t-1"], policy=fixed)
    both: dict[str, Task | EcsWaiterError] = blocking.wait_for_tasks(["t-1"], return_exceptions=True)
    everything: Generator[WaitEvent, None, None] = blocking.events(["t-1"], timeout=5)
    outcomes: Generator[Task | EcsWaiterError, None, None] = blocking.as_completed(["t-1"], policy=fixed)
    changes: Generator[Task, None, None] = blocking.updates(["t-1"], region_id="cn-hangzhou")
    started: StartedTask = blocking.start("ImportImage", params={})
    always: Task = blocking.run("ImportImage", on_update=show)
    perhaps: Task | None = blocking.run("ModifyDiskSpec")
    is_canceled: bool = blocking.cancel_task("t-1")
    print(one, several, both, everything, outcomes, changes, started, always, perhaps, is_canceled)


async def emulator(virtual_ecs: EcsEmulator) -> None:
    async with EcsEmulator(start=datetime(2026, 1, 1, tzinfo=UTC)) as ecs:
        task_id: str = ecs.add_task(outcome="Failed", error=("C", "why"), duration=3600)
        async with ecs.session() as session:
            await wait_for_task(task_id, session=session, endpoint=ecs.url)
        ids: tuple[str, ...] = ecs.requests[-1].task_ids
        hits: int = ecs.inject("throttle", times=1).hits
        print(ids, hits, virtual_ecs.url)
