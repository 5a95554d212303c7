"""Options that several commands share, and how their values are parsed and completed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Duration",
    "Settings",
    "common",
    "complete_operation",
    "complete_region",
    "output",
    "parse_duration",
    "read_duration",
    "read_time",
    "region",
    "waiting",
]

_TRUST_ENV_VARIABLE = "ECS_WAITER_TRUST_ENV"
_FORMATS = ("text", "json", "jsonl")

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_PARTS = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _SECONDS), re.ASCII)

F = TypeVar("F", bound="Callable[..., Any]")


# -- values -----------------------------------------------------------------------------------------------------------


class Duration(NamedTuple):
    """A duration, and how it was written."""

    seconds: float
    text: str


def parse_duration(text: str) -> float:
    """Return a duration such as ``90``, ``90s``, ``5m`` or ``1h30m`` in seconds.

    Raises:
        ValueError: It is not a duration.
    """
    plain = text.strip().lower()
    if _PLAIN.fullmatch(plain):
        return float(plain)
    found = _PARTS.fullmatch(plain)
    if not plain or found is None:
        raise ValueError(f"invalid duration {text!r}: use 90s, 15m or 2h")
    return sum(float(part) * size for part, size in zip(found.groups(), _SECONDS.values(), strict=True) if part)


def read_duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Duration | None:
    """Parse a duration, as the callback of an option.

    Raises:
        click.BadParameter: It is not a duration.
    """
    if value is None:
        return None
    try:
        return Duration(parse_duration(value), value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def read_time(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Parse a time, in UTC by default, or a duration before now, as the callback of an option.

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
        time = datetime.fromisoformat(value)
    except ValueError:
        message = f"invalid time {value!r}: use 2h for two hours ago, or 2026-01-31T12:00Z"
        raise click.BadParameter(message) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# -- completion -------------------------------------------------------------------------------------------------------


def complete_region(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a region."""
    from ecs_waiter.emulator.regions import PUBLIC_REGIONS  # noqa: PLC0415 - slow to import, and only completion needs it

    return sorted(region_id for region_id in PUBLIC_REGIONS if region_id.startswith(incomplete))


def complete_operation(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an operation that starts a task."""
    from ecs_waiter.api.operations import STARTS_TASK  # noqa: PLC0415 - the same

    return sorted(name for name in STARTS_TASK if name.lower().startswith(incomplete.lower()))


def _complete_profile(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from ecs_waiter.cli.config import profile_names  # noqa: PLC0415 - the same

    return [name for name in profile_names() if name.startswith(incomplete)]


# -- options ----------------------------------------------------------------------------------------------------------


@dataclass
class Settings:
    """The options of every command.

    Attributes:
        is_verbose: Whether each call is logged.
        is_debugging: Whether tracebacks are shown.
        profile: The profile of the official CLI to use.
        trust_env: Whether to use the proxies of the environment.
    """

    is_verbose: bool = False
    is_debugging: bool = False
    profile: str | None = None
    trust_env: bool = False


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        # The option is accepted before and after the command's name, so its callback runs twice.
        if value:
            setattr(ctx.ensure_object(Settings), name, value)

    return callback


def common(function: F) -> F:
    """Add the options of every command."""
    for decorate in (
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_set("is_debugging"),
            help="Log everything, with tracebacks.",
        ),
        click.option(
            "-v", "--verbose", is_flag=True, expose_value=False, callback=_set("is_verbose"), help="Log each call."
        ),
        click.option(
            "--profile",
            metavar="NAME",
            expose_value=False,
            callback=_set("profile"),
            shell_complete=_complete_profile,
            help="Profile of the official CLI (~/.aliyun/config.json).",
        ),
        click.option(
            "--proxy-from-env",
            is_flag=True,
            envvar=_TRUST_ENV_VARIABLE,
            show_envvar=True,
            expose_value=False,
            callback=_set("trust_env"),
            help="Use the proxies set by HTTPS_PROXY and NO_PROXY.",
        ),
    ):
        function = decorate(function)
    return function


def region(function: F) -> F:
    """Add the option for the region."""
    return click.option(
        "--region",
        "-r",
        metavar="REGION",
        shell_complete=complete_region,
        help="Such as cn-hangzhou. Default: ALIBABA_CLOUD_REGION_ID, then the profile's region.",
    )(function)


def output(function: F) -> F:
    """Add the option for the output format."""
    return click.option(
        "--output", "-o", type=click.Choice(_FORMATS), default="text", show_default=True, help="Output format."
    )(function)


def waiting(function: F) -> F:
    """Add the options of commands that wait."""
    for decorate in (
        click.option("--quiet", "-q", "is_quiet", is_flag=True, help="Show no progress on stderr."),
        click.option(
            "--outage-budget",
            metavar="DURATION",
            callback=read_duration,
            default="10m",
            show_default=True,
            help="How long to retry a region that is not responding.",
        ),
        click.option(
            "--not-found-grace",
            metavar="DURATION",
            callback=read_duration,
            default="60s",
            show_default=True,
            help="How long to look for a task that is not listed.",
        ),
        click.option(
            "--cancel-on-interrupt",
            is_flag=True,
            help="On Ctrl-C or SIGTERM, cancel the tasks that can be canceled.",
        ),
        output,
        click.option(
            "--timeout",
            "-t",
            metavar="DURATION",
            callback=read_duration,
            help="Stop waiting after 90, 90s, 5m, 2h or 1h30m; 0 polls once. Default: no limit.",
        ),
    ):
        function = decorate(function)
    return function
