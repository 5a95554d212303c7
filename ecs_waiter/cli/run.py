"""``ecs-waiter run``: start an operation, report its task's ID at once, and wait for it."""

from __future__ import annotations

import asyncio
import shlex
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.calls import report_retries
from ecs_waiter.cli.exit_codes import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.inputs import TaskRef
from ecs_waiter.cli.interrupt import Stop, StoppedError, in_background
from ecs_waiter.cli.messages import explain, outage_reason
from ecs_waiter.cli.results import json_pieces, write_many
from ecs_waiter.cli.resume import program
from ecs_waiter.cli.streams import ClosedPipeError, discard_results, say
from ecs_waiter.cli.watching import open_waiter, wait_within
from ecs_waiter.errors import ApiError, WaitTimeoutError
from ecs_waiter.starting import NOT_SENT, Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.cli.watching import WatchOptions

__all__ = ["run"]


async def run(operation: str, region_id: str, params: Mapping[str, Any], options: WatchOptions) -> ExitCode:
    """Start the operation and wait for its task; returns the exit code.

    Raises:
        ApiError: The service rejected the start.
        CommandError: It was interrupted or timed out, or it is not known whether the operation was started.
        MisuseError: The operation starts no task, or a parameter is invalid.
    """
    try:
        start = Start(operation, region_id, params)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    stop = Stop()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with stop.on_signals():
        async with open_waiter(options) as waiter:
            async with in_background(report_retries(waiter.client, region_id)):
                task_id = await _send(start, waiter.client, options.timeout, stop)
            if task_id is not None:
                say(f"{operation} in {region_id} is task {task_id}")
                left = None if options.timeout is None else max(0.0, options.timeout - (loop.time() - began))
                return await wait_within(waiter, [TaskRef(region_id, task_id)], replace(options, timeout=left), stop)
    say(start.why_no_task)
    if options.output == "json":
        try:
            await write_many(json_pieces([]))
        except ClosedPipeError:
            # Nobody reads the results; the exit code still reports the outcome.
            discard_results()
    return ExitCode.FINISHED


async def _send(start: Start, client: EcsClient, timeout: float | None, stop: Stop) -> str | None:
    unanswered = f"before {start.operation} was answered"
    try:
        return (await stop.run(start.send(client, timeout))).task_id
    except WaitTimeoutError:
        raise CommandError(f"timed out {unanswered}{_cut_off(start)}", ExitCode.TIMED_OUT) from None
    except StoppedError:
        raise CommandError(f"interrupted {unanswered}{_cut_off(start)}", ExitCode.INTERRUPTED) from None
    except ApiError as error:
        if not start.is_in_doubt(error):
            raise
        raise CommandError(f"{_without_doubt(error, start)}{_advice(start)}") from error
    except (TypeError, ValueError) as error:
        raise MisuseError(str(error)) from None


def _cut_off(start: Start) -> str:
    """Return whether it may have started, how to find out, and the last fault."""
    doubt = _advice(start) if start.attempts.may_have_arrived else f": {NOT_SENT}"
    fault = start.attempts.fault
    return doubt if fault is None else f"{doubt}; the last fault: {outage_reason(fault)}"


def _without_doubt(error: ApiError, start: Start) -> str:
    """Return what happened without the library's words on how to find out: they are meant for Python programs."""
    plain = copy(error)
    plain.message = error.message.removesuffix(start.doubt).rstrip(":; ")
    return explain(plain)


def _advice(start: Start) -> str:
    """Return how to find out whether it started."""
    if start.is_dry_run:
        return f": {start.doubt}"
    region = shlex.quote(start.region_id)
    look = f"{program()} list --region {region} --action {start.operation} --since 10m"
    again = ""
    if start.client_token is not None:
        token = shlex.quote(start.client_token)
        again = f"; the same command with --param ClientToken={token} starts it at most once"
    return f": it may have started, so look first: {look}{again}"
