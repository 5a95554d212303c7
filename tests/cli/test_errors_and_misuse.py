"""Every error is one line that says what to do, and no traceback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator

    Command = Callable[..., subprocess.CompletedProcess[str]]


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


NO_KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": None, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": None}
SECRET = "S3cr3tK3y0123456789"


def test_no_credentials(command: Command, tmp_path: Path) -> None:
    """Without credentials the message names what was looked at, and what to set."""
    done = command("list", **NO_KEY)
    assert done.returncode == 3
    assert done.stderr == (
        f"ecs-waiter: no credentials found: {tmp_path}/.aliyun/config.json: does not exist;"
        f" {tmp_path}/.alibabacloud/credentials.ini: does not exist."
        " To fix it, set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or name a profile of the"
        " official command line with --profile or ALIBABA_CLOUD_PROFILE\n"
    )


@pytest.mark.parametrize("arguments", [["list"], ["wait", "t-1"], ["list", "--profile", "prod"]], ids=" ".join)
@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (
            {"mode": "CloudSSO", "access_token": SECRET, "cloud_sso_access_token_expire": 1_000_000_000},
            'profile "prod" (CloudSSO) in {}: the login has expired: log in again with `aliyun configure`',
        ),
        (
            {"mode": "External", "process_command": f"{sys.executable} -c 'raise SystemExit(\"{SECRET}\")'"},
            'profile "prod" (External) in {}: the external command failed (exit status 1): run its process_command',
        ),
        (
            {"mode": "Quantum", "access_key_secret": SECRET},
            'profile "prod" (Quantum) in {}: this mode is not supported: use one of AK, StsToken',
        ),
    ],
    ids=lambda value: value["mode"] if isinstance(value, dict) else "",
)
def test_a_profile_without_credentials(
    command: Command, tmp_path: Path, arguments: list[str], profile: dict[str, object], told: str
) -> None:
    """A profile that gives no credentials is named with the reason and what to do; no region is blamed."""
    file = tmp_path / ".aliyun" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"current": "prod", "profiles": [{"name": "prod", **profile}]}))
    done = command(*arguments, **NO_KEY)
    assert done.returncode == 3
    assert told.format(file) in done.stderr
    assert SECRET not in done.stderr
    assert "cn-hangzhou: " not in done.stderr
    assert "credentials.ini" in done.stderr or "--profile" in arguments


def test_a_configuration_that_is_not_json(command: Command, tmp_path: Path) -> None:
    """A file that is broken is named with the place, with and without `--profile`."""
    file = tmp_path / ".aliyun" / "config.json"
    file.parent.mkdir()
    file.write_text('{"current": "prod",\n')
    done = command("list", **NO_KEY)
    assert done.returncode == 3
    assert f"{file}: is not JSON (line 2, column 1)" in done.stderr
    asked = command("list", "--profile", "prod", **NO_KEY)
    assert asked.returncode == 2
    assert f"no profile 'prod' in {file}: the file is not JSON (line 2, column 1)" in asked.stderr


def test_a_source_of_credentials_in_trouble(command: Command) -> None:
    """While credentials cannot be fetched stderr says why and blames no region; so does the error in the end."""
    uri = f"http://127.0.0.1:{closed_port()}/?token={SECRET}"
    done = command("wait", "t-1", "--outage-budget", "3s", **NO_KEY, ALIBABA_CLOUD_CREDENTIALS_URI=uri)
    assert done.returncode == 3
    during, end, _ = done.stderr.splitlines()
    reason = "ALIBABA_CLOUD_CREDENTIALS_URI: cannot be reached (Connection refused)"
    assert during.startswith("no credentials for cn-hangzhou: the credentials cannot be fetched now: ")
    assert reason in during
    assert end.startswith("the credentials cannot be fetched now: ")
    assert reason in end
    assert "check their source" in end
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("InvalidAccessKeyId.NotFound", "check ALIBABA_CLOUD_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "check ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        ("Forbidden.AccessKeyDisabled", "the access key is disabled"),
    ],
)
def test_wrong_keys(ecs: EcsEmulator, command: Command, code: str, told: str) -> None:
    """Refused keys say which of them to check."""
    injected = ecs.inject("refuse", code=code)
    done = command("wait", "t-1", "--output", "json")
    injected.remove()
    assert done.returncode == 3
    assert json.loads(done.stdout)["tasks"][0]["error"]["type"] == "AuthenticationError"
    refusal, _ = done.stderr.splitlines()
    assert told in refusal


def test_wrong_region(command: Command) -> None:
    """A region that the service does not know is its own message, for listings and waits."""
    done = command("list", "--region", "cn-nowhere")
    assert done.returncode == 3
    assert done.stderr.startswith("ecs-waiter: unknown region: check --region, REGION:ID and ")


def test_no_network(command: Command) -> None:
    """While a region gives no answer stderr says so, and why; in the end so does the error."""
    port = closed_port()
    done = command("wait", "t-1", "--outage-budget", "3s", ECS_WAITER_ENDPOINT=f"http://127.0.0.1:{port}")
    assert done.returncode == 3
    during, end, _ = done.stderr.splitlines()
    assert during.startswith(f"cn-hangzhou is not responding: no connection to 127.0.0.1:{port} (")
    assert during.endswith("; retrying for 3s (Ctrl-C stops)")
    assert end.startswith("cn-hangzhou: no answer, no connection to ")
    assert "check the network" in end


def test_profile(ecs: EcsEmulator, command: Command, tmp_path: Path) -> None:
    """`--profile` takes the credentials and the region of that profile, whatever the environment has."""
    profile = {"mode": "AK", "access_key_id": "other-id", "access_key_secret": "s", "region_id": "cn-beijing"}
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text(json.dumps({"profiles": [{"name": "ci", **profile}]}))
    done = command("list", "--profile", "ci")
    assert (done.returncode, done.stderr) == (0, "")
    assert (ecs.requests[-1].access_key_id, ecs.requests[-1].region_id) == ("other-id", "cn-beijing")
    unknown = command("--profile", "nope", "list")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("ecs-waiter: no profile 'nope' in ")
    assert "it has ci" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["wait"], "name the tasks to wait for"),
        (["wait", "t-1", "cn-beijing:t-1"], "named in two regions"),
        (["wait", "HANGZHOU:t-1"], "a region's name looks like"),
        (["wait", "t-1", "--timeout", "soon"], "use 90s, 15m or 2h"),
        (["wait", "t-1", "--timout", "5m"], "--timeout"),
        (["wiat", "t-1"], "wait"),
        (["run", "ImportImage", "-p", "AccessKeySecret=x"], "credentials come from the environment or a profile"),
        (["list", "--status", "Deleted"], "--status"),
        (["list", "--since", "yesterday"], "use 2h for two hours ago"),
        (["emulator", "--tasks", "1", "--failing", "2"], "--failing 2 is more than --tasks 1"),
    ],
)
def test_misuse(command: Command, arguments: list[str], told: str) -> None:
    """Misuse is exit code 2 and one line, before any call."""
    done = command(*arguments, ECS_WAITER_ENDPOINT="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_debug(command: Command) -> None:
    """A traceback is there for `--debug`, before the command or after it, and for nothing else."""
    for arguments in (["--debug", "list", "-r", "cn-nowhere"], ["list", "-r", "cn-nowhere", "--debug"]):
        done = command(*arguments)
        assert done.returncode == 3
        assert "Traceback (most recent call last)" in done.stderr


def test_without_the_extra(environment: dict[str, str]) -> None:
    """Without its extra the command says how to install it."""
    hide = "import sys; sys.modules['click'] = None; from ecs_waiter.cli import main; sys.exit(main())"
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", hide], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "ecs-waiter: the command needs the extra `cli`: pip install 'ecs-waiter[cli]'\n"
