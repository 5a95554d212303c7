"""A request as the emulator received it, the answer it sends back, and the service's errors as exceptions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from aiohttp import web

__all__ = ["Answer", "Packet", "Request", "ServiceError"]


@dataclass(slots=True, kw_only=True)
class Request:
    """A request and the status of its answer: what tests assert on and fault predicates look at.

    Attributes:
        action: The operation, e.g. ``DescribeTasks``; empty if the request names none.
        region_id: The region; empty if the request names none.
        task_ids: The IDs in ``TaskIds`` or ``TaskId``, in the order of the request.
        params: Every parameter of query and form.
        answered: The answer's HTTP status; None while there is none, as after a reset or during a hang.
        method: ``GET`` or ``POST``.
        headers: The HTTP headers, names in lower case.
        access_key_id: The key that signed the request; empty if it is not signed.
        at: When it arrived, by the emulator's clock.
    """

    action: str
    region_id: str
    task_ids: tuple[str, ...]
    params: Mapping[str, str]
    answered: int | None = None
    method: str = field(default="POST", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    access_key_id: str = field(default="", repr=False)
    at: datetime = field(repr=False)


class ServiceError(Exception):
    """The service rejects a request, with a code of its documentation."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = status
        self.code = code
        self.message = message

    def content(self, request_id: str, host: str) -> dict[str, Any]:
        """Return the error's fields in the service's order."""
        return {
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={quote(self.code)}&product=Ecs&requestId={request_id}",
        }


@dataclass(frozen=True, slots=True)
class Packet:
    """An answer in bytes."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Answer:
    """An answer that faults can still modify.

    Attributes:
        content: The fields of a JSON or XML answer, or a body that is sent as it is.
        name: The root element in XML.
        body_format: How fields are written: ``json``, ``xml`` or ``html``.
        delay: Seconds until the first byte is sent.
        deliver: Sends the answer; None sends all of it at once.
        sends_status: Whether `deliver` sends the HTTP status.
    """

    status: int
    content: dict[str, Any] | bytes
    name: str = "Error"
    body_format: str = "json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    deliver: Callable[[web.BaseRequest, Packet], Awaitable[web.StreamResponse]] | None = None
    sends_status: bool = True

    def packet(self) -> Packet:
        """Return the answer in bytes."""
        media_type, write = _WRITERS[self.body_format]
        body = (
            self.content if isinstance(self.content, bytes) else write(self.content, self.name).encode(errors="replace")
        )
        return Packet(self.status, {"Content-Type": media_type, **self.headers}, body)


def _json(content: dict[str, Any], _name: str) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _xml(content: dict[str, Any], name: str) -> str:
    return f"<?xml version='1.0' encoding='UTF-8'?>{_element(name, content)}"


def _element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        inner = "".join(_element(key, item) for key, item in value.items())
    else:
        inner = escape(str(value).lower() if isinstance(value, bool) else str(value))
    return f"<{name}>{inner}</{name}>"


def _html(content: dict[str, Any], _name: str) -> str:
    # A gateway's error page has no code.
    message = escape(str(content.get("Message", "")))
    return f"<html><head><title>{message}</title></head><body><h1>{message}</h1></body></html>"


_WRITERS: dict[str, tuple[str, Callable[[dict[str, Any], str], str]]] = {
    "json": ("application/json;charset=utf-8", _json),
    "xml": ("text/xml;charset=utf-8", _xml),
    "html": ("text/html;charset=utf-8", _html),
}
