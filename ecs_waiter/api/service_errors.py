"""What an answer that is not a success means: pure functions from the wire to our errors."""

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
from ecs_waiter.escaping import LONGEST_TEXT, escape_control

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ErrorInfo",
    "concerns_credentials",
    "date_of",
    "error_info",
    "error_of",
    "is_error_object",
    "is_rejected_key",
    "is_wrong_clock",
    "parsed",
    "retry_after",
]

_TOO_MANY = 429
_UNAUTHORIZED = 401
_REDIRECTS = 300
_REJECTIONS = range(400, 500)
_LONGEST_WAIT = 86_400.0

# The start of the code in lower case: the service appends reasons, as in InvalidSecurityToken.Expired.
_WRONG_CLOCK = ("invalidtimestamp", "illegaltimestamp")
_TRANSIENT = ("serviceunavailable", "internalerror", "unknownerror", "signaturenonceused", *_WRONG_CLOCK)
_REJECTED = (
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
# Anywhere in the code of a rejection: it concerns the key, which may have been rotated, and not its permissions.
_KEY = ("accesskey", "credential", "securitytoken", "signature")

_NO_CREDENTIALS = ("no credentials found", "the credentials ", "the environment's credentials ")

# The fields of an error. An answer with any other field is not one.
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
# Patterns that `re` compiles on first use, because most programs never need them.
_XML = r"<(Code|Message|RequestId)>([^<]*)</\1>"
_LARGEST_ERROR = 2**16
_MAX_FIELDS = 1000
_LONGEST_CODE = 200
_HTML = r"(?i)<(?:!doctype\s+html|html|body)\b"
# The service quotes what it would have signed: our whole request, security token included.
_ECHO = r"(?i)string ?to ?sign|canonical ?request"
_POSITIVE = r"(?a)\s*0*([1-9][0-9]{0,14})\s*"
_CALLS_LEFT = r"(?ai)Remain(?:ing)?:\s*0*[1-9]"
_TIME_LEFT = r"(?ai)TimeLeft:\s*0*([1-9][0-9]{0,14})"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """The service's own description of an error, without secrets.

    Attributes:
        code: The code.
        message: The message.
        request_id: The request ID.
        kind: The code in lower case as it came, with what the redactor removed from `code`. Not to be shown.
    """

    code: str | None
    message: str
    request_id: str | None
    kind: str = field(repr=False)


def parsed(body: bytes) -> Any:
    """Return the JSON in `body`.

    Raises:
        ValueError: It is not JSON, is nested too deeply, holds too large a number, or is not UTF-8.
    """
    with suppress(ValueError):
        return from_json(body, cache_strings="keys")
    # The fast parser rejects lone surrogates, a byte order mark and a hundred levels of nesting.
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def error_info(data: Any, body: bytes = b"", clean: Callable[[str, int], str] = lambda text, _most: text) -> ErrorInfo:
    """Return the error in an answer, from its parsed JSON or the XML of its body; a gateway's page has none.

    Args:
        data: The parsed answer; None if it is not JSON.
        body: The answer.
        clean: Returns at most the given number of a text's first characters, secrets removed.
    """
    fields: dict[str, Any] = {}
    if isinstance(data, dict):
        fields = {key.lower().replace("_", ""): value for key, value in islice(data.items(), _MAX_FIELDS)}
    elif data is None:
        page = body[:_LARGEST_ERROR].decode("utf-8", "replace").replace("<![CDATA[", "").replace("]]>", "")
        if not re.search(_HTML, page):
            fields = {name.lower(): _unescaped(value.strip()) for name, value in re.findall(_XML, page)}
    code, message, request_id = (_text(fields.get(name)) for name in ("code", "message", "requestid"))
    # The service names its errors. A bare number is the HTTP status, repeated by a gateway.
    if code.isdigit():
        code = ""
    # One character more than is shown, so that `escape_control` marks the text as cut.
    shown, message, request_id = (clean(text, LONGEST_TEXT + 1) for text in (code, message, request_id))
    return ErrorInfo(shown or None, message, request_id or None, code[:_LONGEST_CODE].lower())


def _unescaped(text: str) -> str:
    from html import unescape  # noqa: PLC0415 - its large table is needed for rare XML errors only

    try:
        return unescape(text)
    except ValueError:  # a character reference of thousands of digits
        return text


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def is_error_object(data: Mapping[str, Any]) -> bool:
    """Whether an answer with the status of a success is an error and nothing else."""
    return all(key.lower() in _ERROR_KEYS for key in data) and error_info(data).kind not in _NO_ERROR


def is_wrong_clock(info: ErrorInfo) -> bool:
    """Whether the service found the request's time too far from its own."""
    return info.kind.startswith(_WRONG_CLOCK)


def is_rejected_key(error: ApiError) -> bool:
    """Whether the service rejected the key or its token, rather than a permission: another key may be accepted."""
    code = (error.code or "").lower()
    return isinstance(error, AuthenticationError) and (
        error.http_status == _UNAUTHORIZED or any(word in code for word in _KEY)
    )


def concerns_credentials(error: ApiError) -> bool:
    """Whether there were no credentials to sign with, so that no region was asked."""
    return error.code is None and error.http_status is None and error.message.startswith(_NO_CREDENTIALS)


def error_of(status: int, info: ErrorInfo, headers: Mapping[str, str]) -> ApiError:
    """Return the error that an answer means.

    Args:
        status: The HTTP status.
        info: The error in the answer's body.
        headers: The answer's headers, by any case of their names.
    """
    kind = info.kind
    code = escape_control(info.code) if info.code else None
    words = info.message
    if "signature" in kind and (echo := re.search(_ECHO, words)):
        words = words[: echo.start()].removesuffix("server ").rstrip(" ,;:")
    message = escape_control(words) or f"HTTP status {status}"
    request_id = escape_control(info.request_id) if info.request_id else None
    if status == _TOO_MANY or kind.startswith("throttling"):
        asked = retry_after(headers, is_throttled=True)
        return ThrottledError(code, message, request_id, status, retry_after=asked)
    if code is None:
        # A message without a code is a gateway's, or part of a page that is not an answer at all.
        message = (
            f"HTTP status {status} without {'a readable answer' if status < _REDIRECTS else 'a code of the service'}"
        )
    if code is None or status not in _REJECTIONS or kind.startswith(_TRANSIENT):
        return ServiceUnavailableError(code, message, request_id, status, retry_after=retry_after(headers))
    if status == _UNAUTHORIZED or kind.startswith(_REJECTED):
        return AuthenticationError(code, message, request_id, status)
    return ApiError(code, message, request_id, status)


def retry_after(headers: Mapping[str, str], *, is_throttled: bool = False) -> float | None:
    """Return the seconds that the service asks to wait, a day at most; None if it does not say.

    Args:
        headers: The answer's headers.
        is_throttled: Whether the answer says that there are too many calls. Only then the headers of the rate limit
            count, and only those of limits that are used up.
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
    if until is None:
        return None
    date = date_of(headers)
    seconds = until - (time.time() if date is None else date)
    return min(seconds, _LONGEST_WAIT) if seconds > 0 else None


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the service's clock in seconds since the epoch, to the second; None if the answer has no date."""
    date = headers.get("Date")
    return None if date is None else _seconds(date)


@functools.lru_cache(maxsize=32)  # many answers of one second have the same date
def _seconds(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
