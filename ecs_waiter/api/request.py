"""Signer: from one operation's query to the signed request that goes out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from ecs_waiter.api.redaction import Redactor
from ecs_waiter.api.signing import EMPTY_SHA256, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.api.credentials import Credentials

__all__ = ["SignedRequest", "Signer"]

_VERSION = "2014-05-26"
_USER_AGENT = f"ecs-waiter aiohttp/{aiohttp.__version__}"


@dataclass(frozen=True, slots=True, repr=False)
class SignedRequest:
    """One request ready to be sent, as ``POST`` without a body, and what must not be told of it."""

    url: URL
    headers: dict[str, str]
    signature: str
    redactor: Redactor

    def clean(self, text: str) -> str:
        """Return `text` without this request's secrets."""
        return self.redactor.text(text, self.headers["authorization"], self.signature)


class Signer:
    """Signs every attempt afresh, at the service's own time.

    Attributes:
        correction: How far the service's clock is ahead of ours, in seconds.
    """

    __slots__ = ("_clock", "_host", "_nonce", "_path", "_redactor", "_url", "correction")

    def __init__(self, url: URL, *, clock: Callable[[], float], nonce: Callable[[], str]) -> None:
        self._url = str(url)
        self._host = url.host_port_subcomponent or ""
        self._path = url.raw_path
        self._clock = clock
        self._nonce = nonce
        self._redactor: tuple[Credentials, Redactor] | None = None
        self.correction = 0.0

    def correct(self, date: float) -> None:
        """Take `date`, in seconds since the epoch, for what the service's clock shows now."""
        self.correction = date - self._clock()

    def sign(self, action: str, query: str, credentials: Credentials) -> SignedRequest:
        """Return the request for an operation whose parameters are all in `query`, sent as it is."""
        headers = {
            "host": self._host,
            "accept": "application/json",
            "user-agent": _USER_AGENT,
            "x-acs-action": action,
            "x-acs-version": _VERSION,
            "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock() + self.correction)),
            "x-acs-signature-nonce": self._nonce(),
            "x-acs-content-sha256": EMPTY_SHA256,
        }
        if credentials.security_token:
            headers["x-acs-accesskey-id"] = credentials.access_key_id
            headers["x-acs-security-token"] = credentials.security_token
        authorization = sign(
            method="POST",
            path=self._path,
            query=query,
            headers=headers,
            body_sha256=EMPTY_SHA256,
            access_key_id=credentials.access_key_id,
            access_key_secret=credentials.access_key_secret,
        )
        headers["authorization"] = authorization
        headers["accept-encoding"] = "gzip, deflate"
        # The wire's query is the very string that was signed.
        url = URL(f"{self._url}?{query}", encoded=True)
        return SignedRequest(url, headers, authorization.rpartition("=")[2], self._redactor_for(credentials))

    def _redactor_for(self, credentials: Credentials) -> Redactor:
        if self._redactor is None or self._redactor[0] is not credentials:
            self._redactor = credentials, Redactor(credentials)
        return self._redactor[1]
