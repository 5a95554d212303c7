"""From a region's name to the base URL of its calls.

Names and URLs are checked by grammars of our own, narrower than any URL parser's, so that no two parsers can
disagree about the host that gets a signed request.
"""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache

from yarl import URL

from ecs_waiter.ids import check_region

__all__ = ["base_url", "resolve_endpoint"]

_ENDPOINT_VARIABLE = "ECS_WAITER_ENDPOINT"

_BASE = re.compile(r"(https?)://(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::([0-9]{1,5}))?/?", re.ASCII | re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_MAX_HOST = 253
_MAX_PORT = 65535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# The regions whose host does not follow the rule `ecs.<region>.aliyuncs.com`, as the official SDK lists them.
_EXCEPTIONS = {
    "ap-northeast-2-pop": "ecs.aliyuncs.com",
    "cn-beijing-finance-pop": "ecs.aliyuncs.com",
    "cn-beijing-gov-1": "ecs.aliyuncs.com",
    "cn-beijing-nu16-b01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-edge-1": "ecs.cn-qingdao-nebula.aliyuncs.com",
    "cn-fujian": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-haidian-cm12-c01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou-bj-b01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou-finance": "ecs.aliyuncs.com",
    "cn-hangzhou-internal-prod-1": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou-internal-test-1": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou-internal-test-2": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou-internal-test-3": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hangzhou-test-306": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-hongkong-finance-pop": "ecs.aliyuncs.com",
    "cn-huhehaote-nebula-1": "ecs.cn-qingdao-nebula.aliyuncs.com",
    "cn-north-2-gov-1": "ecs.aliyuncs.com",
    "cn-shanghai-et15-b01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-shanghai-et2-b01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-shanghai-finance-1": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-shanghai-inner": "ecs.aliyuncs.com",
    "cn-shanghai-internal-test-1": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-shenzhen-finance-1": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-shenzhen-inner": "ecs.aliyuncs.com",
    "cn-shenzhen-st4-d01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-shenzhen-su18-b01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-wuhan": "ecs.aliyuncs.com",
    "cn-yushanfang": "ecs.aliyuncs.com",
    "cn-zhangbei": "ecs.aliyuncs.com",
    "cn-zhangbei-na61-b01": "ecs-cn-hangzhou.aliyuncs.com",
    "cn-zhangjiakou-na62-a01": "ecs.cn-zhangjiakou.aliyuncs.com",
    "cn-zhengzhou-nebula-1": "ecs.cn-qingdao-nebula.aliyuncs.com",
    "eu-west-1-oxs": "ecs.cn-shenzhen-cloudstone.aliyuncs.com",
    "rus-west-1-pop": "ecs.aliyuncs.com",
}


def resolve_endpoint(endpoint: str | None) -> str | None:
    """Return the one base URL for every region's calls, without a slash at its end; None if each has its own.

    None falls back to the environment variable ECS_WAITER_ENDPOINT, which may be empty for none.

    Raises:
        TypeError: It is no text.
        ValueError: It is no base URL, or plain http to another machine. The message does not repeat it, for it may
            hold a password.
    """
    if endpoint is not None:
        return _checked_base("endpoint", endpoint)
    told = os.environ.get(_ENDPOINT_VARIABLE)
    return _checked_base(_ENDPOINT_VARIABLE, told) if told else None


def base_url(region_id: str, endpoint: str | None) -> URL:
    """Return the URL of a region's calls: `endpoint`, as `resolve_endpoint` made it, or the region's own host.

    Raises:
        TypeError: `region_id` is no text.
        ValueError: `region_id` does not look like a region's name.
    """
    region = check_region(region_id)
    if endpoint is not None:
        return URL(f"{endpoint}/")
    return URL(f"https://{_EXCEPTIONS.get(region) or f'ecs.{region}.aliyuncs.com'}/")


def _checked_base(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} takes a base URL as text, not {type(value).__name__}")
    return _base(name, value)


@lru_cache(maxsize=32)  # every wait and its client ask, and programs have one or two
def _base(name: str, value: str) -> str:
    found = _BASE.fullmatch(value)
    if found is None:
        raise ValueError(
            f"{name} takes a base URL such as 'https://ecs.example.com' or 'http://127.0.0.1:8080': ASCII only,"
            " without user info, path, query or fragment"
        )
    scheme, ipv6, host, digits = found.groups()
    scheme = scheme.lower()
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if not 1 <= port <= _MAX_PORT:
        raise ValueError(f"{name} takes a port from 1 to {_MAX_PORT}, not {port}")
    address = _address(name, ipv6, host.lower() if host else "")
    shown = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
    if scheme == "http" and not _is_loopback(address):
        raise ValueError(
            f"{name} takes plain http for loopback only (localhost, 127.0.0.1, [::1]), not for {shown}: use https"
        )
    return f"{scheme}://{shown}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{shown}:{port}"


def _address(name: str, ipv6: str | None, host: str) -> _Address | str:
    try:
        if ipv6:
            return ipaddress.IPv6Address(ipv6)
        labels = host.split(".")
        # Resolvers take `127.1` or `0x7f.1` for addresses; only the plain form of four numbers passes.
        if _NUMBER.fullmatch(labels[-1]):
            return ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError(f"{name} has a host that is no IP address") from None
    if len(host) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{name} has a host that is no host name")
    return host


def _is_loopback(address: _Address | str) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in _LOOPBACK
    return address in {"localhost", ipaddress.IPv6Address("::1")}
