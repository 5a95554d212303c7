"""Redactor: no secret of ours survives in what the service says, however it is spelled there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ecs_waiter.slices import SLICE, at_once

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ecs_waiter.api.credentials import Credentials

__all__ = ["Redactor"]

_MASK = "***"
# Shorter ones are no real secrets, and would strike out parts of ordinary words.
_SHORTEST_IN_TEXT = 4
_SHORTEST_IN_DATA = 6
# No text that holds one can be written anywhere. Only an escape spells them, so a clean answer has none.
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_RUNS = re.compile(r"[A-Za-z0-9]+")
# JSON's escapes for letters, digits and surrogates.
_SPELLED = re.compile(rb"\\u(?:00(?:3\d|[46][1-9A-Fa-f]|[57][0-9Aa])|[Dd][89A-Fa-f])")
_WINDOW = 2**14
"""Characters that are searched in one step."""
_PIECES = 100
"""Pieces of one text in a step: an echo makes short ones."""
# A character takes at most as many in any of its spellings.
_LONGEST_SPELLING = 6


class Redactor:
    """Strikes out the secrets of one set of credentials, and `others`: raw, percent-encoded or escaped."""

    __slots__ = ("_patterns", "_runs", "_secrets")

    def __init__(self, credentials: Credentials | None, *others: str) -> None:
        own = () if credentials is None else (credentials.access_key_secret, credentials.security_token)
        self._secrets = [s for s in (*own, *others) if s]
        self._patterns: dict[int, re.Pattern[str] | None] = {}
        # Letters and digits are spelled in one way only. Where the longest run of them is not, the secret is not.
        told = [secret for secret in self._secrets if len(secret) >= _SHORTEST_IN_DATA]
        self._runs = tuple(max(_RUNS.findall(secret), key=len, default="") for secret in told)

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} secrets)"

    def text(self, text: str, *signed: str, most: int | None = None) -> str:
        """Return `text` without the secrets, nor the `signed` values of this very attempt.

        Args:
            text: The text.
            signed: More secrets.
            most: How many characters of the result are needed; the rest of the text is not searched.
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
        """Whether `data` would find nothing in what is parsed from `body`: a look that costs next to nothing."""
        needles = (signature, *self._runs)
        return not any(needle.encode() in body for needle in needles) and _SPELLED.search(body) is None

    def data(self, data: Any, signature: str) -> Any:
        """Return parsed JSON without the secrets, this attempt's `signature`, and lone surrogates; changes it."""
        return at_once(self.steps(data, signature))

    def steps(self, data: Any, signature: str) -> Generator[None, None, Any]:
        """Do what `data` does, in steps of some milliseconds at most."""
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
        """The text itself where it is clean."""
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
        """The text without the secrets, piece by piece, each of which costs the search of one window at most."""
        # Made when first needed: most programs never meet anything to strike out.
        if shortest not in self._patterns:
            self._patterns[shortest] = _pattern(self._secrets, shortest)
        pattern = self._patterns[shortest]
        # What begins within the window ends within the margin, so that no secret is cut.
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
    # The longest first: one secret may begin with the other.
    told = sorted((s for s in secrets if len(s) >= shortest), key=len, reverse=True)
    return re.compile("|".join("".join(map(_spellings, secret)) for secret in told)) if told else None


def _spellings(char: str) -> str:
    if char.isalnum():
        return char
    # Credentials are printable ASCII. %25 stands for a percent sign that was encoded once more.
    code = f"{ord(char):02x}"
    return rf"(?:{re.escape(char)}|%(?:25)?(?i:{code})|\\(?:u00(?i:{code})|{re.escape(char)}))"
