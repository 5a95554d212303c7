"""The official SDK starts an export, and a plain blocking call waits for it: no asyncio in sight.

    pip install alibabacloud-ecs20140526
    python examples/after_the_sdk.py cn-hangzhou m-bp1 backup

Threads may do this side by side: all of them share one loop in the background, and so their polls.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from alibabacloud_credentials.client import Client as DefaultCredentials
from alibabacloud_ecs20140526.client import Client
from alibabacloud_ecs20140526.models import ExportImageRequest
from alibabacloud_tea_openapi.models import Config

from ecs_waiter import TaskFailedError
from ecs_waiter.blocking import wait_for_task


def sdk(region_id: str) -> Any:
    """The SDK's client, which the same environment variable leads to an emulator as ours."""
    config = Config(credential=DefaultCredentials(), region_id=region_id)
    if emulator := os.environ.get("ECS_WAITER_ENDPOINT"):
        config.protocol, _, config.endpoint = emulator.partition("://")
    return Client(config)


def main(region_id: str, image_id: str, bucket: str) -> str:
    """Export one image; returns what to say about it."""
    request = ExportImageRequest(region_id=region_id, image_id=image_id, ossbucket=bucket)
    task_id = sdk(region_id).export_image(request).body.task_id
    try:
        task = wait_for_task(task_id, region_id=region_id, timeout=2 * 3600)
    except TaskFailedError as failure:
        return str(failure)
    return f"{task.resource_id} is in {bucket}"


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
