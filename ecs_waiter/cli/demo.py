"""``ecs-waiter emulator`` and ``ecs-waiter demo``: the embedded emulator, for other processes and for a demonstration.

``make demo`` and ``python -m ecs_waiter.cli.demo`` run the demonstration without the extra ``cli``. With it, it shows
the live view on a terminal.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ecs_waiter import PollPolicy, StaticCredentials, TaskWaiter, wait_proportional
from ecs_waiter.cli.exit_codes import ExitCode, MisuseError
from ecs_waiter.cli.inputs import TaskRef
from ecs_waiter.cli.interrupt import Stop, StoppedError
from ecs_waiter.cli.outcomes import WatchedTasks
from ecs_waiter.cli.reporting import Reporter
from ecs_waiter.cli.streams import (
    ClosedPipeError,
    finish_messages,
    finish_results,
    is_interactive,
    open_streams,
    results_written,
    say,
    show_logs,
    write_result,
)
from ecs_waiter.cli.watching import End, Watch, WatchOptions, reporting
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecs_waiter.stats import WaiterStats

__all__ = ["demonstrate", "emulate", "main"]

_REASONS = {
    "ImportImage": ("ImageFormatMismatch", "the file is not a qcow2 image"),
    "ExportImage": ("OSSBucketNotFound", "the bucket of the export does not exist"),
}
_SHOWN_IDS = 5

_TASKS = {"cn-hangzhou": 120, "us-west-1": 80, "eu-central-1": 50}
_FAILING_PER_REGION = 2
_LONGEST = 12.0
_SHOWN_EVERY = 1.0
_CREDENTIALS = StaticCredentials("demo", "demo")
# Image imports take an hour. These tasks take seconds, so they are polled more often than by default.
_POLICY = PollPolicy(wait=wait_proportional(min=0.5, max=2))


def _add_task(ecs: EcsEmulator, region_id: str, number: int, duration: float, *, fails: bool) -> str:
    action = tuple(_REASONS)[number % len(_REASONS)]
    return ecs.add_task(
        region_id=region_id,
        task_action=action,
        duration=duration,
        outcome="Failed" if fails else "Finished",
        error=_REASONS[action] if fails else None,
    )


# -- the emulator -----------------------------------------------------------------------------------------------------


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
    """Run an emulator until it is interrupted.

    Args:
        region_id: The region of the tasks that it starts with.
        port: The port; 0 is any free port.
        tasks: How many tasks it starts with.
        failing: How many of them fail: the first ones.
        duration: Seconds that each task takes, including those started by clients.
        quota: Calls per second and operation in each region; None is no limit.
        seed: The seed of the IDs.
        keep_requests: How many of the last requests are kept in memory.

    Raises:
        MisuseError: It cannot listen on that port, or more tasks are to fail than there are.
    """
    if failing > tasks:
        raise MisuseError(f"--failing {failing} is more than --tasks {tasks}")
    stop = Stop()
    with stop.on_signals():
        try:
            async with EcsEmulator(port=port, duration=duration, seed=seed, keep_requests=keep_requests) as ecs:
                ids = [_add_task(ecs, region_id, number, duration, fails=number < failing) for number in range(tasks)]
                if quota is not None:
                    ecs.inject("quota", calls=quota)
                write_result(f"{ecs.url}\n")
                with suppress(StoppedError):
                    await stop.run(results_written())
                _say_how_to_use(ecs.url, region_id, ids)
                with suppress(StoppedError):
                    await stop.run(asyncio.Event().wait())
        except OSError as error:
            raise MisuseError(f"cannot listen: {error.strerror or error}") from None
    return ExitCode.FINISHED


def _say_how_to_use(url: str, region_id: str, ids: Sequence[str]) -> None:
    address = url.removeprefix("http://")
    export = "set" if os.name == "nt" else "export"
    say(f"An ECS task API listens on {url}, on this machine only. Ctrl-C ends it.")
    if ids:
        more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
        say(f"Tasks in {region_id}: {', '.join(ids[:_SHOWN_IDS])}{more}")
    say("")
    say("It accepts any credentials. To use it from another terminal:")
    say(f"  ecs-waiter  {export} ECS_WAITER_ENDPOINT={url} ALIBABA_CLOUD_REGION_ID={region_id}")
    say(f"              {export} ALIBABA_CLOUD_ACCESS_KEY_ID=test ALIBABA_CLOUD_ACCESS_KEY_SECRET=test")
    say("              ecs-waiter list")
    say(f"  aliyun      aliyun ecs DescribeTasks --RegionId {region_id} --endpoint {address} --insecure")
    say(f"  the SDK     Config(access_key_id='test', access_key_secret='test', endpoint='{address}', protocol='http')")


# -- the demonstration ------------------------------------------------------------------------------------------------


async def demonstrate() -> ExitCode:
    """Start 250 tasks in three regions, wait for all of them, and print how many calls it took."""
    async with EcsEmulator() as ecs:
        refs = _start_tasks(ecs)
        ecs.inject("throttle", region_id="cn-hangzhou", retry_after=2, times=3)
        ecs.inject("reset", region_id="us-west-1", times=1)
        write_result(f"An ECS task API listens on {ecs.url}. {len(refs)} imports and exports are running:\n")
        for region_id, count in _TASKS.items():
            write_result(f"  {region_id:<13} {count:>4} tasks\n")
        write_result("cn-hangzhou will be throttled for a while; a connection to us-west-1 will break.\n\n")
        write_result("    await wait_for_tasks({'cn-hangzhou': [...], 'us-west-1': [...], 'eu-central-1': [...]})\n\n")
        await results_written()
        progress = WatchedTasks(refs)
        failures: list[object] = []
        if await _wait(progress, ecs.url, failures) is End.STOPPED:
            return ExitCode.INTERRUPTED
        _write_summary(progress, failures, ecs)
    return ExitCode.FINISHED


def _start_tasks(ecs: EcsEmulator) -> list[TaskRef]:
    chance = random.Random(7)  # noqa: S311 - the same tasks in every run
    refs = []
    for region_id, count in _TASKS.items():
        failing = set(chance.sample(range(count), _FAILING_PER_REGION))
        for number in range(count):
            task_id = _add_task(ecs, region_id, number, chance.uniform(1.0, _LONGEST), fails=number in failing)
            refs.append(TaskRef(region_id, task_id))
    return refs


async def _wait(progress: WatchedTasks, url: str, failures: list[object]) -> End:
    stop = Stop()
    async with AsyncExitStack() as stack:
        stack.enter_context(stop.on_signals())
        waiter = await stack.enter_async_context(TaskWaiter(_CREDENTIALS, url, _POLICY))
        reporter: Reporter
        if is_interactive(sys.stdout) and is_interactive(sys.stderr) and find_spec("rich") is not None:
            reporter = await stack.enter_async_context(reporting(waiter, progress, WatchOptions(_POLICY)))
        else:
            reporter = _Counts(progress)
            stack.callback(reporter.close)
        watch = Watch(waiter, progress, reporter, stop)
        watch.on_finished = lambda _, error: failures.append(error) if error else None
        return await watch.run(None, fail_fast=False)


class _Counts(Reporter):
    """Prints once per second how many tasks are in which status."""

    def __init__(self, progress: WatchedTasks) -> None:
        super().__init__(write_result)
        self._progress = progress
        self._next = _SHOWN_EVERY

    def tick(self, stats: WaiterStats) -> None:  # noqa: ARG002 - a Reporter
        if self._progress.seconds >= self._next:
            self._next += _SHOWN_EVERY
            self.close()

    def close(self) -> None:
        counts = self._progress.counts()
        shown = "   ".join(
            f"{label.title()} {counts.get(label, 0):>3}" for label in ("processing", "finished", "failed")
        )
        self.say(f"  {self._progress.seconds:>4.1f} s   {shown}   of {len(self._progress)}\n")


def _write_summary(progress: WatchedTasks, failures: Sequence[object], ecs: EcsEmulator) -> None:
    finished, seconds = len(progress) - len(failures), progress.seconds
    write_result(f"\n{finished} finished, {len(failures)} failed, in {seconds:.1f} s. Why they failed:\n")
    for failure in failures:
        write_result(f"  {failure}\n")
    polls = [request for request in ecs.requests if request.action == "DescribeTasks"]
    lookups = len(ecs.requests) - len(polls)
    disturbed = sum(request.answered != 200 for request in polls)  # noqa: PLR2004 - HTTP's OK
    asked = sum(len(request.task_ids) for request in polls)
    write_result(
        f"\nIt took {len(polls)} polls (and {lookups} other look-ups), {disturbed} of them throttled or broken.\n"
        f"One poll per task at the same pace would have been {asked} calls: {asked / len(polls):.0f} times as many.\n"
    )


def main() -> int:
    """Run the demonstration; returns the exit code."""
    with open_streams():
        show_logs(is_verbose=False, is_debugging=False)
        try:
            return finish_results(asyncio.run(demonstrate()))
        except ClosedPipeError:
            return ExitCode.CLOSED_PIPE
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED
        finally:
            finish_messages()


if __name__ == "__main__":
    sys.exit(main())
