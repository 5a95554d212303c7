"""Exchange: sends one signed request, and returns the answer or the fault that stands for none."""

from __future__ import annotations

import asyncio
import math
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from ecs_waiter.api.body import read_body, unpack
from ecs_waiter.api.proxies import unused_proxy
from ecs_waiter.errors import EcsWaiterError, ServiceUnavailableError
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from ecs_waiter.api.proxies import Proxy
    from ecs_waiter.api.retry import Attempts
    from ecs_waiter.api.signing import SignedRequest

__all__ = ["TRACE", "Exchange", "Reply", "attach_trace"]

# Without tracing, these errors mean that nothing was sent.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
_NOT_WRITTEN = "Cannot write to closing transport"
"""The text of aiohttp's error if it wrote nothing."""
_PROXY_ADVICE = {
    403: "the proxy does not allow connections to this host",
    407: "the proxy requires a login: put the user and the password into the proxy's URL",
}
_FRAMES_WITH_HEADERS = (__name__, "aiohttp.client")
_LOGIN = r"(?<=://)[^/\s?#]+(?=@)|BasicAuth\(.*\)"
"""A login in a URL, and the login of a session's proxy in aiohttp's errors."""


@dataclass(slots=True, eq=False)
class Reply:
    """An answer as it came, unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """One request and its answer.

    Args:
        session: Sends the request.
        request: The request.
        call_timeout: Seconds from the connection to the last byte. The wait for a free connection in the session's pool
            may take as long again.
        proxy: The proxy to use; None leaves the choice to the session.
        is_own: Whether the library made the session.
        attempts: Where to note that the request may have arrived if the exchange is canceled.
    """

    def __init__(  # noqa: PLR0913 - each is one property of the exchange
        self,
        session: aiohttp.ClientSession,
        request: SignedRequest,
        call_timeout: float,
        proxy: Proxy | None = None,
        *,
        is_own: bool = True,
        attempts: Attempts | None = None,
    ) -> None:
        self._session = session
        self._request = request
        self._call_timeout = call_timeout
        self._proxy = proxy
        self._is_own = is_own
        self._attempts = attempts
        # aiohttp's own total timeout swallows a cancellation in the same iteration of the event loop.
        self._limit = asyncio.timeout(call_timeout)
        # What the trace hooks report. A mocked session reports nothing, and a middleware may send repeatedly.
        self._is_traced = self._is_queued = self._is_over = False
        self._writes = 0

    async def send(self) -> Reply | ServiceUnavailableError:
        """Send the request once.

        Any exception of the session is a fault: connectors, resolvers, middlewares and trace hooks can raise anything.
        The fault is returned rather than raised here, where an exception that holds the request would be its context.
        After an exchange without an answer, the idle connections to the host are closed.

        Raises:
            EcsWaiterError: The session adds a second login.
        """
        before = _current.get()
        _current.set(self)
        has_answer = False
        try:
            async with self._limit, self._post() as response:
                has_answer = True
                body = await read_body(response.content.iter_any())
                encoding = response.headers.get("Content-Encoding", "").strip().lower()
                status, headers = response.status, response.headers
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():
                if self._attempts is not None and self._may_be_sent(error):
                    self._attempts.may_have_arrived = True
                _cut_frames(error)
                raise
            # Nobody canceled this call: code of the session raised the CancelledError.
            return self._fault(error)
        except Exception as error:
            _cut_frames(error)
            # aiohttp does not send our signature together with a login that the session found in a .netrc file.
            if type(error) is ValueError and self._session.trust_env and "AUTHORIZATION header" in str(error):
                raise EcsWaiterError(
                    "the session that was given cannot send signed requests: it has trust_env=True and found a login"
                    f" for {self._request.headers['host']} in a .netrc file; remove that login, or leave session= out"
                ) from error
            return self._fault(error)
        finally:
            self._is_over = True
            # Not by a token: a loop that is closed during the call ends it in another context.
            _current.set(before)
            if self._is_own and not has_answer:
                self._close_idle_connections()
        try:
            return Reply(status, headers, unpack(body, encoding))
        except Exception as error:  # noqa: BLE001 - broken data, or not enough memory
            return self._fault(error)

    # -- reported by aiohttp's tracing --------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Note that the session reports its progress."""
        self._is_traced = True

    def on_queued(self) -> None:
        """Note that the request waits for a free connection in the session's pool."""
        self._is_queued = True

    def on_connection(self) -> None:
        """Restart the time limit: the wait for a free connection is not the service's fault."""
        self._is_queued = False
        if not self._is_over and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._call_timeout)

    def on_write(self) -> None:
        """Note that the request is being written, right before its first byte."""
        self._writes += 1

    # -- the request --------------------------------------------------------------------------------------------------

    def _post(self) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = self._request.headers
        proxy: dict[str, Any] = {}
        if self._proxy is not None:
            proxy = {"proxy": self._proxy.url, "proxy_headers": self._proxy.headers}
            if self._request.url.scheme == "http":
                # Without a tunnel the proxy reads the request itself.
                headers = {**headers, **self._proxy.headers}
        return self._session.post(
            self._request.url,
            headers=headers,
            allow_redirects=False,
            # aiohttp would unpack without a limit.
            auto_decompress=False,
            raise_for_status=False,
            # The request has no content; aiohttp would send a type for it.
            skip_auto_headers=("Content-Type",),
            # Half of the time for each address of the host, so that a dead one leaves time for the next.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._call_timeout / 2, ceil_threshold=math.inf),
            **proxy,
        )

    def _close_idle_connections(self) -> None:
        """Close the idle connections to a host that did not answer: after a silent failover all of them are dead.

        aiohttp has no public way to do it, so a session that was given keeps its own.
        """
        url = self._request.url
        pools: Any = getattr(self._session.connector, "_conns", {})
        for key in [key for key in pools if (key.host, key.port) == (url.raw_host, url.port)]:
            for protocol, _ in pools.pop(key):
                if protocol.transport is not None:
                    # An orderly end of TLS would wait for the dead host.
                    protocol.transport.abort()

    # -- faults -------------------------------------------------------------------------------------------------------

    def _fault(self, error: BaseException) -> ServiceUnavailableError:
        sent = self._may_be_sent(error)
        through = f" through the proxy {self._proxy}" if self._proxy is not None else ""
        message = f"{self._request.headers['host']}{through}: {self._reason(error, sent=sent)}"
        fault = ServiceUnavailableError(None, message, sent=sent)
        fault.__cause__ = error if self._is_clean(error) else aiohttp.ClientError(self._described(error))
        return fault

    def _may_be_sent(self, error: BaseException) -> bool:
        if not self._is_traced:
            return not isinstance(error, _UNSENT)
        # The last write did not happen if the transport was closing.
        is_unwritten = isinstance(error, aiohttp.ClientConnectionResetError) and _text(error) == _NOT_WRITTEN
        return self._writes > is_unwritten

    def _reason(self, error: BaseException, *, sent: bool) -> str:
        seconds = self._call_timeout
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {seconds / 2:g} s{self._hint(error)}"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return f"{self._described(error)}: {_PROXY_ADVICE.get(error.status, 'check the proxy')}"
        if not isinstance(error, TimeoutError) or _text(error):
            return f"{self._described(error)}{'' if sent else self._hint(error)}"
        if sent:
            return f"no answer within {seconds:g} s"
        if self._is_queued:
            return (
                f"no free connection in the session's pool ({_limits(self._session)}) within {seconds:g} s: raise the"
                " connector's limit, or leave session= out"
            )
        return f"no connection within {seconds:g} s{self._hint(error)}"

    def _hint(self, error: BaseException) -> str:
        """Name a proxy of the environment that could be used but is not."""
        url = self._request.url
        # A connector's error names another host if the session has a proxy of its own.
        is_direct = self._proxy is None and not self._session.trust_env and getattr(error, "host", url.host) == url.host
        if not is_direct or not isinstance(error, OSError) or isinstance(error, aiohttp.ClientSSLError):
            return ""
        name = unused_proxy(url)
        if name is None:
            return ""
        if self._is_own:
            return f"; {name} is set but not used: pass trust_env=True (command: --proxy-from-env)"
        return (
            f"; {name} is set but not used: make your session with proxy=..., or leave session= out and pass"
            " trust_env=True"
        )

    def _described(self, error: BaseException) -> str:
        # The text of a ClientResponseError ends in the URL.
        text = f"{error.status}, {error.message}" if isinstance(error, aiohttp.ClientResponseError) else _text(error)
        return f"{type(error).__name__}: {escape_control(self._redacted(text))}".removesuffix(": ")

    def _redacted(self, text: str) -> str:
        text = self._request.clean(text)
        if self._proxy is not None:
            text = self._proxy.clean(text)
        return re.sub(_LOGIN, "***", text)

    def _is_clean(self, error: BaseException) -> bool:
        """Whether nothing that a log would print of `error` and its causes holds a secret."""
        try:
            return all(
                # Its repr shows the request's headers.
                not isinstance(link, aiohttp.ClientResponseError)
                and all(
                    self._redacted(text) == text for text in (str(link), repr(link), *getattr(link, "__notes__", ()))
                )
                for link in _chain(error)
            )
        except Exception:  # noqa: BLE001 - foreign code writes these texts
            return False


# -- aiohttp's tracing ------------------------------------------------------------------------------------------------

_current: ContextVar[Exchange | None] = ContextVar("ecs_waiter_exchange", default=None)


def _hook(report: Callable[[Exchange], None]) -> Callable[..., Awaitable[None]]:
    async def hook(*_: object) -> None:
        if (exchange := _current.get()) is not None:
            report(exchange)

    return hook


TRACE = aiohttp.TraceConfig()
"""Reports the progress of our own requests, and ignores all other requests of the program."""

TRACE.on_request_start.append(_hook(Exchange.on_start))
TRACE.on_connection_queued_start.append(_hook(Exchange.on_queued))
TRACE.on_connection_queued_end.append(_hook(Exchange.on_connection))
TRACE.on_request_headers_sent.append(_hook(Exchange.on_write))
TRACE.freeze()


def attach_trace(session: aiohttp.ClientSession) -> None:
    """Have a session that was made without `TRACE` report the progress of our requests."""
    traces: object = session.trace_configs
    if isinstance(traces, list) and TRACE not in traces:
        traces.append(TRACE)


# -- the errors of others ---------------------------------------------------------------------------------------------


def _cut_frames(error: BaseException) -> None:
    """Cut off the frames that hold the signed headers, which tools that record local variables would show."""
    for link in _chain(error):
        trace = rest = link.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals.get("__name__") in _FRAMES_WITH_HEADERS:
                rest = trace.tb_next
            trace = trace.tb_next
        link.__traceback__ = rest


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            links += [link.__cause__, link.__context__]
            if isinstance(link, BaseExceptionGroup):
                links += link.exceptions


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - foreign code writes it
        return ""


def _limits(session: aiohttp.ClientSession) -> str:
    connector = session.connector
    per_host = getattr(connector, "limit_per_host", 0)
    more = f", {per_host} for each host" if per_host else ""
    return f"limit {getattr(connector, 'limit', None) or 'none'}{more}"
