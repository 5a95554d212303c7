"""``ecs-waiter emulator`` and ``ecs-waiter demo``: processes that others talk to, or that only tell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from unittest import mock
from urllib.parse import urlsplit

import pytest

from ecs_waiter.cli import demo
from ecs_waiter.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

    Command = Callable[..., subprocess.CompletedProcess[str]]
    Started = Callable[..., subprocess.Popen[str]]


def test_emulator(command: Command, started: Started) -> None:
    """Its first line is its URL; another process works with its tasks; Ctrl-C ends it quietly."""
    emulator = started("emulator", "--tasks", "3", "--failing", "1", "--duration", "0", "--region", "eu-central-1")
    assert emulator.stdout is not None
    url = emulator.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    listed = command("list", "--region", "eu-central-1", "--output", "json", ECS_WAITER_ENDPOINT=url)
    assert json.loads(listed.stdout)["summary"] == {"finished": 2, "failed": 1}
    done = command("wait", "-", "--output", "json", stdin=listed.stdout, ECS_WAITER_ENDPOINT=url)
    assert done.returncode == 1
    assert json.loads(done.stdout)["summary"] == {"finished": 2, "failed": 1}
    emulator.send_signal(signal.SIGINT)
    stdout, stderr = emulator.communicate(timeout=30)
    assert (emulator.returncode, stdout) == (0, "")
    assert f"export ECS_WAITER_ENDPOINT={url}" in stderr
    assert f"--endpoint {urlsplit(url).netloc} --insecure" in stderr


def test_port_in_use(ecs: EcsEmulator, command: Command) -> None:
    """A port that is taken is said to be."""
    port = str(urlsplit(ecs.url).port)
    done = command("emulator", "--port", port)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr


@pytest.mark.parametrize("duration", ["inf", "nan", "-1", "1e400", "failed"])
def test_duration_that_cannot_be(command: Command, duration: str) -> None:
    """A duration that is not a finite time is refused with the forms that it can have."""
    done = command("emulator", "--tasks", "1", f"--duration={duration}")
    assert done.returncode == 2
    assert repr(duration) in done.stderr
    assert "2h" in done.stderr


@pytest.mark.parametrize(("arguments", "kept"), [((), 10_000), (("--keep-requests", "7"), 7)])
def test_requests_kept(arguments: tuple[str, ...], kept: int) -> None:
    """The emulator keeps as many requests as `--keep-requests` says, 10,000 by default."""
    made = mock.Mock(side_effect=OSError("made"))
    with mock.patch.object(demo, "EcsEmulator", made):
        assert run(["emulator", *arguments]) == 2
    assert made.call_args.kwargs["keep_requests"] == kept


def test_demo_without_the_extra(environment: dict[str, str]) -> None:
    """The demo needs no more than the library does, and tells its story in a pipe."""
    hide = (
        "import sys; sys.modules['click'] = sys.modules['rich'] = None;"
        "from ecs_waiter.cli import demo; demo._LONGEST = 1.2; sys.exit(demo.main())"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", hide], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "times as many" in done.stdout
    assert "\x1b" not in done.stdout
