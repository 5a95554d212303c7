"""Signer: from one operation's query to the signed request that goes out."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from ecs_waiter.api.redaction import Redactor
from ecs_waiter.api.signing import EMPTY_SHA256, authorization, canonical_request, signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.api.credentials import Credentials

__all__ = ["SignedRequest", "Signer"]

_VERSION = "2014-05-26"
_USER_AGENT = f"ecs-waiter aiohttp/{aiohttp.__version__}"

# Stand for what differs from one request to the next, in this order; no header can hold them.
_QUERY, _DATE, _NONCE = "\x00query", "\x00date", "\x00nonce"
_BLANKS = re.compile(f"{_QUERY}|{_DATE}|{_NONCE}")


@dataclass(slots=True, eq=False, repr=False)
class SignedRequest:
    """One request ready to be sent, as ``POST`` without a body, and what must not be told of it."""

    url: URL
    headers: dict[str, str]
    signature: str
    redactor: Redactor

    def clean(self, text: str, most: int | None = None) -> str:
        """Return `text` without this request's secrets, or only the first `most` characters of that."""
        return self.redactor.text(text, self.headers["authorization"], self.signature, most=most)


class Signer:
    """Signs every attempt afresh, at the service's own time.

    Attributes:
        correction: How far the service's clock is ahead of ours, in seconds.
    """

    __slots__ = ("_clock", "_date", "_forms", "_host", "_nonce", "_path", "_url", "correction")

    def __init__(self, url: URL, *, clock: Callable[[], float], nonce: Callable[[], str]) -> None:
        self._url = str(url)
        self._host = url.host_port_subcomponent or ""
        self._path = url.raw_path
        self._clock = clock
        self._nonce = nonce
        self._forms: dict[str, _Form] = {}
        self._date = (0, "")
        self.correction = 0.0

    def correct(self, date: float) -> None:
        """Take `date`, in seconds since the epoch, for what the service's clock shows now."""
        self.correction = date - self._clock()

    def sign(self, action: str, query: str, credentials: Credentials) -> SignedRequest:
        """Return the request for an operation whose parameters are all in `query`, sent as it is."""
        form = self._forms.get(action)
        if form is None or form.credentials is not credentials:
            form = self._forms[action] = _Form(self._host, self._path, action, credentials)
        headers, signed = form.filled(query, self._now(), self._nonce())
        # The wire's query is the very string that was signed.
        return SignedRequest(URL(f"{self._url}?{query}", encoded=True), headers, signed, form.redactor)

    def _now(self) -> str:
        second = int(self._clock() + self.correction)
        if self._date[0] != second:
            self._date = second, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        return self._date[1]


class _Form:
    """What all requests for one operation under one set of credentials have in common, made once."""

    __slots__ = ("_access_key_id", "_headers", "_key", "_names", "_parts", "credentials", "redactor")

    def __init__(self, host: str, path: str, action: str, credentials: Credentials) -> None:
        self.credentials = credentials
        self.redactor = Redactor(credentials)
        signed = {
            "host": host,
            "accept": "application/json",
            "user-agent": _USER_AGENT,
            "x-acs-action": action,
            "x-acs-version": _VERSION,
            "x-acs-date": _DATE,
            "x-acs-signature-nonce": _NONCE,
            "x-acs-content-sha256": EMPTY_SHA256,
        }
        if credentials.security_token:
            signed["x-acs-accesskey-id"] = credentials.access_key_id
            signed["x-acs-security-token"] = credentials.security_token
        canonical, self._names = canonical_request(
            method="POST", path=path, query=_QUERY, headers=signed, body_sha256=EMPTY_SHA256
        )
        self._parts = _BLANKS.split(canonical)
        self._headers = {**signed, "authorization": "", "accept-encoding": "gzip, deflate"}
        self._access_key_id = credentials.access_key_id
        self._key = credentials.access_key_secret.encode()

    def filled(self, query: str, date: str, nonce: str) -> tuple[dict[str, str], str]:
        """The headers of one request, and its signature."""
        verb, before, between, after = self._parts
        signed = signature(self._key, f"{verb}{query}{before}{date}{between}{nonce}{after}")
        headers = self._headers.copy()
        headers["x-acs-date"] = date
        headers["x-acs-signature-nonce"] = nonce
        headers["authorization"] = authorization(self._access_key_id, self._names, signed)
        return headers, signed
