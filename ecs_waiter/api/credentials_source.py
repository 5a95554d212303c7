"""CredentialsSource: asks a credentials provider, whatever it does, within a time limit."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from typing import TYPE_CHECKING

from ecs_waiter.api.credentials import Credentials, DefaultCredentials, StaticCredentials
from ecs_waiter.errors import AuthenticationError, ServiceUnavailableError, ThrottledError

if TYPE_CHECKING:
    from ecs_waiter.api.credentials import CredentialsProvider
    from ecs_waiter.errors import ApiError

__all__ = ["CredentialsSource"]

_log = logging.getLogger("ecs_waiter")


class CredentialsSource:
    """The credentials of one provider.

    Args:
        provider: The provider, which may be code of the user.
        call_timeout: Seconds that one call of the provider may take.
    """

    def __init__(self, provider: CredentialsProvider, call_timeout: float) -> None:
        self._provider = provider
        self._call_timeout = call_timeout
        # Exactly these types, because a subclass may override `get_credentials`.
        self._is_ours = type(provider) in {StaticCredentials, DefaultCredentials}
        self._endings: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Wait for canceled calls of the provider to end, each for `call_timeout` seconds at most."""
        if self._endings:
            await asyncio.wait(tuple(self._endings))

    async def get(self) -> Credentials:
        """Return the present credentials.

        Raises:
            AuthenticationError: There are none.
            ServiceUnavailableError: The provider could not be asked, or took too long.
        """
        if self._is_ours:
            # Without a task, with which a poll would cost a tenth more CPU. They end when they are canceled, and raise
            # only errors of this library.
            try:
                async with asyncio.timeout(self._call_timeout):
                    return await self._provider.get_credentials()
            except TimeoutError:
                raise self._timed_out() from None
        # A task can be left behind if the provider ignores its cancellation.
        call = asyncio.get_running_loop().create_task(self._ask())
        try:
            done, _ = await asyncio.wait((call,), timeout=self._call_timeout)
        except asyncio.CancelledError:
            self._cancel(call)
            raise
        if not done:
            self._cancel(call)
            raise self._timed_out()
        if not call.cancelled() and isinstance(rejection := call.exception(), AuthenticationError):
            # A copy, because a provider may raise the same object for several regions, and each call notes its region
            # in it. Outside of an except block, so that the frames of the original, which may hold secrets, are not in
            # the context.
            raise copy.copy(rejection) from rejection.__cause__
        try:
            return call.result()
        except (Exception, asyncio.CancelledError) as error:
            # The text of an error of a provider may hold a secret.
            raise ServiceUnavailableError(
                None,
                f"the credentials provider raised {type(error).__name__} (see the cause)",
                sent=False,
                retry_after=error.retry_after if isinstance(error, ThrottledError | ServiceUnavailableError) else None,
            ) from error

    async def get_other(self, rejected: Credentials, rejection: ApiError) -> Credentials:
        """Return credentials other than those that the service rejected; raise the rejection if there are no others."""
        if type(self._provider) is StaticCredentials:
            raise rejection
        try:
            credentials = await self.get()
            forget = getattr(self._provider, "forget", None)
            if credentials is rejected and callable(forget):
                # Only if it is the same object: another call may have had equal credentials fetched meanwhile.
                forget()
                credentials = await self.get()
        except AuthenticationError as error:
            raise rejection from error
        if credentials == rejected:
            raise rejection
        return credentials

    def _timed_out(self) -> ServiceUnavailableError:
        message = f"the credentials provider gave nothing within {self._call_timeout:g} s"
        return ServiceUnavailableError(None, message, sent=False)

    async def _ask(self) -> Credentials:
        answer: object = self._provider.get_credentials()
        if not inspect.isawaitable(answer):
            wrong = TypeError("get_credentials() is not a coroutine function: define it with `async def`")
            raise AuthenticationError(None, "the credentials provider gave no Credentials") from wrong
        credentials: object = await answer
        if not isinstance(credentials, Credentials):
            wrong = TypeError(f"get_credentials() returned {type(credentials).__name__}, not Credentials")
            raise AuthenticationError(None, "the credentials provider gave no Credentials") from wrong
        return credentials

    def _cancel(self, call: asyncio.Task[Credentials]) -> None:
        call.cancel()
        ending = asyncio.get_running_loop().create_task(self._wait_for(call))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _wait_for(self, call: asyncio.Task[Credentials]) -> None:
        """Give a canceled call of the provider `call_timeout` seconds to end."""
        await asyncio.wait((call,), timeout=self._call_timeout)
        if not call.done():
            _log.warning(
                "the credentials provider %s still runs %g s after its cancellation and is left behind: let"
                " asyncio.CancelledError out of get_credentials()",
                type(self._provider).__name__,
                self._call_timeout,
            )
        elif not call.cancelled():
            call.exception()  # Mark it as retrieved, because nobody awaits the task.
