"""What tells an answer from the one before: most polls bring nothing new, and need not be parsed to know it."""

from __future__ import annotations

import re

__all__ = ["fingerprint_of"]

_KEY = b'"RequestId"'
_VALUE = re.compile(rb'\s*:\s*"[\w-]*"')


def fingerprint_of(body: bytes) -> int:
    """Return what is equal for two bodies that differ in their RequestId alone, and for no others but by a rare chance.

    The hash is 64 bits wide, and its key is the process's own unless ``PYTHONHASHSEED`` sets it.
    """
    start = body.find(_KEY)
    found = _VALUE.match(body, start + len(_KEY)) if start >= 0 else None
    return hash(body) if found is None else hash((body[:start], body[found.end() :]))
