"""Reads and unpacks the bodies of answers, with a limit on their size."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["read_body", "unpack"]

_MAX_SIZE = 4 * 2**20
_MAX_MEMBERS = 1000
"""Members of one gzip body."""

_CHUNK = 2**14
# Values of zlib's `wbits`: a gzip or zlib header, whichever the data begins with; and no header.
_ANY_HEADER = 47
_NO_HEADER = -zlib.MAX_WBITS
_GZIP = b"\x1f\x8b"


async def read_body(chunks: AsyncIterator[bytes]) -> bytes:
    """Return a whole body as sent.

    Raises:
        aiohttp.ClientPayloadError: It is larger than 4 MiB.
    """
    read = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > _MAX_SIZE:
            raise _too_large()
        read.append(chunk)
    return b"".join(read)


def unpack(body: bytes, encoding: str) -> bytes:
    """Return a body without its Content-Encoding, which is given in lower case.

    Raises:
        aiohttp.ClientPayloadError: The encoding is unknown, the data is incomplete or larger than 4 MiB.
        zlib.error: The data is broken.
    """
    if encoding in {"", "identity"} or not body:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise aiohttp.ClientPayloadError(f"the answer's Content-Encoding was not asked for: {encoding!r}")
    is_gzip = body.startswith(_GZIP)
    # Some servers send `deflate` data without the zlib header.
    wbits = _NO_HEADER if encoding == "deflate" and not is_gzip and not _has_zlib_header(body) else _ANY_HEADER
    packed = memoryview(body)
    plain = bytearray()
    at = 0
    # A gzip body may have several members. Other data behind the last one is ignored, as browsers do.
    for _ in range(_MAX_MEMBERS):
        unpacker = zlib.decompressobj(wbits)
        while not unpacker.eof:
            # In chunks, because zlib copies the rest of its input when a member ends.
            chunk = packed[at : at + _CHUNK]
            if not chunk:
                raise aiohttp.ClientPayloadError("the answer ends in the middle of its packed data")
            at += len(chunk)
            plain += unpacker.decompress(chunk, _MAX_SIZE + 1 - len(plain))
            if len(plain) > _MAX_SIZE:
                raise _too_large()
        at -= len(unpacker.unused_data)
        if not is_gzip or packed[at : at + len(_GZIP)] != _GZIP:
            return bytes(plain)
    raise aiohttp.ClientPayloadError(f"the answer has more than {_MAX_MEMBERS} gzip members")


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0


def _too_large() -> aiohttp.ClientPayloadError:
    return aiohttp.ClientPayloadError(f"the answer is larger than {_MAX_SIZE} bytes")
