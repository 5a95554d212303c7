"""One HTTP exchange: a signed request out, an answer of bounded size back, or the fault that stands for none."""

from __future__ import annotations

import asyncio
import functools
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ecs_waiter.api.request import SignedRequest

__all__ = ["Reply", "exchange"]

_LARGEST_BODY = 4 * 2**20
# gzip or zlib, whichever the data begins with.
_ANY_HEADER = 47
_PLAIN = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


@dataclass(slots=True, eq=False)
class Reply:
    """An answer as it came, unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    session: aiohttp.ClientSession, request: SignedRequest, call_timeout: float
) -> Reply | ServiceUnavailableError:
    """Send once, within `call_timeout` seconds from the connection to the last byte.

    A fault is returned, for the caller to raise where no exception that holds the request is handled.
    """
    # The whole is bounded here, for aiohttp's own total timeout swallows a cancellation that comes in the same turn.
    try:
        async with (
            asyncio.timeout(call_timeout),
            session.post(
                request.url,
                headers=request.headers,
                allow_redirects=False,
                # aiohttp would unpack without a limit.
                auto_decompress=False,
                raise_for_status=False,
                # There is no content, and aiohttp would name a type for it.
                skip_auto_headers=("Content-Type",),
                timeout=_patience(call_timeout),
            ) as response,
        ):
            body = await _bounded(response.content)
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            return Reply(response.status, response.headers, _unpacked(body, encoding))
    except (aiohttp.ClientError, HttpProcessingError, OSError, zlib.error) as error:
        return _fault(error, request, call_timeout)


@functools.lru_cache(maxsize=32)
def _patience(call_timeout: float) -> aiohttp.ClientTimeout:
    # Half of the time for the connection alone: one that never came up did not start anything.
    return aiohttp.ClientTimeout(total=None, connect=call_timeout / 2, ceil_threshold=math.inf)


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    chunks = []
    size = 0
    while chunk := await content.readany():
        size += len(chunk)
        if size > _LARGEST_BODY:
            raise _too_large()
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in _PLAIN or not body:
        return body
    if encoding not in _PACKED:
        raise aiohttp.ClientPayloadError(f"the answer's Content-Encoding was not asked for: {encoding!r}")
    unpacker = zlib.decompressobj(_ANY_HEADER)
    plain = unpacker.decompress(body, _LARGEST_BODY + 1)
    if len(plain) > _LARGEST_BODY:
        raise _too_large()
    if not unpacker.eof:
        raise aiohttp.ClientPayloadError("the answer ends in the middle of its packed data")
    return plain


def _too_large() -> aiohttp.ClientPayloadError:
    return aiohttp.ClientPayloadError(f"the answer is larger than {_LARGEST_BODY} bytes")


def _fault(error: Exception, request: SignedRequest, call_timeout: float) -> ServiceUnavailableError:
    host = request.headers["host"]
    # Of this family, none of the request has left.
    sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    if isinstance(error, TimeoutError):
        words = f"{host}: no answer within {call_timeout:g} s"
        if not sent:
            words = f"{host}: no connection within {call_timeout / 2:g} s"
    else:
        words = f"{host}: {_told(error, request)}"
    fault = ServiceUnavailableError(None, words, sent=sent)
    fault.__cause__ = error if _is_harmless(error, request) else aiohttp.ClientError(_told(error, request))
    return fault


def _told(error: Exception, request: SignedRequest) -> str:
    # The text of a ClientResponseError ends in the URL, that of others is the whole story.
    words = f"{error.status}, {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}: {printable(request.clean(words))}".removesuffix(": ")


def _is_harmless(error: Exception, request: SignedRequest) -> bool:
    """Whether nothing that a log would print of `error` and its causes holds a secret."""
    return all(
        # Its repr shows the request's headers.
        not isinstance(link, aiohttp.ClientResponseError)
        and all(request.clean(text) == text for text in (str(link), repr(link)))
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            links += [link.__cause__, link.__context__]
