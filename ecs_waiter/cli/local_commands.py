"""The commands that need no cloud: ``emulator`` and ``demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecs_waiter.cli import options
from ecs_waiter.cli.running import default_region, epilog, run_work

if TYPE_CHECKING:
    from ecs_waiter.cli.options import Duration, Settings

__all__ = ["demo", "emulator"]


@click.command(
    epilog=epilog(
        "ecs-waiter emulator --port 8042 --tasks 20 --failing 2 --duration 5m",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; any free port else.")
@click.option("--tasks", type=click.IntRange(min=0), default=0, help="So many tasks exist from the start.")
@click.option("--failing", type=click.IntRange(min=0), default=0, help="So many of them fail.")
@click.option(
    "--duration",
    metavar="DURATION",
    callback=options.read_duration,
    default="60s",
    show_default=True,
    help="How long each task takes.",
)
@click.option("--quota", type=click.IntRange(min=1), help="Throttle above so many calls a second.")
@click.option("--seed", type=int, default=0, show_default=True, help="Makes the IDs; the same seed, the same IDs.")
@click.option(
    "--keep-requests",
    metavar="N",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    help="Number of the last requests to keep in memory.",
)
@click.option(
    "--region",
    "-r",
    metavar="REGION",
    shell_complete=options.complete_region,
    help="Where those tasks are; ALIBABA_CLOUD_REGION_ID or cn-hangzhou else.",
)
@options.common
@click.pass_obj
def emulator(  # noqa: PLR0913 - the options
    settings: Settings,
    /,
    *,
    port: int,
    tasks: int,
    failing: int,
    duration: Duration,
    quota: int | None,
    seed: int,
    keep_requests: int,
    region: str | None,
) -> int:
    """Run a local ECS task API, to try things out and to test against. The first line on stdout is its URL."""
    where = default_region(settings, region) or "cn-hangzhou"
    from ecs_waiter.cli.emulator import emulate  # noqa: PLC0415 - not for help

    work = emulate(
        region_id=where,
        port=port,
        tasks=tasks,
        failing=failing,
        duration=duration.seconds,
        quota=quota,
        seed=seed,
        keep_requests=keep_requests,
    )
    return run_work(settings, work)


@click.command(
    epilog=epilog(
        "ecs-waiter demo",
    )
)
@options.common
@click.pass_obj
def demo(settings: Settings) -> int:
    """Show the whole story on the embedded emulator, without a cloud account."""
    from ecs_waiter.cli.demo import demonstrate  # noqa: PLC0415 - not for help

    return run_work(settings, demonstrate())
