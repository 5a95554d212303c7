"""Transport: one attempt at a call, from the credentials to the parsed answer or the error that it means."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp

from ecs_waiter.api import service_errors
from ecs_waiter.api.credentials_source import CredentialsSource
from ecs_waiter.api.endpoints import base_url
from ecs_waiter.api.exchange import TRACE, Exchange, attach_trace
from ecs_waiter.api.limiter import Priority
from ecs_waiter.api.resolver import Resolver
from ecs_waiter.api.signing import Signer
from ecs_waiter.errors import (
    ApiError,
    EcsWaiterError,
    ServiceUnavailableError,
    ThrottledError,
    WaiterClosedError,
)
from ecs_waiter.escaping import escape_control
from ecs_waiter.slices import at_once, in_steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from ecs_waiter.api.call_policy import CallPolicy
    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.api.exchange import Reply
    from ecs_waiter.api.limiter import RegionLimiter
    from ecs_waiter.api.proxies import Proxies, Proxy
    from ecs_waiter.api.retry import Attempts
    from ecs_waiter.api.signing import SignedRequest

__all__ = ["OTHER_REGIONS", "ApiResponse", "Attempt", "Counters", "Transport", "new_connector", "read_reply"]

_KEEPALIVE = 45.0
"""Seconds: longer than the pause between two polls, shorter than the minute after which servers close a connection."""

_SUCCESS = range(200, 300)
_LARGE = 2**16
"""Bytes of an answer above which it is read in steps, so that it does not block the event loop."""

OTHER_REGIONS = "other regions"
"""The name under which the counters of forgotten regions are added up. No region has a name with a space."""

_MAX_FORGOTTEN = 1000

_log = logging.getLogger("ecs_waiter.api")


def new_connector(*, force_close: bool = False) -> aiohttp.BaseConnector:
    """Return a connector for our own sessions; without a limit, so that no region delays another."""
    if force_close:
        return aiohttp.TCPConnector(limit=0, resolver=Resolver(), force_close=True)
    return aiohttp.TCPConnector(limit=0, resolver=Resolver(), keepalive_timeout=_KEEPALIVE)


@dataclass(slots=True, eq=False)
class ApiResponse:
    """What the service answered.

    Attributes:
        data: The parsed JSON; empty if the answer is an error.
        date: The service's clock in seconds since the epoch, if the answer has a date.
        error: The error that the answer means.
        is_wrong_clock: Whether the service rejected the time of the request.
    """

    data: dict[str, Any]
    date: float | None
    error: ApiError | None = None
    is_wrong_clock: bool = False


Attempt: TypeAlias = "Callable[..., Awaitable[ApiResponse]]"
"""Sends a request once. Its first arguments are region, operation and request."""


@dataclass(slots=True)
class Counters:
    """What was done in one region.

    Attributes:
        calls: HTTP requests.
        throttled: Requests that the service throttled.
        retried: Requests that repeated a call.
        polls: Polls of pollers that were forgotten.
        settled: Tasks that ended while those pollers polled them.
    """

    calls: int = 0
    throttled: int = 0
    retried: int = 0
    polls: int = 0
    settled: int = 0

    def plus(self, other: Counters) -> Counters:
        """Return the sums."""
        return Counters(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class Transport:
    """Sends signed requests. It is bound to an event loop by its first request.

    Args:
        provider: Asked for credentials before every attempt.
        endpoint: One base URL for every region, or None for each region's own.
        policy: Its `call_timeout` limits an attempt, from the connection to the last byte, in seconds.
        session: A session of the user's, which is traced and never closed; None for our own sessions.
        proxies: The proxies for our own sessions; None for direct connections.
        clock: The local wall clock, in seconds since the epoch.
        nonce: Returns a new value for every attempt.
    """

    def __init__(  # noqa: PLR0913 - callers or tests replace each of them
        self,
        *,
        provider: CredentialsProvider,
        endpoint: str | None,
        policy: CallPolicy,
        session: aiohttp.ClientSession | None = None,
        proxies: Proxies | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self._credentials = CredentialsSource(provider, policy.call_timeout)
        self._endpoint = endpoint
        self._call_timeout = policy.call_timeout
        self._given = session
        if session is not None:
            attach_trace(session)
        self._proxies = proxies
        self._own: dict[bool, aiohttp.ClientSession] = {}
        self._clock = clock
        self._nonce = nonce
        self._signers: dict[str, Signer] = {}
        self._counters: dict[str, Counters] = {}
        self._forgotten: dict[str, None] = {}
        self._attempt: Attempt = self._send_once
        self._closed = False

    async def aclose(self) -> None:
        """Close our own sessions; one that was given stays open.

        A provider that ignores its cancellation is waited for until `call_timeout` has passed.
        """
        self._closed = True
        while self._own:
            await self._own.popitem()[1].close()
        await self._credentials.aclose()

    def counters(self, region_id: str) -> Counters:
        """Return the running counters of a region."""
        return self._counters.setdefault(region_id, Counters())

    @property
    def counted(self) -> Mapping[str, Counters]:
        """The counters of all regions by their names; `OTHER_REGIONS` has those that were added up."""
        return self._counters

    def forget(self, region_id: str) -> None:
        """Forget how to sign for an idle region. Beyond a thousand such regions, the counters are added up."""
        self._signers.pop(region_id, None)
        self._forgotten[region_id] = None
        if len(self._forgotten) <= _MAX_FORGOTTEN:
            return
        oldest = next(iter(self._forgotten))
        del self._forgotten[oldest]
        # A new mapping, because other threads may iterate over the present one.
        counters = self._counters.copy()
        if (counted := counters.pop(oldest, None)) is not None:
            counters[OTHER_REGIONS] = counters.get(OTHER_REGIONS, Counters()).plus(counted)
            self._counters = counters

    def remember(self, region_id: str) -> None:
        """Keep the counters of a region that is used again."""
        self._forgotten.pop(region_id, None)

    def observe(self, around: Callable[[Attempt], Attempt]) -> None:
        """Wrap every attempt by `around`."""
        self._attempt = around(self._attempt)

    async def send(  # noqa: PLR0913 - each is one property of the call
        self,
        region_id: str,
        action: str,
        query: str,
        *,
        limiter: RegionLimiter,
        priority: Priority = Priority.CALL,
        fresh: bool = False,
        attempts: Attempts | None = None,
    ) -> ApiResponse:
        """Make one attempt at a call, for which the caller holds a place of the limiter.

        After a correction of the local clock the request is sent once more. So it is after a rejection of the key, if
        the provider gives another key when it is asked again.

        Args:
            region_id: The region called.
            action: The operation's name.
            query: All its parameters, written by `canonical_query`.
            limiter: Paces a request that is sent once more, and learns from the answer.
            priority: The priority of the place.
            fresh: Whether to open a new connection: the server may just have closed an idle one.
            attempts: Where to note whether the request may have arrived.

        Raises:
            ThrottledError: Too many calls.
            AuthenticationError: The credentials were rejected, or there are none.
            ServiceUnavailableError: A transient fault.
            ApiError: The service rejected the call for another reason.
            WaiterClosedError: The session given cannot be used any more (a RuntimeError).
            RuntimeError: The transport is closed.
        """
        signer = self._signers.get(region_id)
        if signer is None:
            url = base_url(region_id, self._endpoint)
            signer = self._signers[region_id] = Signer(url, clock=self._clock, nonce=self._nonce)
        credentials = await self._credentials.get()
        is_corrected = is_renewed = False
        while True:
            request = signer.sign(action, query, credentials)
            response = await self._attempt(region_id, action, request, limiter, fresh=fresh, attempts=attempts)
            if response.error is None:
                return response
            if response.is_wrong_clock and response.date is not None and not is_corrected:
                is_corrected = True
                signer.correct(response.date)
            elif service_errors.is_rejected_key(response.error) and not is_renewed:
                is_renewed = True
                credentials = await self._credentials.get_other(credentials, response.error)
            else:
                raise response.error
            await limiter.pace(priority)

    async def _send_once(  # noqa: PLR0913 - see `send`
        self,
        region_id: str,
        action: str,
        request: SignedRequest,
        limiter: RegionLimiter,
        *,
        fresh: bool,
        attempts: Attempts | None,
    ) -> ApiResponse:
        session = self._session(fresh=fresh)
        proxy = self._proxy(request)
        counters = self.counters(region_id)
        counters.calls += 1
        sent_at = asyncio.get_running_loop().time()
        is_own = self._given is None
        reply = await Exchange(session, request, self._call_timeout, proxy, is_own=is_own, attempts=attempts).send()
        if isinstance(reply, ServiceUnavailableError):
            if self._given is not None and self._given.closed:
                doubt = "; the request under way may have been received" if reply.sent else ""
                raise _closed_session(doubt) from reply
            _log.debug("%s in %s: %s", action, region_id, reply)
            raise reply
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s in %s: HTTP status %d", action, region_id, reply.status)
        if attempts is not None and reply.status in _SUCCESS:
            attempts.may_have_arrived = True
        try:
            steps = read_reply(reply, request)
            response = await in_steps(steps) if len(reply.body) > _LARGE else at_once(steps)
        except MemoryError as error:
            raise ServiceUnavailableError(None, "not enough memory to read the answer") from error
        if response.error is None:
            limiter.succeeded(sent_at)
        elif isinstance(response.error, ThrottledError):
            counters.throttled += 1
            limiter.throttled(sent_at, response.error.retry_after)
        return response

    def _session(self, *, fresh: bool) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("this EcsClient is closed")
        if self._given is not None:
            _check_usable(self._given)
            return self._given
        if fresh not in self._own:
            try:
                self._own[fresh] = aiohttp.ClientSession(
                    connector=new_connector(force_close=fresh),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    trace_configs=[TRACE],
                )
            except EcsWaiterError:
                raise
            except Exception as error:
                # Such as a resolver that cannot start.
                raise ServiceUnavailableError(
                    None,
                    f"cannot open an HTTP session: {type(error).__name__}: {escape_control(str(error))}",
                    sent=False,
                ) from error
        return self._own[fresh]

    def _proxy(self, request: SignedRequest) -> Proxy | None:
        try:
            return None if self._proxies is None else self._proxies.for_url(request.url)
        except ValueError as error:
            raise EcsWaiterError(str(error)) from None


def _check_usable(session: aiohttp.ClientSession) -> None:
    if session.closed:
        raise _closed_session()
    loop = getattr(session, "_loop", None)  # `session.loop` warns
    if loop is not None and loop is not asyncio.get_running_loop():
        raise WaiterClosedError(
            "the session that was given belongs to another event loop: make one in this loop, or leave session= out"
        )


def _closed_session(more: str = "") -> WaiterClosedError:
    return WaiterClosedError(
        f"the session that was given is closed: keep it open until all waits and calls that use it have ended{more}"
    )


def read_reply(reply: Reply, request: SignedRequest) -> Generator[None, None, ApiResponse]:
    """Parse a reply and remove all secrets; in steps, because it may be large."""
    date = service_errors.date_of(reply.headers)
    is_clean = request.redactor.is_clean(reply.body, request.signature)
    yield
    try:
        data = service_errors.parsed(reply.body)
    except ValueError:
        data = None
    yield
    if reply.status in _SUCCESS and isinstance(data, dict) and not service_errors.is_error_object(data):
        if not is_clean:
            data = yield from request.redactor.steps(data, request.signature)
        return ApiResponse(data, date)
    info = service_errors.error_info(data, reply.body, request.clean)
    error = service_errors.error_of(reply.status, info, reply.headers)
    return ApiResponse({}, date, error, is_wrong_clock=service_errors.is_wrong_clock(info))
