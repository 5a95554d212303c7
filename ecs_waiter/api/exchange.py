"""One HTTP exchange: a signed request out, an answer of bounded size back, or the fault that stands for none."""

from __future__ import annotations

import asyncio
import functools
import math
import re
import zlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from ecs_waiter.api.attempts import CURRENT
from ecs_waiter.api.proxies import unused_proxy
from ecs_waiter.errors import EcsWaiterError, ServiceUnavailableError
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from yarl import URL

    from ecs_waiter.api.proxies import Proxy
    from ecs_waiter.api.request import SignedRequest

__all__ = ["TRACE", "Reply", "attach_trace", "exchange"]

_LARGEST_BODY = 4 * 2**20
# A piece of packed data that is unpacked at a time, and the most members of one gzip body.
_PIECE = 2**14
_MOST_MEMBERS = 1000
# For zlib: gzip or zlib, whichever the data begins with; and data without a header.
_ANY_HEADER = 47
_NO_HEADER = -zlib.MAX_WBITS
_GZIP = b"\x1f\x8b"
_PLAIN = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
# If the session is not traced, these errors mean that nothing was sent.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
_HOW_TO_USE = "pass trust_env=True (command: --proxy-from-env)"
_HOW_TO_USE_YOURS = "make your session with proxy=..., or leave session= out and pass trust_env=True"
# What aiohttp's writer says when it writes nothing.
_NOT_WRITTEN = "Cannot write to closing transport"
_PROXY_ADVICE = {
    403: "the proxy does not allow connections to this host",
    407: "the proxy requires a login: put the user and the password into the proxy's URL",
}
_HOLD_HEADERS = (__name__, "aiohttp.client")
# A login in a URL, and the way in which aiohttp's errors show the login of a session's proxy.
_LOGIN = r"(?<=://)[^/\s?#]+(?=@)|BasicAuth\(.*\)"


@dataclass(slots=True, eq=False)
class Reply:
    """An answer as it came, unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Progress:
    """How far one request has come, as aiohttp's tracing reports it.

    Attributes:
        limit: Ends it; None when it is over.
        is_traced: Whether the session reports anything. A mocked session does not.
        is_queued: Whether it waits for a free connection in the session's pool.
        writes: How often sending it began; more than once where a middleware repeats it.
    """

    __slots__ = ("_call_timeout", "is_queued", "is_traced", "limit", "writes")

    def __init__(self, limit: asyncio.Timeout, call_timeout: float) -> None:
        self.limit: asyncio.Timeout | None = limit
        self._call_timeout = call_timeout
        self.is_traced = self.is_queued = False
        self.writes = 0

    def leave_queue(self) -> None:
        """Restart the time limit: the wait for a free connection is not the service's fault."""
        self.is_queued = False
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + self._call_timeout)


_progress: ContextVar[_Progress | None] = ContextVar("ecs_waiter_progress", default=None)


async def _started(*_: object) -> None:
    if (progress := _progress.get()) is not None:
        progress.is_traced = True


async def _queued(*_: object) -> None:
    if (progress := _progress.get()) is not None:
        progress.is_queued = True


async def _had_connection(*_: object) -> None:
    if (progress := _progress.get()) is not None:
        progress.leave_queue()


async def _writes(*_: object) -> None:
    # aiohttp calls this right before it writes the first byte.
    if (progress := _progress.get()) is not None:
        progress.writes += 1


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_started)
    trace.on_connection_queued_start.append(_queued)
    trace.on_connection_queued_end.append(_had_connection)
    trace.on_request_headers_sent.append(_writes)
    trace.freeze()
    return trace


TRACE = _trace()
"""Follows our own requests, and ignores all other requests of the program."""


def attach_trace(session: aiohttp.ClientSession) -> None:
    """Follow our requests on a session that was made without `TRACE`."""
    traces: object = session.trace_configs
    if isinstance(traces, list) and TRACE not in traces:
        traces.append(TRACE)


async def exchange(
    session: aiohttp.ClientSession,
    request: SignedRequest,
    call_timeout: float,
    proxy: Proxy | None = None,
    *,
    is_own: bool = True,
) -> Reply | ServiceUnavailableError:
    """Send once, within `call_timeout` seconds from the connection to the last byte.

    The wait for a free connection in the session's pool may take as long again. If the exchange ends without the head
    of an answer, the idle connections to the host are closed.

    Any exception that leaves the session is a fault: connectors, resolvers, middlewares and trace hooks can raise
    anything. A fault is returned. The caller raises it where no exception that holds the request is handled.

    Args:
        session: What to send it on.
        request: What to send.
        call_timeout: In seconds.
        proxy: The proxy to use; None leaves the choice to the session.
        is_own: Whether the library made the session.

    Raises:
        EcsWaiterError: The session adds a second login.
    """
    before = _progress.get()
    has_answer = False
    # The whole is bounded here, for aiohttp's own total timeout swallows a cancellation that comes in the same turn.
    limit = asyncio.timeout(call_timeout)
    progress = _Progress(limit, call_timeout)
    faults = _Faults(session, request, call_timeout, proxy, progress, is_own=is_own)
    _progress.set(progress)
    try:
        async with limit, _post(session, request, call_timeout, proxy) as response:
            has_answer = True
            body = await _bounded(response.content)
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            status, headers = response.status, response.headers
    except asyncio.CancelledError as error:
        caller = asyncio.current_task()
        if caller is None or caller.cancelling():
            if (attempts := CURRENT.get()) is not None and faults.may_be_sent(error):
                attempts.may_have_arrived = True
            _cut(error)
            raise
        # Nobody canceled this call: code of the session raised the CancelledError.
        return faults.of(error)
    except Exception as error:
        _cut(error)
        if _is_second_login(error, session):
            raise EcsWaiterError(
                "the session that was given cannot send signed requests: it has trust_env=True and found a login for"
                f" {request.headers['host']} in a .netrc file; remove that login, or leave session= out"
            ) from error
        return faults.of(error)
    finally:
        progress.limit = None
        _progress.set(before)
        if is_own and not has_answer:
            _close_idle_connections(session, request.url)
    try:
        return Reply(status, headers, _unpacked(body, encoding))
    except Exception as error:  # noqa: BLE001 - badly packed, or no memory
        return faults.of(error)


def _post(
    session: aiohttp.ClientSession, request: SignedRequest, call_timeout: float, proxy: Proxy | None
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    headers = request.headers
    way: dict[str, Any] = {}
    if proxy is not None:
        way = {"proxy": proxy.url, "proxy_headers": proxy.headers}
        if request.url.scheme == "http":
            # Without a tunnel the proxy reads the request itself.
            headers = {**headers, **proxy.headers}
    return session.post(
        request.url,
        headers=headers,
        allow_redirects=False,
        # aiohttp would unpack without a limit.
        auto_decompress=False,
        raise_for_status=False,
        # The request has no content; aiohttp would send a type for it.
        skip_auto_headers=("Content-Type",),
        timeout=_patience(call_timeout),
        **way,
    )


def _close_idle_connections(session: aiohttp.ClientSession, url: URL) -> None:
    """Close the idle connections to a host of which one did not answer, so that the next request opens a new one.

    After a silent fail-over all of them are dead. aiohttp has no public way to close them, so a session that was given
    keeps its own.
    """
    pools: Any = getattr(session.connector, "_conns", {})
    for key in [key for key in pools if (key.host, key.port) == (url.raw_host, url.port)]:
        for protocol, _ in pools.pop(key):
            if protocol.transport is not None:
                # Not in order: nobody is there to agree to the end of TLS.
                protocol.transport.abort()


def _is_second_login(error: Exception, session: aiohttp.ClientSession) -> bool:
    # aiohttp does not send both our signature and a login that the session found in a .netrc file.
    return type(error) is ValueError and session.trust_env and "AUTHORIZATION header" in str(error)


@functools.lru_cache(maxsize=32)
def _patience(call_timeout: float) -> aiohttp.ClientTimeout:
    # Half of the time for each address of the host: a dead one leaves time for the next. Time in the session's pool
    # does not count.
    return aiohttp.ClientTimeout(total=None, sock_connect=call_timeout / 2, ceil_threshold=math.inf)


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    chunks = []
    size = 0
    while chunk := await content.readany():
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise _too_large()
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in _PLAIN or not body:
        return body
    if encoding not in _PACKED:
        raise aiohttp.ClientPayloadError(f"the answer's Content-Encoding was not asked for: {encoding!r}")
    is_gzip = body.startswith(_GZIP)
    # Some servers leave the header of `deflate` out.
    is_bare = encoding == "deflate" and not is_gzip and not _has_zlib_header(body)
    packed = memoryview(body)
    plain = bytearray()
    at = 0
    # gzip may have several members. Other data behind the last one is ignored, as browsers do.
    for _ in range(_MOST_MEMBERS):
        unpacker = zlib.decompressobj(_NO_HEADER if is_bare else _ANY_HEADER)
        while not unpacker.eof:
            # In pieces, because zlib copies what is left of one when a member ends.
            piece = packed[at : at + _PIECE]
            if not piece:
                raise aiohttp.ClientPayloadError("the answer ends in the middle of its packed data")
            at += len(piece)
            plain += unpacker.decompress(piece, _LARGEST_BODY + 1 - len(plain))
            if len(plain) > _LARGEST_BODY:
                raise _too_large()
        at -= len(unpacker.unused_data)
        if not is_gzip or packed[at : at + len(_GZIP)] != _GZIP:
            return bytes(plain)
    raise aiohttp.ClientPayloadError(f"the answer has more than {_MOST_MEMBERS} gzip members")


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0


def _too_large() -> aiohttp.ClientPayloadError:
    return aiohttp.ClientPayloadError(f"the answer is larger than {_LARGEST_BODY} bytes")


class _Faults:
    """Makes the faults of one exchange."""

    __slots__ = ("_call_timeout", "_host", "_is_own", "_progress", "_proxy", "_request", "_session")

    def __init__(  # noqa: PLR0913 - what an exchange is made of
        self,
        session: aiohttp.ClientSession,
        request: SignedRequest,
        call_timeout: float,
        proxy: Proxy | None,
        progress: _Progress,
        *,
        is_own: bool,
    ) -> None:
        self._session = session
        self._request = request
        self._call_timeout = call_timeout
        self._proxy = proxy
        self._progress = progress
        self._is_own = is_own

    def of(self, error: BaseException) -> ServiceUnavailableError:
        """Return the fault for an exchange that `error` ended."""
        sent = self.may_be_sent(error)
        way = f" through the proxy {self._proxy}" if self._proxy is not None else ""
        fault = ServiceUnavailableError(
            None, f"{self._request.headers['host']}{way}: {self._words(error, sent=sent)}", sent=sent
        )
        fault.__cause__ = error if self._is_harmless(error) else aiohttp.ClientError(self._described(error))
        return fault

    def may_be_sent(self, error: BaseException) -> bool:
        """Whether anything of the request may have been written."""
        if not self._progress.is_traced:
            return not isinstance(error, _UNSENT)
        # The last write did not happen where the transport was closing.
        is_unwritten = isinstance(error, aiohttp.ClientConnectionResetError) and _text(error) == _NOT_WRITTEN
        return self._progress.writes > is_unwritten

    def _words(self, error: BaseException, *, sent: bool) -> str:
        seconds = self._call_timeout
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {seconds / 2:g} s{self._hint(error)}"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return f"{self._described(error)}: {_PROXY_ADVICE.get(error.status, 'check the proxy')}"
        if not isinstance(error, TimeoutError) or _text(error):
            return f"{self._described(error)}{'' if sent else self._hint(error)}"
        if sent:
            return f"no answer within {seconds:g} s"
        if self._progress.is_queued:
            return (
                f"no free connection in the session's pool ({_limits(self._session)}) within {seconds:g} s: raise the"
                " connector's limit, or leave session= out"
            )
        return f"no connection within {seconds:g} s{self._hint(error)}"

    def _hint(self, error: BaseException) -> str:
        """Name the proxy that could be used but is not."""
        is_direct = self._proxy is None and not self._session.trust_env
        # A connector's error names another host if the session has a proxy of its own.
        if not is_direct or getattr(error, "host", self._request.url.host) != self._request.url.host:
            return ""
        if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientSSLError):
            return ""
        name = unused_proxy(self._request.url)
        if name is None:
            return ""
        return f"; {name} is set but not used: {_HOW_TO_USE if self._is_own else _HOW_TO_USE_YOURS}"

    def _described(self, error: BaseException) -> str:
        # The text of a ClientResponseError ends in the URL, that of others is the whole story.
        words = f"{error.status}, {error.message}" if isinstance(error, aiohttp.ClientResponseError) else _text(error)
        return f"{type(error).__name__}: {printable(self._clean(words))}".removesuffix(": ")

    def _clean(self, text: str) -> str:
        text = self._request.clean(text)
        if self._proxy is not None:
            text = self._proxy.clean(text)
        return re.sub(_LOGIN, "***", text)

    def _is_harmless(self, error: BaseException) -> bool:
        """Whether nothing that a log would print of `error` and its causes holds a secret."""
        try:
            return all(
                # Its repr shows the request's headers.
                not isinstance(link, aiohttp.ClientResponseError)
                and all(self._clean(text) == text for text in (str(link), repr(link), *getattr(link, "__notes__", ())))
                for link in _chain(error)
            )
        except Exception:  # noqa: BLE001 - foreign code writes these texts
            return False


def _cut(error: BaseException) -> None:
    """Cut the frames off that hold the signed headers, which tools that record local variables would show."""
    for link in _chain(error):
        trace = rest = link.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals.get("__name__") in _HOLD_HEADERS:
                rest = trace.tb_next
            trace = trace.tb_next
        link.__traceback__ = rest


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
