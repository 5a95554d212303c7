"""Who calls: the values that sign, and the providers that give them."""

from __future__ import annotations

import asyncio
import copy
import math
import os
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol, Self, cast

from ecs_waiter.api.daemons import joined
from ecs_waiter.api.official_chain import OfficialChain, could_not_ask
from ecs_waiter.errors import ApiError, AuthenticationError, EcsWaiterError, ServiceUnavailableError
from ecs_waiter.forking import in_forked_child

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "SET_CREDENTIALS",
    "Credentials",
    "CredentialsProvider",
    "DefaultCredentials",
    "StaticCredentials",
    "check_provider",
]

_SENDABLE = re.compile(r"[!-~]+", re.ASCII)

# Looked at on every call; whatever else the environment says of credentials counts from the next fetch.
_VARIABLES = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_PROFILE",
    "ALIBABA_CLOUD_CREDENTIALS_FILE",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "HOME",
)
_REFRESH = 60.0  # seconds
# Seconds that a call waits for a refresh while it could use what it has.
_REFRESH_WITHIN = 5.0

SET_CREDENTIALS = (
    "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, configure a profile of the official command"
    " line (ALIBABA_CLOUD_PROFILE names another than the current), or pass credentials=StaticCredentials(...)"
)
"""What to do where no credentials are found: the end of the message."""

_Environment = tuple[str | None, ...]
# What an answer depends on, the environment and how often it was forgotten: under another mark it is no answer.
_Mark = tuple[_Environment, int]


class _Secretive:
    """What holds secrets stays in this process, and copies of it are itself."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} does not pickle: a pickle would hold the secret in plain text")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Credentials(_Secretive):
    """What one call is signed with. Its repr hides the secrets.

    Raises:
        TypeError: A part is no text.
        ValueError: A part is empty or cannot go into a header; the message does not repeat it.
    """

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None

    def __post_init__(self) -> None:
        _check("access_key_id", self.access_key_id)
        _check("access_key_secret", self.access_key_secret)
        if self.security_token == "":
            object.__setattr__(self, "security_token", None)
        if self.security_token is not None:
            _check("security_token", self.security_token)

    def _values(self) -> tuple[str, str, str | None]:
        return self.access_key_id, self.access_key_secret, self.security_token

    # By hand, for test runners print the differing fields of two dataclasses whose own comparison failed.
    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Credentials) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"Credentials({_shown(self)})"


def _shown(credentials: Credentials) -> str:
    token = "None" if credentials.security_token is None else "***"
    return f"access_key_id={credentials.access_key_id!r}, access_key_secret=***, security_token={token}"


def _check(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} takes text, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty")
    if not _SENDABLE.fullmatch(value):
        raise ValueError(f"{name} holds white space, a control character or one beyond ASCII")


class CredentialsProvider(Protocol):
    """Any object that gives credentials when asked. It is asked before every HTTP attempt, so it should cache.

    When the service refuses the key, the provider is asked once more, and the call is retried if it gives another key.
    """

    async def get_credentials(self) -> Credentials:
        """Return what the next call is signed with.

        Raise `AuthenticationError` if there are no credentials: it ends the waits of the region at once. Any other
        exception means that the source could not be asked: it is retried within the policy's ``outage_budget``, and so
        is a call that takes longer than ``call_timeout``. What is returned instead of `Credentials` ends the waits.

        Let `asyncio.CancelledError` out. A provider that ignores it is left running after ``call_timeout``.
        """
        ...


class StaticCredentials(_Secretive):
    """A provider of the same credentials for ever. Its repr hides the secrets; equal values are equal providers.

    Raises:
        TypeError: A part is no text.
        ValueError: A part is empty or cannot go into a header; the message does not repeat it.
    """

    __slots__ = ("_credentials",)

    def __init__(self, access_key_id: str, access_key_secret: str, security_token: str | None = None) -> None:
        self._credentials = Credentials(access_key_id, access_key_secret, security_token)

    async def get_credentials(self) -> Credentials:
        """Return the credentials given."""
        return self._credentials

    def at_hand(self) -> Credentials:
        """Return the credentials given, without a coroutine."""
        return self._credentials

    def __eq__(self, other: object) -> bool:
        return self._credentials == other._credentials if isinstance(other, StaticCredentials) else NotImplemented

    def __hash__(self) -> int:
        return hash((StaticCredentials, self._credentials))

    def __repr__(self) -> str:
        return f"StaticCredentials({_shown(self._credentials)})"


class _Chain(Protocol):
    def fetch(self) -> tuple[str, str, str | None]: ...


_Answer = Credentials | ApiError


@dataclass(frozen=True, slots=True, repr=False)
class _Held:
    credentials: Credentials
    environment: _Environment
    since: float
    until: float


class _Flight:
    """One fetch, which any number of callers on any number of loops await."""

    __slots__ = ("answer", "began_at", "mark")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.mark: _Mark | None = None  # set as it begins
        self.answer: Future[_Answer] = Future()
        # A running future cannot be canceled: a caller who gives up takes it from no one.
        self.answer.set_running_or_notify_cancel()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class DefaultCredentials:
    """A provider that looks where the official tools look: the environment, profiles, the instance's RAM role, ...

    The environment's access key counts as it is at each call. All else is fetched in a thread, one fetch at a time for
    all callers of all loops, and held for a minute. A fetch that fails leaves what is held in use.
    """

    def __init__(self, *, clock: Callable[[], float] = _loop_time, chain: Callable[[], _Chain] = OfficialChain) -> None:
        self._clock = clock
        self._new_chain = chain
        self._held: _Held | None = None
        self._forgotten = 0
        self.reset()

    def reset(self) -> None:
        """Start without locks and fetches, as a forked child does: those of its parent never end there."""
        self._turn = threading.Lock()  # held by the one fetch that is asking the chain
        self._chain: tuple[_Mark, _Chain] | None = None
        self._lock = threading.Lock()  # guards what follows and `_held`; never held across anything slow
        self._flight: _Flight | None = None

    async def get_credentials(self) -> Credentials:
        """Return the credentials as of now.

        Raises:
            AuthenticationError: There are none; the message gives the reason of each source, free of secrets.
            ServiceUnavailableError: There are none yet, as a source could not be asked.
        """
        environment = _environment()
        held = self._held_for(environment)
        if held is not None:
            return held
        if environment[0] and environment[1]:
            return self._of_environment(environment)
        earlier, forgotten = self._held, self._forgotten
        if earlier is not None and earlier.environment != environment:
            earlier = None
        answer = await self._fetched_within(environment, math.inf if earlier is None else _REFRESH_WITHIN)
        if isinstance(answer, Credentials):
            return answer
        if earlier is not None and forgotten == self._forgotten:
            return earlier.credentials
        raise copy.copy(answer)

    async def _fetched_within(self, environment: _Environment, patience: float) -> _Answer:
        """Join a fetch; after `patience` seconds from its start its answer is that it takes too long."""
        try:
            flight = self._joined(environment)
        except (RuntimeError, MemoryError) as error:
            return _not_now(error)
        answer = joined(flight.answer)
        if patience == math.inf:
            return await answer
        try:
            async with asyncio.timeout(min(patience, flight.began_at + patience - self._clock())):
                return await answer
        except TimeoutError as error:
            return _not_now(error)

    def at_hand(self) -> Credentials | None:
        """Return the credentials if nobody need be asked for them, without a coroutine."""
        return self._held_for(_environment())

    def _held_for(self, environment: _Environment) -> Credentials | None:
        held = self._held
        # Loops may disagree about the time: one on virtual time starts its own.
        if held is None or held.environment != environment or not held.since <= self._clock() < held.until:
            return None
        return held.credentials

    def forget(self) -> None:
        """Make the next call fetch again by a new chain, as after the service has rejected the key."""
        with self._lock:
            self._forgotten += 1
            self._held = None

    def _of_environment(self, environment: _Environment) -> Credentials:
        access_key_id, access_key_secret, security_token = environment[:3]
        try:
            credentials = Credentials(access_key_id or "", access_key_secret or "", security_token)
        except ValueError as error:
            raise AuthenticationError(None, f"the environment's credentials cannot be used: {error}") from None
        self._held = _Held(credentials, environment, -math.inf, math.inf)
        return credentials

    def _joined(self, environment: _Environment) -> _Flight:
        with self._lock:
            flight = self._flight
            if (held := self._held_for(environment)) is not None:
                # Another has landed since the caller looked.
                flight = _Flight(self._clock())
                flight.answer.set_result(held)
                return flight
            # One that has not begun is as good as a new one: it will see what is now.
            if flight is None or flight.mark not in {None, (environment, self._forgotten)}:
                flight = _Flight(self._clock())
                # A daemon, not an executor's thread: neither a loop's end nor the interpreter's waits for a slow chain.
                threading.Thread(target=self._fly, args=(flight,), name="ecs_waiter-credentials", daemon=True).start()
                self._flight = flight
            return flight

    def _fly(self, flight: _Flight) -> None:
        try:
            answer = self._flown(flight)
        except BaseException as error:  # noqa: BLE001 - no memory, an exit: nobody may wait for what never comes
            answer = _not_now(error)
            with self._lock:
                if self._flight is flight:
                    self._flight = None
        flight.answer.set_result(answer)

    def _flown(self, flight: _Flight) -> _Answer:
        with self._turn:
            with self._lock:
                flight.mark = environment, forgotten = _environment(), self._forgotten
            answer = self._fetched(flight.mark)
            with self._lock:
                if self._flight is flight:
                    self._flight = None
                if forgotten == self._forgotten:
                    answer = self._kept(answer, environment, flight)
            if isinstance(answer, ApiError):
                self._chain = None
        return answer

    def _fetched(self, mark: _Mark) -> _Answer:
        try:
            # A chain remembers: which source answered, what it said, and the environment it was made in.
            if self._chain is None or self._chain[0] != mark:
                self._chain = mark, self._new_chain()
            found = self._chain[1].fetch()
        except ServiceUnavailableError as error:
            return copy.copy(error)
        except EcsWaiterError as error:
            return _none_found(error, str(error))
        except ImportError as error:
            return _none_found(error, f"the official credentials package cannot be imported ({error})")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            # The words of others may hold a secret.
            safe = EcsWaiterError(type(error).__name__)
            return _not_now(error) if could_not_ask(error) else _none_found(safe, type(error).__name__)
        try:
            return Credentials(*found)
        except (TypeError, ValueError) as error:
            return AuthenticationError(None, f"the credentials found cannot be used: {error}")

    def _kept(self, answer: _Answer, environment: _Environment, flight: _Flight) -> _Answer:
        held = self._held if self._held is not None and self._held.environment == environment else None
        if isinstance(answer, ApiError):
            if held is None:
                return answer
            # A refresh that failed takes nothing away: the service will say so if the earlier ones have expired.
            answer = held.credentials
        elif held is not None and held.credentials == answer:
            # The same object, by which a refused call knows whether anything was fetched since.
            answer = held.credentials
        self._held = _Held(answer, environment, flight.began_at, flight.began_at + _REFRESH)
        return answer


def _none_found(cause: Exception, words: str) -> AuthenticationError:
    key_id, secret = _environment()[:2]
    if bool(key_id) != bool(secret):
        words = f"{'ALIBABA_CLOUD_ACCESS_KEY_SECRET' if key_id else 'ALIBABA_CLOUD_ACCESS_KEY_ID'} is not set; {words}"
    error = AuthenticationError(None, f"no credentials found: {words}. To fix it, {SET_CREDENTIALS}")
    error.__cause__ = cause.with_traceback(None)
    return error


def _not_now(error: BaseException) -> ServiceUnavailableError:
    words = f"the credentials cannot be fetched now: {type(error).__name__}"
    return ServiceUnavailableError(None, words, sent=False)


def _environment() -> _Environment:
    return tuple(map(os.environ.get, _VARIABLES))


_DEFAULT = DefaultCredentials()
_DEFAULT_PROXIED = DefaultCredentials(chain=partial(OfficialChain, trust_env=True))


in_forked_child(_DEFAULT.reset)
in_forked_child(_DEFAULT_PROXIED.reset)


def check_provider(credentials: object, *, trust_env: bool = False) -> CredentialsProvider:
    """Return the provider that `credentials` means: None is one of the process's two `DefaultCredentials`.

    Args:
        credentials: A provider, or None.
        trust_env: Which of the two: the one that asks services on the internet through the environment's proxies.

    Raises:
        TypeError: It is no provider; the message says what to pass.
    """
    if credentials is None:
        return _DEFAULT_PROXIED if trust_env else _DEFAULT
    if isinstance(credentials, type):
        raise TypeError(f"credentials takes a provider, not the class {credentials.__name__}: make an object of it")
    if isinstance(credentials, Credentials):
        raise TypeError("credentials takes a provider, not Credentials: wrap them as StaticCredentials(...)")
    if type(credentials).__module__.partition(".")[0] == "alibabacloud_credentials":
        raise TypeError(
            "credentials takes an object with `async def get_credentials()`, and those of alibabacloud_credentials have"
            " none: leave credentials out for the official chain, or wrap them"
        )
    if not callable(getattr(credentials, "get_credentials", None)):
        raise TypeError(
            "credentials takes None, StaticCredentials(access_key_id, access_key_secret) or any object with"
            f" `async def get_credentials()`, not {type(credentials).__name__}"
        )
    return cast("CredentialsProvider", credentials)
