"""Verifies the signature of a request: ACS3-HMAC-SHA256, and the older RPC signature by HMAC-SHA1.

Written from the service's documentation and without the library's signer, so that it can detect that signer's mistakes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote

from ecs_waiter.emulator.wire import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ecs_waiter.emulator.wire import Request

__all__ = ["KeyPair", "SignatureVerifier", "signer_of"]

_WINDOW = timedelta(minutes=15)
_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_ACS3 = "ACS3-HMAC-SHA256"
_AUTHORIZATION = re.compile(rf"{_ACS3} Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{{64}})")
_RPC_HASHES = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}


class KeyPair(NamedTuple):
    """An access key that the emulator accepts; one with a token is a temporary key from STS."""

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None


class _Claim(NamedTuple):
    """What a request says about its signature."""

    access_key_id: str
    security_token: str
    date: str
    nonce: str


def signer_of(headers: Mapping[str, str], params: Mapping[str, str]) -> str:
    """Return the access key ID in a request; an empty string if there is none."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    return found[1] if found else params.get("AccessKeyId", "")


class SignatureVerifier:
    """Accepts requests that are signed with one of its key pairs; without key pairs, all requests.

    Raises:
        ValueError: A key pair has too few or too many parts, or a key ID is given twice.
    """

    def __init__(self, key_pairs: Iterable[KeyPair | tuple[str, ...]] = ()) -> None:
        self._pairs: dict[str, KeyPair] = {}
        for given in key_pairs:
            try:
                pair = KeyPair(*given)
            except TypeError:
                message = "a key pair is (access_key_id, access_key_secret) or (..., security_token)"
                raise ValueError(f"{message}; got {len(given)} values") from None
            if pair.access_key_id in self._pairs:
                raise ValueError(f"the key ID {pair.access_key_id!r} is given twice")
            self._pairs[pair.access_key_id] = pair
        self._nonces: set[tuple[str, str]] = set()
        self._nonces_by_age: deque[tuple[datetime, tuple[str, str]]] = deque()

    def check(self, request: Request, query: str, body: bytes, now: datetime) -> None:
        """Verify a request's signature, time stamp and nonce.

        Args:
            request: The request.
            query: Its query as it was sent.
            body: Its body.
            now: The service's time.

        Raises:
            ServiceError: One of them is invalid.
        """
        if not self._pairs:
            return
        if "authorization" in request.headers:
            self._check_acs3(request, query, body, now)
        elif "Signature" in request.params:
            self._check_rpc(request, now)
        else:
            raise _incomplete("it has neither an Authorization header nor a Signature parameter")

    def _check_acs3(self, request: Request, query: str, body: bytes, now: datetime) -> None:
        headers = request.headers
        found = _AUTHORIZATION.fullmatch(headers["authorization"])
        if not found:
            raise _incomplete("the Authorization header cannot be read")
        signed = found[2].split(";")
        must_be_signed = {name for name in headers if name.startswith("x-acs-")} | {"host"}
        if not set(signed) <= set(headers) or not must_be_signed <= set(signed):
            raise _incomplete("the signed headers are not the required ones")
        hashed = hashlib.sha256(body).hexdigest()
        if headers.get("x-acs-content-sha256", "") != hashed:
            raise _incomplete("x-acs-content-sha256 does not match the body")
        claim = _Claim(
            access_key_id=found[1],
            security_token=headers.get("x-acs-security-token", ""),
            date=headers.get("x-acs-date", ""),
            nonce=headers.get("x-acs-signature-nonce", ""),
        )
        pair = self._key_pair(claim, now)
        canonical = "\n".join(
            (
                request.method,
                "/",
                _canonical(parse_qsl(query, keep_blank_values=True)),
                *(f"{name}:{headers[name].strip()}" for name in sorted(signed)),
                "",
                ";".join(sorted(signed)),
                hashed,
            )
        )
        to_sign = f"{_ACS3}\n{hashlib.sha256(_bytes(canonical)).hexdigest()}"
        expected = hmac.new(pair.access_key_secret.encode(), _bytes(to_sign), hashlib.sha256).hexdigest()
        self._accept(claim, now, to_sign, matches=hmac.compare_digest(expected, found[3]))

    def _check_rpc(self, request: Request, now: datetime) -> None:
        params = request.params
        hashing = _RPC_HASHES.get(params.get("SignatureMethod", ""))
        if hashing is None:
            raise _incomplete(f"SignatureMethod takes one of {', '.join(_RPC_HASHES)}")
        claim = _Claim(
            access_key_id=params.get("AccessKeyId", ""),
            security_token=params.get("SecurityToken", ""),
            date=params.get("Timestamp", ""),
            nonce=params.get("SignatureNonce", ""),
        )
        pair = self._key_pair(claim, now)
        canonical = _canonical([(name, value) for name, value in params.items() if name != "Signature"])
        to_sign = f"{request.method}&%2F&{_encoded(canonical)}"
        digest = hmac.new(f"{pair.access_key_secret}&".encode(), _bytes(to_sign), hashing).digest()
        expected, given = b64encode(digest), params["Signature"].encode("utf-8", "replace")
        self._accept(claim, now, to_sign, matches=hmac.compare_digest(expected, given))

    def _key_pair(self, claim: _Claim, now: datetime) -> KeyPair:
        if not claim.nonce:
            raise _incomplete("it has no nonce")
        try:
            stamped = datetime.strptime(claim.date, _STAMP).replace(tzinfo=UTC)
        except ValueError:
            raise ServiceError(
                400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
            ) from None
        if abs(stamped - now) > _WINDOW:
            raise ServiceError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        pair = self._pairs.get(claim.access_key_id)
        if pair is None:
            raise ServiceError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if pair.security_token and not claim.security_token:
            raise ServiceError(400, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
        if claim.security_token != (pair.security_token or ""):
            raise ServiceError(
                400,
                "InvalidSecurityToken.MismatchWithAccessKey",
                "Specified SecurityToken mismatch with the AccessKey.",
            )
        return pair

    def _accept(self, claim: _Claim, now: datetime, to_sign: str, *, matches: bool) -> None:
        if not matches:
            raise ServiceError(
                400,
                "SignatureDoesNotMatch",
                f"Specified signature is not matched with our calculation. server string to sign is:{to_sign}",
            )
        while self._nonces_by_age and now - self._nonces_by_age[0][0] > 2 * _WINDOW:
            self._nonces.discard(self._nonces_by_age.popleft()[1])
        used = (claim.access_key_id, claim.nonce)
        if used in self._nonces:
            raise ServiceError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        self._nonces.add(used)
        self._nonces_by_age.append((now, used))


def _incomplete(why: str) -> ServiceError:
    return ServiceError(
        400, "IncompleteSignature", f"The request signature does not conform to Aliyun standards: {why}."
    )


def _bytes(text: str) -> bytes:
    # aiohttp decodes invalid bytes in headers to lone surrogates.
    return text.encode("utf-8", "surrogateescape")


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~", errors="replace")


def _canonical(params: Iterable[tuple[str, str]]) -> str:
    return "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in params))
