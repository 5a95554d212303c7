"""The official providers, for real, but for what lies beyond this machine."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from ecs_waiter.api.credentials import Credentials, DefaultCredentials
from ecs_waiter.api.official_chain import OfficialChain, _present_sources
from ecs_waiter.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "S3cr3tK3y0123456789"
TOKEN = "CAIS3cur1tyT0k3n0123456789"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without credentials, with a home of its own; whatever is beyond this machine is out of reach."""
    for name in [name for name in os.environ if name.startswith("ALIBABA_CLOUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged, at any level."""
    caplog.set_level(logging.DEBUG)
    return caplog


def found() -> Credentials:
    """What a new provider finds."""
    return asyncio.run(DefaultCredentials().get_credentials())


def write_profiles(home: Path, *profiles: dict[str, Any]) -> None:
    """Configure the official command line; the first profile is the current one."""
    file = home / ".aliyun" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"current": profiles[0]["name"], "profiles": profiles}))


def key_profile(name: str) -> dict[str, Any]:
    """A profile with an access key named after it."""
    return {"name": name, "mode": "AK", "access_key_id": f"LTAI-{name}", "access_key_secret": SECRET}


class Server(http.server.ThreadingHTTPServer):
    """A credentials service on loopback: it counts, and says what it is told to."""

    status = 200
    answer: str
    asked = 0

    @property
    def url(self) -> str:
        """Where it listens; the query is a secret of its own."""
        return f"http://127.0.0.1:{self.server_port}/?token={TOKEN}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every GET."""

    server: Server

    def do_GET(self) -> None:
        """Say what the server is told to."""
        self.server.asked += 1
        body = self.server.answer.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The credentials service that ALIBABA_CLOUD_CREDENTIALS_URI names, with a token of ten minutes."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answer = json.dumps(
            {
                "Code": "Success",
                "AccessKeyId": "LTAI-service",
                "AccessKeySecret": SECRET,
                "SecurityToken": TOKEN,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600)),
            }
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", server.url)
        yield server
        server.shutdown()
        thread.join()


def test_the_current_profile_of_the_command_line_is_found(home: Path) -> None:
    """As `aliyun configure` leaves it."""
    write_profiles(home, key_profile("default"), key_profile("other"))
    assert found() == Credentials("LTAI-default", SECRET)


def test_the_profile_named_by_the_environment_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ALIBABA_CLOUD_PROFILE names it, as of now and not as of the official package's import."""
    write_profiles(home, key_profile("default"), key_profile("other"))
    provider = DefaultCredentials()
    assert asyncio.run(provider.get_credentials()).access_key_id == "LTAI-default"
    monkeypatch.setenv("ALIBABA_CLOUD_PROFILE", "other")
    assert asyncio.run(provider.get_credentials()).access_key_id == "LTAI-other"


def test_a_profile_with_a_token_is_found(home: Path) -> None:
    """The token comes along."""
    write_profiles(home, {**key_profile("sts"), "mode": "StsToken", "sts_token": TOKEN})
    assert found() == Credentials("LTAI-sts", SECRET, TOKEN)


def test_the_command_lines_profiles_can_be_turned_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And on again: what the official package saw at its import is no matter."""
    write_profiles(home, key_profile("default"))
    monkeypatch.setenv("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true")
    with pytest.raises(AuthenticationError) as caught:
        found()
    assert "cli credentials file is disabled" in str(caught.value.__cause__)
    monkeypatch.delenv("ALIBABA_CLOUD_CLI_PROFILE_DISABLED")
    assert found().access_key_id == "LTAI-default"


@pytest.mark.parametrize("profile", ["default", "other"])
def test_the_credentials_file_is_found(home: Path, monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    """At its usual place, and its profile by name."""
    file = home / ".alibabacloud" / "credentials.ini"
    file.parent.mkdir()
    file.write_text(f"[{profile}]\ntype = access_key\naccess_key_id = LTAI-ini\naccess_key_secret = {SECRET}\n")
    monkeypatch.setenv("ALIBABA_CLOUD_PROFILE", profile)
    assert found() == Credentials("LTAI-ini", SECRET)


def test_the_credentials_file_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ALIBABA_CLOUD_CREDENTIALS_FILE names it."""
    file = tmp_path / "elsewhere.ini"
    file.write_text(f"[default]\ntype = access_key\naccess_key_id = LTAI-else\naccess_key_secret = {SECRET}\n")
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", str(file))
    assert found().access_key_id == "LTAI-else"


def test_the_environments_key_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no file."""
    write_profiles(home, key_profile("default"))
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-env")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    assert found() == Credentials("LTAI-env", SECRET)


def test_a_key_that_left_the_environment_is_gone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the official package may have seen it at its import, not even a profile without a key gets it."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-old")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    _present_sources()
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    write_profiles(home, {"name": "empty", "mode": "AK"})
    with pytest.raises(AuthenticationError) as caught:
        found()
    assert "the access key id is empty" in str(caught.value.__cause__)


def test_a_short_token_is_fetched_once(service: Server) -> None:
    """The official package would fetch one that ends within fifteen minutes at every call."""
    provider = DefaultCredentials()

    async def ask() -> list[Credentials]:
        return [await provider.get_credentials() for _ in range(10)]

    assert asyncio.run(ask()) == [Credentials("LTAI-service", SECRET, TOKEN)] * 10
    assert service.asked == 1


def test_a_forgotten_token_is_fetched_anew(service: Server) -> None:
    """Past the official package's own memory of it."""
    service.answer = service.answer.replace(time.strftime("%Y"), "2999")
    provider = DefaultCredentials()
    asyncio.run(provider.get_credentials())
    service.answer = service.answer.replace("LTAI-service", "LTAI-fresh")
    provider.forget()
    assert asyncio.run(provider.get_credentials()).access_key_id == "LTAI-fresh"


def test_a_provider_that_answered_is_asked_alone(service: Server, home: Path) -> None:
    """As in the official chain: another provider does not take over in the middle."""
    chain = OfficialChain()
    assert chain.fetch()[0] == "LTAI-service"
    write_profiles(home, key_profile("default"))
    assert chain.fetch()[0] == "LTAI-service"
    assert OfficialChain().fetch()[0] == "LTAI-default"


def test_the_chain_is_the_official_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Type by type and in order, but for the environment's key, which we read ourselves."""
    from alibabacloud_credentials.provider import DefaultCredentialsProvider, ecs_ram_role  # noqa: PLC0415

    monkeypatch.setattr(ecs_ram_role, "BackgroundScheduler", MagicMock())
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:9/")
    for name in ("OIDC_TOKEN_FILE", "ROLE_ARN", "OIDC_PROVIDER_ARN"):
        monkeypatch.setenv(f"ALIBABA_CLOUD_{name}", "given")
    ours = _present_sources()
    official = DefaultCredentialsProvider()._DefaultCredentialsProvider__providers_chain
    assert [type(source.make()) for source in ours] == [type(provider) for provider in official[1:]]
    assert type(official[0]).__name__ == "EnvironmentVariableCredentialsProvider"


def test_no_thread_is_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official chain leaves a scheduler's thread as soon as the metadata service is not disabled."""
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")
    before = set(threading.enumerate())
    _present_sources()
    assert set(threading.enumerate()) == before


def broken_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A credentials service that is not there: the error quotes the URL."""
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", f"http://127.0.0.1:9/?token={SECRET}")
    return "ALIBABA_CLOUD_CREDENTIALS_URI: cannot be reached (Connection refused)"


def nameless_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file without a section: the parser's error quotes its line."""
    file = home / "credentials.ini"
    file.write_text(f"access_key_secret = {SECRET}\n")
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", str(file))
    return "credentials.ini: is not a profile file (MissingSectionHeaderError)"


def failing_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command that fails: the error quotes what it wrote."""
    command = f"{sys.executable} -c 'import sys; sys.exit(\"{SECRET}\")'"
    write_profiles(home, {"name": "external", "mode": "External", "process_command": command})
    return 'profile "external" (External) in '


def unreachable_oidc(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A token service out of reach: the error quotes the URL, with the token in it."""
    file = home / "token"
    file.write_text(SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", str(file))
    monkeypatch.setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r")
    monkeypatch.setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p")
    return "OIDC token (ALIBABA_CLOUD_OIDC_TOKEN_FILE): cannot be reached (Cannot connect to proxy)"


@pytest.mark.parametrize("trouble", [broken_service, nameless_file, failing_command, unreachable_oidc])
def test_trouble_is_told_without_secrets(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    trouble: Any,
) -> None:
    """Each provider's reason stands in the cause; no error, log or stream says more, whatever the official ones do."""
    reason = trouble(home, monkeypatch)
    with pytest.raises(AuthenticationError) as caught:
        found()
    assert reason in str(caught.value.__cause__)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        error = error.__cause__ or error.__context__
    assert SECRET not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_a_bad_answer_is_told_without_secrets(
    service: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The official package quotes it whole, and logs it."""
    service.status = 500
    with pytest.raises(AuthenticationError) as caught:
        found()
    cause = caught.value.__cause__
    assert "URLCredentialsProvider: error refreshing credentials from" in str(cause)
    assert SECRET not in str(cause)
    assert TOKEN not in str(cause)
    assert caplog.records == [record for record in caplog.records if record.name == "asyncio"]
    assert capfd.readouterr() == ("", "")


def test_success_is_silent(
    service: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No handler of the official package prints, and at no level does a log show the URL or what it gave."""
    found()
    assert {record.name for record in caplog.records} <= {"asyncio"}
    assert capfd.readouterr() == ("", "")


def test_other_threads_may_log_as_ever(service: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Only what a fetch makes its own thread log is dropped."""
    found()
    logging.getLogger("urllib3.connectionpool").debug("of someone else")
    assert "of someone else" in caplog.text
