"""Options that several commands share, and how their values are read and completed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from ecs_waiter.cli.duration import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Duration",
    "Settings",
    "common",
    "complete_operation",
    "complete_profile",
    "complete_region",
    "output",
    "read_duration",
    "read_moment",
    "region",
    "waiting",
]

_TRUST_ENV_VARIABLE = "ECS_WAITER_TRUST_ENV"
_FORMATS = ("text", "json", "jsonl")

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass
class Settings:
    """What holds for any command.

    Attributes:
        is_verbose: Whether each call is logged.
        is_debugging: Whether tracebacks are shown.
        profile: The profile asked for by name.
        trust_env: Whether to use the proxies of the environment.
    """

    is_verbose: bool = False
    is_debugging: bool = False
    profile: str | None = None
    trust_env: bool = False


class Duration(NamedTuple):
    """A duration, and how it was written."""

    seconds: float
    text: str


def read_duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Duration | None:
    """Read a duration; as a callback of an option.

    Raises:
        click.BadParameter: It is none.
    """
    if value is None:
        return None
    try:
        return Duration(parse_duration(value), value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def read_moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time, in UTC unless it says otherwise, or how long ago it was; as a callback of an option.

    Raises:
        click.BadParameter: It is neither.
    """
    if value is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(value))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        told = f"{value!r} is no time: write 2h for two hours ago, or 2026-01-31T12:00Z"
        raise click.BadParameter(told) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def complete_region(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a region's name."""
    from ecs_waiter.emulator.regions import PUBLIC_REGIONS  # noqa: PLC0415 - only when the Tab key is hit

    return sorted(region_id for region_id in PUBLIC_REGIONS if region_id.startswith(incomplete))


def complete_operation(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an operation that starts a task."""
    from ecs_waiter.api.operations import STARTS_TASK  # noqa: PLC0415 - only when the Tab key is hit

    return sorted(name for name in STARTS_TASK if name.lower().startswith(incomplete.lower()))


def complete_profile(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a profile."""
    from ecs_waiter.cli.config import profile_names  # noqa: PLC0415 - only when the Tab key is hit

    return [name for name in profile_names() if name.startswith(incomplete)]


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        # It may stand before the command and after it: the one that is given counts.
        if value:
            setattr(ctx.ensure_object(Settings), name, value)

    return callback


def common(function: F) -> F:
    """Take the options of every command."""
    for decorate in (
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=_set("is_debugging"), help="Log all, with tracebacks."
        ),
        click.option(
            "-v", "--verbose", is_flag=True, expose_value=False, callback=_set("is_verbose"), help="Log each call."
        ),
        click.option(
            "--profile",
            metavar="NAME",
            expose_value=False,
            callback=_set("profile"),
            shell_complete=complete_profile,
            help="A profile of the official command line (~/.aliyun/config.json).",
        ),
        click.option(
            "--proxy-from-env",
            is_flag=True,
            envvar=_TRUST_ENV_VARIABLE,
            show_envvar=True,
            expose_value=False,
            callback=_set("trust_env"),
            help="Connect through the proxies that HTTPS_PROXY and NO_PROXY name.",
        ),
    ):
        function = decorate(function)
    return function


def region(function: F) -> F:
    """Take a region."""
    return click.option(
        "--region",
        "-r",
        metavar="REGION",
        shell_complete=complete_region,
        help="Such as cn-hangzhou; else ALIBABA_CLOUD_REGION_ID, else the profile's.",
    )(function)


def output(function: F) -> F:
    """Take a format for the results."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(_FORMATS),
        default="text",
        show_default=True,
        help="Form of the results on stdout.",
    )(function)


def waiting(function: F) -> F:
    """Take what a wait can be told."""
    for decorate in (
        click.option("--quiet", "-q", is_flag=True, help="No progress on stderr."),
        click.option(
            "--outage-budget",
            metavar="DURATION",
            callback=read_duration,
            default="10m",
            show_default=True,
            help="How long a region may fail without one good answer.",
        ),
        click.option(
            "--not-found-grace",
            metavar="DURATION",
            callback=read_duration,
            default="60s",
            show_default=True,
            help="How long a task may be unlisted before it counts as unknown.",
        ),
        click.option(
            "--cancel-on-interrupt",
            is_flag=True,
            help="On Ctrl-C or SIGTERM cancel at the service what can be canceled.",
        ),
        output,
        click.option(
            "--timeout",
            "-t",
            metavar="DURATION",
            callback=read_duration,
            help="Give up after 90, 90s, 5m, 2h, 1h30m; 0 is one look. No limit else.",
        ),
    ):
        function = decorate(function)
    return function
