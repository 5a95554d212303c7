"""What an answer means that is no success: pure functions from the wire to our errors."""

from __future__ import annotations

import functools
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from ecs_waiter.errors import ApiError, AuthenticationError, ServiceUnavailableError, ThrottledError
from ecs_waiter.printable import LONGEST_TEXT, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Told",
    "concerns_credentials",
    "date_of",
    "error_of",
    "is_error_object",
    "is_refused_key",
    "is_wrong_clock",
    "parsed",
    "retry_after",
    "told_by",
]

_TOO_MANY = 429
_UNAUTHORIZED = 401
_OTHER = 300
_REFUSALS = range(400, 500)
_LONGEST_WAIT = 86_400.0

# By the start of the code, in lower case: the service appends reasons, as in InvalidSecurityToken.Expired.
_WRONG_CLOCK = ("invalidtimestamp", "illegaltimestamp")
_PASSING = ("serviceunavailable", "internalerror", "unknownerror", "signaturenonceused", *_WRONG_CLOCK)
_REFUSED = (
    "accessdenied",
    "forbidden",
    "illegalaccesskey",
    "incompletesignature",
    "invalidaccesskey",
    "invalidcredential",
    "invalidsecuritytoken",
    "invalidsignature",
    "missingaccesskey",
    "missingsecuritytoken",
    "nopermission",
    "notauthorized",
    "signaturedoesnotmatch",
    "securitytokenexpired",
    "unauthorized",
)
# Anywhere in the code of a refusal: it concerns the key, which may have been rotated, and not what the key may do.
_KEY = ("accesskey", "credential", "securitytoken", "signature")

_NO_CREDENTIALS = ("no credentials found", "the credentials ", "the environment's credentials ")

# The parts of an error; an answer that has any other part tells of something done.
_ERROR_KEYS = frozenset(
    {
        "accessdenieddetail",
        "code",
        "description",
        "detail",
        "hostid",
        "message",
        "recommend",
        "request_id",
        "requestid",
        "success",
    }
)
_NO_ERROR = frozenset({"", "200", "ok", "success"})
# Compiled by `re` when first used: most programs never meet an error of this kind.
_XML = r"<(Code|Message|RequestId)>([^<]*)</\1>"
_LARGEST_ERROR = 2**16
_MOST_PARTS = 1000
_LONGEST_CODE = 200
_HTML = r"(?i)<(?:!doctype\s+html|html|body)\b"
# The service shows what it would have signed: our request, whole, with the security token in it.
_ECHO = r"(?i)string ?to ?sign|canonical ?request"
_POSITIVE = r"(?a)\s*0*([1-9][0-9]{0,14})\s*"
_CALLS_LEFT = r"(?ai)Remain(?:ing)?:\s*0*[1-9]"
_TIME_LEFT = r"(?ai)TimeLeft:\s*0*([1-9][0-9]{0,14})"


@dataclass(frozen=True, slots=True)
class Told:
    """What the service itself said of an error.

    Attributes:
        code: Its code, secrets removed.
        message: Its words, secrets removed.
        request_id: Its ID of the request, secrets removed.
        date: Its clock in seconds since the epoch, where it said.
        kind: The code as it came, in lower case: to decide by, and not to be shown.
    """

    code: str | None = None
    message: str = ""
    request_id: str | None = None
    date: float | None = None
    kind: str = field(default="", repr=False)


def parsed(body: bytes) -> Any:
    """Return the JSON in `body`.

    Raises:
        ValueError: It is none, or none that can be read: too deep, with too large a number, or not UTF-8.
    """
    with suppress(ValueError):
        return from_json(body, cache_strings="keys")
    # The fast reader is the stricter one: half a surrogate pair, a byte order mark, a hundred levels and more.
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def told_by(
    data: Any, body: bytes = b"", date: float | None = None, clean: Callable[[str, int], str] = lambda text, _most: text
) -> Told:
    """Return the error in an answer, from its parsed JSON or the XML of its body; a gateway's page has none.

    Args:
        data: The parsed answer; None if it is not JSON.
        body: The answer.
        date: The service's clock, in seconds since the epoch.
        clean: Returns at most the given number of a text's first characters, secrets removed.
    """
    parts: dict[str, Any] = {}
    if isinstance(data, dict):
        parts = {key.lower().replace("_", ""): value for key, value in islice(data.items(), _MOST_PARTS)}
    elif data is None:
        text = body[:_LARGEST_ERROR].decode("utf-8", "replace").replace("<![CDATA[", "").replace("]]>", "")
        if not re.search(_HTML, text):
            parts = {name.lower(): _unescaped(value.strip()) for name, value in re.findall(_XML, text)}
    code, message, request_id = (_text(parts.get(name)) for name in ("code", "message", "requestid"))
    # A bare number repeats the HTTP status: a gateway's, for the service names its errors.
    if code.isdigit():
        code = ""
    # One character more than is shown, by which `printable` knows that it was cut.
    code_shown, message, request_id = (clean(text, LONGEST_TEXT + 1) for text in (code, message, request_id))
    return Told(code_shown or None, message, request_id or None, date, code[:_LONGEST_CODE].lower())


def _unescaped(text: str) -> str:
    from html import unescape  # noqa: PLC0415 - its table of characters is for the rare XML error alone

    try:
        return unescape(text)
    except ValueError:  # a character reference of thousands of digits
        return text


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def is_error_object(data: Mapping[str, Any]) -> bool:
    """Whether an answer that came as a success is an error and nothing else."""
    if not all(key.lower() in _ERROR_KEYS for key in data):
        return False
    return told_by(data).kind not in _NO_ERROR


def is_wrong_clock(told: Told) -> bool:
    """Whether the service found the request's time too far from its own."""
    return told.kind.startswith(_WRONG_CLOCK)


def is_refused_key(error: ApiError) -> bool:
    """Whether the service refused the key or its token, rather than a permission: another key may be accepted."""
    if not isinstance(error, AuthenticationError):
        return False
    code = (error.code or "").lower()
    return error.http_status == _UNAUTHORIZED or any(word in code for word in _KEY)


def concerns_credentials(error: ApiError) -> bool:
    """Whether there were no credentials to sign with, so that no region was asked."""
    return error.code is None and error.http_status is None and error.message.startswith(_NO_CREDENTIALS)


def error_of(status: int, told: Told, headers: Mapping[str, str]) -> ApiError:
    """Return the error for an answer that is no success.

    Args:
        status: The HTTP status.
        told: What the service said.
        headers: The answer's headers, by any case of their names.
    """
    kind = told.kind
    code = printable(told.code) if told.code else None
    words = told.message
    if "signature" in kind and (echo := re.search(_ECHO, words)):
        words = words[: echo.start()].removesuffix("server ").rstrip(" ,;:")
    message = printable(words) or f"HTTP status {status}"
    request_id = printable(told.request_id) if told.request_id else None
    if status == _TOO_MANY or kind.startswith("throttling"):
        asked = retry_after(headers, told.date, is_throttled=True)
        return ThrottledError(code, message, request_id, status, retry_after=asked)
    if code is None:
        # Words without a code are a gateway's, or those of a page that is no answer at all.
        words = f"HTTP status {status} without {'a readable answer' if status < _OTHER else 'a code of the service'}"
        return ServiceUnavailableError(None, words, request_id, status, retry_after=retry_after(headers, told.date))
    if status not in _REFUSALS or kind.startswith(_PASSING):
        return ServiceUnavailableError(code, message, request_id, status, retry_after=retry_after(headers, told.date))
    if status == _UNAUTHORIZED or kind.startswith(_REFUSED):
        return AuthenticationError(code, message, request_id, status)
    return ApiError(code, message, request_id, status)


def retry_after(headers: Mapping[str, str], date: float | None, *, is_throttled: bool = False) -> float | None:
    """Return the seconds that the service asks to wait, a day at most; None if it does not say.

    Args:
        headers: The answer's headers.
        date: The service's clock, in seconds since the epoch; the local clock if None.
        is_throttled: Whether the answer says that there are too many calls. Only then does what is left of a rate
            limit's window mean anything, and only if no calls are left in it.
    """
    if found := re.fullmatch(_POSITIVE, headers.get("x-acs-retry-after", "")):
        return min(int(found[1]) / 1000, _LONGEST_WAIT)
    limits = [headers.get(name, "") for name in ("x-ratelimit-user-api", "x-ratelimit-user")] if is_throttled else []
    left = [
        int(found[1])
        for limit in limits
        if not re.search(_CALLS_LEFT, limit) and (found := re.search(_TIME_LEFT, limit))
    ]
    if left:
        return min(max(left) / 1000, _LONGEST_WAIT)
    asked = headers.get("Retry-After", "")
    if found := re.fullmatch(_POSITIVE, asked):
        return min(float(found[1]), _LONGEST_WAIT)
    until = _seconds(asked)
    seconds = 0.0 if until is None else until - (time.time() if date is None else date)
    return min(seconds, _LONGEST_WAIT) if seconds > 0 else None


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the service's clock in seconds since the epoch, to the second; None if the answer does not say."""
    said = headers.get("Date")
    return None if said is None else _seconds(said)


@functools.lru_cache(maxsize=32)  # many answers come in one second
def _seconds(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
