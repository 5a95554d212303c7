"""The command line: its commands, options and help. What they do is imported when they are called."""

from __future__ import annotations

import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ecs_waiter import __version__
from ecs_waiter.cli import options
from ecs_waiter.cli.failure import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.local_commands import demo, emulator
from ecs_waiter.cli.options import Settings
from ecs_waiter.cli.running import epilog
from ecs_waiter.cli.service_commands import cancel, list_, show
from ecs_waiter.cli.streams import (
    ClosedPipeError,
    UnreadError,
    UnwritableError,
    finish,
    finish_messages,
    hurry,
    lose_results,
    open_streams,
    say,
    write_result,
)
from ecs_waiter.cli.waiting_commands import run_operation, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["run"]

_NAME = "ecs-waiter"
_COMPLETION = "_ECS_WAITER_COMPLETE"
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code. Whatever happens is reported in one line."""
    with open_streams():
        settings = Settings()
        code = _guarded(
            lambda: cli.main(list(arguments), prog_name=_NAME, standalone_mode=False, obj=settings), settings
        )
        code = _guarded(partial(finish, code), settings, unread=code)
        finish_messages()
        return code


def _guarded(work: Callable[[], object], settings: Settings, unread: int = ExitCode.ERROR) -> int:
    """Do a part of the work; returns the exit code. It is `unread` if stdout's reader keeps the program from ending."""
    try:
        code = work()
    except ClosedPipeError:
        lose_results()
        return ExitCode.CLOSED_PIPE
    except (UnreadError, UnwritableError) as error:
        lose_results()
        say(f"{_NAME}: {error}")
        return unread if isinstance(error, UnreadError) else error.exit_code
    except SystemExit as ended:
        # How click ends a shell's request for completions.
        code = ended.code
    except (click.Abort, KeyboardInterrupt):
        return _told(_interrupted(), settings)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else _NAME
        say(f"{command}: {error.format_message()} ({command} --help)")
        return ExitCode.MISUSE
    except Exception as error:  # noqa: BLE001 - nobody who waits for a task is helped by a traceback
        return _told(error, settings)
    return code if isinstance(code, int) else ExitCode.FINISHED


def _told(error: Exception, settings: Settings) -> int:
    if settings.is_debugging:
        say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, CommandError):
        if error.exit_code in {ExitCode.TIMED_OUT, ExitCode.INTERRUPTED}:
            hurry()
        say(f"{_NAME}: {error}")
        return error.exit_code
    from ecs_waiter.cli.messages import explain  # noqa: PLC0415 - not before there is an error
    from ecs_waiter.errors import EcsWaiterError, TaskNotFoundError  # noqa: PLC0415 - the same
    from ecs_waiter.printable import printable  # noqa: PLC0415 - the same

    if isinstance(error, EcsWaiterError):
        say(f"{_NAME}: {explain(error)}")
        return ExitCode.FAILED if isinstance(error, TaskNotFoundError) else ExitCode.ERROR
    say(f"{_NAME}: a bug: {type(error).__name__}: {printable(str(error))} (run it with --debug and report it, please)")
    return ExitCode.ERROR


def _interrupted() -> CommandError:
    return CommandError("interrupted", ExitCode.INTERRUPTED)


class _Group(click.Group):
    """Commands that a signal ends with one line: click by itself adds an empty one."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _interrupted() from None


@click.group(
    cls=_Group,
    context_settings=_CONTEXT,
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
    """Wait for long-running Alibaba Cloud ECS tasks: many waits, few calls.

    Results go to stdout, progress and messages to stderr. Credentials are those of the official tools: the variables
    ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, a profile, or the instance's RAM role.
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
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only here

    made = get_completion_class(shell)
    if made is None:
        raise MisuseError(f"no completion for {shell}")
    write_result(f"{made(cli, {}, _NAME, _COMPLETION).source()}\n")
    return ExitCode.FINISHED


for _command in (wait, run_operation, list_, show, cancel, emulator, demo):
    cli.add_command(_command)
