"""The proxies of the environment, over a real CONNECT proxy on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from support.proxying import Proxy

from ecs_waiter import (
    EcsClient,
    EcsWaiterError,
    PollPolicy,
    ServiceUnavailableError,
    StaticCredentials,
    TaskWaiter,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.emulator import EcsEmulator

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import trustme

    ServeTls = Callable[[EcsEmulator, trustme.LeafCert], AbstractAsyncContextManager[str]]
    Setting = tuple[EcsEmulator, str, Proxy]

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("own_sessions_trust")]

REGION = "cn-hangzhou"
CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")
ONE_TRY = PollPolicy(outage_budget=0, call_timeout=10)
PASSWORD = "p@ss/w:rd-example"
ENCODED = "p%40ss%2Fw%3Ard-example"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@contextlib.asynccontextmanager
async def _setting(ca: trustme.CA, serve_tls: ServeTls) -> AsyncIterator[Setting]:
    ecs = EcsEmulator()
    ecs.add_task(task_id="t-1")
    async with serve_tls(ecs, ca.issue_cert("127.0.0.1")) as url, Proxy().listening() as proxy:
        yield ecs, url, proxy


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""], ids=["URL", "host and port"])
async def test_a_wait_through_a_proxy(
    ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    """With trust_env=True a wait goes through the proxy that a variable names, and no signature is seen there."""
    async with _setting(ca, serve_tls) as (ecs, url, proxy):
        monkeypatch.setenv(name, f"{scheme}127.0.0.1:{proxy.port}")
        task = await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, endpoint=url, trust_env=True)
        assert task.task_status == "Finished"
        assert proxy.asked == [f"CONNECT {url.removeprefix('https://')} HTTP/1.1"]
        assert "authorization" not in proxy.headers[0]
        assert len(ecs.requests) == 1


async def test_calls_share_a_tunnel(ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of a client use one connection through the proxy, with a login too."""
    async with _setting(ca, serve_tls) as (ecs, url, proxy):
        proxy.login = BASIC
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{ENCODED}@127.0.0.1:{proxy.port}")
        async with EcsClient(CREDENTIALS, url, trust_env=True) as client:
            for _ in range(3):
                await client.describe_tasks(region_id=REGION)
        assert len(proxy.asked) == 1
        assert len(ecs.requests) == 3
        assert all("proxy-authorization" not in request.headers for request in ecs.requests)


async def test_not_by_itself(ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without trust_env no proxy is used."""
    async with _setting(ca, serve_tls) as (_, url, proxy):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, endpoint=url)
        async with EcsClient(CREDENTIALS, url, trust_env=False) as client:
            await client.describe_tasks(region_id=REGION)
        assert proxy.asked == []


@pytest.mark.parametrize("excluded", ["127.0.0.1", "example.com, 127.0.0.1", "*", "127.0.0.1:{port}"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
async def test_no_proxy(
    ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch, name: str, excluded: str
) -> None:
    """A host that NO_PROXY names is called directly; the proxy need not even be usable."""
    async with _setting(ca, serve_tls) as (ecs, url, proxy):
        monkeypatch.setenv(name, excluded.format(port=url.rpartition(":")[2]))
        for value in (proxy.url, "socks5://127.0.0.1:1"):
            monkeypatch.setenv("HTTPS_PROXY", value)
            async with TaskWaiter(CREDENTIALS, url, trust_env=True) as waiter:
                await waiter.wait(["t-1"], region_id=REGION)
        assert proxy.asked == []
        assert len(ecs.requests) == 2


async def test_no_proxy_names_another_host(
    ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY with other hosts or another port excludes nothing."""
    async with _setting(ca, serve_tls) as (_, url, proxy):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.2,example.com,127.0.0.1:1")
        await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, endpoint=url, trust_env=True)
        assert len(proxy.asked) == 1


async def test_a_refusal_that_passes(ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait retries while the proxy refuses."""
    async with _setting(ca, serve_tls) as (_, url, proxy):
        proxy.refusals = [(503, "Busy"), (502, "Bad Gateway")]
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, endpoint=url, trust_env=True)
        assert len(proxy.asked) == 3


@pytest.mark.parametrize(
    "refusal", [(407, "put the user and the password into the proxy's URL"), (403, "does not allow")], ids=str
)
async def test_a_refusal_that_stays(
    ca: trustme.CA,
    serve_tls: ServeTls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refusal: tuple[int, str],
) -> None:
    """The error names proxy and status and says what to do; it never shows the login, though the proxy repeats it."""
    caplog.set_level(logging.DEBUG)
    status, advice = refusal
    async with _setting(ca, serve_tls) as (ecs, url, proxy):
        proxy.refusals = [(status, f"No me:{PASSWORD} {ENCODED} {BASIC}")] * 4
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{ENCODED}@127.0.0.1:{proxy.port}")
        async with TaskWaiter(CREDENTIALS, url, ONE_TRY, trust_env=True) as waiter:
            with pytest.raises(ServiceUnavailableError) as caught:
                await waiter.wait(["t-1"], region_id=REGION)
            with pytest.raises(ServiceUnavailableError) as not_started:
                await waiter.client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
        assert proxy.headers[0]["Proxy-Authorization"] == f"Basic {BASIC}"
    for part in (f"through the proxy 127.0.0.1:{proxy.port}", str(status), advice):
        assert part in str(caught.value)
    assert not not_started.value.sent
    assert ecs.requests == []
    _assert_no_login(caught.value, caplog)
    _assert_no_login(not_started.value, caplog)


async def test_a_proxy_that_does_not_listen(
    ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the proxy that cannot be reached, without its login."""
    caplog.set_level(logging.DEBUG)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{ENCODED}@127.0.0.1:{port}")
        async with (
            _setting(ca, serve_tls) as (_, url, _proxy),
            EcsClient(CREDENTIALS, url, ONE_TRY, trust_env=True) as client,
        ):
            with pytest.raises(ServiceUnavailableError) as caught:
                await client.call("ExportImage", region_id=REGION, params={"ImageId": "m-1"})
    assert f"through the proxy 127.0.0.1:{port}: ClientProxyConnectionError" in str(caught.value)
    assert not caught.value.sent
    _assert_no_login(caught.value, caplog)


async def test_the_login_of_a_sessions_proxy(
    ca: trustme.CA, serve_tls: ServeTls, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """The login of a proxy that the user's session has does not show either."""
    caplog.set_level(logging.DEBUG)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = f"http://me:{ENCODED}@127.0.0.1:{unused.getsockname()[1]}"
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with (
            _setting(ca, serve_tls) as (_, url, _proxy),
            aiohttp.ClientSession(connector=connector, proxy=proxy) as session,
            EcsClient(CREDENTIALS, url, ONE_TRY, session) as client,
        ):
            with pytest.raises(ServiceUnavailableError) as caught:
                await client.describe_tasks(region_id=REGION)
    _assert_no_login(caught.value, caplog)


def _assert_no_login(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    links: list[BaseException | None] = [error]
    words = caplog.text
    while links:
        link = links.pop()
        if link is not None:
            links += [link.__cause__, link.__context__]
            words += f"{link}\n{link!r}\n{link.args}\n"
    for secret in (PASSWORD, ENCODED, BASIC):
        assert secret not in words


async def test_plain_http_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain http endpoint on loopback goes through a proxy on loopback, and through no other."""
    async with EcsEmulator() as ecs, Proxy().listening() as proxy:
        ecs.add_task(task_id="t-1")
        proxy.login = BASIC
        for host in (f"me:{ENCODED}@127.0.0.1", "192.0.2.1"):
            monkeypatch.setenv("HTTP_PROXY", f"http://{host}:{proxy.port}")
            async with TaskWaiter(CREDENTIALS, ecs.url, ONE_TRY, trust_env=True) as waiter:
                await waiter.wait(["t-1"], region_id=REGION)
        assert len(ecs.requests) == 2
        assert len(proxy.asked) == 1


UNUSABLE = [
    "socks5://127.0.0.1:1080",
    f"socks5h://me:{ENCODED}@127.0.0.1:1080",
    "ftp://127.0.0.1:21",
    "http://",
    "http://:3128",
    "http://proxy.example:port",
    "http://proxy.example:99999",
    f"http://me:{ENCODED}@proxy.example:99999",
]


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("make", [TaskWaiter, EcsClient])
async def test_a_proxy_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, make: type[TaskWaiter | EcsClient], value: str
) -> None:
    """A proxy that cannot be used is a ValueError before any call, which names the variable and not its value."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ValueError, match="HTTPS_PROXY takes the URL of an http or https proxy") as caught:
        make(CREDENTIALS, trust_env=True)
    assert ENCODED not in str(caught.value)
    assert ("SOCKS" in str(caught.value)) == value.startswith("socks")
    make(CREDENTIALS)


async def test_a_proxy_that_cannot_be_used_for_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only some hosts need a proxy that cannot be used, waits there are an error at once."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "ecs-cn-hangzhou.aliyuncs.com")
    async with TaskWaiter(CREDENTIALS, trust_env=True) as waiter:
        with pytest.raises(EcsWaiterError, match="HTTPS_PROXY takes the URL") as caught:
            await waiter.wait(["t-1"], region_id="us-west-1")
    assert not isinstance(caught.value, ServiceUnavailableError)


async def test_together_with_a_session() -> None:
    """trust_env=True and a session exclude each other; trust_env is a bool."""
    async with aiohttp.ClientSession() as session:
        for make in (TaskWaiter, EcsClient):
            with pytest.raises(ValueError, match=r"trust_env=True and session="):
                make(CREDENTIALS, session=session, trust_env=True)
            make(CREDENTIALS, session=session, trust_env=False)
            with pytest.raises(TypeError, match="trust_env takes True or False, not int"):
                make(CREDENTIALS, trust_env=1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"trust_env=True and session="):
            await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, session=session, trust_env=True)
    with pytest.raises(TypeError, match="trust_env takes True or False, not str"):
        await wait_for_tasks(["t-1"], region_id=REGION, credentials=CREDENTIALS, trust_env="yes")  # type: ignore[call-overload]


async def test_waits_with_and_without_share_nothing(
    ca: trustme.CA, serve_tls: ServeTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits with different trust_env go their own ways; those with the same share their polls."""
    async with _setting(ca, serve_tls) as (ecs, url, proxy):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

        async def wait(*, trust_env: bool) -> None:
            await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, endpoint=url, trust_env=trust_env)

        await asyncio.gather(wait(trust_env=True), wait(trust_env=False), wait(trust_env=True), wait(trust_env=False))
        assert len(proxy.asked) == 1
        assert len(ecs.requests) == 2


# -- where a proxy is set but not used --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1:{port}"], ids=["name", "refused"])
async def test_a_proxy_that_is_not_used(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """An error about the connection says that a proxy is set but not used, and how to use it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"https://{host.format(port=unused.getsockname()[1])}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{ENCODED}@proxy.example:3128")

        async def words(session: aiohttp.ClientSession | None = None) -> str:
            with pytest.raises(ServiceUnavailableError) as caught:
                await wait_for_task(
                    "t-1",
                    region_id=REGION,
                    credentials=CREDENTIALS,
                    endpoint=endpoint,
                    policy=ONE_TRY,
                    session=session,
                )
            return str(caught.value)

        own = await words()
        assert "HTTPS_PROXY is set but not used: pass trust_env=True (command: --proxy-from-env)" in own
        assert ENCODED not in own
        async with aiohttp.ClientSession() as session:
            assert "HTTPS_PROXY is set but not used: make your session with proxy=..." in await words(session)
        monkeypatch.setenv("NO_PROXY", "nowhere.invalid,127.0.0.1")
        assert "HTTPS_PROXY" not in await words()


async def test_other_faults_name_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that was reached but failed, or whose certificate is bad, is not blamed on a proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")
    async with EcsEmulator() as ecs:
        ecs.inject("reset", when="middle")
        with pytest.raises(ServiceUnavailableError) as caught:
            await wait_for_task("t-1", region_id=REGION, credentials=CREDENTIALS, endpoint=ecs.url, policy=ONE_TRY)
    assert "PROXY" not in str(caught.value)


# -- programs ---------------------------------------------------------------------------------------------------------


async def _program(*arguments: str, **variables: str) -> tuple[int | None, str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "test", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "test"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**kept, **keys, "PYTHONWARNINGS": "error", **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("options", "variable"), [(["--proxy-from-env"], ""), ([], "1"), ([], "true")], ids=["option", "1", "true"]
)
async def test_the_command(
    ca: trustme.CA, serve_tls: ServeTls, tmp_path: Path, options: list[str], variable: str
) -> None:
    """The command goes through the proxy by its option or by ECS_WAITER_TRUST_ENV: waits and single calls."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with _setting(ca, serve_tls) as (_, url, proxy):
        proxy.login = BASIC
        variables = {
            "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
            "ECS_WAITER_ENDPOINT": url,
            "HTTPS_PROXY": f"http://me:{ENCODED}@127.0.0.1:{proxy.port}",
            "HOME": str(tmp_path),
            "ECS_WAITER_TRUST_ENV": variable,
        }
        for number, words in enumerate((["wait", "t-1"], ["show", "t-1"], ["list"]), 1):
            code, out, err = await _program(
                "-m", "ecs_waiter.cli", *words, "--region", REGION, "--debug", *options, **variables
            )
            assert code == 0, err
            assert "t-1" in out
            assert len(proxy.asked) == number
            for secret in (PASSWORD, ENCODED, BASIC):
                assert secret not in out + err
        code, _, err = await _program("-m", "ecs_waiter.cli", *options, "list", "--region", REGION, **variables)
        assert code == 0, err
        assert len(proxy.asked) == 4


async def test_the_command_says_what_to_do(tmp_path: Path) -> None:
    """The command says how to use a proxy, and refuses one that cannot be used as invalid usage."""
    variables = {
        "ECS_WAITER_ENDPOINT": "https://nowhere.invalid",
        "HTTPS_PROXY": f"socks5://me:{ENCODED}@127.0.0.1:1",
        "HOME": str(tmp_path),
    }
    wait = ("-m", "ecs_waiter.cli", "wait", "t-1", "--region", REGION, "--outage-budget", "0")
    code, _, err = await _program(*wait, "--proxy-from-env", **variables)
    assert code == 2
    assert "HTTPS_PROXY takes the URL of an http or https proxy" in err
    assert ENCODED not in err
    variables["HTTPS_PROXY"] = "http://proxy.example:3128"
    code, _, err = await _program(*wait, **variables)
    assert code == 3
    assert "the name nowhere.invalid cannot be resolved" in err
    assert "HTTPS_PROXY is set but not used: add --proxy-from-env" in err
    code, _, err = await _program(*wait, **variables, ECS_WAITER_TRUST_ENV="perhaps")
    assert code == 2
    assert "perhaps" in err


async def test_blocking(ca: trustme.CA, serve_tls: ServeTls, tmp_path: Path) -> None:
    """The blocking functions go through the proxy with trust_env=True, and directly without."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    program = str(Path(__file__).parent / "blocking_proxied.py")
    async with _setting(ca, serve_tls) as (ecs, url, proxy):
        code, out, err = await _program(
            program, url, SSL_CERT_FILE=str(tmp_path / "ca.pem"), HTTPS_PROXY=proxy.url, HOME=str(tmp_path)
        )
        assert code == 0, err
        assert json.loads(out) == {"True": ["Finished", "Finished"], "False": ["Finished", "Finished"]}
        assert len(proxy.asked) == 2
        assert len(ecs.requests) == 4
