"""A program of its own that waits by the blocking functions, with and without the proxies of its environment."""

from __future__ import annotations

import json
import sys

from ecs_waiter import StaticCredentials
from ecs_waiter.blocking import wait_for_task, wait_for_tasks

_CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")
_REGION = "cn-hangzhou"


def look(url: str, *, trust_env: bool) -> list[str]:
    """The status of the one task there, asked in both ways."""
    one = wait_for_task("t-1", region_id=_REGION, credentials=_CREDENTIALS, endpoint=url, trust_env=trust_env)
    many = wait_for_tasks(["t-1"], region_id=_REGION, credentials=_CREDENTIALS, endpoint=url, trust_env=trust_env)
    return [str(task.task_status) for task in (one, *many.values())]


if __name__ == "__main__":
    json.dump({str(flag): look(sys.argv[1], trust_env=flag) for flag in (True, False)}, sys.stdout)
