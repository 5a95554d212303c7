"""The commands that wait: ``wait`` and ``run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ecs_waiter.cli import options
from ecs_waiter.cli.failure import MisuseError
from ecs_waiter.cli.running import default_region, epilog, needed_region, run_work
from ecs_waiter.cli.streams import Stdin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.cli.options import Duration, Settings
    from ecs_waiter.cli.wait import WaitOptions

__all__ = ["run_operation", "wait"]


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
def wait(settings: Settings, /, tasks: tuple[str, ...], region: str | None, **told: Any) -> int:
    """Wait until tasks have ended, and tell what became of them.

    - reads stdin: an ID or REGION:ID a line (blank lines and # are skipped), or JSON that holds TaskId and perhaps
    RegionId, as `aliyun ecs ImportImage` prints it.
    """
    from ecs_waiter.cli.task_refs import read_refs  # noqa: PLC0415 - not for help

    stdin = _stdin(told)
    refs = read_refs(tasks, default_region(settings, region), stdin.read)
    left = stdin.left()
    from ecs_waiter.cli.wait import wait as wait_for  # noqa: PLC0415 - not before the arguments are right

    return run_work(settings, wait_for(refs, _wait_options(settings, left, **told)))


@click.command(
    "run",
    epilog=epilog(
        "ecs-waiter run ExportImage -r cn-hangzhou -p ImageId=m-bp1aaa -p OSSBucket=images",
        "ecs-waiter run ImportImage -r cn-hangzhou --params import.json --timeout 2h",
        "ecs-waiter run RedeployInstance -r cn-hangzhou -p InstanceId=i-bp1aaa",
    ),
)
@click.argument("operation", shell_complete=options.complete_operation)
@options.region
@click.option("--param", "-p", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter, as in Tag.1.Key=web.")
@click.option(
    "--params",
    "document",
    type=click.File(encoding="utf-8"),
    help="Parameters as a JSON object, with lists and maps; - is stdin.",
)
@options.waiting
@options.common
@click.pass_obj
def run_operation(
    settings: Settings,
    /,
    operation: str,
    region: str | None,
    pairs: tuple[str, ...],
    document: Any,
    **told: Any,
) -> int:
    """Start OPERATION, such as ImportImage, and wait for its task.

    The task's ID is on stderr as soon as it is known. A ClientToken is added where the operation takes one.
    """
    from ecs_waiter.cli.start import read_params, run, told_region  # noqa: PLC0415 - not for help

    stdin = _stdin(told)
    try:
        text = None if document is None else stdin.read() if document.fileno() == 0 else document.read()
    except UnicodeDecodeError:
        raise MisuseError("--params: the file is no text in UTF-8") from None
    params = read_params(pairs, text)
    where = needed_region(settings, told_region(params, region))
    left = stdin.left()
    return run_work(settings, run(operation, where, params, _wait_options(settings, left, **told)))


def _stdin(told: Mapping[str, Any]) -> Stdin:
    timeout: Duration | None = told["timeout"]
    return Stdin(None if timeout is None else timeout.seconds)


def _wait_options(  # noqa: PLR0913 - the options
    settings: Settings,
    left: float | None,
    *,
    timeout: Duration | None,
    output: str,
    not_found_grace: Duration,
    outage_budget: Duration,
    cancel_on_interrupt: bool,
    quiet: bool,
    fail_fast: bool = False,
) -> WaitOptions:
    from ecs_waiter.cli.wait import WaitOptions  # noqa: PLC0415 - not for help
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
    flags = (
        ("--fail-fast", fail_fast),
        ("--cancel-on-interrupt", cancel_on_interrupt),
        ("--quiet", quiet),
        ("--proxy-from-env", settings.trust_env),
        ("--verbose", settings.is_verbose),
        ("--debug", settings.is_debugging),
    )
    kept += [name for name, is_set in flags if is_set]
    return WaitOptions(
        policy=PollPolicy(not_found_grace=not_found_grace.seconds, outage_budget=outage_budget.seconds),
        timeout=left,
        output=output,
        fail_fast=fail_fast,
        cancel_on_interrupt=cancel_on_interrupt,
        is_quiet=quiet,
        trust_env=settings.trust_env,
        kept=tuple(kept),
    )
