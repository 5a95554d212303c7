"""Waits on one event loop after another, as scripts and test suites have them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from support.helpers import REASON, add_tasks, every, failure, polls

from ecs_waiter import Credentials, StaticCredentials, TaskFailedError, TaskWaiter, wait_for_task

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from typing import Any

    from ecs_waiter.emulator import EcsEmulator

_CALLER = contextvars.ContextVar("caller", default="nobody")


def test_one_loop_after_another(virtual_ecs: EcsEmulator) -> None:
    """Module-level waits share within their loop only, and each loop's end leaves nothing to the next."""
    task_id = virtual_ecs.add_task(duration=15)
    policy = every(10)
    for _ in range(3):
        assert asyncio.run(wait_for_task(task_id, policy=policy)).task_id == task_id


def test_a_run_cut_off(virtual_ecs: EcsEmulator) -> None:
    """A loop that ends under its waits takes them along, without a warning."""
    ids = add_tasks(virtual_ecs, 3, duration=1e9)

    async def main() -> None:
        policy = every(10)
        waits = [asyncio.create_task(wait_for_task(task_id, policy=policy)) for task_id in ids]
        await asyncio.sleep(15)
        assert not any(wait.done() for wait in waits)

    asyncio.run(main())
    assert polls(virtual_ecs) == [(0, 3), (10, 3)]


def test_debug_mode(virtual_ecs: EcsEmulator) -> None:
    """Asyncio's debug mode finds nothing to complain about."""
    ids = add_tasks(virtual_ecs, 150, duration=15)

    async def main() -> None:
        async with TaskWaiter(policy=every(10)) as waiter:
            assert list(await waiter.wait(ids)) == ids

    asyncio.run(main(), debug=True)


def test_a_task_factory_without_a_context(virtual_ecs: EcsEmulator) -> None:
    """A task factory that takes no `context`, as monitoring agents install, starts the shared work like any other.

    The shared work still does not see the context variables of the first caller.
    """
    seen: set[str] = set()

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any]
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=loop)

    class Provider(StaticCredentials):
        async def get_credentials(self) -> Credentials:
            seen.add(_CALLER.get())
            return await super().get_credentials()

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        failed = virtual_ecs.add_task(duration=15, outcome="Failed", error=REASON)
        async with TaskWaiter(Provider("key", "secret"), policy=every(10)) as waiter:
            _CALLER.set("somebody")
            error = await failure(TaskFailedError, waiter.wait([failed]))
            assert error.detail is not None
        await wait_for_task(virtual_ecs.add_task(duration=15), policy=every(10))

    asyncio.run(main())
    assert seen == {"nobody"}
