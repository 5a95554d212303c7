"""The service's own host names: which region each of them is for."""

from __future__ import annotations

import re

from ecs_waiter.api.endpoints import base_url

__all__ = ["region_of", "serves"]

_SUFFIX = ".aliyuncs.com"
_REGIONAL = ("ecs.", "ecs-vpc.")
_OFFICIAL = re.compile(r"ecs[.-].+\.aliyuncs\.com|ecs\.aliyuncs\.com", re.ASCII)


def _name(host: str) -> str:
    return host.partition(":")[0].lower()


def region_of(host: str) -> str:
    """Return the region that a host is named for; nothing where the name does not say."""
    name = _name(host)
    for prefix in _REGIONAL:
        if name.startswith(prefix) and name.endswith(_SUFFIX):
            return name[len(prefix) : -len(_SUFFIX)]
    return ""


def serves(host: str, region_id: str) -> bool:
    """Whether a host takes requests for a region; one that is not the service's own takes all of them."""
    name = _name(host)
    if not _OFFICIAL.fullmatch(name) or region_id == region_of(host):
        return True
    try:
        return name == base_url(region_id, None).host
    except ValueError:
        return True  # The operation itself refuses what is not a region.
