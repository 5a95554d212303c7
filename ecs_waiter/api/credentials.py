"""Credentials, and the providers that give them: `StaticCredentials` and `DefaultCredentials`."""

from __future__ import annotations

import asyncio
import copy
import math
import os
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, Self, cast

from ecs_waiter.after_fork import after_fork
from ecs_waiter.api.daemons import DaemonCalls
from ecs_waiter.api.official_chain import OfficialChain, is_transient
from ecs_waiter.errors import ApiError, AuthenticationError, EcsWaiterError, ServiceUnavailableError

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

# A change of these counts at the next call. All other variables about credentials count from the next fetch.
_VARIABLES = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_PROFILE",
    "ALIBABA_CLOUD_CREDENTIALS_FILE",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "HOME",
)
_REFRESH = 60.0
"""Seconds for which fetched credentials are held."""

_REFRESH_WITHIN = 5.0
"""Seconds that a call waits for a refresh before it uses the credentials that are held."""

SET_CREDENTIALS = (
    "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, configure a profile of the official command"
    " line (ALIBABA_CLOUD_PROFILE names another than the current), or pass credentials=StaticCredentials(...)"
)
"""What to do where no credentials are found: the end of the message."""

# The values of `_VARIABLES`, and an object that `DefaultCredentials.forget` replaces. What was fetched for one mark is
# not used for another.
_Mark = tuple[tuple[str | None, ...], object]


class _Secretive:
    """Base class of immutable keys: equal by value, never pickled, and without secrets in their repr."""

    __slots__ = ()

    def _values(self) -> tuple[str, str, str | None]:
        raise NotImplementedError

    # Not by `dataclass`: test runners print the fields in which two dataclasses differ.
    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        access_key_id, _, security_token = self._values()
        token = "None" if security_token is None else "***"
        return f"{type(self).__name__}(access_key_id={access_key_id!r}, access_key_secret=***, security_token={token})"

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
        TypeError: A part is not a string.
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
        is a call that takes longer than ``call_timeout``. Returning anything but `Credentials` ends the waits.

        Let `asyncio.CancelledError` out. A provider that ignores it is left running after ``call_timeout``.
        """
        ...


class StaticCredentials(_Secretive):
    """A provider of constant credentials. Its repr hides the secrets; providers of equal values are equal.

    Raises:
        TypeError: A part is not a string.
        ValueError: A part is empty or cannot go into a header; the message does not repeat it.
    """

    __slots__ = ("_credentials",)

    def __init__(self, access_key_id: str, access_key_secret: str, security_token: str | None = None) -> None:
        self._credentials = Credentials(access_key_id, access_key_secret, security_token)

    async def get_credentials(self) -> Credentials:
        """Return the credentials given."""
        return self._credentials

    def _values(self) -> tuple[str, str, str | None]:
        given = self._credentials
        return given.access_key_id, given.access_key_secret, given.security_token


class _Chain(Protocol):
    def fetch(self) -> tuple[str, str, str | None]: ...


class _Held(NamedTuple):
    credentials: Credentials
    mark: _Mark
    since: float
    until: float


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class DefaultCredentials:
    """A provider that looks where the official tools look: the environment, profiles, the instance's RAM role, ...

    The environment's access key is read at each call. All other sources are asked in a thread, one fetch at a time for
    all callers of all loops, and what they give is held for a minute. If a fetch fails, what is held stays in use.
    """

    def __init__(self, *, clock: Callable[[], float] = _loop_time, chain: Callable[[], _Chain] = OfficialChain) -> None:
        self._clock = clock
        self._new_chain = chain
        self._held: _Held | None = None
        self._generation = object()
        self._fetches: DaemonCalls[tuple[_Mark, Credentials | ApiError]] = DaemonCalls("credentials")
        self._chain: tuple[_Mark, _Chain] | None = None  # used by the one running fetch

    def reset(self) -> None:
        """Forget a running fetch, as a forked child has to."""
        self._fetches.reset()
        self._chain = None

    def forget(self) -> None:
        """Make the next call fetch again by a new chain, as after the service has rejected the key."""
        self._generation = object()

    async def get_credentials(self) -> Credentials:
        """Return the credentials as of now.

        Raises:
            AuthenticationError: There are none; the message gives the reason of each source, free of secrets.
            ServiceUnavailableError: There are none yet, as a source could not be asked.
        """
        while True:
            now = self._clock()
            mark = _environment(), self._generation
            held = self._held_for(mark)
            # Loops may disagree about the time: one on virtual time starts its own.
            if held is not None and held.since <= now < held.until:
                return held.credentials
            if mark[0][0] and mark[0][1]:
                return self._of_environment(mark)
            try:
                async with asyncio.timeout(None if held is None else _REFRESH_WITHIN):
                    fetched_for, answer = await self._fetches.join(None, partial(self._fetch, mark, now))
            except (TimeoutError, RuntimeError, MemoryError) as error:
                fetched_for, answer = mark, _not_now(error)
            if fetched_for != mark:
                continue  # the fetch began before `forget`, or in another environment
            if isinstance(answer, ApiError):
                if held is None or self._generation is not mark[1]:
                    raise copy.copy(answer)
                # If these have expired, the service rejects them.
                answer = held.credentials
                self._held = _Held(answer, mark, now, now + _REFRESH)
            return answer

    def _held_for(self, mark: _Mark) -> _Held | None:
        held = self._held
        return held if held is not None and held.mark == mark else None

    def _of_environment(self, mark: _Mark) -> Credentials:
        access_key_id, access_key_secret, security_token = mark[0][:3]
        try:
            credentials = Credentials(access_key_id or "", access_key_secret or "", security_token)
        except ValueError as error:
            raise AuthenticationError(None, f"the environment's credentials cannot be used: {error}") from None
        self._held = _Held(credentials, mark, -math.inf, math.inf)
        return credentials

    def _fetch(self, mark: _Mark, now: float) -> tuple[_Mark, Credentials | ApiError]:
        """Ask the chain, and hold what it gives. This blocks."""
        answer = self._ask(mark)
        held = self._held_for(mark)
        if isinstance(answer, Credentials):
            if held is not None and held.credentials == answer:
                # The same object, by which a refused call knows whether anything new was fetched since.
                answer = held.credentials
            self._held = _Held(answer, mark, now, now + _REFRESH)
        elif held is None:
            self._chain = None
        return mark, answer

    def _ask(self, mark: _Mark) -> Credentials | ApiError:
        try:
            # A chain remembers which source answered, what it gave, and the environment it was made in.
            if self._chain is None or self._chain[0] != mark:
                self._chain = mark, self._new_chain()
            found = self._chain[1].fetch()
        except BaseException as error:  # noqa: BLE001 - every caller gets an answer
            return _failure(error)
        try:
            return Credentials(*found)
        except (TypeError, ValueError) as error:
            return AuthenticationError(None, f"the credentials found cannot be used: {error}")


def _failure(error: BaseException) -> ApiError:
    """Return what a fetch that raised `error` is reported as."""
    if isinstance(error, ServiceUnavailableError):
        return copy.copy(error)
    if isinstance(error, EcsWaiterError):
        return _none_found(error, str(error))
    if isinstance(error, ImportError):
        return _none_found(error, f"the official credentials package cannot be imported ({error})")
    if not isinstance(error, Exception) or is_transient(error):
        return _not_now(error)
    # Without its message, which may hold a secret.
    kind = type(error).__name__
    return _none_found(EcsWaiterError(kind), kind)


def _none_found(cause: Exception, message: str) -> AuthenticationError:
    key_id, secret = _environment()[:2]
    if bool(key_id) != bool(secret):
        message = f"ALIBABA_CLOUD_ACCESS_KEY_{'SECRET' if key_id else 'ID'} is not set; {message}"
    error = AuthenticationError(None, f"no credentials found: {message}. To fix it, {SET_CREDENTIALS}")
    error.__cause__ = cause.with_traceback(None)
    return error


def _not_now(error: BaseException) -> ServiceUnavailableError:
    message = f"the credentials cannot be fetched now: {type(error).__name__}"
    return ServiceUnavailableError(None, message, sent=False)


def _environment() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, _VARIABLES))


_DEFAULT = DefaultCredentials()
_DEFAULT_PROXIED = DefaultCredentials(chain=partial(OfficialChain, trust_env=True))
after_fork(_DEFAULT.reset)
after_fork(_DEFAULT_PROXIED.reset)


def check_provider(credentials: object, *, trust_env: object = False, session: object = None) -> CredentialsProvider:
    """Return `credentials`, or for None one of the process's two `DefaultCredentials`.

    Args:
        credentials: A provider, or None.
        trust_env: Whether the default asks services on the internet through the environment's proxies.
        session: If its `trust_env` is true, so is the other.

    Raises:
        TypeError: It is not a provider; the message says what to pass.
    """
    if credentials is None:
        uses_proxies = trust_env is True or getattr(session, "trust_env", False) is True
        return _DEFAULT_PROXIED if uses_proxies else _DEFAULT
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
