"""``ecs-waiter run``: start an operation, tell its task's ID at once, and wait for it."""

from __future__ import annotations

import asyncio
import json
import shlex
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.operations import TAKES_CLIENT_TOKEN, check_action
from ecs_waiter.api.task_ids import check_task_id
from ecs_waiter.cli.failure import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.going_on import program
from ecs_waiter.cli.interrupt import InterruptedByUserError, Stop
from ecs_waiter.cli.results import write_json
from ecs_waiter.cli.single_calls import tell_retries
from ecs_waiter.cli.streams import ClosedPipeError, say
from ecs_waiter.cli.task_refs import TaskRef
from ecs_waiter.cli.wait import open_waiter, wait_within
from ecs_waiter.printable import printable

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
        MisuseError: The operation or a parameter is none.
    """
    try:
        check_action(operation)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    values = dict(params)
    if operation in TAKES_CLIENT_TOKEN and not values.get("ClientToken"):
        values["ClientToken"] = uuid.uuid4().hex
    stop = Stop()
    with stop.on_signals():
        loop = asyncio.get_running_loop()
        deadline = None if options.timeout is None else loop.time() + options.timeout
        async with open_waiter(options) as waiter:
            answer = await _start(waiter.client, operation, region_id, values, deadline, stop)
            task_id = answer.get("TaskId")
            if not task_id:
                say(f"{operation} in {region_id} was done at once: there is nothing to wait for")
                if options.output == "json":
                    with suppress(ClosedPipeError):
                        write_json([])
                return ExitCode.FINISHED
            ref = TaskRef(region_id, _readable(task_id, operation, region_id))
            say(f"{operation} in {region_id} is task {ref.task_id}")
            left = None if deadline is None else max(0.0, deadline - loop.time())
            return await wait_within(waiter, [ref], replace(options, timeout=left), stop)


async def _start(  # noqa: PLR0913, PLR0917 - the call and its bounds
    client: EcsClient, operation: str, region_id: str, params: Mapping[str, Any], deadline: float | None, stop: Stop
) -> dict[str, Any]:
    watch = asyncio.create_task(tell_retries(client, region_id))
    try:
        async with asyncio.timeout_at(deadline):
            return await stop.stops(client.call(operation, region_id=region_id, params=params))
    except TimeoutError:
        raise CommandError(_doubt("timed out", operation, region_id, params), ExitCode.TIMED_OUT) from None
    except InterruptedByUserError:
        raise CommandError(_doubt("interrupted", operation, region_id, params), ExitCode.INTERRUPTED) from None
    except (TypeError, ValueError) as error:
        raise MisuseError(str(error)) from None
    finally:
        watch.cancel()


def _doubt(how: str, operation: str, region_id: str, params: Mapping[str, Any]) -> str:
    look = f"{program()} list --region {shlex.quote(region_id)} --action {operation} --since 10m"
    again = ""
    if operation in TAKES_CLIENT_TOKEN:
        token = shlex.quote(str(params["ClientToken"]))
        again = f"; the same command with --param ClientToken={token} starts it once at most"
    return f"{how} before {operation} was answered: it may have started, so look first: {look}{again}"


def _readable(task_id: object, operation: str, region_id: str) -> str:
    try:
        return check_task_id(task_id)
    except (TypeError, ValueError):
        told = printable(repr(task_id))
        raise CommandError(f"{operation} in {region_id} has started, but its TaskId cannot be read: {told}") from None
