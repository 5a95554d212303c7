"""Redactor: removes our secrets from what the service says, however they are spelled there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ecs_waiter.slices import SLICE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["Redactor"]

_MASK = "***"
# Shorter values are not real secrets, and would remove parts of ordinary words.
_SHORTEST_IN_TEXT = 4
_SHORTEST_IN_DATA = 6
# They cannot be written to a file or terminal. Only JSON escapes spell them.
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_RUNS = re.compile(r"[A-Za-z0-9]+")
# JSON's escapes for letters, digits and surrogates.
_SPELLED = re.compile(rb"\\u(?:00(?:3\d|[46][1-9A-Fa-f]|[57][0-9Aa])|[Dd][89A-Fa-f])")
_WINDOW = 2**14
"""Characters searched in one step."""
_PIECES = 100
"""Pieces of one text in a step. A text that repeats a secret has many short ones."""
_LONGEST_SPELLING = 6
"""Characters of the longest spelling of one character."""


class Redactor:
    """Removes secrets: raw, percent-encoded or escaped as in JSON."""

    __slots__ = ("_patterns", "_runs", "_secrets")

    def __init__(self, *secrets: str | None) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._patterns: dict[int, re.Pattern[str] | None] = {}
        # Letters and digits have one spelling, so a text without a secret's longest run of them has no such secret.
        self._runs = tuple(
            max(_RUNS.findall(secret), key=len, default="")
            for secret in self._secrets
            if len(secret) >= _SHORTEST_IN_DATA
        )

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} secrets)"

    def text(self, text: str, *signed: str, most: int | None = None) -> str:
        """Return `text` without the secrets.

        Args:
            text: The text.
            signed: More secrets, those of one request.
            most: The number of characters of the result that are needed; the rest of the text is not searched.
        """
        for value in signed:
            text = text.replace(value, _MASK)
        if most is None:
            return "".join(self._pieces(text, _SHORTEST_IN_TEXT))
        shown = ""
        for piece in self._pieces(text, _SHORTEST_IN_TEXT, min(_WINDOW, most)):
            shown += piece
            if len(shown) >= most:
                break
        return shown[:most]

    def is_clean(self, body: bytes, signature: str) -> bool:
        """Whether `steps` would find nothing in what is parsed from `body`. Costs a few microseconds."""
        needles = (signature, *self._runs)
        if any(needle.encode() in body for needle in needles):
            return False
        # The search for one byte takes a microsecond, the pattern twenty.
        return b"\\" not in body or _SPELLED.search(body) is None

    def steps(self, data: Any, signature: str) -> Generator[None, None, Any]:
        """Return parsed JSON without the secrets, the request's `signature` and lone surrogates.

        It is changed in place, in steps of a few milliseconds.
        """
        box = [data]
        todo: list[list[Any] | dict[str, Any]] = [box]
        done = 0
        while todo:
            container = todo.pop()
            renamed: dict[str, str] = {}
            for key, value in container.items() if isinstance(container, dict) else enumerate(container):
                if isinstance(value, str):
                    clean = yield from self._cleaned(value, signature)
                    if clean is not value:
                        container[key] = clean  # type: ignore[index]
                elif isinstance(value, dict | list):
                    todo.append(value)
                if isinstance(key, str):
                    clean = yield from self._cleaned(key, signature)
                    if clean is not key:
                        renamed[key] = clean
                done += 1
                if done % SLICE == 0:
                    yield
            if renamed and isinstance(container, dict):
                items = [(renamed.get(key, key), value) for key, value in container.items()]
                container.clear()
                container.update(items)
        return box[0]

    def _cleaned(self, text: str, signature: str) -> Generator[None, None, str]:
        """The text itself if it is clean."""
        is_short = len(text) <= _WINDOW and text.isascii()
        if is_short and signature not in text and not any(run in text for run in self._runs):
            return text
        pieces: list[str] = []
        for number, piece in enumerate(self._pieces(text.replace(signature, _MASK), _SHORTEST_IN_DATA)):
            pieces.append(piece if piece.isascii() else _SURROGATES.sub("\ufffd", piece))
            if number % _PIECES == _PIECES - 1:
                yield
        clean = "".join(pieces)
        return text if clean == text else clean

    def _pieces(self, text: str, shortest: int, window: int = _WINDOW) -> Iterator[str]:
        """The text without the secrets, in pieces, each of which costs the search of one window at most."""
        # Compiled on first use, because most programs never need it.
        if shortest not in self._patterns:
            self._patterns[shortest] = _pattern(self._secrets, shortest)
        pattern = self._patterns[shortest]
        # A secret that begins within the window ends within the margin.
        margin = _LONGEST_SPELLING * max(map(len, self._secrets), default=0)
        at = 0
        while at < len(text):
            end = at + window
            found = None if pattern is None else pattern.search(text, at, end + margin)
            if found is None or found.start() >= end:
                yield text[at:end]
                at = end
            else:
                yield text[at : found.start()]
                yield _MASK
                at = found.end()


def _pattern(secrets: list[str], shortest: int) -> re.Pattern[str] | None:
    # The longest first, because one secret may begin with another.
    long = sorted((secret for secret in secrets if len(secret) >= shortest), key=len, reverse=True)
    return re.compile("|".join("".join(map(_spellings, secret)) for secret in long)) if long else None


def _spellings(char: str) -> str:
    if char.isalnum():
        return char
    # Credentials are printable ASCII. %25 is a percent sign that was encoded again.
    code = f"{ord(char):02x}"
    return rf"(?:{re.escape(char)}|%(?:25)?(?i:{code})|\\(?:u00(?i:{code})|{re.escape(char)}))"
