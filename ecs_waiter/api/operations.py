"""ECS operations: which start a task, which can be repeated, and how to find out whether one has started.

Source: the official SDK's models of the ECS API of 2014-05-26.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecs_waiter.escaping import escape_control
from ecs_waiter.ids import check_region, resolve_region

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAY_BE_DONE_AT_ONCE",
    "STARTS_TASK",
    "TAKES_CLIENT_TOKEN",
    "asks_dry_run",
    "check_action",
    "client_token_of",
    "in_doubt",
    "is_dry_run",
    "is_repeatable",
    "region_of_call",
    "wait_instead",
]

STARTS_TASK = frozenset(
    {
        "ExportImage",
        "ExportSnapshot",
        "ImportImage",
        "ModifyDiskDeployment",
        "ModifyDiskSpec",
        "ModifyInstanceClockOptions",
        "ModifyInstanceNetworkOptions",
        "ModifySnapshotCategory",
        "RedeployInstance",
    }
)
"""Operations whose answer carries a TaskId."""

MAY_BE_DONE_AT_ONCE = frozenset({"ModifyDiskSpec"})
"""Those of them whose answer has no TaskId if the change was made at once. The answers of all others have one."""

TAKES_CLIENT_TOKEN = frozenset({"ImportImage", "ModifyInstanceClockOptions"})
"""Those of them that take a ClientToken, with which starting twice starts once."""

_TAKES_DRY_RUN = frozenset(
    {"ExportImage", "ImportImage", "ModifyDiskDeployment", "ModifyDiskSpec", "ModifyInstanceClockOptions"}
)
"""Those of them that take ``DryRun``."""

# How to wait for operations that start something else than a task, and which operation lists what they started.
_IMAGE = "wait until DescribeImages reports the answer's ImageId as Available"
_SNAPSHOT = "wait until DescribeSnapshots reports the answer's SnapshotId as accomplished"
_WAIT_INSTEAD = {
    "CloneDisks": "poll DescribeTasks with the answer's TaskGroupId: "
    "client.call('DescribeTasks', params={'TaskGroupId': ...})",
    "CopyImage": f"{_IMAGE} in DestinationRegionId",
    "CopySnapshot": f"{_SNAPSHOT} in DestinationRegionId",
    "CreateImage": _IMAGE,
    "CreateSnapshot": _SNAPSHOT,
}
_LISTED_BY = {
    **dict.fromkeys(("CopyImage", "CreateImage"), "DescribeImages"),
    **dict.fromkeys(("CopySnapshot", "CreateSnapshot"), "DescribeSnapshots"),
}

_ACTION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}", re.ASCII)
_READS = re.compile(r"(Describe|List|Get|Query)[A-Z]")


def is_repeatable(action: str, params: Mapping[str, object]) -> bool:
    """Whether a call can be repeated although an earlier attempt may have taken effect.

    This is so for a read-only operation, a dry run, and with a ``ClientToken`` unless the operation ignores it.
    """
    return bool(_READS.match(action)) or is_dry_run(action, params) or client_token_of(action, params) is not None


def asks_dry_run(params: Mapping[str, object]) -> bool:
    """Whether the parameters ask to check the request without executing it."""
    return str(params.get("DryRun")).lower() == "true"


def is_dry_run(action: str, params: Mapping[str, object]) -> bool:
    """Whether a call only checks the request: the operation takes ``DryRun``, and it is set."""
    return action in _TAKES_DRY_RUN and asks_dry_run(params)


def client_token_of(action: str, params: Mapping[str, object]) -> str | None:
    """Return the token with which a call takes effect at most once; None if there is none or it is ignored.

    An operation that is not listed here is assumed to take one.
    """
    token = params.get("ClientToken")
    is_taken = action in TAKES_CLIENT_TOKEN or action not in STARTS_TASK
    return str(token) if token and is_taken else None


def in_doubt(action: str, region_id: str, params: Mapping[str, object]) -> str:
    """Return the message for a call that may have taken effect, which says how to find out.

    It is empty for calls that change nothing: read-only operations and dry runs.
    """
    if _READS.match(action) or is_dry_run(action, params):
        return ""
    token = client_token_of(action, params)
    if token is not None:
        return (
            f"it may have started; to find out, repeat {action} in {region_id} with the same parameters and "
            f"ClientToken {escape_control(repr(token))}: that starts it at most once"
        )
    if action in STARTS_TASK:
        where = f"look for {action} among the tasks of {region_id} (DescribeTasks)"
    else:
        where = f"look with {_LISTED_BY.get(action, 'a Describe operation')}"
    return f"it may have started; {where} before you start it again"


def wait_instead(action: str) -> str:
    """Return how to wait for an operation that does not start a task."""
    return _WAIT_INSTEAD.get(action, "wait with the Describe operation for what it changes")


def check_action(action: object) -> str:
    """Return the name of an operation.

    Raises:
        TypeError: It is not a string.
        ValueError: It is not a name.
    """
    if not isinstance(action, str):
        raise TypeError(f"an operation's name is a string such as 'ExportImage', not {type(action).__name__}")
    if not _ACTION.fullmatch(action):
        raise ValueError(f"an operation's name is a word such as 'ExportImage', not {action[:80]!r}")
    return action


def region_of_call(region_id: str | None, params: Mapping[str, object], default: str | None = None) -> str:
    """Return the region of a call: `region_id`, else ``RegionId`` among its parameters, else the default.

    Raises:
        TypeError: The region is not a string.
        ValueError: It is not a region's name, there is none, or there are two.
    """
    named = params.get("RegionId")
    if named is None:
        return resolve_region(region_id, default)
    region = check_region(named)
    if region_id is not None and region_id != region:
        raise ValueError(f"region_id is {region_id!r}, and RegionId among the parameters {region!r}: name one")
    return region
