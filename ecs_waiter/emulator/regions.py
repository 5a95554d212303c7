"""The public regions, and which region a host name of the service belongs to."""

from __future__ import annotations

import re

from ecs_waiter.api.endpoints import base_url

__all__ = ["PUBLIC_REGIONS", "host_serves", "region_of_host"]

_NAMES = """
    cn-qingdao cn-beijing cn-zhangjiakou cn-huhehaote cn-wulanchabu cn-hangzhou cn-shanghai cn-nanjing cn-fuzhou
    cn-shenzhen cn-heyuan cn-guangzhou cn-chengdu cn-hongkong cn-wuhan-lr cn-zhengzhou-jva
    cn-north-2-gov-1 cn-hangzhou-finance cn-shanghai-finance-1 cn-shenzhen-finance-1 cn-beijing-finance-1
    ap-northeast-1 ap-northeast-2 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-5 ap-southeast-6
    ap-southeast-7 ap-south-1 us-east-1 us-west-1 na-south-1 eu-central-1 eu-west-1 me-east-1 me-central-1
"""
PUBLIC_REGIONS = frozenset(_NAMES.split())

_REGIONAL = re.compile(r"ecs(?:-vpc)?\.(.+)\.aliyuncs\.com", re.ASCII)
_OFFICIAL = re.compile(r"ecs[.-].+\.aliyuncs\.com|ecs\.aliyuncs\.com", re.ASCII)


def _name(host: str) -> str:
    return host.partition(":")[0].lower()


def region_of_host(host: str) -> str:
    """Return the region in a host's name; an empty string if it names none."""
    found = _REGIONAL.fullmatch(_name(host))
    return found[1] if found else ""


def host_serves(host: str, region_id: str) -> bool:
    """Whether a host takes requests for a region; a host that is not the service's own takes all of them."""
    name = _name(host)
    if not _OFFICIAL.fullmatch(name) or region_id == region_of_host(host):
        return True
    try:
        return name == base_url(region_id, None).host
    except ValueError:
        return True  # The operation itself rejects an invalid region.
