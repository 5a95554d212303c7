"""Single calls, for which a person waits: a client with little patience, which says that it tries again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.client import EcsClient
from ecs_waiter.cli.failure import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.interrupt import InterruptedByUserError, Stop
from ecs_waiter.cli.streams import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["SingleCalls", "open_calls", "tell_retries"]

_PATIENCE = 30.0


class SingleCalls:
    """A client, and the signals that stop its calls."""

    def __init__(self, client: EcsClient, stop: Stop) -> None:
        self.client = client
        self._stop = stop

    async def answer(self, region_id: str, work: Coroutine[Any, Any, T]) -> T:
        """Return what a call to a region answers.

        Raises:
            CommandError: It was interrupted.
        """
        watch = asyncio.create_task(tell_retries(self.client, region_id))
        try:
            return await self._stop.stops(work)
        except InterruptedByUserError:
            raise CommandError("interrupted", ExitCode.INTERRUPTED) from None
        finally:
            watch.cancel()


@contextlib.asynccontextmanager
async def open_calls(*, trust_env: bool) -> AsyncIterator[SingleCalls]:
    """Open a client with the environment's credentials and endpoint."""
    stop = Stop()
    try:
        policy = CallPolicy(outage_budget=_PATIENCE, call_timeout=_PATIENCE / 2)
        client = EcsClient(policy=policy, trust_env=trust_env)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    with stop.on_signals():
        async with client:
            yield SingleCalls(client, stop)


async def tell_retries(client: EcsClient, region_id: str) -> None:
    """Say once that a call to a region had to be made again."""
    counters = client.counters(region_id)
    while not counters.retried:  # noqa: ASYNC110 - a counter signals nothing
        await asyncio.sleep(1)
    say(f"{region_id} is not responding yet; retrying (Ctrl-C stops)")
