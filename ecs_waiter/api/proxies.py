"""Proxies of the environment: which of them is used for a URL, by the rules of `urllib.request`."""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ecs_waiter.api.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

__all__ = ["Proxies", "Proxy", "check_trust_env", "read_flag", "trust_env_variable", "unused_proxy"]

_TRUST_ENV_VARIABLE = "ECS_WAITER_TRUST_ENV"
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"", "0", "false", "f", "no", "n", "off"})
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy.

    Attributes:
        url: Its URL, without a login: errors show it.
        headers: What the proxy itself is sent, such as its login.
        redactor: Removes the login from what the proxy answers.
    """

    url: URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    redactor: Redactor | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return str(self.url.host_port_subcomponent)

    def clean(self, text: str) -> str:
        """Return `text` without the proxy's login."""
        return text if self.redactor is None else self.redactor.text(text)


class Proxies:
    """The environment's proxies, read when this is made and when a host is first asked for."""

    def __init__(self) -> None:
        self._values = getproxies()
        self._found: dict[URL, Proxy | None] = {}

    def for_url(self, url: URL) -> Proxy | None:
        """Return the proxy for `url`; None for a direct connection.

        Raises:
            ValueError: The environment names an unusable proxy. The message does not repeat it, because it may hold a
                password.
        """
        origin = url.origin()
        if origin not in self._found:
            key = _key_for(origin, self._values)
            self._found[origin] = None if key is None else _proxy_for(origin, key, self._values[key])
        return self._found[origin]


def unused_proxy(url: URL) -> str | None:
    """Return the name of the setting whose proxy could be used for `url`; None if there is none.

    A proxy that only a session of the user can use, such as a SOCKS proxy, is named too.
    """
    values = getproxies()
    key = _key_for(url, values)
    if key is None:
        return None
    try:
        is_usable = _proxy_for(url.origin(), key, values[key]) is not None
    except ValueError:
        is_usable = True
    return _setting(key) if is_usable else None


def check_trust_env(trust_env: object, session: aiohttp.ClientSession | None) -> bool:
    """Return `trust_env`.

    Raises:
        TypeError: It is not a bool.
        ValueError: It is true, and there is a session.
    """
    if not isinstance(trust_env, bool):
        raise TypeError(f"trust_env takes True or False, not {type(trust_env).__name__}")
    if trust_env and session is not None:
        raise ValueError(
            "trust_env=True and session= exclude each other: pass trust_env=True without a session, or make your"
            " session with the proxy it needs, as in aiohttp.ClientSession(proxy=...)"
        )
    return trust_env


def read_flag(name: str, value: object) -> bool:
    """Return a setting as a bool: a bool itself, or text such as ``true``, ``1``, ``no``.

    Raises:
        ValueError: It is something else.
    """
    text = str(value).strip().lower() if isinstance(value, str | int) else None
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{name} takes true or false, not {repr(value)[:_SHOWN]}")
    return text in _TRUE


def trust_env_variable() -> bool:
    """Return the setting ``ECS_WAITER_TRUST_ENV``; False if it is not set.

    Raises:
        ValueError: It is neither true nor false.
    """
    return read_flag(_TRUST_ENV_VARIABLE, os.environ.get(_TRUST_ENV_VARIABLE, ""))


def _key_for(url: URL, values: Mapping[str, str]) -> str | None:
    """Return the key of the proxy for a URL; None if there is none, or NO_PROXY excludes the host."""
    key = next((key for key in (url.scheme, "all") if values.get(key)), None)
    hosts = (url.host_port_subcomponent or "", url.host or "")
    return None if key is None or any(map(proxy_bypass, hosts)) else key


def _setting(key: str) -> str:
    names = (f"{key}_proxy", f"{key.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), f"the system's {key} proxy")


def _proxy_for(origin: URL, key: str, value: str) -> Proxy | None:
    value = value.strip()
    try:
        # Like curl, take a proxy without a scheme for an http proxy.
        url = URL(value if "://" in value else f"http://{value}")
        is_usable = url.scheme in {"http", "https"} and bool(url.host and url.port)
    except ValueError:
        is_usable = False
    if not is_usable:
        is_socks = value.lower().startswith("socks")
        more = "; for a SOCKS proxy pass a session= with a SOCKS connector" if is_socks else ""
        raise ValueError(
            f"{_setting(key)} takes the URL of an http or https proxy, such as http://proxy.example.com:3128{more}"
        )
    if origin.scheme == "http" and not _is_loopback(url.host or ""):
        return None  # another machine could read the signed request
    bare = URL.build(scheme=url.scheme, host=url.host or "", port=url.port)
    if url.user is None and url.password is None:
        return Proxy(bare)
    password = url.password or ""
    basic = base64.b64encode(f"{url.user or ''}:{password}".encode()).decode()
    return Proxy(bare, {"Proxy-Authorization": f"Basic {basic}"}, Redactor(password, basic))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
