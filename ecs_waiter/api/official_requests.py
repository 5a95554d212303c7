"""Sends the requests of the official credentials package without the environment's proxies, unless asked for.

The package sends every request through ``HTTP_PROXY`` and ``HTTPS_PROXY`` and ignores ``NO_PROXY``, even requests to
the metadata service of the instance: the proxy sees temporary keys in plain text, and can supply its own.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yarl import URL

from ecs_waiter.after_fork import after_fork
from ecs_waiter.api.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.api.proxies import Proxy

__all__ = ["is_ours", "our_requests"]

_TRUST_ENV = "ecs_waiter.trust_env"
"""Marks the options of our providers."""

_CONNECT_TIMEOUT = 5_000
_READ_TIMEOUT = 10_000

# The threads that fetch credentials for us now, and whether they may use the environment's proxies.
_threads: dict[int, bool] = {}
after_fork(_threads.clear)


def is_ours(thread: int) -> bool:
    """Whether a thread fetches credentials for us now."""
    return thread in _threads


@contextmanager
def our_requests(*, trust_env: bool) -> Iterator[None]:
    """Send the package's requests of this thread without the environment's proxies.

    Later requests with the same options are sent so too, because a provider may refresh its credentials in another
    thread. All other requests of the package stay as they are.

    Args:
        trust_env: Whether requests to hosts on the internet use the environment's proxies nevertheless.
    """
    _replace_do_action()
    thread = threading.get_ident()
    _threads[thread] = trust_env
    try:
        yield
    finally:
        del _threads[thread]


def _replace_do_action() -> None:
    from Tea.core import TeaCore  # noqa: PLC0415 - this import takes long

    theirs = TeaCore.do_action
    if getattr(theirs, "is_ours", False):
        return

    def do_action(request: Any, runtime_option: dict[str, Any] | None = None) -> Any:
        options = {} if runtime_option is None else runtime_option
        trust_env = _threads.get(threading.get_ident())
        if trust_env is not None:
            options[_TRUST_ENV] = trust_env
        if _TRUST_ENV not in options:
            return theirs(request, runtime_option)
        return _send(request, options)

    do_action.is_ours = True  # type: ignore[attr-defined]
    TeaCore.do_action = staticmethod(do_action)


def _send(request: Any, options: dict[str, Any]) -> Any:
    """Do what ``TeaCore.do_action`` does, but choose the proxy here, and do not follow redirects."""
    from requests import PreparedRequest, Session  # noqa: PLC0415 - as above
    from Tea.core import TeaCore  # noqa: PLC0415
    from Tea.exceptions import RetryError  # noqa: PLC0415
    from Tea.response import TeaResponse  # noqa: PLC0415

    prepared = PreparedRequest()
    prepared.prepare(
        method=request.method.upper(), url=TeaCore.compose_url(request), data=request.body, headers=request.headers
    )
    url = URL(str(prepared.url))
    proxy = _proxy_for(url) if options[_TRUST_ENV] else None
    timeouts = options.get("connectTimeout") or _CONNECT_TIMEOUT, options.get("readTimeout") or _READ_TIMEOUT
    try:
        with Session() as session:
            session.trust_env = False
            adapter = TeaCore.get_adapter(url.scheme)
            # The proxy's login is not in its URL, so that no error shows it.
            adapter.proxy_headers = lambda _url: {} if proxy is None else dict(proxy.headers)
            session.mount(f"{url.scheme}://", adapter)
            response = session.send(
                prepared,
                proxies={} if proxy is None else {url.scheme: str(proxy.url)},
                timeout=tuple(int(milliseconds) / 1000 for milliseconds in timeouts),
                allow_redirects=False,
            )
    except OSError as error:
        raise RetryError(str(error)) from error
    answer = TeaResponse()
    answer.status_code, answer.status_message = response.status_code, response.reason
    answer.headers = {name.lower(): value for name, value in response.headers.items()}
    answer.body, answer.response = response.content, response
    return answer


def _proxy_for(url: URL) -> Proxy | None:
    """Return the environment's proxy for a URL, unless its host is on this machine or in a private network."""
    proxy = Proxies().for_url(url)
    return None if proxy is None or _is_near(url.host or "") else proxy


def _is_near(host: str) -> bool:
    """Whether a host has a link-local, loopback or private address. A name that does not resolve here is not near."""
    try:
        found = {address[0] for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        # Possibly only the proxy resolves the names of the internet.
        return f".{host.rstrip('.').lower()}".endswith(".localhost")
    return any(map(_is_near_address, found))


def _is_near_address(address: str | int) -> bool:
    parsed = ipaddress.ip_address(address)
    embedded = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    # Shared addresses of a provider's machines, such as that of the metadata service, are not global either.
    return not (embedded or parsed).is_global
