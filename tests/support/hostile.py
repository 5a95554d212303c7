"""A hostile service in memory and on virtual time: it says what the emulator cannot be made to say."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from aiohttp import web

from ecs_waiter import wait_for_task
from ecs_waiter.api import transport
from ecs_waiter.emulator.memory import MemoryConnector
from ecs_waiter.testing.virtual_time import virtual_time
from support.helpers import every

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "GOOD",
    "GOOD_BYTES",
    "LENGTH",
    "REGION",
    "Asked",
    "Raw",
    "Service",
    "at_first",
    "finishes",
    "hostile",
    "page",
    "raw",
    "response",
    "row",
]

REGION = "cn-hangzhou"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the `number`-th, over the connection of that number."""

    number: int
    action: str
    task_ids: tuple[str, ...]
    headers: Mapping[str, str]
    connection: int


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer byte by byte, after which the connection ends."""

    data: bytes


@dataclass
class Service:
    """What was asked so far."""

    answer: Callable[[Asked], Any]
    asked: list[Asked] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request: with a response as it is, text and bytes as a body, and all else as JSON."""
        if request.protocol not in self.connections:
            self.connections.append(request.protocol)
        query = request.rel_url.query
        asked = Asked(
            number=len(self.asked) + 1,
            action=request.headers["x-acs-action"],
            task_ids=tuple((query.get("TaskIds") or query.get("TaskId") or "").split(",")),
            headers={name.lower(): value for name, value in request.headers.items()},
            connection=self.connections.index(request.protocol) + 1,
        )
        self.asked.append(asked)
        answer = self.answer(asked)
        if isinstance(answer, Raw) and request.transport is not None:
            request.transport.write(answer.data)
            request.transport.close()
            return web.Response()
        if isinstance(answer, web.StreamResponse):
            return answer
        body = answer if isinstance(answer, bytes | str) else json.dumps(answer)
        return web.Response(body=body, content_type="application/json")


@contextlib.contextmanager
def hostile(answer: Callable[[Asked], Any]) -> Iterator[Service]:
    """Let the library's own sessions lead to a service that answers like this, on virtual time."""
    service = Service(answer)

    def connector(*, force_close: bool = False) -> MemoryConnector:
        server = web.Server(service.handle, access_log=None, handler_cancellation=True)
        return MemoryConnector(server, force_close=force_close)

    with (
        virtual_time(),
        mock.patch.object(transport, "new_connector", connector),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ECS_WAITER_ENDPOINT", "http://127.0.0.1:1")
        patch.setenv("ALIBABA_CLOUD_REGION_ID", REGION)
        patch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "example-key-id")
        patch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "example-key-secret")
        patch.delenv("ALIBABA_CLOUD_SECURITY_TOKEN", raising=False)
        yield service


def row(task_id: str = "t-1", task_status: Any = "Finished", **fields: Any) -> dict[str, Any]:
    """One task by the book, with other fields as told."""
    return {
        "TaskId": task_id,
        "TaskStatus": task_status,
        "TaskAction": "ImportImage",
        "ResourceId": "m-1",
        "SupportCancel": "true",
        "CreationTime": "2026-01-01T00:00:00Z",
        **fields,
    }


def page(*rows: Any, **fields: Any) -> dict[str, Any]:
    """An answer of DescribeTasks by the book, with other fields as told."""
    return {
        "RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E",
        "RegionId": REGION,
        "PageNumber": 1,
        "PageSize": 100,
        "TotalCount": len(rows),
        "TaskSet": {"Task": list(rows)},
        **fields,
    }


GOOD = page(row())
GOOD_BYTES = json.dumps(GOOD).encode()
LENGTH = f"Content-Length: {len(GOOD_BYTES)}"


def at_first(answer: Any, times: int = 2) -> Callable[[Asked], Any]:
    """A service that answers so a few times, then by the book."""
    return lambda asked: answer if asked.number <= times else GOOD


def response(body: bytes = GOOD_BYTES, **headers: str) -> web.Response:
    """A body with headers, whose names are written with underscores."""
    return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def raw(*head: str, body: bytes = GOOD_BYTES) -> Raw:
    """An answer of these lines and this body."""
    return Raw("\r\n".join([*head, "", ""]).encode() + body)


async def finishes(service: Service, calls: int) -> None:
    """The one task finishes, and it took so many calls."""
    task = await wait_for_task("t-1", policy=every(1))
    assert task.task_status == "Finished"
    assert len(service.asked) == calls
