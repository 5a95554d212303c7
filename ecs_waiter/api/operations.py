"""What is known of ECS operations: which may be repeated, and which start a task.

Source: the official SDK's models of the ECS API of 2014-05-26.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecs_waiter.api.endpoints import check_region, resolve_region

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STARTS_TASK", "TAKES_CLIENT_TOKEN", "check_action", "is_repeatable", "region_of_call"]

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

TAKES_CLIENT_TOKEN = frozenset({"ImportImage", "ModifyInstanceClockOptions"})
"""Those of them that take a ClientToken, so that starting twice starts once."""

_ACTION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}", re.ASCII)
_READS = re.compile(r"(Describe|List|Get|Query)[A-Z]")


def is_repeatable(action: str, params: Mapping[str, object]) -> bool:
    """Whether asking again does no harm even if the first time may have happened.

    A read-only operation, or one with a ``ClientToken`` - unless it is known not to look at it.
    """
    if _READS.match(action):
        return True
    return bool(params.get("ClientToken")) and (action in TAKES_CLIENT_TOKEN or action not in STARTS_TASK)


def check_action(action: object) -> str:
    """Return the name of an operation.

    Raises:
        TypeError: It is no string.
        ValueError: It is no operation's name.
    """
    if not isinstance(action, str):
        raise TypeError(f"an operation's name is a string such as 'ExportImage', not {type(action).__name__}")
    if not _ACTION.fullmatch(action):
        raise ValueError(f"an operation's name is a word such as 'ExportImage', not {action[:80]!r}")
    return action


def region_of_call(region_id: str | None, params: Mapping[str, object]) -> str:
    """Return the region that a call is for: its ``RegionId`` may stand among the parameters, as the service has it.

    Raises:
        TypeError: The region is no string.
        ValueError: It is not one, none is known, or two are named.
    """
    told = params.get("RegionId")
    if told is None:
        return resolve_region(region_id)
    region = check_region(told)
    if region_id is not None and region_id != region:
        raise ValueError(f"region_id is {region_id!r}, and RegionId among the parameters {region!r}: name one")
    return region
