"""A program of its own that waits at each of the URLs it is given, and prints what came of it.

What a new process trusts is what its environment says: OpenSSL reads ``SSL_CERT_FILE`` once.
"""

from __future__ import annotations

import asyncio
import json
import sys

from ecs_waiter import EcsWaiterError, PollPolicy, StaticCredentials, TaskWaiter

_POLICY = PollPolicy(outage_budget=0, call_timeout=10)


async def look(url: str) -> str:
    """The status of the one task there, or the error."""
    async with TaskWaiter(StaticCredentials("example-key-id", "example-key-secret"), url, _POLICY) as waiter:
        try:
            (task,) = (await waiter.wait(["t-1"], region_id="cn-hangzhou")).values()
        except EcsWaiterError as error:
            return f"{type(error).__name__}: {error}; {error.__cause__!r}"
        return str(task.task_status)


async def main() -> None:
    """Look at each."""
    json.dump([await look(url) for url in sys.argv[1:]], sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
