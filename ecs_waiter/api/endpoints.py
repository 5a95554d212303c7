"""From a region's name to the base URL of its calls.

The grammars here accept less than any URL parser, so that no two parsers disagree about the host that gets a signed
request.
"""

from __future__ import annotations

import ipaddress
import os
import re

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

# The regions that do not have the host `ecs.<region>.aliyuncs.com`, by their host, as in the official SDK.
_EXCEPTIONS = {
    "ecs-cn-hangzhou.aliyuncs.com": """
        cn-hangzhou cn-shanghai-finance-1 cn-shenzhen-finance-1 cn-beijing-nu16-b01 cn-fujian cn-haidian-cm12-c01
        cn-hangzhou-bj-b01 cn-hangzhou-internal-prod-1 cn-hangzhou-internal-test-1 cn-hangzhou-internal-test-2
        cn-hangzhou-internal-test-3 cn-hangzhou-test-306 cn-shanghai-et15-b01 cn-shanghai-et2-b01
        cn-shanghai-internal-test-1 cn-shenzhen-st4-d01 cn-shenzhen-su18-b01 cn-zhangbei-na61-b01
    """,
    "ecs.aliyuncs.com": """
        cn-north-2-gov-1 ap-northeast-2-pop cn-beijing-finance-pop cn-beijing-gov-1 cn-hangzhou-finance
        cn-hongkong-finance-pop cn-shanghai-inner cn-shenzhen-inner cn-wuhan cn-yushanfang cn-zhangbei
        rus-west-1-pop
    """,
    "ecs.cn-qingdao-nebula.aliyuncs.com": "cn-edge-1 cn-huhehaote-nebula-1 cn-zhengzhou-nebula-1",
    "ecs.cn-zhangjiakou.aliyuncs.com": "cn-zhangjiakou-na62-a01",
    "ecs.cn-shenzhen-cloudstone.aliyuncs.com": "eu-west-1-oxs",
}
_HOSTS = {region_id: host for host, region_ids in _EXCEPTIONS.items() for region_id in region_ids.split()}


def resolve_endpoint(endpoint: str | None) -> str | None:
    """Return the one base URL for every region's calls, without a slash at its end; None if each has its own.

    None falls back to the environment variable ECS_WAITER_ENDPOINT, which may be empty for none.

    Raises:
        TypeError: It is not a string.
        ValueError: It is not a base URL, or it is plain http to another machine. The message does not repeat it,
            because it may hold a password.
    """
    if endpoint is not None:
        return _checked_base("endpoint", endpoint)
    value = os.environ.get(_ENDPOINT_VARIABLE)
    return _checked_base(_ENDPOINT_VARIABLE, value) if value else None


def base_url(region_id: str, endpoint: str | None) -> URL:
    """Return the URL of a region's calls: `endpoint`, as `resolve_endpoint` made it, or the region's own host.

    Raises:
        TypeError: `region_id` is not a string.
        ValueError: `region_id` does not look like a region's name.
    """
    region = check_region(region_id)
    if endpoint is not None:
        return URL(f"{endpoint}/")
    return URL(f"https://{_HOSTS.get(region) or f'ecs.{region}.aliyuncs.com'}/")


def _checked_base(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} takes a base URL as text, not {type(value).__name__}")
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
        # Resolvers read `127.1` and `0x7f.1` as addresses too, but only the form of four decimal numbers is accepted.
        if _NUMBER.fullmatch(labels[-1]):
            return ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError(f"{name} has an invalid IP address") from None
    if len(host) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{name} has an invalid host name")
    return host


def _is_loopback(address: _Address | str) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in _LOOPBACK
    return address in {"localhost", ipaddress.IPv6Address("::1")}
