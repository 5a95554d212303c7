"""``ecs-waiter``: runs a command, and turns every error into one line and an exit code."""

from __future__ import annotations

import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ecs_waiter import __version__
from ecs_waiter.cli import options
from ecs_waiter.cli.commands import COMMANDS, epilog
from ecs_waiter.cli.exit_codes import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.streams import (
    ClosedPipeError,
    UnreadError,
    UnwritableError,
    discard_results,
    end_soon,
    finish_messages,
    finish_results,
    open_streams,
    say,
    write_result,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["run"]

_NAME = "ecs-waiter"
_COMPLETION = "_ECS_WAITER_COMPLETE"


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    with open_streams():
        settings = options.Settings()
        main = partial(cli.main, list(arguments), prog_name=_NAME, standalone_mode=False, obj=settings)
        code = _guarded(main, settings)
        code = _guarded(partial(finish_results, code), settings, unread=code)
        finish_messages()
        return code


def _guarded(work: Callable[[], object], settings: options.Settings, unread: int = ExitCode.ERROR) -> int:
    """Do some work and report its errors; returns the exit code, which is `unread` if nobody reads the results."""
    try:
        code = work()
    except ClosedPipeError:
        discard_results()
        return ExitCode.CLOSED_PIPE
    except (UnreadError, UnwritableError) as error:
        discard_results()
        say(f"{_NAME}: {error}")
        return unread if isinstance(error, UnreadError) else error.exit_code
    except SystemExit as ended:
        # click ends a shell's request for completions like this.
        code = ended.code
    except (click.Abort, KeyboardInterrupt):
        return _reported(_interrupted(), settings)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else _NAME
        say(f"{command}: {error.format_message()} ({command} --help)")
        return ExitCode.MISUSE
    except Exception as error:  # noqa: BLE001 - a user gets one line instead of a traceback
        return _reported(error, settings)
    return code if isinstance(code, int) else ExitCode.FINISHED


def _reported(error: Exception, settings: options.Settings) -> int:
    if settings.is_debugging:
        say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, CommandError):
        if error.exit_code in {ExitCode.TIMED_OUT, ExitCode.INTERRUPTED}:
            end_soon()
        say(f"{_NAME}: {error}")
        return error.exit_code
    from ecs_waiter.cli.messages import explain  # noqa: PLC0415 - slow to import, and --help does not need it
    from ecs_waiter.errors import EcsWaiterError, TaskNotFoundError  # noqa: PLC0415 - the same
    from ecs_waiter.escaping import escape_control  # noqa: PLC0415 - the same

    if isinstance(error, EcsWaiterError):
        say(f"{_NAME}: {explain(error)}")
        return ExitCode.FAILED if isinstance(error, TaskNotFoundError) else ExitCode.ERROR
    say(
        f"{_NAME}: bug: {type(error).__name__}: {escape_control(str(error))} (please run it with --debug and report it)"
    )
    return ExitCode.ERROR


def _interrupted() -> CommandError:
    return CommandError("interrupted", ExitCode.INTERRUPTED)


class _Group(click.Group):
    """Commands that a signal ends with one line; click itself would print an empty line first."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _interrupted() from None


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog=epilog(
        "aliyun ecs ImportImage ... | ecs-waiter wait -",
        "ecs-waiter wait --region cn-hangzhou --timeout 2h t-bp1aaa t-bp1bbb",
        "ecs-waiter list --region cn-hangzhou --status Processing",
    ),
)
@options.common
@click.version_option(__version__, prog_name=_NAME, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Wait for long-running Alibaba Cloud ECS tasks with few API calls.

    Results go to stdout, progress and messages to stderr. Credentials are the same as for the official CLI: the
    variables ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, a profile, or the instance's RAM role.
    """
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        return ExitCode.MISUSE
    return ExitCode.FINISHED


@cli.command(
    epilog=epilog(
        'eval "$(ecs-waiter completion bash)"          in ~/.bashrc',
        'eval "$(ecs-waiter completion zsh)"           in ~/.zshrc',
        "ecs-waiter completion fish | source           in ~/.config/fish/config.fish",
    )
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> int:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only completion needs it

    script = get_completion_class(shell)
    if script is None:
        raise MisuseError(f"no completion for {shell}")
    write_result(f"{script(cli, {}, _NAME, _COMPLETION).source()}\n")
    return ExitCode.FINISHED


for _command in COMMANDS:
    cli.add_command(_command)
