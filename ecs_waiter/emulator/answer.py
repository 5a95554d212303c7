"""What goes back to a client: an answer's content and how it is delivered; errors of the service as exceptions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

__all__ = ["Answer", "Delivery", "Packet", "ServiceError", "as_html", "as_json", "as_xml"]


class ServiceError(Exception):
    """The service says no, with a code of its documentation."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(code, message)
        self.status = status
        self.code = code
        self.message = message
        self.more = more

    def content(self, request_id: str, host: str) -> dict[str, Any]:
        """Return the error's fields in the service's order."""
        recommend = f"https://api.aliyun.com/troubleshoot?q={quote(self.code)}&product=Ecs&requestId={request_id}"
        return {
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": recommend,
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class Packet:
    """An answer in bytes."""

    status: int
    headers: dict[str, str]
    body: bytes


class Delivery(Protocol):
    """A way in which an answer's bytes travel, or fail to."""

    @property
    def sends_status(self) -> bool:
        """Whether the client gets to see the status."""
        ...

    async def deliver(self, request: web.BaseRequest, packet: Packet, /) -> web.StreamResponse:
        """Send what is to be sent."""
        ...


@dataclass(slots=True)
class Answer:
    """An answer on its way out, for faults to spoil.

    Attributes:
        content: The fields of a JSON or XML answer, or a body that is sent as it is.
        body_format: ``json``, ``xml`` or ``html``: how fields are written.
        delay: Seconds until the first byte leaves.
        delivery: How the bytes travel; None sends them whole.
    """

    status: int
    content: dict[str, Any] | bytes
    name: str = "Error"
    body_format: str = "json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    delivery: Delivery | None = None

    def packet(self) -> Packet:
        """Write it in bytes."""
        body_type, write = _WRITERS[self.body_format]
        body = self.content if isinstance(self.content, bytes) else write(self.content, self.name)
        return Packet(self.status, {"Content-Type": body_type, **self.headers}, body)


def as_json(content: dict[str, Any], _name: str) -> bytes:
    """Write fields as the service does by default."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def as_xml(content: dict[str, Any], name: str) -> bytes:
    """Write fields as the service does for ``Format=XML``, and its gateways do of their own accord."""
    return f"<?xml version='1.0' encoding='UTF-8'?>{_element(name, content)}".encode("utf-8", "replace")


def _element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        inner = "".join(_element(key, item) for key, item in value.items())
    else:
        inner = escape(str(value).lower() if isinstance(value, bool) else str(value))
    return f"<{name}>{inner}</{name}>"


def as_html(content: dict[str, Any], _name: str) -> bytes:
    """Write an error as a gateway in front of the service does: without a code."""
    told = escape(str(content.get("Message", "")))
    return f"<html><head><title>{told}</title></head><body><h1>{told}</h1></body></html>".encode("utf-8", "replace")


_WRITERS: dict[str, tuple[str, Callable[[dict[str, Any], str], bytes]]] = {
    "json": ("application/json;charset=utf-8", as_json),
    "xml": ("text/xml;charset=utf-8", as_xml),
    "html": ("text/html;charset=utf-8", as_html),
}
