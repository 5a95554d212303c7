"""Import an image from OSS, and wait until it can be used.

    python examples/import_image.py cn-hangzhou my-bucket images/base.qcow2

Exits with 0 when the image is there, with 1 when the import failed, with 2 when four hours were not enough.
"""

from __future__ import annotations

import asyncio
import sys

from ecs_waiter import Task, TaskFailedError, TaskWaiter, WaitTimeoutError

FOUR_HOURS = 4 * 3600


async def main(region_id: str, bucket: str, path: str) -> int:
    """Start the import and wait for it; returns the exit code."""
    async with TaskWaiter() as waiter:
        try:
            task = await waiter.run(
                "ImportImage",
                region_id=region_id,
                params={
                    "ImageName": path.rpartition("/")[2].partition(".")[0],
                    "DiskDeviceMapping": [{"OSSBucket": bucket, "OSSObject": path}],
                },
                timeout=FOUR_HOURS,
                on_update=tell,
            )
        except TaskFailedError as failure:
            print(failure)  # in the service's own words
            return 1
        except WaitTimeoutError as late:
            print("still running:", *late.pending)
            return 2
    if task is not None:
        print("imported as", task.resource_id)
    return 0


def tell(task: Task) -> None:
    """Told at first sight, and at every change of its status."""
    print(f"{task.task_id}: {task.task_status}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
