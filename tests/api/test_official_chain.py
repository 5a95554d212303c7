"""The official providers, for real, but for what lies beyond this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.server
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import aiohttp
import pytest

from ecs_waiter import EcsClient, PollPolicy
from ecs_waiter.api import official_chain
from ecs_waiter.api.credentials import Credentials, DefaultCredentials
from ecs_waiter.api.official_chain import OfficialChain, _present_sources, is_transient
from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.errors import ApiError, AuthenticationError, ServiceUnavailableError

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
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    lead(monkeypatch, {})
    return tmp_path


def lead(monkeypatch: pytest.MonkeyPatch, ports: dict[str, int]) -> None:
    """Let connections to these hosts lead to ports of this machine, and those to other far hosts to a closed one."""
    lookup = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host in {"127.0.0.1", "localhost"}:
            return lookup(host, port, *arguments, **options)
        if port is None:  # asked for the address, and not for a connection
            return lookup(host if host[0].isdigit() else "8.8.8.8", port, *arguments, **options)
        return lookup("127.0.0.1", ports.get(host, 9), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


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

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.headers_sent: dict[str, str] = {}
        self.answer = token("service")

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
        self.server.seen.append(self.requestline.rpartition(" ")[0])
        self.server.headers.append(dict(self.headers))
        body = self.server.answer.encode()
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(body)), **self.server.headers_sent}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        """Answer as to a GET."""
        self.do_GET()

    def do_CONNECT(self) -> None:
        """Refuse a tunnel."""
        self.server.seen.append(self.requestline.rpartition(" ")[0])
        self.send_error(502)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


def token(name: str) -> str:
    """A token of ten minutes, with an access key named after its source."""
    return json.dumps(
        {
            "Code": "Success",
            "AccessKeyId": f"LTAI-{name}",
            "AccessKeySecret": SECRET,
            "SecurityToken": TOKEN,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600)),
        }
    )


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A service on loopback."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The credentials service that ALIBABA_CLOUD_CREDENTIALS_URI names, with a token of ten minutes."""
    with serving() as server:
        monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", server.url)
        yield server


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A proxy that the environment names, which gives a key of its own to whoever asks through it."""
    with serving() as server:
        server.answer = token("proxy")
        for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        yield server


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
    return "OIDC token (ALIBABA_CLOUD_OIDC_TOKEN_FILE): cannot be reached (Connection refused)"


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
    with pytest.raises(ApiError) as caught:
        found()
    assert reason in str(caught.value)
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
    with pytest.raises(ServiceUnavailableError) as caught:
        found()
    told = str(caught.value)
    assert "ALIBABA_CLOUD_CREDENTIALS_URI: error refreshing credentials (HTTP status 500)" in told
    assert SECRET not in told
    assert TOKEN not in told
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


# -- files that change -------------------------------------------------------------------------------------------------


def counting_command(home: Path, key_id: str) -> dict[str, Any]:
    """A profile whose command writes a line each time that it runs, and gives a key for an hour."""
    keys = {"mode": "StsToken", "access_key_id": key_id, "access_key_secret": SECRET, "sts_token": TOKEN}
    keys["expiration"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    script = home / f"{key_id}.py"
    script.write_text(f"print({json.dumps(keys)!r})\nopen({str(home / 'ran')!r}, 'a').write('{key_id} ')\n")
    return {"name": "default", "mode": "External", "process_command": f"{sys.executable} {script}"}


def test_a_session_that_is_good_is_kept(home: Path) -> None:
    """A command is not run again while its key is good, though the official package writes that key into the file."""
    write_profiles(home, counting_command(home, "FIRST"))
    chain = OfficialChain()
    assert [chain.fetch()[0] for _ in range(3)] == ["FIRST"] * 3
    assert (home / "ran").read_text() == "FIRST "
    write_profiles(home, counting_command(home, "SECOND"))
    assert [chain.fetch()[0] for _ in range(3)] == ["SECOND"] * 3
    assert (home / "ran").read_text() == "FIRST SECOND "


def test_another_current_profile_counts(home: Path) -> None:
    """`aliyun configure switch` counts at the next fetch."""
    write_profiles(home, key_profile("one"), key_profile("two"))
    chain = OfficialChain()
    assert chain.fetch()[0] == "LTAI-one"
    write_profiles(home, key_profile("two"), key_profile("one"))
    assert chain.fetch()[0] == "LTAI-two"


# -- sources that could not be asked -----------------------------------------------------------------------------------


class Metadata:
    """The instance's metadata service: it says what `script` says, an exception or a status; then it gives a token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from alibabacloud_credentials.provider import ecs_ram_role  # noqa: PLC0415 - slow to import
        from Tea.exceptions import RetryError  # noqa: PLC0415 - as above

        self.unreachable = RetryError("Connection to 100.100.100.200 timed out")
        self.says: int | Exception = self.unreachable
        self.role = "role"
        monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")
        monkeypatch.setattr(ecs_ram_role, "TeaCore", MagicMock(do_action=self.answer))
        monkeypatch.setattr(official_chain, "_known", set())

    def answer(self, request: Any, options: Any) -> Any:
        """Answer a request of the official package."""
        if isinstance(self.says, Exception):
            raise self.says
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        keys = {"AccessKeyId": "LTAI-role", "AccessKeySecret": SECRET, "SecurityToken": TOKEN}
        body = json.dumps({"Code": "Success", "Expiration": expires, **keys})
        is_key = request.pathname.endswith(f"/{self.role}")
        return MagicMock(status_code=self.says, body=(body if is_key else self.role).encode())


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Metadata:
    """The metadata service, out of reach at first."""
    return Metadata(monkeypatch)


def test_a_machine_off_the_cloud(metadata: Metadata) -> None:
    """Where no metadata service ever answered there is none: a refusal at once."""
    metadata.says = metadata.unreachable
    with pytest.raises(AuthenticationError, match=r"RAM role of the instance: cannot be reached \(timed out\)"):
        found()


def test_an_instance_without_a_role(metadata: Metadata) -> None:
    """A metadata service that knows no role has nothing here."""
    metadata.says = 404
    with pytest.raises(AuthenticationError, match=r"RAM role of the instance: .* \(HTTP status 404\)"):
        found()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_metadata_service_in_trouble(metadata: Metadata, status: int) -> None:
    """A metadata service that answers so exists: it is asked again, and then its silence is trouble as well."""
    metadata.says = status
    with pytest.raises(ServiceUnavailableError, match=f"HTTP status {status}") as caught:
        found()
    assert not caught.value.sent
    metadata.says = metadata.unreachable
    with pytest.raises(ServiceUnavailableError):
        found()
    metadata.says = 200
    assert found().access_key_id == "LTAI-role"


def test_a_metadata_service_that_has_answered_before(metadata: Metadata) -> None:
    """Once it has given a role's credentials its silence passes."""
    metadata.says = 200
    found()
    metadata.says = metadata.unreachable
    with pytest.raises(ServiceUnavailableError, match="RAM role of the instance: cannot be reached"):
        found()


@pytest.mark.parametrize("way", ["environment", "profile"])
def test_a_role_that_is_configured(metadata: Metadata, home: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Who names a role is on an instance: the metadata service's silence passes from the start."""
    metadata.says = metadata.unreachable
    if way == "environment":
        monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA", "role")
    else:
        monkeypatch.setattr("alibabacloud_credentials.provider.ecs_ram_role.BackgroundScheduler", MagicMock())
        write_profiles(home, {"name": "default", "mode": "EcsRamRole", "ram_role_name": "role"})
    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        found()


def test_a_source_that_stands_in(metadata: Metadata, service: Server) -> None:
    """While one source cannot be asked the next one's credentials are used, and the first is asked again."""
    metadata.says = 503
    chain = OfficialChain()
    assert chain.fetch()[0] == "LTAI-service"
    metadata.says = 200
    assert chain.fetch()[0] == "LTAI-role"


def test_a_command_that_has_worked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An external command that fails is a refusal, but one that has given a key before is in trouble that passes."""
    monkeypatch.setattr(official_chain, "_known", set())
    working = counting_command(home, "LTAI")
    failing = {**working, "process_command": f"{sys.executable} -c 'raise SystemExit(3)'"}
    write_profiles(home, failing)
    with pytest.raises(AuthenticationError):
        found()
    write_profiles(home, working)
    found()
    write_profiles(home, failing)
    with pytest.raises(ServiceUnavailableError, match="exit status 3"):
        found()


def test_trouble_that_is_local(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Too little memory, too many files or processes pass; a missing file does not."""
    passing: list[Exception] = [MemoryError(), OSError(errno.EMFILE, "x"), RuntimeError("can't start new thread")]
    passing.append(RuntimeError("cannot schedule new futures after shutdown"))
    lasting: list[Exception] = [FileNotFoundError(2, "x"), PermissionError(13, "x"), ValueError("x"), KeyError()]
    assert [is_transient(error) for error in passing + lasting] == [True] * 4 + [False] * 4
    monkeypatch.setattr(subprocess, "run", MagicMock(side_effect=OSError(errno.ENOMEM, "x")))
    write_profiles(home, counting_command(home, "LTAI"))
    with pytest.raises(ServiceUnavailableError, match="Cannot allocate memory"):
        found()


# -- why a source has none ---------------------------------------------------------------------------------------------

PAST = 1_000_000_000

BROKEN_PROFILES = [
    (
        {"mode": "CloudSSO", "access_token": SECRET, "cloud_sso_access_token_expire": PAST},
        'profile "prod" (CloudSSO) in {file}: the login has expired: log in again with `aliyun configure`',
    ),
    (
        {"mode": "CloudSSO", "access_token": SECRET},
        'profile "prod" (CloudSSO) in {file}: the profile is incomplete or malformed (TypeError): run `aliyun configure`',
    ),
    (
        {"mode": "External", "process_command": f"{sys.executable} -c 'import sys; sys.exit(\"{SECRET}\")'"},
        'profile "prod" (External) in {file}: the external command failed (exit status 1): run its process_command',
    ),
    (
        {"mode": "External", "process_command": "/nowhere/at-all"},
        'profile "prod" (External) in {file}: the external command failed (No such file or directory): run',
    ),
    (
        {"mode": "External", "process_command": f"{sys.executable} -c 'print(\"{SECRET}\")'"},
        'profile "prod" (External) in {file}: failed to parse external command output',
    ),
    (
        {"mode": "Quantum", "access_key_secret": SECRET},
        'profile "prod" (Quantum) in {file}: this mode is not supported: use one of AK, StsToken,',
    ),
    ({"mode": "AK", "access_key_id": "LTAI"}, 'profile "prod" (AK) in {file}: the access key secret is empty'),
    ({"mode": "StsToken", "access_key_id": "LTAI", "access_key_secret": SECRET}, "the security token is empty"),
]

BROKEN_FILES = [
    ('{"current": "prod",\n  "profiles": [' + SECRET, "{file}: is not JSON (line 2, column 16)"),
    ("", "{file}: is not JSON (line 1, column 1)"),
    ("[]", "{file}: is not a configuration of the official command line"),
    ('{"profiles": []}', "{file}: names no current profile"),
    ('{"current": "prod", "profiles": [{"name": "other", "mode": "AK"}]}', "{file}: has no profile 'prod'"),
]


@pytest.mark.parametrize(("profile", "words"), BROKEN_PROFILES)
def test_why_a_profile_has_none(home: Path, profile: dict[str, Any], words: str) -> None:
    """The message names the profile, its mode and what is wrong with it, and gives no secret away."""
    write_profiles(home, {"name": "prod", **profile})
    assert_told_safely(words.format(file=home / ".aliyun" / "config.json"))


@pytest.mark.parametrize(("text", "words"), BROKEN_FILES)
def test_why_a_file_has_none(home: Path, text: str, words: str) -> None:
    """The message names the file and what is wrong with it, and quotes nothing of it."""
    file = home / ".aliyun" / "config.json"
    file.parent.mkdir()
    file.write_text(text)
    assert_told_safely(words.format(file=file))


def assert_told_safely(words: str) -> None:
    """The error of a fetch has these words and no secret."""
    with pytest.raises(AuthenticationError) as caught:
        found()
    assert words in str(caught.value)
    assert "To fix it, set ALIBABA_CLOUD_ACCESS_KEY_ID" in str(caught.value)
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_service_that_refuses_says_why(service: Server) -> None:
    """The status and the code of a source's answer are shown, and nothing else of it."""
    service.status = 403
    service.answer = json.dumps({"Code": "EntityNotExist.Role", "Message": SECRET, "RequestId": TOKEN})
    assert_told_safely(
        "ALIBABA_CLOUD_CREDENTIALS_URI: error refreshing credentials (HTTP status 403, EntityNotExist.Role)"
    )


# -- proxies of the environment ----------------------------------------------------------------------------------------

ANY_TRUST = pytest.mark.parametrize("trust_env", [False, True])


def fetched(*, trust_env: bool) -> str:
    """The ID of the key that a new default provider finds."""
    provider = DefaultCredentials(chain=partial(OfficialChain, trust_env=trust_env))
    return asyncio.run(provider.get_credentials()).access_key_id


@ANY_TRUST
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_credentials_service_on_this_machine_is_asked_directly(
    service: Server, proxy: Server, monkeypatch: pytest.MonkeyPatch, host: str, trust_env: bool
) -> None:
    """No proxy sees its keys or supplies its own, even where the proxies of the environment are used."""
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", service.url.replace("127.0.0.1", host))
    assert fetched(trust_env=trust_env) == "LTAI-service"
    assert (proxy.seen, service.asked) == ([], 1)


@ANY_TRUST
def test_the_metadata_service_is_asked_directly(
    proxy: Server, monkeypatch: pytest.MonkeyPatch, trust_env: bool
) -> None:
    """The keys of an instance's role cross no proxy."""
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA", "role")
    with serving() as metadata:
        lead(monkeypatch, {"100.100.100.200": metadata.server_port})
        assert fetched(trust_env=trust_env) == "LTAI-service"
        assert [line.partition(" ")[2] for line in metadata.seen] == [
            "/latest/api/token",
            "/latest/meta-data/ram/security-credentials/role",
        ]
    assert proxy.seen == []


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1", "inner.example"]
)
def test_a_private_address_is_asked_directly(proxy: Server, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """So is a name that leads to one."""
    with serving() as service:
        lead(monkeypatch, {host: service.server_port})
        lookup = socket.getaddrinfo

        def getaddrinfo(name: Any, port: Any, *arguments: Any, **options: Any) -> Any:
            inner = name == "inner.example" and port is None
            return lookup("10.1.2.3" if inner else name, port, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", f"http://{host}/")
        assert fetched(trust_env=True) == "LTAI-service"
    assert proxy.seen == []


@pytest.mark.parametrize(("trust_env", "excluded"), [(False, ""), (True, "far.example")])
def test_a_far_service_is_asked_directly(
    proxy: Server, monkeypatch: pytest.MonkeyPatch, trust_env: bool, excluded: str
) -> None:
    """Without trust_env the environment's proxies are not used, and NO_PROXY is obeyed with it."""
    monkeypatch.setenv("NO_PROXY", excluded)
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", "http://far.example/")
    with serving() as service:
        lead(monkeypatch, {"far.example": service.server_port})
        assert fetched(trust_env=trust_env) == "LTAI-service"
    assert proxy.seen == []


def test_a_far_service_is_asked_through_a_trusted_proxy(proxy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With trust_env the environment's proxy is used, with its login."""
    monkeypatch.setenv("HTTP_PROXY", f"http://me:{SECRET}@127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", "http://far.example/keys")
    assert fetched(trust_env=True) == "LTAI-proxy"
    assert proxy.seen == ["GET http://far.example/keys"]
    assert proxy.headers[0]["Proxy-Authorization"].startswith("Basic ")


@ANY_TRUST
def test_a_token_service_and_proxies(
    home: Path, proxy: Server, monkeypatch: pytest.MonkeyPatch, trust_env: bool
) -> None:
    """A security token is fetched through a tunnel with trust_env, and directly without."""
    unreachable_oidc(home, monkeypatch)
    with pytest.raises(ServiceUnavailableError, match=r"OIDC token .*: cannot be reached"):
        fetched(trust_env=trust_env)
    assert proxy.seen == (["CONNECT sts.aliyuncs.com:443"] if trust_env else [])


def test_a_refresh_in_a_thread_of_the_package_uses_no_proxy(service: Server, proxy: Server) -> None:
    """A provider that has been asked by us goes past the proxy from any thread."""
    chain = OfficialChain()
    chain.fetch()
    (source,) = chain._sources
    source._provider._refresh_credentials()
    assert (proxy.seen, service.asked) == ([], 2)


def test_the_packages_own_use_stays_as_it_is(service: Server, proxy: Server) -> None:
    """A program that asks the official package itself gets what that package does with proxies."""
    from alibabacloud_credentials.provider import URLCredentialsProvider  # noqa: PLC0415 - slow to import

    found()
    provider = URLCredentialsProvider(uri=service.url)
    assert provider.get_credentials().get_access_key_id() == "LTAI-proxy"


def test_a_redirect_is_not_followed(service: Server) -> None:
    """A service that leads elsewhere gives no credentials."""
    service.status = 302
    service.headers_sent = {"Location": "http://127.0.0.1:9/"}
    with pytest.raises(AuthenticationError, match="HTTP status 302"):
        found()
    assert service.asked == 1


@pytest.mark.parametrize("way", ["argument", "session"])
def test_who_trusts_the_environment(proxy: Server, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The credentials of a client use the environment's proxies if the client does, by trust_env or by its session."""
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", "http://far.example/keys")

    async def ask() -> list[int]:
        keys = []
        async with EcsEmulator() as ecs, aiohttp.ClientSession(trust_env=True) as session:
            trusting = {"trust_env": True} if way == "argument" else {"session": session}
            for options in ({}, trusting):
                async with EcsClient(None, ecs.url, PollPolicy(outage_budget=0), **options) as client:
                    with contextlib.suppress(ApiError):
                        await client.describe_tasks(task_ids=["t-1"], region_id="cn-hangzhou")
                keys.append(len(proxy.seen))
        return keys

    assert asyncio.run(ask()) == [0, 1]
