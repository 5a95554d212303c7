"""The commands, their options and help. What they do is imported when they run, so that help is fast."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from ecs_waiter.cli import options
from ecs_waiter.cli.config import resolve_region, use_profile
from ecs_waiter.cli.exit_codes import MisuseError
from ecs_waiter.cli.inputs import Stdin, read_params, read_refs, region_of_params
from ecs_waiter.cli.streams import show_logs

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from ecs_waiter.cli.exit_codes import ExitCode
    from ecs_waiter.cli.options import Duration, Settings
    from ecs_waiter.cli.watching import WatchOptions

__all__ = ["COMMANDS", "epilog"]

_EXIT_CODES = """\
Exit codes:
  0    all finished
  1    one or more failed, were canceled or were not found
  2    invalid usage
  3    rejected credentials, service error or outage
  124  timed out
  130  interrupted; stderr shows how to keep waiting"""
# click does not wrap the lines of a paragraph that begins with this.
_UNWRAPPED = "\b\n"
_STATUSES = ("Processing", "Finished", "Failed")


def epilog(*examples: str) -> str:
    """Return the end of a command's help: its examples, and the exit codes."""
    shown = "\n".join(("Examples:", *(f"  {example}" for example in examples)))
    return f"{_UNWRAPPED}{shown}\n\n{_UNWRAPPED}{_EXIT_CODES}"


def _run(settings: Settings, work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    show_logs(is_verbose=settings.is_verbose, is_debugging=settings.is_debugging)
    return asyncio.run(work)


def _default_region(settings: Settings, region_id: str | None) -> str | None:
    """Return the region of tasks without one; from here on the profile of `--profile` is used."""
    if settings.profile is not None:
        use_profile(settings.profile)
    return resolve_region(region_id)


def _required_region(settings: Settings, region_id: str | None) -> str:
    found = _default_region(settings, region_id)
    if found is None:
        raise MisuseError("no region: set --region or ALIBABA_CLOUD_REGION_ID")
    return found


# -- wait, run --------------------------------------------------------------------------------------------------------


@click.command(
    epilog=epilog(
        "ecs-waiter wait --region cn-hangzhou t-bp1aaa",
        "ecs-waiter wait cn-hangzhou:t-bp1aaa us-west-1:t-rj9bbb --timeout 90m --output json",
        "aliyun ecs ExportImage ... | ecs-waiter wait - --cancel-on-interrupt",
        "ecs-waiter wait - --output jsonl < ids.txt | jq .outcome",
    )
)
@click.argument("tasks", nargs=-1, metavar="[ID | REGION:ID | -]...")
@options.region
@options.waiting
@click.option("--fail-fast", is_flag=True, help="Stop waiting at the first failure.")
@options.common
@click.pass_obj
def wait(settings: Settings, /, tasks: tuple[str, ...], region: str | None, **given: Any) -> int:
    """Wait for tasks to finish and print the results.

    - reads stdin: one ID or REGION:ID per line (blank lines and lines with # are skipped), or JSON objects with TaskId
    and optionally RegionId, as `aliyun ecs ImportImage` prints them.
    """
    stdin = _stdin(given)
    refs = read_refs(tasks, _default_region(settings, region), stdin.read)
    left = stdin.left()
    from ecs_waiter.cli import watching  # noqa: PLC0415 - slow to import

    return _run(settings, watching.wait(refs, _wait_options(settings, left, **given)))


@click.command(
    epilog=epilog(
        "ecs-waiter run ExportImage -r cn-hangzhou -p ImageId=m-bp1aaa -p OSSBucket=images",
        "ecs-waiter run ImportImage -r cn-hangzhou --params import.json --timeout 2h",
        "ecs-waiter run RedeployInstance -r cn-hangzhou -p InstanceId=i-bp1aaa",
    ),
)
@click.argument("operation", shell_complete=options.complete_operation)
@options.region
@click.option("--param", "-p", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter, such as Tag.1.Key=web.")
@click.option(
    "--params",
    "document",
    type=click.File(encoding="utf-8"),
    help="Parameters as a JSON object, with lists and maps; - reads stdin.",
)
@options.waiting
@options.common
@click.pass_obj
def run(
    settings: Settings, /, operation: str, region: str | None, pairs: tuple[str, ...], document: Any, **given: Any
) -> int:
    """Start OPERATION, such as ImportImage, and wait for its task.

    The task's ID is printed to stderr as soon as it is known. A ClientToken is added if the operation supports it.
    """
    stdin = _stdin(given)
    try:
        text = None if document is None else stdin.read() if document.fileno() == 0 else document.read()
    except UnicodeDecodeError:
        raise MisuseError("--params: the file is not UTF-8 text") from None
    params = read_params(pairs, text)
    where = _required_region(settings, region_of_params(params, region))
    left = stdin.left()
    from ecs_waiter.cli.run import run as run_operation  # noqa: PLC0415 - slow to import

    return _run(settings, run_operation(operation, where, params, _wait_options(settings, left, **given)))


def _stdin(given: Mapping[str, Any]) -> Stdin:
    timeout: Duration | None = given["timeout"]
    return Stdin(None if timeout is None else timeout.seconds)


def _wait_options(  # noqa: PLR0913 - the options
    settings: Settings,
    left: float | None,
    *,
    timeout: Duration | None,
    output: str,
    not_found_grace: Duration,
    outage_budget: Duration,
    **flags: bool,
) -> WatchOptions:
    from ecs_waiter.cli.watching import WatchOptions  # noqa: PLC0415 - slow to import
    from ecs_waiter.polling.policy import PollPolicy  # noqa: PLC0415 - the same

    kept: list[str] = []
    for name, value, default in (
        ("--timeout", timeout.text if timeout else None, None),
        ("--output", output, "text"),
        ("--not-found-grace", not_found_grace.text, "60s"),
        ("--outage-budget", outage_budget.text, "10m"),
        ("--profile", settings.profile, None),
    ):
        if value is not None and value != default:
            kept += [name, value]
    for name, is_set in (
        ("--fail-fast", flags.get("fail_fast")),
        ("--cancel-on-interrupt", flags["cancel_on_interrupt"]),
        ("--quiet", flags["is_quiet"]),
        ("--proxy-from-env", settings.trust_env),
        ("--verbose", settings.is_verbose),
        ("--debug", settings.is_debugging),
    ):
        if is_set:
            kept.append(name)
    policy = PollPolicy(history="account", not_found_grace=not_found_grace.seconds, outage_budget=outage_budget.seconds)
    return WatchOptions(policy, timeout=left, output=output, trust_env=settings.trust_env, kept=kept, **flags)


# -- list, show, cancel -----------------------------------------------------------------------------------------------


@click.command(
    "list",
    epilog=epilog(
        "ecs-waiter list --region cn-hangzhou --status Failed --since 2h",
        "ecs-waiter list --region cn-hangzhou --status Processing --output json | ecs-waiter wait -",
    ),
)
@options.region
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only tasks with this status.")
@click.option(
    "--action",
    metavar="OPERATION",
    shell_complete=options.complete_operation,
    help="Only tasks of this operation, such as ImportImage.",
)
@click.option(
    "--since",
    metavar="WHEN",
    callback=options.read_time,
    help="Only tasks created since 2h (ago), or 2026-01-31T12:00Z.",
)
@click.option("--until", metavar="WHEN", callback=options.read_time, help="Only tasks created until then.")
@click.option(
    "--resource", "resources", multiple=True, metavar="ID", help="Only tasks of this image, instance or disk."
)
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of tasks.")
@options.output
@options.common
@click.pass_obj
def list_(settings: Settings, /, region: str | None, **filters: Any) -> int:
    """List a region's tasks, newest first."""
    where = _required_region(settings, region)
    from ecs_waiter.cli.calls import list_tasks  # noqa: PLC0415 - slow to import

    return _run(settings, list_tasks(where, trust_env=settings.trust_env, **filters))


@click.command(epilog=epilog("ecs-waiter show cn-hangzhou:t-bp1aaa"))
@click.argument("task", metavar="[ID | REGION:ID]")
@options.region
@options.output
@options.common
@click.pass_obj
def show(settings: Settings, /, task: str, region: str | None, output: str) -> int:
    """Show a task: its progress, why it failed, and what belongs to it."""
    (ref,) = read_refs([task], _default_region(settings, region), lambda: "")
    from ecs_waiter.cli.calls import show_task  # noqa: PLC0415 - slow to import

    return _run(settings, show_task(ref, output=output, trust_env=settings.trust_env))


@click.command(epilog=epilog("ecs-waiter cancel --region cn-hangzhou t-bp1aaa"))
@click.argument("tasks", nargs=-1, required=True, metavar="[ID | REGION:ID | -]...")
@options.region
@options.output
@options.common
@click.pass_obj
def cancel(settings: Settings, /, tasks: tuple[str, ...], region: str | None, output: str) -> int:
    """Cancel tasks; only imports and exports of images can be canceled."""
    refs = read_refs(tasks, _default_region(settings, region), Stdin().read)
    from ecs_waiter.cli.calls import cancel_tasks  # noqa: PLC0415 - slow to import

    return _run(settings, cancel_tasks(refs, output=output, trust_env=settings.trust_env))


# -- emulator, demo ---------------------------------------------------------------------------------------------------


@click.command(epilog=epilog("ecs-waiter emulator --port 8042 --tasks 20 --failing 2 --duration 5m"))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on. Default: any free port.")
@click.option("--tasks", type=click.IntRange(min=0), default=0, help="Number of tasks to create.")
@click.option("--failing", type=click.IntRange(min=0), default=0, help="Number of these tasks that fail.")
@click.option(
    "--duration",
    metavar="DURATION",
    callback=options.read_duration,
    default="60s",
    show_default=True,
    help="How long each task takes.",
)
@click.option("--quota", type=click.IntRange(min=1), help="Throttle above this many calls per second.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated IDs.")
@click.option(
    "--keep-requests",
    metavar="N",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    help="Number of recent requests to keep in memory.",
)
@click.option(
    "--region",
    "-r",
    metavar="REGION",
    shell_complete=options.complete_region,
    help="Region of the tasks. Default: ALIBABA_CLOUD_REGION_ID, then cn-hangzhou.",
)
@options.common
@click.pass_obj
def emulator(settings: Settings, /, region: str | None, duration: Duration, **given: Any) -> int:
    """Run a local ECS task API for experiments and tests. The first line on stdout is its URL."""
    where = _default_region(settings, region) or "cn-hangzhou"
    from ecs_waiter.cli.demo import emulate  # noqa: PLC0415 - slow to import

    return _run(settings, emulate(region_id=where, duration=duration.seconds, **given))


@click.command(epilog=epilog("ecs-waiter demo"))
@options.common
@click.pass_obj
def demo(settings: Settings) -> int:
    """Wait for 250 tasks of an embedded emulator; no cloud account needed."""
    from ecs_waiter.cli.demo import demonstrate  # noqa: PLC0415 - slow to import

    return _run(settings, demonstrate())


COMMANDS = (wait, run, list_, show, cancel, emulator, demo)
