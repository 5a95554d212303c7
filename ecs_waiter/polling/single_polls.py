"""SinglePolls: who waits until a task was polled once more."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecs_waiter.polling.batch import Batch
    from ecs_waiter.polling.subscribers import Subscriber

__all__ = ["SinglePolls"]


class _SinglePoll:
    __slots__ = ("future", "left", "subscriber")

    def __init__(self, subscriber: Subscriber, tasks: int) -> None:
        self.subscriber = subscriber
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = tasks
        self.resolve_if_done()

    def resolve_if_done(self) -> None:
        if not self.left and not self.future.done():
            self.future.set_result(None)


class SinglePolls:
    """The single polls that are still to be made, by task ID."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: defaultdict[str, list[_SinglePoll]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, task_ids: Sequence[str], subscriber: Subscriber) -> asyncio.Future[None]:
        """Return a future that resolves when `end` was called for each of these tasks."""
        poll = _SinglePoll(subscriber, len(task_ids))
        for task_id in task_ids:
            self._by_id[task_id].append(poll)
        return poll.future

    def begin(self, batch: Batch) -> SinglePolls:
        """Take out those that a call makes. Those that are added during the call are left to the next one."""
        made = SinglePolls()
        if self._by_id:
            made._by_id.update({each: self._by_id.pop(each) for each in batch.task_ids if each in self._by_id})
        return made

    def put_back(self, task_id: str, made: SinglePolls) -> None:
        """Leave a task of a call to the next one."""
        if polls := made._by_id.pop(task_id, None):
            self._by_id[task_id] += polls

    def subscribers(self, task_id: str) -> list[Subscriber]:
        """Return whose single polls of a task these are."""
        return [poll.subscriber for poll in self._by_id.get(task_id, ())]

    def end(self, task_id: str) -> None:
        """A task was polled, or has ended."""
        for poll in self._by_id.pop(task_id, ()):
            poll.left -= 1
            poll.resolve_if_done()

    def end_all(self) -> None:
        """No task is polled any more."""
        for task_id in tuple(self._by_id):
            self.end(task_id)
