"""Export images of many regions side by side, and make the best of those that succeed.

    python examples/fan_out_regions.py backup cn-hangzhou:m-bp1 cn-hangzhou:m-bp2 us-west-1:m-rj9

Each region's images go to a bucket of that region: ``backup-cn-hangzhou``, ``backup-us-west-1``. A region that is down
or refuses spoils nothing in the others. Exits with 1 if anything is missing.
"""

from __future__ import annotations

import asyncio
import sys

from ecs_waiter import EcsWaiterError, TaskWaiter, WaitTimeoutError

SIX_HOURS = 6 * 3600


async def main(bucket: str, images: list[tuple[str, str]]) -> int:
    """Export all the images, each a region and an ID; returns the exit code."""
    async with TaskWaiter() as waiter:
        starts = await asyncio.gather(
            *(start_export(waiter, region_id, image_id, f"{bucket}-{region_id}") for region_id, image_id in images)
        )
        under_way: dict[str, list[str]] = {}
        for (region_id, _), task_id in zip(images, starts, strict=True):
            if task_id is not None:
                under_way.setdefault(region_id, []).append(task_id)
        try:
            results = await waiter.wait(under_way, timeout=SIX_HOURS, return_exceptions=True)
        except WaitTimeoutError as late:
            print("still running:", *late.pending)
            results = late.results

    exported = 0
    for result in results.values():
        if isinstance(result, EcsWaiterError):
            print(result)
        else:
            exported += 1
            print(f"{result.resource_id} of {result.region_id} is exported")
    print(f"{exported} of {len(images)} exported")
    return 0 if exported == len(images) else 1


async def start_export(waiter: TaskWaiter, region_id: str, image_id: str, bucket: str) -> str | None:
    """Start one export; returns the ID of its task, or None if it was refused."""
    try:
        answer = await waiter.client.call(
            "ExportImage", region_id=region_id, params={"ImageId": image_id, "OSSBucket": bucket}
        )
    except EcsWaiterError as error:
        print(f"{image_id} of {region_id} was not started: {error}")
        return None
    task_id: str = answer["TaskId"]
    return task_id


if __name__ == "__main__":
    bucket, *words = sys.argv[1:]
    pairs = [(region_id, image_id) for region_id, _, image_id in (word.partition(":") for word in words)]
    sys.exit(asyncio.run(main(bucket, pairs)))
