"""``ecs-waiter emulator``: a local ECS task API in a terminal, for other processes to talk to."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from ecs_waiter.cli.failure import ExitCode, MisuseError
from ecs_waiter.cli.interrupt import InterruptedByUserError, Stop
from ecs_waiter.cli.streams import results_written, say, write_result
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["emulate"]

_SHOWN_IDS = 5
_ACTIONS = ("ImportImage", "ExportImage")
_REASONS = {
    "ImportImage": ("ImageFormatMismatch", "the file is not a qcow2 image"),
    "ExportImage": ("OSSBucketNotFound", "the bucket of the export does not exist"),
}


async def emulate(  # noqa: PLR0913 - the options
    *,
    region_id: str,
    port: int,
    tasks: int,
    failing: int,
    duration: float,
    quota: int | None,
    seed: int,
    keep_requests: int,
) -> ExitCode:
    """Listen until interrupted.

    Args:
        region_id: Where the tasks are that exist from the start.
        port: Where to listen; 0 takes any free port.
        tasks: How many tasks exist from the start.
        failing: How many of them fail, the first ones.
        duration: Seconds that each task takes, those started by clients too.
        quota: Calls a second that are let through for each region and operation; None for no such limit.
        seed: Makes the IDs.
        keep_requests: How many of the last requests are kept in memory.

    Raises:
        MisuseError: It cannot listen there, or more tasks are to fail than there are.
    """
    if failing > tasks:
        raise MisuseError(f"--failing {failing} is more than --tasks {tasks}")
    stop = Stop()
    with stop.on_signals():
        try:
            async with EcsEmulator(port=port, duration=duration, seed=seed, keep_requests=keep_requests) as ecs:
                ids = _add_tasks(ecs, region_id, tasks, failing, duration)
                if quota is not None:
                    ecs.inject("quota", calls=quota)
                write_result(f"{ecs.url}\n")
                with suppress(InterruptedByUserError):
                    await stop.stops(results_written())
                _tell_how_to_use(ecs.url, region_id, ids)
                with suppress(InterruptedByUserError):
                    await stop.stops(asyncio.Event().wait())
        except OSError as error:
            raise MisuseError(f"cannot listen: {error.strerror or error}") from None
    return ExitCode.FINISHED


def _add_tasks(ecs: EcsEmulator, region_id: str, tasks: int, failing: int, duration: float) -> list[str]:
    ids = []
    for number in range(tasks):
        action = _ACTIONS[number % len(_ACTIONS)]
        fails = number < failing
        ids.append(
            ecs.add_task(
                region_id=region_id,
                task_action=action,
                duration=duration,
                outcome="Failed" if fails else "Finished",
                error=_REASONS[action] if fails else None,
            )
        )
    return ids


def _tell_how_to_use(url: str, region_id: str, ids: Sequence[str]) -> None:
    address = url.removeprefix("http://")
    export = "set" if os.name == "nt" else "export"
    say(f"An ECS task API listens on {url}, on this machine only. Ctrl-C ends it.")
    if ids:
        more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
        say(f"Tasks in {region_id}: {', '.join(ids[:_SHOWN_IDS])}{more}")
    say("")
    say("Any credentials do. Point others at it, from another terminal:")
    say(f"  ecs-waiter  {export} ECS_WAITER_ENDPOINT={url} ALIBABA_CLOUD_REGION_ID={region_id}")
    say(f"              {export} ALIBABA_CLOUD_ACCESS_KEY_ID=test ALIBABA_CLOUD_ACCESS_KEY_SECRET=test")
    say("              ecs-waiter list")
    say(f"  aliyun      aliyun ecs DescribeTasks --RegionId {region_id} --endpoint {address} --insecure")
    say(f"  the SDK     Config(access_key_id='test', access_key_secret='test', endpoint='{address}', protocol='http')")
