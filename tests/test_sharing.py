"""Sharing: module-level waits for the same thing on one event loop share one waiter, which closes with the last."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock
from weakref import ref

import pytest
from support.helpers import add_tasks, clock, every, failure, others, polls, since
from support.hostile import hostile, page, row
from tenacity import (
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)

from ecs_waiter import (
    Credentials,
    PollPolicy,
    StaticCredentials,
    Task,
    TaskFailedError,
    WaitTimeoutError,
    wait_adaptive,
    wait_for_task,
    wait_for_tasks,
    wait_proportional,
)
from ecs_waiter.functions import _shared_waiters

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from ecs_waiter import CredentialsProvider
    from ecs_waiter.emulator import EcsEmulator


class Vault:
    """A provider that is equal to no other."""

    async def get_credentials(self) -> Credentials:
        """Give the same for ever."""
        return Credentials("example-key-id", "example-key-secret")


class Unhashable(Vault):
    """A provider that claims to equal any, and cannot be a key."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


def _shared() -> int:
    """How many shared waiters this loop has now."""
    return len(_shared_waiters._loops.get(asyncio.get_running_loop(), {}))


class Mine(wait_fixed):
    """A subclass of tenacity's: what it makes of its fields is not known."""


# Named and placed like tenacity's own, and yet not the same.
Mine.__module__, Mine.__qualname__, Mine.__name__ = "tenacity.wait", "wait_fixed", "wait_fixed"


@dataclass(frozen=True)
class Equal:
    """A strategy of a user's whose objects are all equal."""

    def __call__(self, state: RetryCallState) -> float:
        """Five seconds."""
        return 5


@dataclass(frozen=True, kw_only=True)
class MyPolicy(PollPolicy):
    """A policy of a user's: what else it holds is not known."""


def five(_state: RetryCallState) -> float:
    """A strategy that is a function."""
    return 5


STRATEGIES: list[Callable[[], wait_base]] = [
    wait_none,
    lambda: wait_random(1, 2),
    lambda: wait_incrementing(5, 5, 20),
    lambda: wait_exponential(2, max=30),
    lambda: wait_random_exponential(2, max=30),
    lambda: wait_exponential_jitter(max=30),
    lambda: wait_fixed(5) + wait_random(0, 1) + wait_proportional(),
    lambda: wait_chain(wait_fixed(1), wait_fixed(2) + wait_none()),
]

VAULT, UNHASHABLE, FIXED = Vault(), Unhashable(), every(5)

ALIKE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing said": ({}, {}),
    "equal static credentials": (
        {"credentials": StaticCredentials("example-key-id", "example-key-secret")},
        {"credentials": StaticCredentials("example-key-id", "example-key-secret")},
    ),
    "one provider": ({"credentials": VAULT}, {"credentials": VAULT}),
    "one provider that is no key": ({"credentials": UNHASHABLE}, {"credentials": UNHASHABLE}),
    "equal policies": ({"policy": PollPolicy(max_in_flight=2)}, {"policy": PollPolicy(max_in_flight=2)}),
    "the default policy": ({}, {"policy": PollPolicy()}),
    "equal strategies": ({"policy": every(5)}, {"policy": every(5)}),
    "equal strategies of other numbers": ({"policy": every(5)}, {"policy": every(5.0)}),
    "equal strategies of this library": (
        {"policy": PollPolicy(wait=wait_proportional(max=9))},
        {"policy": PollPolicy(wait=wait_proportional(max=9))},
    ),
    **{
        f"equal {type(make()).__name__}": ({"policy": PollPolicy(wait=make())}, {"policy": PollPolicy(wait=make())})
        for make in STRATEGIES
    },
    "one function": ({"policy": PollPolicy(wait=five)}, {"policy": PollPolicy(wait=five)}),
    "sums with one function": (
        {"policy": PollPolicy(wait=wait_combine(wait_none(), five))},
        {"policy": PollPolicy(wait=wait_combine(wait_none(), five))},
    ),
    "the default strategy": ({"policy": PollPolicy(wait=wait_adaptive())}, {}),
    "one policy": ({"policy": FIXED}, {"policy": FIXED}),
    "one endpoint in two spellings": ({"endpoint": "http://localhost:1"}, {"endpoint": "HTTP://LOCALHOST:1/"}),
    "the endpoint of the environment": ({}, {"endpoint": "http://127.0.0.1:1"}),
    "other regions": ({"region_id": "cn-hangzhou"}, {"region_id": "us-west-1"}),
    "other deadlines": ({"timeout": 500}, {"timeout": 600}),
}

UNLIKE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "other secret": (
        {"credentials": StaticCredentials("example-key-id", "example-key-secret")},
        {"credentials": StaticCredentials("example-key-id", "another-key-secret")},
    ),
    "other provider": ({"credentials": Vault()}, {"credentials": Vault()}),
    "other provider that is no key": ({"credentials": Unhashable()}, {"credentials": Unhashable()}),
    "a provider and the default": ({"credentials": VAULT}, {}),
    "other policy": ({}, {"policy": PollPolicy(max_in_flight=2)}),
    "other strategy": ({"policy": every(5)}, {"policy": every(6)}),
    "other type of strategy": ({"policy": PollPolicy(wait=wait_none())}, {"policy": every(0)}),
    "other part of a sum": (
        {"policy": PollPolicy(wait=wait_fixed(1) + wait_random(0, 1))},
        {"policy": PollPolicy(wait=wait_fixed(1) + wait_random(0, 2))},
    ),
    "other order of a chain": (
        {"policy": PollPolicy(wait=wait_chain(wait_fixed(1), wait_fixed(2)))},
        {"policy": PollPolicy(wait=wait_chain(wait_fixed(2), wait_fixed(1)))},
    ),
    "equal functions": ({"policy": PollPolicy(wait=lambda _: 5)}, {"policy": PollPolicy(wait=lambda _: 5)}),
    "sums with equal functions": (
        {"policy": PollPolicy(wait=wait_combine(wait_none(), lambda _: 5))},
        {"policy": PollPolicy(wait=wait_combine(wait_none(), lambda _: 5))},
    ),
    "subclasses of tenacity's": ({"policy": PollPolicy(wait=Mine(5))}, {"policy": PollPolicy(wait=Mine(5))}),
    "strategies that claim to be equal": ({"policy": PollPolicy(wait=Equal())}, {"policy": PollPolicy(wait=Equal())}),
    "equal subclasses of the policy": ({"policy": MyPolicy()}, {"policy": MyPolicy()}),
    "other endpoint": ({"endpoint": "http://127.0.0.1:1"}, {"endpoint": "http://127.0.0.1:2"}),
}


@pytest.mark.parametrize("first, second", ALIKE.values(), ids=ALIKE)  # noqa: PT006 - two names of one pair
@pytest.mark.asyncio
async def test_alike_share(virtual_ecs: EcsEmulator, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Waits with the same credentials, endpoint, policy and session share one waiter."""
    waits = [
        wait_for_task(virtual_ecs.add_task(duration=30, region_id=said.get("region_id", "cn-hangzhou")), **said)
        for said in (first, second)
    ]
    both = asyncio.gather(*waits)
    await asyncio.sleep(1)
    assert _shared() == 1
    await both
    assert _shared() == 0


@pytest.mark.parametrize("first, second", UNLIKE.values(), ids=UNLIKE)  # noqa: PT006 - two names of one pair
@pytest.mark.asyncio
async def test_unlike_do_not_share(virtual_ecs: EcsEmulator, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Waits that differ in any of them have a waiter each."""
    both = asyncio.gather(*(wait_for_task(virtual_ecs.add_task(duration=30), **said) for said in (first, second)))
    await asyncio.sleep(1)
    assert _shared() == 2
    await both
    assert _shared() == 0
    assert {len(request.task_ids) for request in virtual_ecs.requests} == {1}


@pytest.mark.asyncio
async def test_sessions(virtual_ecs: EcsEmulator) -> None:
    """Waits with one session share, those with another session do not; no session is closed."""
    async with virtual_ecs.session() as one, virtual_ecs.session() as two:
        waits = asyncio.gather(
            *(wait_for_task(virtual_ecs.add_task(duration=30), session=session) for session in (one, one, two))
        )
        await asyncio.sleep(1)
        assert _shared() == 2
        await waits
        assert not one.closed
        assert not two.closed


@pytest.mark.asyncio
async def test_a_thousand_coroutines(virtual_ecs: EcsEmulator) -> None:
    """A thousand coroutines that each wait for their own task cost ten calls a poll."""
    ids = add_tasks(virtual_ecs, 1000, duration=25)
    tasks = await asyncio.gather(*(wait_for_task(task_id, policy=FIXED) for task_id in ids))
    assert [task.task_id for task in tasks] == ids
    first = [size for at, size in polls(virtual_ecs) if at < 5]
    assert first == [100] * 10


@pytest.mark.asyncio
async def test_policies_built_inline(virtual_ecs: EcsEmulator) -> None:
    """Fifty coroutines that each build an equal policy cost as many calls as with one object for all."""
    ids = add_tasks(virtual_ecs, 50, duration=100)
    await asyncio.gather(*(wait_for_task(task_id, policy=PollPolicy(wait=wait_fixed(15))) for task_id in ids))
    assert polls(virtual_ecs) == [(15 * number, 50) for number in range(8)]


@pytest.mark.asyncio
async def test_one_id_awaited_a_thousand_times(virtual_ecs: EcsEmulator) -> None:
    """The same task awaited a thousand times is asked once a poll."""
    task_id = virtual_ecs.add_task(duration=25)
    tasks = await asyncio.gather(*(wait_for_task(task_id, policy=FIXED) for _ in range(1000)))
    assert len({id(task) for task in tasks}) == 1
    assert polls(virtual_ecs) == [(at, 1) for at in (0, 5, 10, 15, 20, 25)]


@pytest.mark.asyncio
async def test_it_closes_with_the_last(virtual_ecs: EcsEmulator) -> None:
    """The waiter lives as long as anyone waits by it, and leaves no task behind."""
    short, long = virtual_ecs.add_task(duration=10), virtual_ecs.add_task(duration=30)
    first = asyncio.create_task(wait_for_task(short, policy=FIXED))
    second = asyncio.create_task(wait_for_task(long, policy=FIXED))
    await first
    assert _shared() == 1
    await second
    assert _shared() == 0
    assert others() == set()


@pytest.mark.parametrize("ending", ["cancel", "timeout", "failure", "callback", "misuse"])
@pytest.mark.asyncio
async def test_leaving_is_ones_own(virtual_ecs: EcsEmulator, ending: str) -> None:
    """However one of them leaves, the others wait on, and the last one closes."""

    def fail(_task: Task) -> None:
        raise KeyError(ending)

    other = asyncio.create_task(wait_for_task(virtual_ecs.add_task(duration=60), policy=FIXED))
    match ending:
        case "cancel":
            leaver = asyncio.create_task(wait_for_task("t-1", policy=FIXED))
            await asyncio.sleep(7)
            leaver.cancel()
            await failure(asyncio.CancelledError, leaver)
        case "timeout":
            await failure(WaitTimeoutError, wait_for_task("t-1", policy=FIXED, timeout=7))
        case "failure":
            failed = virtual_ecs.add_task(outcome="Failed", error=("C", "why"), duration=7)
            await failure(TaskFailedError, wait_for_task(failed, policy=FIXED))
        case "callback":
            running = virtual_ecs.add_task(duration=7)
            await failure(KeyError, wait_for_task(running, policy=FIXED, on_update=fail))
        case "misuse":
            await failure(ValueError, wait_for_tasks(["a b"], policy=FIXED))
    assert _shared() == 1
    assert (await other).task_status == "Finished"
    assert others() == set()


@pytest.mark.asyncio
async def test_one_after_another(virtual_ecs: EcsEmulator) -> None:
    """Waits that follow each other each do their whole job."""
    for _ in range(3):
        start = clock()
        await wait_for_task(virtual_ecs.add_task(duration=10), policy=FIXED)
        assert since(start) == 10


@pytest.mark.asyncio
async def test_coming_while_it_closes(virtual_ecs: EcsEmulator) -> None:
    """Whoever comes in the very turn in which the last one leaves is served."""
    done = virtual_ecs.add_task(duration=10)
    next_one = virtual_ecs.add_task(duration=20)

    async def then() -> Task:
        await wait_for_task(done, policy=FIXED)
        return await wait_for_task(next_one, policy=FIXED)

    tasks = await asyncio.gather(*(then() for _ in range(10)))
    assert {task.task_id for task in tasks} == {next_one}


@pytest.mark.asyncio
async def test_nothing_asked() -> None:
    """No IDs at all is an empty answer, no call and no credentials."""
    with hostile(lambda _: page(row())) as service:
        assert await wait_for_tasks([]) == {}
        assert await wait_for_tasks({}) == {}
        assert await wait_for_tasks({"cn-hangzhou": []}) == {}
        assert service.asked == []


def test_two_loops_in_two_threads(ecs_emulator: EcsEmulator) -> None:
    """Two event loops in two threads share nothing, and both are served."""
    ids = [ecs_emulator.add_task(duration=0.3) for _ in range(20)]
    policy = every(0.05)
    found: list[dict[str, Task]] = []
    together = threading.Barrier(2)

    async def wait() -> None:
        together.wait(timeout=10)
        found.append(await wait_for_tasks(ids, policy=policy))

    threads = [threading.Thread(target=asyncio.run, args=(wait(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert [list(tasks) for tasks in found] == [ids, ids]


def test_one_loop_after_another(ecs_emulator: EcsEmulator) -> None:
    """A second `asyncio.run` in the same thread starts afresh."""
    for _ in range(3):
        task = asyncio.run(wait_for_task(ecs_emulator.add_task(), policy=FIXED))
        assert task.task_status == "Finished"
    assert not any(_shared_waiters._loops.values())


def test_a_loop_that_ends_under_a_wait(ecs_emulator: EcsEmulator) -> None:
    """A loop that ends with waits under way leaves no waiter behind."""

    async def main() -> None:
        waits = [asyncio.create_task(wait_for_task(ecs_emulator.add_task(duration=1000))) for _ in range(3)]
        while not ecs_emulator.requests:  # noqa: ASYNC110 - it is served by another loop
            await asyncio.sleep(0.01)
        assert not any(wait.done() for wait in waits)

    asyncio.run(main())
    assert not any(_shared_waiters._loops.values())


def _set(**arguments: Any) -> Any:
    return arguments


class Sessioned:
    """A provider that cannot be referred to weakly, and that holds the loop it is used on, as one with a session does."""

    __slots__ = ("loop",)

    async def get_credentials(self) -> Credentials:
        """Give what never ends."""
        self.loop = asyncio.get_running_loop()
        return Credentials("example-key-id", "example-key-secret")


@pytest.mark.parametrize("make", [lambda: None, Sessioned], ids=["default", "provider"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:Unclosed:ResourceWarning")
def test_a_loop_that_is_closed_under_waits(
    ecs_emulator: EcsEmulator, make: Callable[[], CredentialsProvider | None], caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that is closed with waits under way, none of which was canceled, is forgotten like any other object."""
    ids = [ecs_emulator.add_task(duration=1000) for _ in range(3)]

    async def begin() -> None:
        seen: asyncio.Queue[Task] = asyncio.Queue()
        more = _set(policy=every(1000), credentials=make(), on_update=seen.put_nowait)
        keep = [
            asyncio.create_task(wait_for_tasks(ids, **more)),
            asyncio.create_task(wait_for_task(ids[0], **more)),
        ]
        for _ in range(4):
            await seen.get()
        assert not any(wait.done() for wait in keep)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    forgotten = ref(loop)
    del loop
    raised: list[str] = []
    with mock.patch.object(sys, "unraisablehook", lambda unraisable: raised.append(repr(unraisable.exc_value))):
        gc.collect()
        gc.collect()
    assert raised == []
    assert forgotten() is None
    # And whoever comes next is served.
    assert asyncio.run(wait_for_task(ecs_emulator.add_task(), policy=every(0.01))).task_status == "Finished"
