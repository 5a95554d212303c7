"""Logs wide open, crashes and forgotten errors: what a program prints by itself on a bad day holds no secret either."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import traceback
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from aiohttp import web
from support.helpers import every
from support.telling import CREDENTIALS, SECRET, TOKEN, forms, told_of

from ecs_waiter import (
    AuthenticationError,
    Credentials,
    EcsWaiterError,
    ServiceUnavailableError,
    TaskWaiter,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.polling.notifier import Notifier
from ecs_waiter.polling.poller import RegionPoller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("bad_gzip", {}),
    ("body", {"content": "no"}),
    ("reset", {"when": "middle"}),
    ("reset", {}),
    ("status", {"status": 500}),
    ("throttle", {}),
    ("truncate", {}),
]


@pytest.fixture
def all_logs() -> Iterator[io.StringIO]:
    """Every record of every logger, written as a log file would have it, tracebacks too."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(pathname)s %(funcName)s"))
    root = logging.getLogger()
    names = [
        "aiohttp.access",
        "aiohttp.client",
        "aiohttp.internal",
        "aiohttp.server",
        "asyncio",
        "ecs_waiter",
        "tenacity",
    ]
    loggers = [root, *map(logging.getLogger, names)]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(1)
    yield written
    root.removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def secrets_in(text: str, ecs: EcsEmulator) -> list[str]:
    """The secrets that a text tells, and the signatures of the requests that came."""
    signatures = {request.headers["authorization"].rpartition("=")[2] for request in ecs.requests}
    return [form for form in forms(SECRET, TOKEN) | signatures if form in text]


async def test_asyncio_in_debug_mode(virtual_ecs: EcsEmulator, all_logs: io.StringIO) -> None:
    """With asyncio's debug mode telling every step it takes, on a day of faults, no record holds a secret."""
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0
    ids = [virtual_ecs.add_task(duration=20), virtual_ecs.add_task(outcome="Failed", error=("A", "b"))]
    for kind, settings in FAULTS:
        virtual_ecs.inject(kind, times=1, **settings)
    loop.set_debug(True)
    try:
        outcome = await wait_for_tasks(ids, credentials=CREDENTIALS, policy=every(1), return_exceptions=True)
    finally:
        loop.set_debug(False)
    written = all_logs.getvalue()
    assert "asyncio WARNING Executing" in written
    assert "ecs_waiter.api DEBUG DescribeTasks" in written
    assert len(virtual_ecs.requests) > len(FAULTS)
    assert secrets_in(written + told_of(outcome), virtual_ecs) == []


async def test_errors_nobody_looks_at(virtual_ecs: EcsEmulator, all_logs: io.StringIO) -> None:
    """What asyncio writes of a future whose error nobody took holds no secret."""
    virtual_ecs.inject("refuse", message=f"no {SECRET} nor {TOKEN}")
    async with TaskWaiter(CREDENTIALS) as waiter:
        futures = [waiter.submit(virtual_ecs.add_task()) for _ in range(3)]
        await asyncio.wait(futures)
    del futures
    gc.collect()
    assert "exception was never retrieved" in all_logs.getvalue()
    assert "AuthenticationError" in all_logs.getvalue()
    assert secrets_in(all_logs.getvalue(), virtual_ecs) == []


@pytest.mark.parametrize(
    ("of", "place"),
    [(RegionPoller, "_apply"), (RegionPoller, "_apply_fault"), (RegionPoller, "_pass_limiter"), (Notifier, "changed")],
)
async def test_a_poller_that_crashes(virtual_ecs: EcsEmulator, all_logs: io.StringIO, of: type, place: str) -> None:
    """Should our own code raise, its traceback and its log hold no secret, and the wait ends."""
    virtual_ecs.inject("status", times=1)
    with mock.patch.object(of, place, side_effect=ZeroDivisionError("crash")):
        (outcome,) = await asyncio.gather(
            wait_for_task(virtual_ecs.add_task(), credentials=CREDENTIALS, policy=every(1)), return_exceptions=True
        )
    assert isinstance(outcome, EcsWaiterError)
    assert isinstance(outcome.__cause__, ZeroDivisionError)
    assert "ecs_waiter.polling ERROR polling" in all_logs.getvalue()
    assert secrets_in(all_logs.getvalue() + told_of(outcome), virtual_ecs) == []


class _Provider:
    """A provider of the user's own, which fails with its secrets in its mouth."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def get_credentials(self) -> Credentials:
        raise self._error


@pytest.mark.parametrize("error", [ValueError(SECRET), OSError(5, SECRET), KeyError(TOKEN)])
async def test_a_provider_that_blurts(virtual_ecs: EcsEmulator, all_logs: io.StringIO, error: Exception) -> None:
    """What a provider's own error says stands in that error alone, which is the fault's cause: not in ours or a log."""
    (outcome,) = await asyncio.gather(
        wait_for_task(virtual_ecs.add_task(), credentials=_Provider(error)), return_exceptions=True
    )
    assert isinstance(outcome, ServiceUnavailableError)
    fault = outcome.__cause__
    assert isinstance(fault, ServiceUnavailableError)
    assert fault.__cause__ is error
    assert (
        secrets_in(
            f"{fault} {fault!r} {fault.args} {outcome} {outcome!r} {outcome.args} {all_logs.getvalue()}", virtual_ecs
        )
        == []
    )


async def test_the_chain_and_a_talkative_server(
    ecs_emulator: EcsEmulator, all_logs: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a credentials server answers, and the token in its address, are in no error and no log."""

    async def talk(request: web.BaseRequest) -> web.Response:
        return web.json_response({"Code": "Fail", "Message": f"{TOKEN} {request.rel_url}", "AccessKeySecret": SECRET})

    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET"):
        monkeypatch.delenv(f"ALIBABA_CLOUD_{name}")
    monkeypatch.setenv("HOME", str(tmp_path))
    runner = web.ServerRunner(web.Server(talk, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_URI", f"http://{host}:{port}/?password={SECRET}")
    try:
        (outcome,) = await asyncio.gather(wait_for_task("t-1"), return_exceptions=True)
    finally:
        await runner.cleanup()
    assert isinstance(outcome, AuthenticationError)
    assert "ALIBABA_CLOUD_CREDENTIALS_URI: error retrieving credentials" in told_of(outcome)
    assert secrets_in(all_logs.getvalue() + told_of(outcome), ecs_emulator) == []


async def test_tracebacks_of_a_group(virtual_ecs: EcsEmulator) -> None:
    """The traceback of many failures together, with all that caused them, holds no secret."""
    virtual_ecs.inject("refuse", region_id="us-west-1", message=f"{TOKEN}")
    bad = virtual_ecs.add_task(outcome="Failed", error=("A", f"b {SECRET}"))
    asked = {"cn-hangzhou": [bad], "us-west-1": [virtual_ecs.add_task(region_id="us-west-1")]}
    with pytest.raises(ExceptionGroup) as failed:
        await wait_for_tasks(asked, credentials=CREDENTIALS)
    written = "".join(traceback.format_exception(failed.value))
    assert "TaskFailedError" in written
    assert "AuthenticationError" in written
    assert secrets_in(written, virtual_ecs) == []
