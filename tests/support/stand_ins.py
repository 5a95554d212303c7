"""Two stand-ins for the service: a scripted one over loopback, byte by byte, and aioresponses for the requests alone."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

from aiohttp import ClientResponse
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioresponses import aioresponses


class _MockedResponse(ClientResponse):
    """What aioresponses 0.7.9 should make: aiohttp 3.14 and newer ask for a `stream_writer`, which it does not pass."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


@dataclass
class Sent:
    """One request that reached a stand-in; `target` is the path and query as they stood on the wire."""

    target: str
    headers: CIMultiDict[str]

    @property
    def action(self) -> str:
        """The operation called."""
        return self.headers["x-acs-action"]

    @property
    def query(self) -> dict[str, str]:
        """The parameters."""
        return dict(URL(self.target).query)


class Wire:
    """aioresponses, answering any URL in the given order."""

    def __init__(self, mocked: aioresponses) -> None:
        self._mocked = mocked
        self.sent: list[Sent] = []

    def answer(
        self,
        payload: Any = None,
        *,
        status: int = 200,
        body: str | bytes = "",
        headers: Mapping[str, str] | None = None,
        exception: Exception | None = None,
        repeat: bool | int = False,
    ) -> None:
        """Answer the next request so, or all further ones."""

        def record(url: URL, **kwargs: Any) -> None:
            self.sent.append(Sent(str(url), CIMultiDict(kwargs["headers"])))

        self._mocked.add(
            re.compile(""),
            "POST",
            status=status,
            payload=payload,
            body=body,
            headers=dict(headers or {}),
            exception=exception,
            repeat=repeat,
            response_class=_MockedResponse,
            callback=record,
        )

    def stay_silent(self) -> None:
        """Never answer the next request."""

        async def wait(_url: URL, **_kwargs: Any) -> None:
            await asyncio.Event().wait()

        self._mocked.add(re.compile(""), "POST", callback=wait)


class _WellFormed(bytes):
    """An answer after which the connection stays open."""

    __slots__ = ()


@dataclass
class Service:
    """A server on loopback that answers each request with the next bytes of its script, then with the last of them.

    Bytes that `answer` did not make are followed by the end of the connection; None is that end alone.
    """

    url: str = ""
    script: list[bytes | None] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    gone: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def answer(
        self,
        payload: Any = None,
        *,
        status: int = 200,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Add a well-formed answer to the script."""
        content = json.dumps(payload).encode() if body is None else body
        fields = {"Content-Length": str(len(content)), **(headers or {})}
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields.items())]
        self.script.append(_WellFormed("\r\n".join([*lines, "", ""]).encode() + content))

    def stay_silent(self) -> None:
        """Answer nothing, with the connection open."""
        self.script.append(_WellFormed())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers: CIMultiDict[str] = CIMultiDict()
                for line in filter(None, head[1:]):
                    name, _, value = line.partition(": ")
                    headers.add(name, value)
                self.sent.append(Sent(head[0].split()[1], headers))
                self.asked.release()
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if not isinstance(answer, _WellFormed):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gone.release()
            writer.close()
