"""Observer: the interface through which a poller reports to telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecs_waiter.models import Task
    from ecs_waiter.polling.subscribers import Subscriber

__all__ = ["Observer"]


class Observer(Protocol):
    """Called at once, in the poller's own tasks. Nothing here may raise or call back into the poller."""

    def served(self, subscribers: Iterable[Subscriber]) -> None:
        """A call made for these has come back to the running task, well or not; no subscriber was notified yet."""
        ...

    def settled(
        self,
        region_id: str,
        outcome: str,
        tasks: Sequence[Task | None],
        watched: Sequence[float],
        date: float | None,
    ) -> None:
        """Tasks have ended.

        Args:
            region_id: Their region.
            outcome: finished, failed, canceled, not_found, or error where the service refused an ID.
            tasks: The last state of each, where it is known.
            watched: For how many seconds each was waited for; infinite for one that was seen running.
            date: The service's clock in that answer, in seconds since the epoch; None without a `Date`.
        """
        ...
