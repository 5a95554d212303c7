"""Keep the IDs of running tasks in a file, so that a restart goes on where the last run was stopped.

    python examples/resume.py tasks.txt cn-hangzhou ExportImage ImageId=m-bp1 OSSBucket=backup    # starts one more
    python examples/resume.py tasks.txt                                                     # waits for what is left

Stop it at any time, by Ctrl-C or by pulling the plug: the tasks run on at the service, and the next run waits for them.
The pace follows a task's age, so that a run which resumes an old one does not poll it as if it were new.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ecs_waiter import Task, TaskError, TaskWaiter


class TaskFile:
    """A file with a line of region and task ID for each task that has not ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.read_text().splitlines() if path.exists() else []

    def add(self, region_id: str, task_id: str) -> None:
        """Remember a task."""
        self._save([*self.lines, f"{region_id} {task_id}"])

    def remove(self, region_id: str, task_id: str) -> None:
        """Forget a task that has ended."""
        self._save([line for line in self.lines if line != f"{region_id} {task_id}"])

    def by_region(self) -> dict[str, list[str]]:
        """Region -> task IDs."""
        regions: dict[str, list[str]] = {}
        for line in self.lines:
            region_id, task_id = line.split()
            regions.setdefault(region_id, []).append(task_id)
        return regions

    def _save(self, lines: list[str]) -> None:
        # In one stroke: whenever the plug is pulled, the file is either the old or the new one.
        draft = self.path.with_suffix(".new")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.replace(self.path)
        self.lines = lines


async def main(path: str, *start: str) -> None:
    """Start a task, if one is given, and wait for all that the file holds."""
    tasks = TaskFile(Path(path))
    async with TaskWaiter() as waiter:
        if start:
            region_id, operation, *words = start
            params = dict(word.split("=", 1) for word in words)
            answer = await waiter.client.call(operation, region_id=region_id, params=params)
            tasks.add(region_id, answer["TaskId"])
        async for outcome in waiter.as_completed(tasks.by_region()):
            match outcome:
                case Task():
                    print(f"{outcome.task_id}: {outcome.task_status}")
                case TaskError():
                    print(outcome)
                case _:
                    print(outcome)
                    continue  # the region's trouble says nothing about the task: it stays for the next run
            tasks.remove(outcome.region_id, outcome.task_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
