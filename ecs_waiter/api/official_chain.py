"""OfficialChain: the official package's credential providers, asked in its order, but quietly.

Its own chain is not taken whole, for four habits of it: it reads the environment once, at import; it starts a
scheduler's thread; it logs through handlers of its own; and its logs and errors quote URLs, files and answers with the
secrets in them.
"""

from __future__ import annotations

import importlib
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ecs_waiter.errors import EcsWaiterError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OfficialChain"]

# Those with handlers of their own first. The others quote URLs, with tokens in them, at the level DEBUG.
_SELF_PRINTING = ("alibabacloud-tea", "credentials")
_TALKATIVE = (
    *_SELF_PRINTING,
    "alibabacloud_credentials.provider.ecs_ram_role",
    "alibabacloud_credentials.provider.refreshable",
    "apscheduler.scheduler",
    "urllib3.connectionpool",
)
_MAX_REASON = 200


class OfficialChain:
    """Asks each provider until one has credentials, and only that one from then on. It blocks while it asks."""

    def __init__(self) -> None:
        self._providers: list[Any] = []

    def fetch(self) -> tuple[str, str, str | None]:
        """Return the access key's ID, its secret and the security token, if there is one.

        Raises:
            EcsWaiterError: No provider has any; the message gives the reason of each, free of secrets.
        """
        reasons = []
        with _silenced():
            self._providers = self._providers or _present_providers()
            for provider in self._providers:
                try:
                    found = provider.get_credentials()
                    answer = found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token()
                except Exception as error:  # noqa: BLE001 - whatever ails one provider, the next may have credentials
                    reasons.append(f"{type(provider).__name__}: {_reason(error)}")
                else:
                    self._providers = [provider]
                    return answer
        # Outside of any handler, lest the package's error become this one's context.
        raise EcsWaiterError("; ".join(reasons))


def _present_providers() -> list[Any]:
    """The official default chain, as the environment is now and without the environment's own access key."""
    provider, auth_constant, auth_util = _quietly_imported()
    # What they know of the environment dates from their import.
    importlib.reload(auth_util)
    importlib.reload(auth_constant)
    chain = [provider.CLIProfileCredentialsProvider(), provider.ProfileCredentialsProvider()]
    if auth_util.enable_oidc_credential:
        chain.insert(0, provider.OIDCRoleArnCredentialsProvider())
    if auth_util.environment_ecs_metadata_disabled.lower() != "true":
        # Its background refresh is the scheduler's thread; ours is the next call.
        chain.append(provider.EcsRamRoleCredentialsProvider(async_update_enabled=False))
    if auth_util.environment_credentials_uri:
        chain.append(provider.URLCredentialsProvider())
    return chain


def _quietly_imported() -> tuple[Any, Any, Any]:
    """The package's modules, without the handlers that their import adds if it is the first."""
    loggers = [logging.getLogger(name) for name in _SELF_PRINTING]
    handlers = [logger.handlers[:] for logger in loggers]
    # Here, for the package costs as much as all else that we import.
    from alibabacloud_credentials import provider  # noqa: PLC0415
    from alibabacloud_credentials.utils import auth_constant, auth_util  # noqa: PLC0415

    for logger, before in zip(loggers, handlers, strict=True):
        logger.handlers[:] = before
    return provider, auth_constant, auth_util


def _reason(error: Exception) -> str:
    """The error's own words, as far as they hold no secret."""
    kind = type(error).__name__
    if kind not in {"CredentialException", "ValueError"}:
        return kind
    # Its authors write what they quote, such as a service's answer or a command's output, behind a colon.
    return str(error).partition(":")[0][:_MAX_REASON]


_fetching: set[int] = set()


def _is_anothers(_record: logging.LogRecord) -> bool:
    return threading.get_ident() not in _fetching


@contextmanager
def _silenced() -> Iterator[None]:
    """Drop what this thread logs through those loggers, and nothing of what others log."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_anothers)
    me = threading.get_ident()
    _fetching.add(me)
    try:
        yield
    finally:
        _fetching.discard(me)
