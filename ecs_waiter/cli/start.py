"""``ecs-waiter run``: start an operation, report its task's ID at once, and wait for it."""

from __future__ import annotations

import asyncio
import json
import shlex
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.retry import Attempts
from ecs_waiter.cli.failure import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.going_on import program
from ecs_waiter.cli.interrupt import InterruptedByUserError, Stop
from ecs_waiter.cli.messages import explain, why_no_answer
from ecs_waiter.cli.results import json_pieces, write_many
from ecs_waiter.cli.single_calls import tell_retries
from ecs_waiter.cli.streams import ClosedPipeError, lose_results, say
from ecs_waiter.cli.task_refs import TaskRef
from ecs_waiter.cli.wait import open_waiter, wait_within
from ecs_waiter.errors import ApiError
from ecs_waiter.starting import NOT_SENT, Start

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.cli.wait import WaitOptions

__all__ = ["read_params", "run", "told_region"]

_SECRETS = frozenset({"accesskeyid", "accesskeysecret", "securitytoken", "signature"})


def read_params(pairs: Iterable[str], document: str | None) -> dict[str, Any]:
    """Return an operation's parameters.

    Args:
        pairs: ``Key=Value`` each; the key may be one of a list or map, such as ``Tag.1.Key``.
        document: A JSON object, whose lists and maps are flattened later; a pair takes precedence over it.

    Raises:
        MisuseError: One cannot be a parameter, is given twice, or is a secret.
    """
    params: dict[str, Any] = {}
    if document is not None:
        try:
            found = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise MisuseError(f"--params: no JSON: {error}") from None
        if not isinstance(found, dict):
            raise MisuseError('--params: a JSON object is wanted, such as {"ImageName": "web", "Tag": [{"Key": "k"}]}')
        params.update(found)
    told: set[str] = set()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise MisuseError(f"--param takes Key=Value, not {pair!r}")
        if key in told:
            raise MisuseError(f"--param {key} is given twice: items of a list are numbered, as in Tag.1.Key, Tag.2.Key")
        told.add(key)
        params[key] = value
    for key in params:
        if key.lower() in _SECRETS:
            raise MisuseError(f"{key} is no parameter here: credentials come from the environment or a profile")
    return params


def told_region(params: Mapping[str, Any], region_id: str | None) -> str | None:
    """Return the region that the option or the parameter ``RegionId`` names.

    Raises:
        MisuseError: They name two.
    """
    told = params.get("RegionId")
    if not isinstance(told, str):
        return region_id
    if region_id not in {None, told}:
        raise MisuseError(f"--region {region_id} and RegionId={told} are two regions: leave one out")
    return told


async def run(operation: str, region_id: str, params: Mapping[str, Any], options: WaitOptions) -> ExitCode:
    """Start the operation and wait for its task; returns the exit code.

    Raises:
        ApiError: The service refused to start it.
        CommandError: It is not known whether it was started.
        MisuseError: The operation starts no task, or a parameter is invalid.
    """
    try:
        start = Start(operation, region_id, params)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    stop = Stop()
    with stop.on_signals():
        loop = asyncio.get_running_loop()
        deadline = None if options.timeout is None else loop.time() + options.timeout
        async with open_waiter(options) as waiter:
            try:
                task_id = start.task_id(await _start(waiter.client, start, deadline, stop))
            except ApiError as error:
                if start.passed_dry_run(error):
                    return await _nothing_to_wait_for(start.would_succeed, options)
                if not start.is_in_doubt(error):
                    raise
                raise CommandError(f"{_without_doubt(error, start)}{_advice(start)}") from error
            if task_id is None:
                return await _nothing_to_wait_for(start.done_at_once, options)
            say(f"{operation} in {region_id} is task {task_id}")
            left = None if deadline is None else max(0.0, deadline - loop.time())
            ref = TaskRef(region_id, task_id)
            return await wait_within(waiter, [ref], replace(options, timeout=left), stop)


async def _nothing_to_wait_for(why: str, options: WaitOptions) -> ExitCode:
    say(why)
    if options.output == "json":
        try:
            await write_many(json_pieces([]))
        except ClosedPipeError:
            # Nobody reads the results; the exit code still reports the outcome.
            lose_results()
    return ExitCode.FINISHED


async def _start(client: EcsClient, start: Start, deadline: float | None, stop: Stop) -> dict[str, Any]:
    watch = asyncio.create_task(tell_retries(client, start.region_id))
    unanswered = f"before {start.operation} was answered"
    attempts = Attempts()

    async def call() -> dict[str, Any]:
        async with asyncio.timeout_at(deadline):
            return await client.recorded_call(start.operation, start.region_id, start.params, attempts)

    try:
        return await stop.stops(call())
    except TimeoutError:
        raise CommandError(f"timed out {unanswered}{_cut_off(start, attempts)}", ExitCode.TIMED_OUT) from None
    except InterruptedByUserError:
        raise CommandError(f"interrupted {unanswered}{_cut_off(start, attempts)}", ExitCode.INTERRUPTED) from None
    except (TypeError, ValueError) as error:
        raise MisuseError(str(error)) from None
    finally:
        watch.cancel()


def _without_doubt(error: ApiError, start: Start) -> str:
    """Return what happened without the library's words on how to find out: they are meant for Python programs."""
    plain = copy(error)
    plain.message = error.message.removesuffix(start.doubt).rstrip(":; ")
    return explain(plain)


def _cut_off(start: Start, attempts: Attempts) -> str:
    """Return whether it may have started, how to find out, and the last fault."""
    words = _advice(start) if attempts.may_have_arrived else f": {NOT_SENT}"
    return words if attempts.fault is None else f"{words}; the last fault: {why_no_answer(attempts.fault)}"


def _advice(start: Start) -> str:
    """Return how to find out whether it started."""
    if start.is_dry_run:
        return f": {start.doubt}"
    region = shlex.quote(start.region_id)
    look = f"{program()} list --region {region} --action {start.operation} --since 10m"
    again = ""
    if start.client_token is not None:
        token = shlex.quote(start.client_token)
        again = f"; the same command with --param ClientToken={token} starts it once at most"
    return f": it may have started, so look first: {look}{again}"
