"""TaskSource: who is asked - all that polling knows of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecs_waiter.api.answers import Snapshot
    from ecs_waiter.api.limiter import Priority, RegionLimiter
    from ecs_waiter.models import TaskDetail

__all__ = ["TaskSource"]


class TaskSource(Protocol):
    """EcsClient, or anything like it."""

    def limiter(self, region_id: str) -> RegionLimiter:
        """Return the gate that the polls of a region pass."""
        ...

    def prepare(self, region_id: str, task_ids: Sequence[str]) -> Any:
        """Return what `poll` needs of a batch, made once while the batch stays the same."""
        ...

    async def poll(self, region_id: str, prepared: Any, is_known: Callable[[int], bool]) -> Snapshot | None:
        """Ask once, within a place of the limiter that the caller holds; a fault is raised at once.

        None stands for an answer whose fingerprint is known.
        """
        ...

    async def describe_task_attribute(self, region_id: str, task_id: str, *, priority: Priority) -> TaskDetail:
        """Describe one task in full; faults are retried."""
        ...
