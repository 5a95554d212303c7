"""Answers as bytes, of which a fuzzer makes others."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

__all__ = ["EXAMPLES", "STATUSES", "mutate_json", "split"]

STATUSES = (200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503, 0, 999)

_ROW = {
    "TaskId": "t-1",
    "TaskStatus": "Failed",
    "TaskAction": "ImportImage",
    "ResourceId": "m-1",
    "SupportCancel": "true",
    "CreationTime": "2026-01-01T00:00Z",
    "FinishedTime": "",
}
_STEP = {
    "OperationStatus": "Failed",
    "ErrorCode": "A.B",
    "ErrorMsg": "\u001b no",
    "RelatedItemSet": {"RelatedItem": [{"Name": "n", "Value": "v"}]},
}
_DETAIL = {
    **_ROW,
    "TaskProcess": "45%",
    "TotalCount": 2,
    "SuccessCount": "1",
    "FailedCount": 1.0,
    "OperationProgressSet": {"OperationProgress": [_STEP]},
}
_PAGE = {"RequestId": "R", "TotalCount": 1, "PageNumber": 1, "PageSize": 100, "TaskSet": {"Task": [_ROW]}}


def _example(status: int, body: bytes, **headers: str) -> bytes:
    head = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items())
    return bytes([STATUSES.index(status)]) + head.encode() + (b"\n" if head else b"\n\n") + body


_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
EXAMPLES = (
    _example(200, json.dumps(_PAGE).encode(), Date=_DATE),
    _example(200, json.dumps({**_PAGE, "TaskSet": [_ROW, _ROW, 1, None], "TotalCount": "7"}).encode()),
    _example(200, json.dumps({**_PAGE, "TaskSet": {"Task": {**_ROW, "TaskStatus": "Deleted"}}}).encode(), Date="x"),
    _example(200, json.dumps(_DETAIL).encode(), Date=_DATE),
    _example(200, gzip.compress(json.dumps(_PAGE).encode()), Content_Encoding="gzip"),
    _example(200, zlib.compress(json.dumps(_DETAIL).encode()), Content_Encoding="deflate"),
    _example(400, b'{"Code":"InvalidTimeStamp.Expired","Message":"m","RequestId":"R"}', Date=_DATE),
    _example(400, b'{"code":"Throttling.User","message":"m"}', x_acs_retry_after="1500"),
    _example(429, b"", x_ratelimit_user_api="Limit:1,TimeLeft:900,TimeWindow:60000", Retry_After="3"),
    _example(400, b'{"Code":"SignatureDoesNotMatch","Message":"server string to sign is:secret\\u002dof-ours"}'),
    _example(403, b"<Error><Code>InvalidSecurityToken.Expired</Code><Message><![CDATA[x]]>&#65;</Message></Error>"),
    _example(503, b"<!DOCTYPE html><html><Code>x</Code></html>"),
)


def split(data: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Read status, headers and body out of the fuzzer's bytes: a byte, lines as HTTP has them, a blank line, the rest."""
    head, _, body = data[1:].partition(b"\n\n")
    fields = []
    for line in filter(None, head.split(b"\n")):
        # As aiohttp reads them: bytes that are not UTF-8 become lone surrogates.
        name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        fields.append((name.strip(), value.strip()))
    return STATUSES[data[0] % len(STATUSES)] if data else 200, fields, body


_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 10**400, 1.5, float("inf"), float("nan"), "", "t-1", "t-2", "100%", "9" * 20, "\ud800"),
    *("Finished", "Failed", "Deleted", "2026-01-01T00:00:00Z", "0001-01-01T00:00+23:59", "\u001b[2J\r\n", [], {}, [[]]),
    *({"Task": []}, {"Task": _ROW}, [_ROW], _STEP, "secret-of-ours", {"secret-of-ours": "token/of+ours=%"}),
)


def mutate_json(body: bytes, draw: random.Random) -> bytes | None:
    """Another JSON of much the same shape; None if the body is none."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    holders: list[dict[str, Any] | list[Any]] = []
    parts = [data]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | list) and part:
            holders.append(part)
            parts += part.values() if isinstance(part, dict) else part
    for _ in range(draw.choice((1, 1, 2, 4))):
        if not holders:
            return json.dumps(draw.choice(_VALUES)).encode()
        holder: Any = draw.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = draw.choice(keys)
        what = draw.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.append(holder[key])
        elif what == 2:
            # A copy: a mutation must not change the example.
            holder[key] = json.loads(json.dumps(holder[key] if draw.random() < 0.5 else draw.choice(holders)))
        else:
            holder[key] = json.loads(json.dumps(draw.choice(_VALUES)))
    return json.dumps(data).encode()
