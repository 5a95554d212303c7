"""What may be shown: messages end in logs and terminals, which the service's words may neither forge nor steer.

One class of characters decides it: those that `str.isprintable` calls printable. All else is escaped in messages and
refused in IDs: control and format characters (bidirectional ones included), line separators, lone surrogates, white
space other than a plain space, and code points that are private or not assigned.
"""

from __future__ import annotations

__all__ = ["LONGEST_TEXT", "is_printable", "printable"]

LONGEST_TEXT = 1000
"""Characters of a text that a message shows."""


def is_printable(text: str) -> bool:
    """Whether every character of `text` may be shown as it is."""
    return str.isprintable(text)


def printable(text: str) -> str:
    """Return `text` on one line, what may not be shown in it escaped, and not longer than a message may be."""
    shown = text[: LONGEST_TEXT + 1]
    if not is_printable(shown):
        shown = "".join(letter if is_printable(letter) else _escaped(letter) for letter in shown)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 3]}..."


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
