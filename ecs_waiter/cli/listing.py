"""``ecs-waiter list``, ``show`` and ``cancel``: single calls to the service."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.duration import format_duration
from ecs_waiter.cli.failure import ExitCode, MisuseError
from ecs_waiter.cli.messages import explain
from ecs_waiter.cli.outcomes import Record, Seen, reason_of, status_outcome
from ecs_waiter.cli.results import json_pieces, line_of, write_pieces, write_rows
from ecs_waiter.cli.single_calls import open_calls
from ecs_waiter.cli.streams import is_interactive, say, write_result
from ecs_waiter.cli.task_refs import TaskRef
from ecs_waiter.errors import ApiError, AuthenticationError, TaskFailedError, TaskNotFoundError
from ecs_waiter.models import Task, TaskDetail
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ecs_waiter.api.client import EcsClient

__all__ = ["cancel_tasks", "list_tasks", "show_task"]

_CANCELABLE = {True: "yes", False: "no", None: ""}
_NOT_FOUND = "invalidtaskid.notfound"
_LIST_HEADS = ("TASK", "STATUS", "ACTION", "RESOURCE", "CREATED", "FINISHED")


async def list_tasks(  # noqa: PLR0913 - the filters
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
    """List a region's tasks, the youngest first."""
    async with open_calls(trust_env=trust_env) as calls:
        try:
            tasks = calls.client.iter_tasks(
                region_id,
                task_status=status,
                task_action=action,
                start_time=since,
                end_time=until,
                resource_ids=resources or None,
            )
        except ValueError as error:
            raise MisuseError(str(error)) from None
        records = await calls.answer(region_id, _first(tasks, limit))
    if output == "text":
        write_rows(_LIST_HEADS, [_list_row(record.task) for record in records if record.task])
        if not records and is_interactive(sys.stderr):
            say(f"no such tasks in {region_id}")
    else:
        _write(records, output)
    return ExitCode.FINISHED


async def _first(tasks: AsyncIterator[Task], limit: int | None) -> list[Record]:
    records: list[Record] = []
    async for task in tasks:
        if limit is not None and len(records) >= limit:
            break
        records.append(Record(TaskRef(task.region_id, task.task_id), status_outcome(task), task))
    return records


def _list_row(task: Task | Seen) -> tuple[str, ...]:
    cells = (
        task.task_id,
        str(task.task_status),
        task.task_action,
        task.resource_id,
        _time(task.creation_time),
        _time(task.finished_time),
    )
    return tuple(printable(cell).replace(" ", "_") or "-" for cell in cells)


async def show_task(ref: TaskRef, *, output: str, trust_env: bool) -> ExitCode:
    """Show all that the service tells of a task."""
    async with open_calls(trust_env=trust_env) as calls:
        detail = await calls.answer(ref.region_id, _described(calls.client, ref))
    error = TaskFailedError(detail, detail) if status_outcome(detail) == "failed" else None
    record = Record(ref, status_outcome(detail), detail, error)
    if output == "text":
        lines = _shown(detail)
        width = max(len(name) for name, _ in lines)
        write_result("".join(f"{name.ljust(width)}  {printable(value)}\n" for name, value in lines))
    else:
        _write([record], output, {ref.task_id: _more(detail)})
    return ExitCode.FINISHED


async def _described(client: EcsClient, ref: TaskRef) -> TaskDetail:
    try:
        return await client.describe_task_attribute(ref.region_id, ref.task_id)
    except ApiError as error:
        # It is documented for some operations only: the list knows the others, if with less.
        if isinstance(error, AuthenticationError) or (error.http_status or 500) >= 500:  # noqa: PLR2004 - a server's
            raise
        page = await client.describe_tasks(ref.region_id, task_ids=[ref.task_id])
        row = next((task for task in page.tasks if task.task_id == ref.task_id), None)
        if row is not None:
            return TaskDetail(**dict(row))
        if (error.code or "").lower() == _NOT_FOUND:
            raise TaskNotFoundError(ref.task_id, ref.region_id) from None
        raise


def _shown(detail: TaskDetail) -> list[tuple[str, str]]:
    code, words = reason_of(detail)
    counts = (("total", detail.total_count), ("succeeded", detail.success_count), ("failed", detail.failed_count))
    lines = [
        ("task", detail.task_id),
        ("region", detail.region_id),
        ("action", detail.task_action),
        ("resource", detail.resource_id),
        ("status", str(detail.task_status)),
        ("progress", "" if detail.task_process is None else f"{detail.task_process}%"),
        ("operations", ", ".join(f"{count} {name}" for name, count in counts if count is not None)),
        ("reason", ": ".join(filter(None, (code, words)))),
        ("created", _time(detail.creation_time)),
        ("finished", _time(detail.finished_time)),
        ("took", _took(detail)),
        ("cancelable", _CANCELABLE[detail.support_cancel]),
    ]
    items = chain.from_iterable(step.related_items.items() for step in detail.operations)
    lines += [("related", f"{name} {value}") for name, value in dict.fromkeys(items)]
    return [(name, value) for name, value in lines if value]


def _more(detail: TaskDetail) -> dict[str, Any]:
    shown = detail.model_dump(
        mode="json",
        include={"support_cancel", "task_process", "total_count", "success_count", "failed_count", "operations"},
    )
    return dict(shown)


async def cancel_tasks(refs: Sequence[TaskRef], *, output: str, trust_env: bool) -> ExitCode:
    """Cancel tasks, one after the other, and say of each refusal what it means."""
    records: list[Record] = []
    code = ExitCode.FINISHED
    async with open_calls(trust_env=trust_env) as calls:
        for ref in refs:
            try:
                await calls.answer(ref.region_id, calls.client.cancel_task(ref.region_id, ref.task_id))
            except AuthenticationError:
                raise
            except ApiError as error:
                say(f"not canceled: {ref}: {explain(error)}")
                is_unknown = (error.code or "").lower() == _NOT_FOUND
                told = TaskNotFoundError(ref.task_id, ref.region_id) if is_unknown else error
                records.append(Record(ref, "not_found" if is_unknown else "error", None, told))
                code = max(code, ExitCode.FAILED if is_unknown else ExitCode.ERROR)
            else:
                records.append(Record(ref, "canceled"))
    if output == "text":
        write_result("".join(f"{record.ref.task_id}  canceled\n" for record in records if record.error is None))
    else:
        _write(records, output)
    return code


def _write(records: Sequence[Record], output: str, more: dict[str, dict[str, Any]] | None = None) -> None:
    if output == "json":
        write_pieces(json_pieces(records, more))
    else:
        write_pieces(line_of(record, (more or {}).get(record.ref.task_id)) for record in records)


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _took(detail: TaskDetail) -> str:
    if detail.creation_time is None or detail.finished_time is None:
        return ""
    return format_duration(max(0.0, (detail.finished_time - detail.creation_time).total_seconds()))
