"""The operations that start a task, and what tests plan for the tasks so started."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STARTS", "Plan", "Start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one operation starts a task.

    Attributes:
        resource: The parameter that names what the task works on; empty for an import, which makes a new image.
        takes_token: Whether it takes a ``ClientToken``.
        takes_dry_run: Whether it takes ``DryRun``.
        tells_region: Whether its answer carries a ``RegionId``.
    """

    resource: str = ""
    takes_token: bool = False
    takes_dry_run: bool = False
    tells_region: bool = False


STARTS = {
    "ImportImage": Start(takes_token=True, tells_region=True, takes_dry_run=True),
    "ExportImage": Start(resource="ImageId", tells_region=True, takes_dry_run=True),
    "ExportSnapshot": Start(resource="SnapshotId"),
    "ModifyDiskDeployment": Start(resource="DiskId", takes_dry_run=True),
    "ModifyDiskSpec": Start(resource="DiskId", takes_dry_run=True),
    "ModifyInstanceClockOptions": Start(resource="InstanceId", takes_token=True, takes_dry_run=True),
    "ModifyInstanceNetworkOptions": Start(resource="InstanceId"),
    "ModifySnapshotCategory": Start(resource="SnapshotId"),
    "RedeployInstance": Start(resource="InstanceId"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of a task that a client starts. Times are in seconds.

    Attributes:
        at_once: The change is done at once, so the answer carries no ``TaskId``.
        busy: How long the start is at work: a repeat with its ``ClientToken`` is refused until then.
    """

    duration: float = 0
    outcome: str = "Finished"
    error: tuple[str, str] | None = None
    visible_after: float = 0
    status: str = "Processing"
    at_once: bool = False
    busy: float = 0
