"""What the commands have in common: running their work, the region they fall back to, and the end of their help."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ecs_waiter.cli.failure import MisuseError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ecs_waiter.cli.failure import ExitCode
    from ecs_waiter.cli.options import Settings

__all__ = ["default_region", "epilog", "needed_region", "run_work"]

_EXIT_CODES = """\
Exit codes:
  0    all finished
  1    one or more failed, were canceled, or are unknown
  2    misuse of the command line
  3    credentials refused, an error of the service, or an outage
  124  timed out
  130  interrupted; stderr has the command that goes on waiting"""
# click leaves the lines of a paragraph that begins so as they are.
_AS_IT_IS = "\b\n"


def epilog(*examples: str) -> str:
    """Return the end of a command's help: its examples, and the exit codes."""
    shown = "\n".join(("Examples:", *(f"  {example}" for example in examples)))
    return f"{_AS_IT_IS}{shown}\n\n{_AS_IT_IS}{_EXIT_CODES}"


def run_work(settings: Settings, work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run a command's work; returns the exit code."""
    from ecs_waiter.cli.logs import show_logs  # noqa: PLC0415 - help needs no logs

    show_logs(is_verbose=settings.is_verbose, is_debugging=settings.is_debugging)
    return asyncio.run(work)


def default_region(settings: Settings, told: str | None) -> str | None:
    """Return the region of what names none; the profile asked for is in force from here on.

    Raises:
        MisuseError: It is none, or there is no such profile.
    """
    from ecs_waiter.cli.config import resolve_region, use_profile  # noqa: PLC0415 - help needs no configuration

    if settings.profile is not None:
        use_profile(settings.profile)
    return resolve_region(told)


def needed_region(settings: Settings, told: str | None) -> str:
    """Return the region, as `default_region` does, where there has to be one.

    Raises:
        MisuseError: There is none.
    """
    found = default_region(settings, told)
    if found is None:
        raise MisuseError("no region: name it with --region or ALIBABA_CLOUD_REGION_ID")
    return found
