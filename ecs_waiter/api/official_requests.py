"""How the requests of the official credentials package go out: without the environment's proxies, unless asked for.

The package itself sends every request through ``HTTP_PROXY`` and ``HTTPS_PROXY`` and ignores ``NO_PROXY``. This holds
for the metadata service of the instance too: a proxy would see temporary keys in plain text, and could supply its own.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yarl import URL

from ecs_waiter.api.proxies import Proxies
from ecs_waiter.forking import in_forked_child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.api.proxies import Proxy

__all__ = ["is_ours", "our_requests"]

_TRUST_ENV = "ecs_waiter.trust_env"
"""Marks the options of a provider that the library made."""

_CONNECT_TIMEOUT = 5_000
_READ_TIMEOUT = 10_000

# The threads that fetch credentials for us now, and whether they may use the environment's proxies.
_threads: dict[int, bool] = {}
# The identifiers of threads are used again.
in_forked_child(_threads.clear)


def is_ours(thread: int) -> bool:
    """Whether a thread fetches credentials for us now."""
    return thread in _threads


@contextmanager
def our_requests(*, trust_env: bool) -> Iterator[None]:
    """Send what the package, which is imported, asks for in this thread without the environment's proxies.

    Other requests of the package stay as they are. Ours are those of this thread, and later ones with the same options,
    because a provider may refresh its credentials in a thread of its own.

    Args:
        trust_env: Whether hosts on the internet are asked through the environment's proxies all the same.
    """
    _take_over()
    me = threading.get_ident()
    _threads[me] = trust_env
    try:
        yield
    finally:
        del _threads[me]


def _take_over() -> None:
    from Tea.core import TeaCore  # noqa: PLC0415 - as heavy as all else that we import

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
    """Do what ``TeaCore.do_action`` does, but with our own choice of a proxy, and without following redirects."""
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
            # The login is not in the proxy's URL, so that no error shows it.
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
    """Whether any address of a host is link-local, loopback or private. A name without an address here is far."""
    try:
        found = {address[0] for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        # Behind a proxy, only the proxy may know the names of the internet.
        return f".{host.rstrip('.').lower()}".endswith(".localhost")
    return any(map(_is_near_address, found))


def _is_near_address(address: str | int) -> bool:
    parsed = ipaddress.ip_address(address)
    embedded = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    # What is shared by the machines of a provider, such as the metadata service's address, is not global either.
    return not (embedded or parsed).is_global
