"""The main job on the embedded emulator: 250 tasks in three regions, some of which fail, on a bad day.

Run it with ``make demo``, ``ecs-waiter demo`` or ``python -m ecs_waiter.cli.demo``. It talks HTTP over loopback, needs
no account, and shows the live view on a terminal if the extra ``cli`` is installed.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ecs_waiter import (
    EcsWaiterError,
    PollPolicy,
    StaticCredentials,
    Task,
    TasksFailedError,
    TaskWaiter,
    wait_for_tasks,
    wait_proportional,
)
from ecs_waiter.cli.failure import ExitCode
from ecs_waiter.cli.logs import show_logs
from ecs_waiter.cli.streams import (
    ClosedPipeError,
    finish,
    finish_messages,
    is_interactive,
    open_streams,
    results_written,
)
from ecs_waiter.cli.streams import write_result as say
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecs_waiter.cli.outcomes import Record

__all__ = ["demonstrate", "main"]

_TASKS = {"cn-hangzhou": 120, "us-west-1": 80, "eu-central-1": 50}
_REASONS = {
    "ImportImage": ("ImageFormatMismatch", "the file is not a qcow2 image"),
    "ExportImage": ("OSSBucketNotFound", "the bucket of the export does not exist"),
}
_FAILING = 6
_LONGEST = 12.0
_SHOWN_EVERY = 1.0

_CREDENTIALS = StaticCredentials("demo", "demo")
# An image import takes an hour; these take seconds, so the pace is quicker than the default.
_POLICY = PollPolicy(wait=wait_proportional(min=0.5, max=2))

_Results = dict[str, Task | EcsWaiterError]


async def demonstrate() -> ExitCode:
    """Start the tasks, wait for all of them with one call, and tell what it took."""
    async with EcsEmulator() as ecs:
        ids = _start_tasks(ecs)
        ecs.inject("throttle", region_id="cn-hangzhou", retry_after=2, times=3)
        ecs.inject("reset", region_id="us-west-1", times=1)
        say(f"An ECS task API listens on {ecs.url}. {sum(_TASKS.values())} imports and exports are under way:\n")
        for region_id, task_ids in ids.items():
            say(f"  {region_id:<13} {len(task_ids):>4} tasks\n")
        say("cn-hangzhou will be throttled for a while; a connection to us-west-1 will break.\n\n")
        say("    await wait_for_tasks({'cn-hangzhou': [...], 'us-west-1': [...], 'eu-central-1': [...]})\n\n")
        await results_written()
        began = time.monotonic()
        shows_live = is_interactive(sys.stdout) and is_interactive(sys.stderr) and find_spec("rich") is not None
        results = await (_watch if shows_live else _wait)(ids, ecs.url)
        if results:
            _tell(results, ecs, time.monotonic() - began)
    return ExitCode.FINISHED if results else ExitCode.INTERRUPTED


def _start_tasks(ecs: EcsEmulator) -> dict[str, list[str]]:
    chance = random.Random(7)  # noqa: S311 - the same story on every run
    actions = list(_REASONS)
    ids: dict[str, list[str]] = {}
    for region_id, count in _TASKS.items():
        ids[region_id] = []
        failing = set(chance.sample(range(count), _FAILING // len(_TASKS)))
        for number in range(count):
            action = actions[number % 2]
            fails = number in failing
            task_id = ecs.add_task(
                region_id=region_id,
                task_action=action,
                duration=chance.uniform(1.0, _LONGEST),
                outcome="Failed" if fails else "Finished",
                error=_REASONS[action] if fails else None,
            )
            ids[region_id].append(task_id)
    return ids


async def _wait(ids: Mapping[str, Sequence[str]], url: str) -> _Results:
    progress = _Progress(sum(_TASKS.values()))
    reporter = asyncio.create_task(progress.report())
    try:
        return dict(
            await wait_for_tasks(ids, endpoint=url, credentials=_CREDENTIALS, policy=_POLICY, on_update=progress.note)
        )
    except TasksFailedError as failed:
        return failed.results
    finally:
        reporter.cancel()
        progress.show()


async def _watch(ids: Mapping[str, Sequence[str]], url: str) -> _Results:
    """The same wait as the command shows it; empty if it was interrupted."""
    # Here, for they need the extra.
    from ecs_waiter.cli.following import End, Following  # noqa: PLC0415
    from ecs_waiter.cli.interrupt import Stop  # noqa: PLC0415
    from ecs_waiter.cli.outcomes import Seen  # noqa: PLC0415
    from ecs_waiter.cli.progress import Progress  # noqa: PLC0415
    from ecs_waiter.cli.task_refs import TaskRef  # noqa: PLC0415
    from ecs_waiter.cli.wait import WaitOptions, reporting  # noqa: PLC0415

    progress = Progress([TaskRef(region_id, task_id) for region_id in ids for task_id in ids[region_id]])
    results: _Results = {}

    def note(record: Record) -> None:
        if isinstance(record.error, EcsWaiterError):
            results[record.ref.task_id] = record.error
        elif isinstance(record.task, Seen):
            results[record.ref.task_id] = record.task.as_task()

    stop = Stop()
    with stop.on_signals():
        async with (
            TaskWaiter(_CREDENTIALS, url, _POLICY) as waiter,
            reporting(waiter, progress, WaitOptions(policy=_POLICY)) as reporter,
        ):
            end = await Following(waiter, progress, reporter, note, stop).run(None, fail_fast=False)
    if end is End.STOPPED:
        return {}
    return results


class _Progress:
    """How many tasks are in which status, told once a second."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._status_of: dict[str, str] = {}
        self._began = time.monotonic()

    def note(self, task: Task) -> None:
        self._status_of[task.task_id] = str(task.task_status)

    async def report(self) -> None:
        while True:
            await asyncio.sleep(_SHOWN_EVERY)
            self.show()

    def show(self) -> None:
        counts = Counter(self._status_of.values())
        shown = "   ".join(f"{status} {counts[status]:>3}" for status in ("Processing", "Finished", "Failed"))
        say(f"  {time.monotonic() - self._began:>4.1f} s   {shown}   of {self._total}\n")


def _tell(results: Mapping[str, Task | EcsWaiterError], ecs: EcsEmulator, seconds: float) -> None:
    failures = [result for result in results.values() if isinstance(result, EcsWaiterError)]
    say(f"\n{len(results) - len(failures)} finished, {len(failures)} failed, in {seconds:.1f} s. Why they failed:\n")
    for failure in failures:
        say(f"  {failure}\n")
    polls = [request for request in ecs.requests if request.action == "DescribeTasks"]
    lookups = len(ecs.requests) - len(polls)
    troubled = sum(request.answered != 200 for request in polls)  # noqa: PLR2004 - HTTP's OK
    asked = sum(len(request.task_ids) for request in polls)
    say(
        f"\nIt took {len(polls)} polls (and {lookups} other look-ups), {troubled} of them throttled or broken.\n"
        f"One poll per task at the same pace would have been {asked} calls: {asked / len(polls):.0f} times as many.\n"
    )


def main() -> int:
    """Run it; returns the exit code."""
    with open_streams():
        show_logs(is_verbose=False, is_debugging=False)
        try:
            return finish(asyncio.run(demonstrate()))
        except ClosedPipeError:
            return ExitCode.CLOSED_PIPE
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
        finally:
            finish_messages()


if __name__ == "__main__":
    sys.exit(main())
