"""Escapes text for messages, so that the service's answers cannot forge log lines or control a terminal.

Characters that `str.isprintable` calls printable are shown. All others are escaped in messages and rejected in IDs:
control and format characters (bidirectional ones included), line separators, lone surrogates, white space other than a
plain space, and code points that are private or not assigned.
"""

from __future__ import annotations

__all__ = ["LONGEST_TEXT", "escape_control"]

LONGEST_TEXT = 1000
"""Characters of a text that a message shows at most."""


def escape_control(text: str) -> str:
    """Return `text` on one line, with all other characters escaped, and cut to `LONGEST_TEXT` characters."""
    shown = text[: LONGEST_TEXT + 1]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 3]}..."
