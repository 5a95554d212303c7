"""``ecs-waiter list``, ``show`` and ``cancel``: single calls to the service."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.client import EcsClient
from ecs_waiter.cli.exit_codes import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.inputs import TaskRef
from ecs_waiter.cli.interrupt import Stop, StoppedError, in_background
from ecs_waiter.cli.messages import explain, format_duration
from ecs_waiter.cli.outcomes import KnownTask, Record, reason_of, status_outcome, summary_of
from ecs_waiter.cli.results import one_word, write_records, write_rows
from ecs_waiter.cli.streams import is_interactive, say, write_result
from ecs_waiter.errors import ApiError, AuthenticationError, TaskFailedError, TaskNotFoundError
from ecs_waiter.escaping import escape_control
from ecs_waiter.models import Task, TaskDetail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["cancel_tasks", "list_tasks", "report_retries", "show_task"]

_BUDGET = 30.0
"""Seconds for which an outage is retried, because a person is waiting for the answer."""
_CANCELABLE = {True: "yes", False: "no", None: ""}
_NOT_FOUND = "invalidtaskid.notfound"
_LIST_HEADS = ("TASK", "STATUS", "ACTION", "RESOURCE", "CREATED", "FINISHED")


@contextlib.asynccontextmanager
async def _open_client(*, trust_env: bool) -> AsyncIterator[tuple[EcsClient, Stop]]:
    """Open a client with the environment's credentials and endpoint, and stop its calls at a signal."""
    stop = Stop()
    try:
        policy = CallPolicy(outage_budget=_BUDGET, call_timeout=_BUDGET / 2)
        client = EcsClient(policy=policy, trust_env=trust_env)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    with stop.on_signals():
        async with client:
            yield client, stop


async def _answer(client: EcsClient, stop: Stop, region_id: str, work: Coroutine[Any, Any, T]) -> T:
    """Return the answer to a call to a region; on stderr, report once if it is retried.

    Raises:
        CommandError: It was interrupted.
    """
    async with in_background(report_retries(client, region_id)):
        try:
            return await stop.run(work)
        except StoppedError:
            raise CommandError("interrupted", ExitCode.INTERRUPTED) from None


async def report_retries(client: EcsClient, region_id: str) -> None:
    """Report once that a call to a region is retried."""
    counters = client.counters(region_id)
    while not counters.retried:  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(1)
    say(f"{region_id} is not responding yet; retrying (Ctrl-C stops)")


# -- list -------------------------------------------------------------------------------------------------------------


async def list_tasks(  # noqa: PLR0913 - the options
    region_id: str,
    *,
    status: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    resources: Sequence[str],
    limit: int | None,
    output: str,
    trust_env: bool,
) -> ExitCode:
    """List a region's tasks, newest first."""
    async with _open_client(trust_env=trust_env) as (client, stop):
        try:
            tasks = client.iter_tasks(
                region_id=region_id,
                task_status=status,
                task_action=action,
                start_time=since,
                end_time=until,
                resource_ids=resources or None,
            )
        except ValueError as error:
            raise MisuseError(str(error)) from None
        records = await _answer(client, stop, region_id, _first(tasks, limit))
    if output != "text":
        write_records(records, output)
        return ExitCode.FINISHED
    write_rows(_LIST_HEADS, [_list_row(record.task) for record in records if record.task])
    if not records and is_interactive(sys.stderr):
        say(f"no such tasks in {region_id}")
    return ExitCode.FINISHED


async def _first(tasks: AsyncIterator[Task], limit: int | None) -> list[Record]:
    records: list[Record] = []
    async for task in tasks:
        if limit is not None and len(records) >= limit:
            break
        ref = TaskRef(task.region_id, task.task_id)
        records.append(Record(ref, status_outcome(task), KnownTask(ref, task)))
    return records


def _list_row(task: KnownTask) -> tuple[str, ...]:
    texts = (task.task_id, str(task.task_status), task.task_action, task.resource_id)
    return (*map(one_word, texts), _time(task.creation_time) or "-", _time(task.finished_time) or "-")


# -- show -------------------------------------------------------------------------------------------------------------


async def show_task(ref: TaskRef, *, output: str, trust_env: bool) -> ExitCode:
    """Show all that is known of a task."""
    async with _open_client(trust_env=trust_env) as (client, stop):
        detail = await _answer(client, stop, ref.region_id, _described(client, ref))
    if output == "text":
        lines = _lines(detail)
        width = max(len(name) for name, _ in lines)
        write_result("".join(f"{name.ljust(width)}  {escape_control(value)}\n" for name, value in lines))
        return ExitCode.FINISHED
    outcome = status_outcome(detail)
    error = summary_of(TaskFailedError(detail, detail)) if outcome == "failed" else None
    extra = {"support_cancel", "task_process", "total_count", "success_count", "failed_count", "operations"}
    record = Record(ref, outcome, KnownTask(ref, detail), error)
    write_records([record], output, detail.model_dump(mode="json", include=extra))
    return ExitCode.FINISHED


async def _described(client: EcsClient, ref: TaskRef) -> TaskDetail:
    try:
        return await client.describe_task_attribute(ref.task_id, region_id=ref.region_id)
    except ApiError as error:
        # DescribeTaskAttribute supports some operations only; the list has the tasks of all, with fewer fields.
        if isinstance(error, AuthenticationError) or (error.http_status or 500) >= 500:  # noqa: PLR2004 - a server's
            raise
        page = await client.describe_tasks(task_ids=[ref.task_id], region_id=ref.region_id)
        row = next((task for task in page.tasks if task.task_id == ref.task_id), None)
        if row is not None:
            return TaskDetail(**dict(row))
        if _is_not_found(error):
            raise TaskNotFoundError(ref.task_id, ref.region_id) from None
        raise


def _lines(detail: TaskDetail) -> list[tuple[str, str]]:
    counts = (("total", detail.total_count), ("succeeded", detail.success_count), ("failed", detail.failed_count))
    lines = [
        ("task", detail.task_id),
        ("region", detail.region_id),
        ("action", detail.task_action),
        ("resource", detail.resource_id),
        ("status", str(detail.task_status)),
        ("progress", "" if detail.task_process is None else f"{detail.task_process}%"),
        ("operations", ", ".join(f"{count} {name}" for name, count in counts if count is not None)),
        ("reason", ": ".join(filter(None, reason_of(detail)))),
        ("created", _time(detail.creation_time)),
        ("finished", _time(detail.finished_time)),
        ("took", _took(detail)),
        ("cancelable", _CANCELABLE[detail.support_cancel]),
    ]
    items = chain.from_iterable(step.related_items.items() for step in detail.operations)
    lines += [("related", f"{name} {value}") for name, value in dict.fromkeys(items)]
    return [(name, value) for name, value in lines if value]


# -- cancel -----------------------------------------------------------------------------------------------------------


async def cancel_tasks(refs: Sequence[TaskRef], *, output: str, trust_env: bool) -> ExitCode:
    """Cancel tasks one after the other, and explain each rejection."""
    records: list[Record] = []
    code = ExitCode.FINISHED
    async with _open_client(trust_env=trust_env) as (client, stop):
        for ref in refs:
            try:
                await _answer(client, stop, ref.region_id, client.cancel_task(ref.task_id, region_id=ref.region_id))
            except AuthenticationError:
                raise
            except ApiError as error:
                say(f"not canceled: {ref}: {explain(error)}")
                if _is_not_found(error):
                    not_found = TaskNotFoundError(ref.task_id, ref.region_id)
                    records.append(Record(ref, "not_found", None, summary_of(not_found)))
                    code = max(code, ExitCode.FAILED)
                else:
                    records.append(Record(ref, "error", None, summary_of(error)))
                    code = ExitCode.ERROR
            else:
                records.append(Record(ref, "canceled"))
    if output == "text":
        write_result("".join(f"{record.ref.task_id}  canceled\n" for record in records if record.error is None))
    else:
        write_records(records, output)
    return code


def _is_not_found(error: ApiError) -> bool:
    return (error.code or "").lower() == _NOT_FOUND


def _time(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _took(detail: TaskDetail) -> str:
    if detail.creation_time is None or detail.finished_time is None:
        return ""
    return format_duration(max(0.0, (detail.finished_time - detail.creation_time).total_seconds()))
