"""Transport: one attempt at a call, from the credentials to the parsed answer or the error that it means."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp

from ecs_waiter.api import faults
from ecs_waiter.api.attempts import CURRENT
from ecs_waiter.api.credentials import Credentials, DefaultCredentials, StaticCredentials
from ecs_waiter.api.endpoints import base_url
from ecs_waiter.api.exchange import TRACE, attach_trace, exchange
from ecs_waiter.api.fingerprint import fingerprint_of
from ecs_waiter.api.limiter import Priority
from ecs_waiter.api.request import Signer
from ecs_waiter.api.resolver import Resolver
from ecs_waiter.errors import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    ServiceUnavailableError,
    ThrottledError,
    WaiterClosedError,
)
from ecs_waiter.printable import printable
from ecs_waiter.slices import at_once, in_steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from ecs_waiter.api.call_policy import CallPolicy
    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.api.exchange import Reply
    from ecs_waiter.api.limiter import RegionLimiter
    from ecs_waiter.api.listing import Listing
    from ecs_waiter.api.proxies import Proxies, Proxy
    from ecs_waiter.api.request import SignedRequest

__all__ = ["KNOWN", "OTHER_REGIONS", "Answer", "Attempt", "Counters", "Transport", "new_connector"]

# Longer than the pause between two polls, shorter than the minute after which servers drop an idle connection.
_KEEPALIVE = 45.0
_GOOD = range(200, 300)
_LARGE = 2**16
"""Bytes of an answer above which it is read in steps, with other callbacks of the event loop between them."""
_NOTHING = faults.Told()
OTHER_REGIONS = "other regions"
"""Stands for regions whose counters were added up. No region has a name with a space."""

_MOST_COUNTED = 1000
_AT_HAND = (StaticCredentials, DefaultCredentials)

_log = logging.getLogger("ecs_waiter.api")
_warnings = logging.getLogger("ecs_waiter")


def new_connector(*, force_close: bool = False) -> aiohttp.BaseConnector:
    """Return the connector of a session of our own; without a limit, for no region may delay another."""
    if force_close:
        return aiohttp.TCPConnector(limit=0, resolver=Resolver(), force_close=True)
    return aiohttp.TCPConnector(limit=0, resolver=Resolver(), keepalive_timeout=_KEEPALIVE)


@dataclass(slots=True, eq=False)
class Answer:
    """A good answer.

    Attributes:
        data: Its parsed JSON.
        date: The service's clock in seconds since the epoch, where it said.
        fingerprint: What `fingerprint_of` makes of its body.
        listing: What the caller's own reader made of its body; `data` is empty then.
    """

    data: dict[str, Any]
    date: float | None
    fingerprint: int
    listing: Listing | None = None


KNOWN = Answer({}, None, 0)
"""Stands for an answer that the caller knows already, so that it was not even parsed."""

Attempt: TypeAlias = "Callable[..., Awaitable[tuple[Answer | ApiError, faults.Told]]]"
"""What sends a request once; region, operation and request come first."""


@dataclass(slots=True)
class Counters:
    """What was done in one region.

    Attributes:
        calls: HTTP attempts.
        throttled: Those of them that were throttled.
        retried: Those that repeated a call.
        polls: Polls of pollers that were forgotten.
        settled: Tasks that ended in those.
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
    """Sends signed requests. It binds no loop until the first one.

    Args:
        provider: Asked for credentials before every attempt.
        endpoint: One base URL for every region, or None for each region's own.
        policy: Its `call_timeout` bounds an attempt, from the connection to the last byte, in seconds.
        session: Traced, and never closed; None for sessions of our own.
        proxies: The proxies for sessions of our own; None for direct connections.
        clock: The local wall clock, in seconds since the epoch.
        nonce: Gives a new value for every attempt.
    """

    def __init__(  # noqa: PLR0913 - each is a thing that a caller or a test replaces
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
        self._provider = provider
        # Ours, to the letter: a provider that builds on them is asked like any other.
        is_ours = type(provider) in _AT_HAND
        self._at_hand = provider.at_hand if isinstance(provider, _AT_HAND) and is_ours else None
        self._endpoint = endpoint
        self._patience = policy.call_timeout
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
        # Questions to the provider that were canceled and have not ended, and when each is given up.
        self._leaving: dict[asyncio.Task[Credentials], asyncio.TimerHandle] = {}

    async def aclose(self) -> None:
        """Close the sessions of our own; one that was given stays open.

        A provider that ignores its cancellation is waited for until `call_timeout` has passed.
        """
        self._closed = True
        while self._own:
            await self._own.popitem()[1].close()
        if self._leaving:
            await asyncio.wait(tuple(self._leaving), timeout=self._patience)
            for asking in tuple(self._leaving):
                self._abandon(asking)

    def counters(self, region_id: str) -> Counters:
        """Return the running counters of a region."""
        return self._counters.setdefault(region_id, Counters())

    @property
    def counted(self) -> Mapping[str, Counters]:
        """The counters of all regions by their names; `OTHER_REGIONS` has those that were added up."""
        return self._counters

    def forget(self, region_id: str) -> None:
        """Forget how to sign for a region, and add its counters to those of others once a thousand are kept."""
        self._signers.pop(region_id, None)
        self._forgotten[region_id] = None
        if len(self._forgotten) <= _MOST_COUNTED:
            return
        oldest = next(iter(self._forgotten))
        del self._forgotten[oldest]
        # A new mapping, for other threads read it.
        counters = self._counters.copy()
        if (counted := counters.pop(oldest, None)) is not None:
            counters[OTHER_REGIONS] = counters.get(OTHER_REGIONS, Counters()).plus(counted)
            self._counters = counters

    def remember(self, region_id: str) -> None:
        """A region is used again."""
        self._forgotten.pop(region_id, None)

    def observe(self, around: Callable[[Attempt], Attempt]) -> None:
        """Have every attempt made by what `around` makes of the plain one."""
        self._attempt = around(self._attempt)

    async def send(  # noqa: PLR0913 - each is one property of the call
        self,
        region_id: str,
        action: str,
        query: str,
        *,
        limiter: RegionLimiter,
        fresh: bool = False,
        priority: Priority = Priority.CALL,
        is_known: Callable[[int], bool] | None = None,
        read: Callable[[bytes], Listing | None] | None = None,
    ) -> Answer:
        """Make one attempt at a call, for which the caller holds a place of the limiter.

        After a correction of the local clock the request is sent once more. So it is after a refusal of the key, if the
        provider gives another key when it is asked again.

        Args:
            region_id: The region asked.
            action: The operation's name.
            query: All its parameters, as `canonical_query` writes them; sent as it is.
            limiter: Paces a request that is sent once more, and is told what came of it.
            fresh: Not on an idle connection, which the server may just have closed.
            priority: What the place was acquired with.
            is_known: Whether an answer of this fingerprint is known already; `KNOWN` is returned then.
            read: Reads the body of a good answer that holds no secret; None where it cannot.

        Raises:
            ThrottledError: Too many calls.
            AuthenticationError: The credentials were refused, or there are none.
            ServiceUnavailableError: A passing fault.
            ApiError: The service refused the call for another reason.
            WaiterClosedError: The session given cannot be used any more (a RuntimeError).
            RuntimeError: The transport is closed.
        """
        signer = self._signer(region_id)
        credentials = await self._credentials()
        corrected = renewed = False
        while True:
            request = signer.sign(action, query, credentials)
            result, told = await self._attempt(
                region_id, action, request, limiter, fresh=fresh, is_known=is_known, read=read
            )
            if isinstance(result, Answer):
                return result
            if faults.is_wrong_clock(told) and told.date is not None and not corrected:
                corrected = True
                signer.correct(told.date)
            elif faults.is_refused_key(result) and not renewed:
                renewed = True
                credentials = await self._renewed(credentials, result)
            else:
                raise result
            await limiter.pace(priority)

    async def _send_once(  # noqa: PLR0913 - see `send`
        self,
        region_id: str,
        action: str,
        request: SignedRequest,
        limiter: RegionLimiter,
        *,
        fresh: bool,
        is_known: Callable[[int], bool] | None,
        read: Callable[[bytes], Listing | None] | None,
    ) -> tuple[Answer | ApiError, faults.Told]:
        session = self._session(fresh=fresh)
        proxy = self._proxy(request)
        counters = self.counters(region_id)
        counters.calls += 1
        sent_at = asyncio.get_running_loop().time()
        reply = await exchange(session, request, self._patience, proxy, is_own=self._given is None)
        if isinstance(reply, ServiceUnavailableError):
            if self._given is not None and self._given.closed:
                doubt = "; the request under way may have been received" if reply.sent else ""
                raise _closed_session(doubt) from reply
            _log.debug("%s in %s: %s", action, region_id, reply)
            raise reply
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s in %s: HTTP status %d", action, region_id, reply.status)
        if reply.status in _GOOD and (attempts := CURRENT.get()) is not None:
            attempts.may_have_arrived = True
        try:
            fingerprint = fingerprint_of(reply.body) if reply.status in _GOOD else 0
            if is_known is not None and is_known(fingerprint):
                limiter.succeeded()
                return KNOWN, _NOTHING
            if len(reply.body) > _LARGE:
                result, told = await in_steps(_judging(reply, request, fingerprint, read))
            else:
                result, told = _judged(reply, request, fingerprint, read)
        except MemoryError as error:
            raise ServiceUnavailableError(None, "not enough memory to read the answer") from error
        if isinstance(result, Answer):
            limiter.succeeded()
        elif isinstance(result, ThrottledError):
            counters.throttled += 1
            limiter.throttled(result.retry_after, sent_at=sent_at)
        return result, told

    def _signer(self, region_id: str) -> Signer:
        signer = self._signers.get(region_id)
        if signer is None:
            url = base_url(region_id, self._endpoint)
            signer = self._signers[region_id] = Signer(url, clock=self._clock, nonce=self._nonce)
        return signer

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
                # A resolver that cannot start, for example.
                raise ServiceUnavailableError(
                    None, f"cannot open an HTTP session: {type(error).__name__}: {printable(str(error))}", sent=False
                ) from error
        return self._own[fresh]

    def _proxy(self, request: SignedRequest) -> Proxy | None:
        try:
            return None if self._proxies is None else self._proxies.for_url(request.url)
        except ValueError as error:
            raise EcsWaiterError(str(error)) from None

    async def _credentials(self) -> Credentials:
        if self._at_hand is not None and (at_hand := self._at_hand()) is not None:
            return at_hand
        # In a task of its own, which can be left behind if the provider ignores its cancellation.
        asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            done, _ = await asyncio.wait((asking,), timeout=self._patience)
        except asyncio.CancelledError:
            self._leave(asking)
            raise
        if not done:
            self._leave(asking)
            raise ServiceUnavailableError(
                None, f"the credentials provider gave nothing within {self._patience:g} s", sent=False
            )
        if not asking.cancelled() and isinstance(refusal := asking.exception(), AuthenticationError):
            # A copy: a provider may raise the same object for another region, and each call notes its region in it.
            # Raised here, where the original is no context of it: its frames may hold secrets.
            raise copy.copy(refusal) from refusal.__cause__
        try:
            return asking.result()
        except (Exception, asyncio.CancelledError) as error:
            if self._at_hand is not None and isinstance(error, ServiceUnavailableError):
                raise
            # Could not ask is not refused. Its own words may hold a secret.
            raise ServiceUnavailableError(
                None,
                f"the credentials provider raised {type(error).__name__} (see the cause)",
                sent=False,
                retry_after=error.retry_after if isinstance(error, ThrottledError | ServiceUnavailableError) else None,
            ) from error

    async def _ask(self) -> Credentials:
        # What a provider calls itself is not an attempt at our call.
        CURRENT.set(None)
        answer: object = self._provider.get_credentials()
        if not inspect.isawaitable(answer):
            wrong = TypeError("get_credentials() is not a coroutine function: define it with `async def`")
            raise AuthenticationError(None, "the credentials provider gave no Credentials") from wrong
        credentials: object = await answer
        if not isinstance(credentials, Credentials):
            wrong = TypeError(f"get_credentials() returned {type(credentials).__name__}, not Credentials")
            raise AuthenticationError(None, "the credentials provider gave no Credentials") from wrong
        return credentials

    def _leave(self, asking: asyncio.Task[Credentials]) -> None:
        """Cancel a question to the provider, and give it `call_timeout` to end."""
        asking.cancel()
        loop = asyncio.get_running_loop()
        self._leaving[asking] = loop.call_later(self._patience, self._abandon, asking)
        asking.add_done_callback(self._left)

    def _left(self, asking: asyncio.Task[Credentials]) -> None:
        timer = self._leaving.pop(asking, None)
        if timer is not None:
            timer.cancel()
        if not asking.cancelled():
            asking.exception()  # mark it as retrieved: nobody waits for it

    def _abandon(self, asking: asyncio.Task[Credentials]) -> None:
        timer = self._leaving.pop(asking, None)
        if timer is None:
            return
        timer.cancel()
        if not asking.done():
            _warnings.warning(
                "the credentials provider %s still runs %g s after its cancellation and is left behind: let"
                " asyncio.CancelledError out of get_credentials()",
                type(self._provider).__name__,
                self._patience,
            )

    async def _renewed(self, refused: Credentials, refusal: ApiError) -> Credentials:
        """Return other credentials than those refused; raise the refusal if the provider has no others."""
        if type(self._provider) is StaticCredentials:
            raise refusal
        try:
            credentials = await self._credentials()
            forget = getattr(self._provider, "forget", None)
            if credentials is refused and callable(forget):
                # Only now: another call may have had them renewed in the meantime, even if they are equal.
                forget()
                credentials = await self._credentials()
        except AuthenticationError as error:
            raise refusal from error
        if credentials == refused:
            raise refusal
        return credentials


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


def _judged(
    reply: Reply, request: SignedRequest, fingerprint: int, read: Callable[[bytes], Listing | None] | None
) -> tuple[Answer | ApiError, faults.Told]:
    return at_once(_judging(reply, request, fingerprint, read))


def _judging(
    reply: Reply, request: SignedRequest, fingerprint: int, read: Callable[[bytes], Listing | None] | None
) -> Generator[None, None, tuple[Answer | ApiError, faults.Told]]:
    """Return the result of a reply and its error, with all secrets removed; in steps, because it may be large."""
    date = faults.date_of(reply.headers)
    is_clean = request.redactor.is_clean(reply.body, request.signature)
    if read is not None and is_clean and reply.status in _GOOD and (listing := read(reply.body)) is not None:
        return Answer({}, date, fingerprint, listing), _NOTHING
    yield
    try:
        data = faults.parsed(reply.body)
    except ValueError:
        data = None
    yield
    if reply.status in _GOOD and isinstance(data, dict) and not faults.is_error_object(data):
        if not is_clean:
            data = yield from request.redactor.steps(data, request.signature)
        return Answer(data, date, fingerprint), _NOTHING
    told = faults.told_by(data, reply.body, date, request.clean)
    return faults.error_of(reply.status, told, reply.headers), told
