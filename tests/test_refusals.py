"""Refusals: credentials that are refused end a region's waits at once, but for a token or a clock that can be mended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from support.helpers import REGION, clock, every, failure, since
from support.hostile import Asked, hostile, page, row

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    Credentials,
    EcsClient,
    ServiceUnavailableError,
    ThrottledError,
    wait_for_task,
    wait_for_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

REFUSALS = [
    ("InvalidAccessKeyId.NotFound", 404),
    ("InvalidAccessKeyId.Inactive", 400),
    ("SignatureDoesNotMatch", 400),
    ("IncompleteSignature", 400),
    ("InvalidSecurityToken.Malformed", 400),
    ("Forbidden.RAM", 403),
    ("Forbidden", 403),
    ("NoPermission", 403),
]


@dataclass
class Provider:
    """A provider that does what it is told, and counts how often it was asked."""

    give: Callable[[int], Any]
    asked: int = 0

    async def get_credentials(self) -> Credentials:
        """Give or raise what is told."""
        self.asked += 1
        given = self.give(self.asked)
        if isinstance(given, BaseException):
            raise given
        return given  # type: ignore[no-any-return]


def _tokens(number: int) -> Credentials:
    return Credentials("example-key-id", "example-key-secret", f"example-token-{number}")


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), REFUSALS)
async def test_refused_credentials(virtual_ecs: EcsEmulator, code: str, status: int) -> None:
    """Refused credentials end every wait of the region at once, by one call."""
    ids = [virtual_ecs.add_task(duration=100) for _ in range(3)]
    virtual_ecs.inject("refuse", code=code, status=status)
    start = clock()
    error = await failure(AuthenticationError, wait_for_tasks(ids))
    assert (error.code, error.http_status) == (code, status)
    assert error.request_id
    assert since(start) == 0
    assert len(virtual_ecs.requests) == 1


async def test_refused_later(virtual_ecs: EcsEmulator) -> None:
    """Credentials that are refused in the middle of a wait end it, and what had settled stays settled."""
    first, second = virtual_ecs.add_task(), virtual_ecs.add_task(duration=100)
    virtual_ecs.inject("refuse", where=lambda request: request.at.timestamp() % 60 >= 10)
    results = await wait_for_tasks([first, second], policy=every(10), return_exceptions=True)
    assert [type(result).__name__ for result in results.values()] == ["Task", "AuthenticationError"]


async def test_a_403_that_is_no_refusal(virtual_ecs: EcsEmulator) -> None:
    """A 403 is judged by its code: a task that cannot be canceled is no matter of credentials."""
    done, fixed = virtual_ecs.add_task(), virtual_ecs.add_task(task_action="ModifyDiskSpec", duration=100)
    async with EcsClient() as client:
        for task_id, code in ((done, "IncorrectTaskStatus"), (fixed, "TaskActionNotSupport")):
            error = await failure(ApiError, client.cancel_task(task_id, region_id=REGION))
            assert (type(error), error.code, error.http_status) == (ApiError, f"InvalidTaskId.{code}", 403)


async def test_a_look_up_that_is_refused(virtual_ecs: EcsEmulator) -> None:
    """Who may list tasks but not look into them waits on: a failure is told without its reason."""
    failed = virtual_ecs.add_task(outcome="Failed", error=("C", "why"))
    running = virtual_ecs.add_task(duration=100)
    virtual_ecs.inject("refuse", action="DescribeTaskAttribute")
    start = clock()
    results = await wait_for_tasks([failed, running], policy=every(10), return_exceptions=True)
    assert [type(result).__name__ for result in results.values()] == ["TaskFailedError", "Task"]
    assert since(start) == 100


@pytest.mark.parametrize(
    "raised",
    [ValueError("x"), OSError(5, "x"), TimeoutError("x"), RuntimeError("x"), ApiError("A.B", "x"),
     ThrottledError("Throttling", "x"), ServiceUnavailableError(None, "x"), ExceptionGroup("x", [ValueError()])],
    ids=repr,
)  # fmt: skip
async def test_a_provider_that_raises(virtual_ecs: EcsEmulator, raised: Exception) -> None:
    """A provider that raises could not be asked: that is a fault until the budget is spent, its error as the cause."""
    start = clock()
    policy = every(5, outage_budget=60)
    provider = Provider(lambda _: raised)
    error = await failure(ServiceUnavailableError, wait_for_task("t-1", credentials=provider, policy=policy))
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert error.__cause__.__cause__ is raised
    assert not error.__cause__.sent
    assert since(start) >= 60
    assert provider.asked > 3
    assert virtual_ecs.requests == []


async def test_a_provider_that_is_refused_itself(virtual_ecs: EcsEmulator) -> None:
    """A provider's own AuthenticationError is raised at once, as it is or as the cause."""
    refused = AuthenticationError("NoRole", "no such role")
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: refused)))
    assert "NoRole" in f"{error} {error.__cause__}"


@pytest.mark.parametrize("given", [None, ("id", "secret"), {"id": "secret"}, "secret"])
async def test_a_provider_that_gives_no_credentials(virtual_ecs: EcsEmulator, given: object) -> None:
    """What is no Credentials counts as refused, and is not repeated in the message."""
    error = await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: given)))
    assert isinstance(error.__cause__, TypeError)
    assert "secret" not in f"{error} {error.__cause__}"


async def test_a_provider_that_lets_a_cancellation_out(virtual_ecs: EcsEmulator) -> None:
    """A cancellation that nobody asked for is retried within the budget like any other exception of a provider."""
    canceled = asyncio.CancelledError()
    start = clock()
    error = await failure(ServiceUnavailableError, wait_for_task("t-1", credentials=Provider(lambda _: canceled)))
    assert 600 <= since(start) <= 660
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert isinstance(error.__cause__.__cause__, asyncio.CancelledError)


async def test_a_slow_provider_stalls_no_one() -> None:
    """A provider that takes its time delays the call, and is a passing fault after `call_timeout`."""

    @dataclass
    class Slow:
        seconds: list[float]

        async def get_credentials(self) -> Credentials:
            await asyncio.sleep(self.seconds.pop())
            return _tokens(0)

    with hostile(lambda _: page(row())) as service:
        await wait_for_task("t-1", credentials=Slow([20]))
        start = clock()
        await wait_for_task("t-1", credentials=Slow([0, 1e6]), policy=every(1, call_timeout=10))
        assert 10 <= since(start) < 15
        assert len(service.asked) == 2


# -- an expired token, a wrong clock -----------------------------------------------------------------------------------


async def test_an_expired_token_is_renewed(virtual_ecs: EcsEmulator) -> None:
    """An expired token gets one try with freshly fetched credentials, at once, and no wait notices."""
    provider = Provider(_tokens)
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400, times=1)
    start = clock()
    await wait_for_task(virtual_ecs.add_task(), credentials=provider)
    sent = [request.headers["x-acs-security-token"] for request in virtual_ecs.requests]
    assert sent == ["example-token-1", "example-token-2"]
    assert since(start) < 1


async def test_a_token_that_stays_expired(virtual_ecs: EcsEmulator) -> None:
    """If the fresh token is refused as well, so are the credentials."""
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400)
    await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(_tokens)))
    assert len(virtual_ecs.requests) == 2


async def test_the_same_token_is_not_tried_again(virtual_ecs: EcsEmulator) -> None:
    """A provider that has nothing fresh saves the second try."""
    virtual_ecs.inject("refuse", code="InvalidSecurityToken.Expired", status=400)
    await failure(AuthenticationError, wait_for_task("t-1", credentials=Provider(lambda _: _tokens(0))))
    assert len(virtual_ecs.requests) == 1


@pytest.mark.parametrize("date", ["Thu, 01 Jan 2099 00:00:00 GMT", "Thu, 01 Jan 1998 00:00:00 GMT"])
async def test_a_wrong_clock_is_corrected(date: str) -> None:
    """A clock that the service finds wrong is set by the answer's date, and the user is not told."""

    def answer(asked: Asked) -> web.Response:
        if asked.headers["x-acs-date"][:4] == date.split()[3]:
            return web.json_response(page(row("t-1", "Processing" if asked.number < 5 else "Finished")))
        code = {"Code": "InvalidTimeStamp.Expired", "Message": "Specified time stamp is expired."}
        return web.json_response(code, status=400, headers={"Date": date})

    with hostile(answer) as service:
        start = clock()
        await wait_for_task("t-1", policy=every(1))
        assert (len(service.asked), since(start)) == (5, 3)


async def test_a_clock_that_cannot_be_set() -> None:
    """Without a date in the answer a wrong clock is a fault like others, until the budget is spent."""
    refusal = {"Code": "InvalidTimeStamp.Expired", "Message": "expired"}
    with hostile(lambda _: web.json_response(refusal, status=400, headers={"Date": "?"})):
        error = await failure(ServiceUnavailableError, wait_for_task("t-1", policy=every(1, outage_budget=30)))
        assert error.code == "InvalidTimeStamp.Expired"
