"""What is known of ECS operations: which may be repeated, and which start a task.

Source: the official SDK's models of the ECS API of 2014-05-26.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STARTS_TASK", "TAKES_CLIENT_TOKEN", "is_repeatable"]

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

_READS = re.compile(r"(Describe|List|Get|Query)[A-Z]")


def is_repeatable(action: str, params: Mapping[str, object]) -> bool:
    """Whether asking again does no harm even if the first time may have happened.

    A read-only operation, or one with a ``ClientToken`` - unless it is known not to look at it.
    """
    if _READS.match(action):
        return True
    return bool(params.get("ClientToken")) and (action in TAKES_CLIENT_TOKEN or action not in STARTS_TASK)
