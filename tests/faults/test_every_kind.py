"""Every fault of the emulator, over real sockets, plain and with TLS: a temporary one is retried, a lasting one is reported."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from tenacity import wait_fixed

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    PollPolicy,
    ServiceUnavailableError,
    StaticCredentials,
    Task,
    TaskCanceledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskWaiter,
    WaitTimeoutError,
)
from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.emulator.faults.injection import KINDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import trustme

    Service = Callable[[PollPolicy], AbstractAsyncContextManager[tuple[EcsEmulator, TaskWaiter]]]
    ServeTls = Callable[[EcsEmulator, trustme.LeafCert], AbstractAsyncContextManager[str]]

pytestmark = pytest.mark.asyncio

REGION = "cn-hangzhou"
KEY = ("example-key-id", "example-key-secret", "example-token")
OUTCOMES = {"t-finished": Task, "t-failed": TaskFailedError, "t-canceled": TaskCanceledError}
POLICY = PollPolicy(wait=wait_fixed(0.02), outage_budget=30, max_calls_per_second=1000, not_found_grace=30)
# An outage is waited for really, and a grace too.
IMPATIENT = replace(POLICY, outage_budget=0.1, not_found_grace=0.05)


def _quick(policy: PollPolicy, kind: str) -> PollPolicy:
    """A call that hangs is waited for as well; no other may be given up on a busy machine."""
    return replace(policy, call_timeout=0.2) if kind == "hang" else policy


class Case(NamedTuple):
    """How a kind is injected, and the error of every task if the fault stays; None if there is none."""

    settings: dict[str, Any]
    if_it_stays: type[BaseException] | None


def _no_tasks(fields: dict[str, Any]) -> dict[str, Any]:
    return {"RequestId": fields["RequestId"]}


CASES = {
    "backwards": Case({}, None),  # see test_a_status_that_never_moves_on
    "bad_gzip": Case({}, ServiceUnavailableError),
    "body": Case({"content": "<html>sorry</html>"}, ServiceUnavailableError),
    "clock": Case({"offset": 7200}, None),
    "cut_short": Case({"rows": 0}, ServiceUnavailableError),
    "delay": Case({"seconds": 0.03}, None),
    "double": Case({}, None),
    "drip": Case({"size": 300, "pause": 0.01}, None),
    "drop": Case({}, TaskNotFoundError),
    "endless": Case({}, ServiceUnavailableError),
    "foreign": Case({"rows": 500}, None),
    "hang": Case({}, ServiceUnavailableError),
    "old_shape": Case({}, None),
    "quota": Case({"calls": 1, "per": 0.1}, None),
    "ratelimit": Case({}, None),
    "refuse": Case({}, AuthenticationError),
    "reject": Case({"task_id": "t-finished"}, ApiError),
    "reset": Case({"when": "middle"}, ServiceUnavailableError),
    "rewrite": Case({"change": _no_tasks}, ServiceUnavailableError),
    "status": Case({"status": 502, "body": "html"}, ServiceUnavailableError),
    "throttle": Case({"retry_after": 0.05}, ServiceUnavailableError),
    "truncate": Case({}, ServiceUnavailableError),
    "unreadable": Case({}, ServiceUnavailableError),
}


async def test_no_kind_is_forgotten() -> None:
    """Each kind that the emulator has is tried here."""
    assert set(CASES) == set(KINDS)


@pytest.fixture(params=["plain", "TLS"])
def service(request: pytest.FixtureRequest, ca: trustme.CA, trusting: ssl.SSLContext, serve_tls: ServeTls) -> Service:
    """An emulator that checks signatures, over a real socket, and a waiter that asks it."""

    @contextlib.asynccontextmanager
    async def serving(policy: PollPolicy) -> AsyncIterator[tuple[EcsEmulator, TaskWaiter]]:
        async with contextlib.AsyncExitStack() as stack:
            ecs = await stack.enter_async_context(EcsEmulator(key_pairs=[KEY]))
            url, session = ecs.url, None
            if request.param == "TLS":
                url = await stack.enter_async_context(serve_tls(ecs, ca.issue_cert("127.0.0.1")))
                connector = aiohttp.TCPConnector(ssl=trusting)
                session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            ecs.add_task(task_id="t-finished", duration=0.05)
            ecs.add_task(task_id="t-failed", duration=0.05, outcome="Failed", error=("A.B", "why"))
            ecs.add_task(task_id="t-canceled", duration=0.05, outcome="Deleted")
            waiter = TaskWaiter(StaticCredentials(*KEY), url, policy, session)
            yield ecs, await stack.enter_async_context(waiter)

    return serving


async def _outcomes(waiter: TaskWaiter) -> dict[str, type]:
    results = await waiter.wait(list(OUTCOMES), region_id=REGION, return_exceptions=True)
    return {task_id: type(result) for task_id, result in results.items()}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"refuse", "reject"}))
async def test_one_that_passes(service: Service, kind: str) -> None:
    """After two hits every task has its own outcome."""
    async with service(_quick(POLICY, kind)) as (ecs, waiter):
        injection = ecs.inject(kind, times=2, action="DescribeTasks", **CASES[kind].settings)
        assert await _outcomes(waiter) == OUTCOMES
        assert injection.hits > 0


@pytest.mark.parametrize(
    "kind", [kind for kind in sorted(KINDS) if CASES[kind].if_it_stays is None and kind != "backwards"]
)
async def test_one_that_does_no_harm(service: Service, kind: str) -> None:
    """A lasting fault that slows the answers, or adds to them, does not change any outcome."""
    async with service(_quick(POLICY, kind)) as (ecs, waiter):
        injection = ecs.inject(kind, action="DescribeTasks", **CASES[kind].settings)
        assert await _outcomes(waiter) == OUTCOMES
        assert injection.hits > 0


@pytest.mark.parametrize("kind", [kind for kind in sorted(KINDS) if CASES[kind].if_it_stays is not None])
async def test_one_that_stays(service: Service, kind: str) -> None:
    """A lasting fault is reported as what it is, for every task that it hits and for no other."""
    expected = CASES[kind].if_it_stays
    async with service(_quick(IMPATIENT, kind)) as (ecs, waiter):
        injection = ecs.inject(kind, action="DescribeTasks", **CASES[kind].settings)
        outcomes = await _outcomes(waiter)
        assert injection.hits > 0
    hit = ["t-finished"] if kind == "reject" else list(OUTCOMES)
    assert outcomes == {**OUTCOMES, **dict.fromkeys(hit, expected)}


async def test_a_status_that_never_moves_on(service: Service) -> None:
    """Tasks that always look running are waited for until the deadline."""
    async with service(POLICY) as (ecs, waiter):
        ecs.inject("backwards")
        with pytest.raises(WaitTimeoutError) as late:
            await waiter.wait(list(OUTCOMES), region_id=REGION, timeout=0.2)
    assert late.value.pending == tuple(OUTCOMES)
