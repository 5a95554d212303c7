"""Credentials of a process that runs for days: keys are rotated, tokens expire, and their source has bad minutes."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import ELSEWHERE, REGION, clock, every, failure, since

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    Credentials,
    EcsClient,
    ServiceUnavailableError,
    StaticCredentials,
    Task,
    TaskWaiter,
    ThrottledError,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.api import credentials as credentials_module
from ecs_waiter.api.credentials import DefaultCredentials
from ecs_waiter.api.official_chain import OfficialChain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator, Request

pytestmark = pytest.mark.asyncio

SECRET = "S3cr3tK3y0123456789"
OF_THE_KEY = [
    ("InvalidAccessKeyId.NotFound", 404),
    ("InvalidAccessKeyId.Inactive", 400),
    ("SignatureDoesNotMatch", 400),
    ("IncompleteSignature", 400),
    ("InvalidSecurityToken.Expired", 400),
    ("InvalidSecurityToken.Malformed", 400),
    ("SecurityTokenExpired", 400),
    ("MissingSecurityToken", 400),
    ("Forbidden.AccessKeyDisabled", 403),
    ("Unauthorized", 401),
]
OF_A_PERMISSION = [("Forbidden.RAM", 403), ("Forbidden", 403), ("NoPermission", 403), ("AccessDenied", 403)]


@pytest.fixture
def home(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, whose profile is the only source of credentials; with a provider that nobody has used."""
    for name in [name for name in os.environ if name.startswith("ALIBABA_CLOUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", REGION)
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(credentials_module, "_DEFAULT", DefaultCredentials())
    return tmp_path


def configure(home: Path, key_id: str) -> None:
    """Write the configuration of the official command line, as `aliyun configure` does."""
    profile = {"name": "default", "mode": "AK", "access_key_id": key_id, "access_key_secret": SECRET}
    file = home / ".aliyun" / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"current": "default", "profiles": [profile]}))


def configure_file(home: Path, key_id: str) -> None:
    """Write the official profile file."""
    file = home / ".alibabacloud" / "credentials.ini"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"[default]\ntype = access_key\naccess_key_id = {key_id}\naccess_key_secret = {SECRET}\n")


def key_ids(ecs: EcsEmulator) -> list[str]:
    """Who signed each request, without repetitions in a row."""
    signers = [request.access_key_id for request in ecs.requests]
    return [signer for number, signer in enumerate(signers) if number == 0 or signers[number - 1] != signer]


def signed_by(key_id: str) -> Callable[[Request], bool]:
    """Whether a key signed a request."""
    return lambda request: request.access_key_id == key_id


class Giving:
    """A provider that gives these credentials one after another, then the last of them; exceptions are raised."""

    def __init__(self, *given: Any) -> None:
        self.given = list(given)
        self.asked = 0

    async def get_credentials(self) -> Any:
        """Give the next."""
        self.asked += 1
        given = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        if isinstance(given, BaseException):
            raise given
        return given


OLD, NEW = Credentials("OLD", SECRET), Credentials("NEW", SECRET)


# -- a key that is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), OF_THE_KEY)
@pytest.mark.parametrize("write", [configure, configure_file])
async def test_a_rotated_file_is_read_again(
    virtual_ecs: EcsEmulator, home: Path, code: str, status: int, write: Callable[[Path, str], None]
) -> None:
    """A key that was rotated in a file and is refused gets one retry with the new one, which no wait notices."""
    write(home, "OLD")
    task_id = virtual_ecs.add_task(duration=10)

    def rotate(task: Task) -> None:
        if task.task_status == "Processing":
            write(home, "NEW")
            virtual_ecs.inject("refuse", code=code, status=status, where=signed_by("OLD"))

    start = clock()
    await wait_for_task(task_id, policy=every(2), on_update=rotate)
    assert key_ids(virtual_ecs) == ["OLD", "NEW"]
    assert [request.answered for request in virtual_ecs.requests].count(status) == 1
    assert since(start) <= 12


@pytest.mark.parametrize(("code", "status"), OF_THE_KEY)
async def test_a_provider_is_asked_once_more(virtual_ecs: EcsEmulator, code: str, status: int) -> None:
    """A provider of the user's is asked once more after a refusal of its key, and the new key signs the retry."""
    provider = Giving(OLD, NEW)
    virtual_ecs.inject("refuse", code=code, status=status, where=signed_by("OLD"))
    async with EcsClient(provider) as client:
        await client.describe_tasks(region_id=REGION)
    assert (key_ids(virtual_ecs), provider.asked) == (["OLD", "NEW"], 2)


@pytest.mark.parametrize(("code", "status"), OF_A_PERMISSION)
async def test_a_permission_is_not_a_key(virtual_ecs: EcsEmulator, code: str, status: int) -> None:
    """A missing permission is not retried: another key of the same user has no more."""
    provider = Giving(OLD, NEW)
    virtual_ecs.inject("refuse", code=code, status=status)
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=provider))
    assert (error.code, len(virtual_ecs.requests), provider.asked) == (code, 1, 1)


async def test_a_new_key_that_is_refused_too(virtual_ecs: EcsEmulator) -> None:
    """There is exactly one retry."""
    provider = Giving(*(Credentials(f"KEY-{number}", SECRET) for number in range(9)))
    virtual_ecs.inject("refuse", code="InvalidAccessKeyId.NotFound", status=404)
    await failure(AuthenticationError, wait_for_task("t-1", credentials=provider))
    assert [request.access_key_id for request in virtual_ecs.requests] == ["KEY-0", "KEY-1"]


async def test_an_equal_key_is_not_tried_again(virtual_ecs: EcsEmulator) -> None:
    """A provider that gives the same key again makes the refusal final, without a second call."""
    provider = Giving(OLD, Credentials("OLD", SECRET))
    virtual_ecs.inject("refuse", code="InvalidAccessKeyId.NotFound", status=404)
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=provider))
    assert (error.code, provider.asked, len(virtual_ecs.requests)) == ("InvalidAccessKeyId.NotFound", 2, 1)


async def test_static_credentials_cannot_change(virtual_ecs: EcsEmulator) -> None:
    """A refused StaticCredentials ends the wait after one call; a provider derived from it is asked again."""
    virtual_ecs.inject("refuse", code="InvalidAccessKeyId.NotFound", status=404, where=signed_by("OLD"))
    await failure(AuthenticationError, wait_for_task("t-1", credentials=StaticCredentials("OLD", SECRET)))
    assert len(virtual_ecs.requests) == 1

    class Rotating(StaticCredentials):
        keys: tuple[Credentials, ...] = (OLD, NEW)

        async def get_credentials(self) -> Credentials:
            Rotating.keys, (key, *_) = Rotating.keys[-1:], Rotating.keys
            return key

    await wait_for_task(virtual_ecs.add_task(), credentials=Rotating("UNUSED", SECRET))
    assert virtual_ecs.requests[-1].access_key_id == "NEW"


async def test_a_provider_that_has_none_after_a_refusal(virtual_ecs: EcsEmulator) -> None:
    """The refusal is raised, with the provider's own rejection as its cause."""
    gone = AuthenticationError(None, "the vault has no such key")
    virtual_ecs.inject("refuse", code="InvalidAccessKeyId.NotFound", status=404)
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Giving(OLD, gone)))
    assert error.code == "InvalidAccessKeyId.NotFound"
    assert "the vault has no such key" in str(error.__cause__)


async def test_a_source_that_cannot_be_asked_after_a_refusal(virtual_ecs: EcsEmulator) -> None:
    """The wait goes on: the key is fetched again within the outage budget."""
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400, where=signed_by("OLD"))
    provider = Giving(OLD, OSError("down"), OSError("down"), NEW)
    await wait_for_task(virtual_ecs.add_task(), credentials=provider)
    assert key_ids(virtual_ecs) == ["OLD", "NEW"]


async def test_other_regions_are_unaffected(virtual_ecs: EcsEmulator) -> None:
    """A region that refuses the key ends its own waits after the retry, and no other's."""
    near, far = virtual_ecs.add_task(duration=20), virtual_ecs.add_task(duration=20, region_id=ELSEWHERE)
    virtual_ecs.inject("refuse", code="InvalidAccessKeyId.NotFound", status=404, region_id=REGION)
    results = await wait_for_tasks(
        {REGION: [near], ELSEWHERE: [far]}, credentials=Giving(OLD, NEW), policy=every(5), return_exceptions=True
    )
    assert [type(results[near]), type(results[far])] == [AuthenticationError, Task]


@pytest.mark.parametrize("rotated", [True, False])
async def test_a_crowd_fetches_once(
    virtual_ecs: EcsEmulator, home: Path, monkeypatch: pytest.MonkeyPatch, rotated: bool
) -> None:
    """Many calls that are refused at once cost one new fetch, whether or not it gives another key."""
    fetches = []

    def fetch(chain: OfficialChain, original: Any = OfficialChain.fetch) -> Any:
        fetches.append(chain)
        return original(chain)

    monkeypatch.setattr(OfficialChain, "fetch", fetch)
    configure(home, "OLD")
    virtual_ecs.inject("refuse", code="InvalidAccessKeyId.NotFound", status=404, where=signed_by("OLD"))
    virtual_ecs.inject("delay", seconds=1)
    async with EcsClient(policy=every(1, max_in_flight=50, max_calls_per_second=1000)) as client:
        calls = [asyncio.ensure_future(client.describe_tasks(region_id=region)) for region in (REGION, ELSEWHERE) * 20]
        await asyncio.sleep(0.9)
        if rotated:
            configure(home, "NEW")
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {isinstance(outcome, AuthenticationError) for outcome in outcomes} == {not rotated}
    assert len(fetches) == 2


# -- a file that changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [configure, configure_file])
async def test_a_rotated_file_is_noticed_within_a_minute(
    virtual_ecs: EcsEmulator, home: Path, write: Callable[[Path, str], None]
) -> None:
    """The files are read again every minute, without any refusal."""
    write(home, "OLD")
    task_id = virtual_ecs.add_task(duration=200)
    waiting = asyncio.ensure_future(wait_for_task(task_id, policy=every(10)))
    await asyncio.sleep(25)
    write(home, "NEW")
    rotated_at = virtual_ecs.requests[-1].at
    await waiting
    assert key_ids(virtual_ecs) == ["OLD", "NEW"]
    first = next(request for request in virtual_ecs.requests if request.access_key_id == "NEW")
    assert (first.at - rotated_at).total_seconds() <= 60


async def test_a_file_in_the_middle_of_being_written(virtual_ecs: EcsEmulator, home: Path) -> None:
    """A file that cannot be read for a while takes nothing away: the key that is held signs on."""
    configure(home, "OLD")
    waiting = asyncio.ensure_future(wait_for_task(virtual_ecs.add_task(duration=400), policy=every(10)))
    await asyncio.sleep(25)
    (home / ".aliyun" / "config.json").write_text('{"current": "def')
    await asyncio.sleep(150)
    assert not waiting.done()
    configure(home, "NEW")
    await waiting
    assert key_ids(virtual_ecs) == ["OLD", "NEW"]


# -- a source that cannot be asked -------------------------------------------------------------------------------------


class Sidecar(http.server.ThreadingHTTPServer):
    """A credentials service on loopback, which answers as its `script` says; then with a good token."""

    def __init__(self, *script: tuple[int, str]) -> None:
        super().__init__(("127.0.0.1", 0), _SidecarHandler)
        self.script = list(script)
        self.asked = 0
        self.tokens = 0

    @property
    def url(self) -> str:
        """What ALIBABA_CLOUD_CREDENTIALS_URI says."""
        return f"http://127.0.0.1:{self.server_port}/?token={SECRET}"


class _SidecarHandler(http.server.BaseHTTPRequestHandler):
    server: Sidecar

    def do_GET(self) -> None:
        """Answer as the script says."""
        self.server.asked += 1
        status, body = self.server.script.pop(0) if self.server.script else (200, "")
        if status == 200 and not body:
            self.server.tokens += 1
            expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            keys = {"AccessKeyId": f"STS-{self.server.tokens}", "AccessKeySecret": SECRET, "SecurityToken": "token"}
            body = json.dumps({"Code": "Success", "Expiration": expires, **keys})
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def sidecar(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:
    """The only source of credentials."""
    with Sidecar() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", server.url)
        yield server
        server.shutdown()
        thread.join()


PASSING = [
    (503, "later"),
    (500, "{}"),
    (502, "<html>Bad Gateway</html>"),
    (429, ""),
    (400, json.dumps({"Code": "Throttling.User", "Message": SECRET})),
    (200, "<html>starting</html>"),
]


@pytest.mark.parametrize("answer", PASSING)
async def test_a_source_in_trouble_at_the_start(
    virtual_ecs: EcsEmulator, sidecar: Sidecar, answer: tuple[int, str]
) -> None:
    """A source that cannot be asked is asked again: the wait goes on as soon as it answers."""
    sidecar.script = [answer] * 4
    await wait_for_task(virtual_ecs.add_task())
    assert key_ids(virtual_ecs) == ["STS-1"]
    assert sidecar.asked == 5


async def test_a_call_with_a_source_in_trouble(virtual_ecs: EcsEmulator, sidecar: Sidecar) -> None:
    """Any call waits for its credentials within the budget; a start too, for nothing was sent."""
    sidecar.script = [(503, "")] * 3
    async with EcsClient() as client:
        await client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1", "OSSBucket": "b"})
    assert len(virtual_ecs.requests) == 1


async def test_a_source_that_restarts_as_the_token_expires(virtual_ecs: EcsEmulator, sidecar: Sidecar) -> None:
    """A token that expires while its source is down is renewed when the source is back."""
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400, where=signed_by("STS-1"))
    sidecar.script = [(200, ""), (503, ""), (503, ""), (503, "")]
    await wait_for_task(virtual_ecs.add_task())
    assert key_ids(virtual_ecs) == ["STS-1", "STS-2"]


async def test_a_source_that_stays_in_trouble(virtual_ecs: EcsEmulator, sidecar: Sidecar) -> None:
    """After the budget the error says that there were no credentials, why, and nothing bad of the region."""
    sidecar.script = [(503, f"secret {SECRET}")] * 1000
    start = clock()
    error = await failure(ServiceUnavailableError, wait_for_task("t-1", policy=every(5, outage_budget=100)))
    assert 100 <= since(start) <= 130
    assert "ALIBABA_CLOUD_CREDENTIALS_URI" in str(error)
    assert "HTTP status 503" in str(error)
    assert "good answer" not in str(error)
    assert SECRET not in f"{error!r} {error.__cause__!r}"
    fault = error.__cause__
    assert isinstance(fault, ServiceUnavailableError)
    assert fault.sent is False
    assert virtual_ecs.requests == []


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_source_that_refuses(virtual_ecs: EcsEmulator, sidecar: Sidecar, status: int) -> None:
    """A source that answers with a refusal has no credentials: the wait ends at once, and says which it was."""
    sidecar.script = [(status, SECRET)] * 1000
    start = clock()
    error = await failure(AuthenticationError, wait_for_task("t-1"))
    assert f"ALIBABA_CLOUD_CREDENTIALS_URI: error refreshing credentials (HTTP status {status})" in str(error)
    assert SECRET not in str(error)
    assert since(start) == 0
    assert virtual_ecs.requests == []


async def test_no_source_has_any(virtual_ecs: EcsEmulator, home: Path) -> None:
    """Where every source says that it has nothing the wait ends at once, with each reason and what to do."""
    start = clock()
    error = await failure(AuthenticationError, wait_for_task("t-1"))
    assert since(start) == 0
    for part in (
        f"{home}/.aliyun/config.json: does not exist",
        f"{home}/.alibabacloud/credentials.ini: does not exist",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "StaticCredentials(",
    ):
        assert part in str(error)
    assert virtual_ecs.requests == []


async def test_no_thread_to_fetch_with(virtual_ecs: EcsEmulator, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that can start no thread is in trouble that passes."""
    configure(home, "KEY")
    failures = [RuntimeError("can't start new thread"), MemoryError()]

    def start(thread: threading.Thread, original: Any = threading.Thread.start) -> None:
        if failures and thread.name == "ecs_waiter-credentials":
            raise failures.pop()
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    await wait_for_task(virtual_ecs.add_task())
    assert key_ids(virtual_ecs) == ["KEY"]


# -- a provider of the user's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raised",
    [
        OSError(5, "x"),
        TimeoutError("x"),
        ValueError("x"),
        ServiceUnavailableError(None, "x"),
        ThrottledError(None, "x"),
    ],
    ids=lambda raised: type(raised).__name__,
)
async def test_a_provider_in_trouble(virtual_ecs: EcsEmulator, raised: Exception) -> None:
    """What a provider raises means that it could not be asked: it is asked again within the budget."""
    await wait_for_task(virtual_ecs.add_task(), credentials=Giving(raised, raised, NEW))
    async with EcsClient(Giving(raised, NEW)) as client:
        await client.describe_tasks(region_id=REGION)
    assert key_ids(virtual_ecs) == ["NEW"]


async def test_a_provider_that_asks_for_patience(virtual_ecs: EcsEmulator) -> None:
    """A `retry_after` of what it raises is kept to."""
    start = clock()
    throttled = ThrottledError("Throttling", "x", retry_after=45)
    await wait_for_task(virtual_ecs.add_task(), credentials=Giving(throttled, NEW))
    assert since(start) >= 45


async def test_a_provider_that_is_not_async(virtual_ecs: EcsEmulator) -> None:
    """A plain function in its place is an error of the program: the wait ends at once and says so."""

    class Plain:
        def get_credentials(self) -> Credentials:
            return NEW

    start = clock()
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Plain()))  # type: ignore[arg-type]
    assert isinstance(error.__cause__, TypeError)
    assert "async def" in str(error.__cause__)
    assert since(start) == 0
    assert virtual_ecs.requests == []


async def test_a_provider_that_rejects(virtual_ecs: EcsEmulator) -> None:
    """Its own AuthenticationError is a rejection: the wait ends at once."""
    start = clock()
    async with TaskWaiter(Giving(AuthenticationError(None, "no such role"))) as waiter:
        error = await failure(ApiError, waiter.wait(["t-1"]))
    assert type(error) is AuthenticationError
    assert "no such role" in str(error)
    assert since(start) == 0
    assert virtual_ecs.requests == []
