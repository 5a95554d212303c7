"""ACS3-HMAC-SHA256: pure functions from an RPC request to the value of its Authorization header.

The scheme: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterator, Mapping

__all__ = [
    "EMPTY_SHA256",
    "authorization",
    "canonical_query",
    "canonical_request",
    "flatten",
    "sign",
    "signature",
    "string_to_sign",
]

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_ALGORITHM = "ACS3-HMAC-SHA256"
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
_PERCENT = ord("%")
_MAX_DEPTH = 16


def flatten(params: Mapping[str, object]) -> dict[str, str]:
    """Return RPC parameters as they go on the wire: ``{"Tag": [{"Key": "k"}]}`` becomes ``{"Tag.1.Key": "k"}``.

    None is left out, a flag is ``true`` or ``false``, a number is its decimal text.

    Raises:
        TypeError: A value is nothing that can be sent; the message names its key.
        ValueError: A text is not valid Unicode (a lone surrogate); the message names its key.
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"parameters are a map of names to values, not {type(params).__name__}")
    return dict(_flat("", params, _MAX_DEPTH))


def _flat(path: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    key = path[1:]  # every name in a path has a dot before it
    if isinstance(value, Mapping | list | tuple):
        if not depth:
            raise TypeError(f"parameter {key[:80]!r} is nested too deeply")
        for name, item in value.items() if isinstance(value, Mapping) else _numbered(value):
            if not isinstance(name, str):
                raise TypeError(f"the names of parameters are text, not {name!r}" + (f" in {key!r}" if key else ""))
            yield from _flat(f"{path}.{name}", item, depth - 1)
    elif value is not None:
        yield key, _text(key, value)


def _numbered(values: list[object] | tuple[object, ...]) -> Iterator[tuple[str, object]]:
    return ((str(number), value) for number, value in enumerate(values, 1))


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # The bases' own text: that of an enum would be the name of its member.
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, int):
        text = int.__repr__(value)
    elif isinstance(value, float) and math.isfinite(value):
        text = float.__repr__(value)
    else:
        kind = value if isinstance(value, float) else type(value).__name__
        raise TypeError(f"parameter {key!r} takes text, a finite number, a flag, a list or a map, not {kind}")
    try:
        (key + text).encode()
    except UnicodeEncodeError:
        raise ValueError(f"parameter {key!r} is not valid Unicode: it holds a lone surrogate") from None
    return text


def canonical_query(params: Mapping[str, str]) -> str:
    """Return the query string that is both signed and sent, sorted by name.

    Raises:
        UnicodeEncodeError: A text holds a lone surrogate; `flatten` refuses those by name.
    """
    return "&".join(f"{_quoted(name)}={_quoted(params[name])}" for name in sorted(params))


def _quoted(text: str) -> str:
    # A hundred joined task IDs have one odd character, the comma: one replacement beats a walk over their letters.
    raw = text.encode()
    odd = set(raw.translate(None, _UNRESERVED))
    if _PERCENT in odd:
        # First, for the other replacements write percent signs of their own.
        raw = raw.replace(b"%", b"%25")
        odd.remove(_PERCENT)
    for code in odd:
        raw = raw.replace(bytes((code,)), b"%%%02X" % code)
    return raw.decode("ascii")


def canonical_request(
    *, method: str, path: str, query: str, headers: Mapping[str, str], body_sha256: str
) -> tuple[str, str]:
    """Return the text that stands for the request, and the names of the headers it signs (all that are given)."""
    signed = sorted([(name.lower(), value.strip()) for name, value in headers.items()])
    names = ";".join([name for name, _ in signed])
    lines = "".join([f"{name}:{value}\n" for name, value in signed])
    return f"{method}\n{path}\n{query}\n{lines}\n{names}\n{body_sha256}", names


def string_to_sign(canonical: str) -> str:
    """Return what the signature is made of, given the canonical request."""
    return f"{_ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def sign(  # noqa: PLR0913 - each is one part of what is signed
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body_sha256: str,
    access_key_id: str,
    access_key_secret: str,
) -> str:
    """Return the Authorization header's value.

    Args:
        method: The HTTP verb in capitals.
        path: The URL's path, ``/`` for every RPC operation.
        query: What `canonical_query` made, and what the URL will carry to the letter.
        headers: Every header to sign; the service asks for ``host`` and all ``x-acs-*``.
        body_sha256: The body's hash in hex, `EMPTY_SHA256` where there is none.
        access_key_id: Goes into the header as it is.
        access_key_secret: Signs, and does not leave.
    """
    canonical, names = canonical_request(
        method=method, path=path, query=query, headers=headers, body_sha256=body_sha256
    )
    return authorization(access_key_id, names, signature(access_key_secret.encode(), canonical))


def signature(key: bytes, canonical: str) -> str:
    """Return the signature of a canonical request, in hex."""
    return hmac.digest(key, string_to_sign(canonical).encode(), "sha256").hex()


def authorization(access_key_id: str, names: str, signed: str) -> str:
    """Return the Authorization header's value for a signature over the headers of these `names`."""
    return f"{_ALGORITHM} Credential={access_key_id},SignedHeaders={names},Signature={signed}"
