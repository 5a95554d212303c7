"""The service's words made fit for messages: they end in logs and terminals, and may neither forge nor steer there."""

from __future__ import annotations

import re

__all__ = ["printable"]

_LONGEST_TEXT = 1000
# Compiled by `re` when first used: most programs never do.
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"


def printable(text: str) -> str:
    """Return `text` on one line, without control codes or lone surrogates, and not longer than a message may be."""
    shown = re.sub(_UNPRINTABLE, lambda found: found[0].encode("unicode_escape").decode(), text[: _LONGEST_TEXT + 1])
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[: _LONGEST_TEXT - 3]}..."
