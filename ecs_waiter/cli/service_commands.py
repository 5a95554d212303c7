"""The commands that ask the service once: ``list``, ``show`` and ``cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecs_waiter.cli import options
from ecs_waiter.cli.running import default_region, epilog, needed_region, run_work
from ecs_waiter.cli.streams import read_stdin

if TYPE_CHECKING:
    from datetime import datetime

    from ecs_waiter.cli.options import Settings

__all__ = ["cancel", "list_", "show"]

_STATUSES = ("Processing", "Finished", "Failed")


@click.command(
    "list",
    epilog=epilog(
        "ecs-waiter list --region cn-hangzhou --status Failed --since 2h",
        "ecs-waiter list --region cn-hangzhou --status Processing --output json | ecs-waiter wait -",
    ),
)
@options.region
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Tasks in this status only.")
@click.option(
    "--action",
    metavar="OPERATION",
    shell_complete=options.complete_operation,
    help="Tasks of this operation only, such as ImportImage.",
)
@click.option(
    "--since", metavar="WHEN", callback=options.read_moment, help="Tasks created since: 2h (ago), or 2026-01-31T12:00Z."
)
@click.option("--until", metavar="WHEN", callback=options.read_moment, help="Tasks created until then.")
@click.option(
    "--resource", "resources", multiple=True, metavar="ID", help="Tasks of this image, instance or disk only."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many tasks.")
@options.output
@options.common
@click.pass_obj
def list_(  # noqa: PLR0913 - the options
    settings: Settings,
    /,
    *,
    region: str | None,
    status: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    resources: tuple[str, ...],
    limit: int | None,
    output: str,
) -> int:
    """List a region's tasks."""
    where = needed_region(settings, region)
    from ecs_waiter.cli.listing import list_tasks  # noqa: PLC0415 - not for help

    work = list_tasks(
        where,
        status=status,
        action=action,
        since=since,
        until=until,
        resources=resources,
        limit=limit,
        output=output,
        trust_env=settings.trust_env,
    )
    return run_work(settings, work)


@click.command(
    epilog=epilog(
        "ecs-waiter show cn-hangzhou:t-bp1aaa",
    )
)
@click.argument("task", metavar="[ID | REGION:ID]")
@options.region
@options.output
@options.common
@click.pass_obj
def show(settings: Settings, /, task: str, region: str | None, output: str) -> int:
    """Show a task: its progress, the reason of a failure, and what belongs to it."""
    from ecs_waiter.cli.task_refs import read_refs  # noqa: PLC0415 - not for help

    (ref,) = read_refs([task], default_region(settings, region), lambda: "")
    from ecs_waiter.cli.listing import show_task  # noqa: PLC0415 - not before the arguments are right

    return run_work(settings, show_task(ref, output=output, trust_env=settings.trust_env))


@click.command(
    epilog=epilog(
        "ecs-waiter cancel --region cn-hangzhou t-bp1aaa",
    )
)
@click.argument("tasks", nargs=-1, required=True, metavar="[ID | REGION:ID | -]...")
@options.region
@options.output
@options.common
@click.pass_obj
def cancel(settings: Settings, /, tasks: tuple[str, ...], region: str | None, output: str) -> int:
    """Cancel tasks at the service: imports and exports of images can be."""
    from ecs_waiter.cli.task_refs import read_refs  # noqa: PLC0415 - not for help

    refs = read_refs(tasks, default_region(settings, region), read_stdin)
    from ecs_waiter.cli.listing import cancel_tasks  # noqa: PLC0415 - not before the arguments are right

    return run_work(settings, cancel_tasks(refs, output=output, trust_env=settings.trust_env))
