"""Redactor: no secret of ours survives in what the service says, however it is spelled there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecs_waiter.api.credentials import Credentials

__all__ = ["Redactor"]

_MASK = "***"
# Shorter ones are no real secrets, and would strike out parts of ordinary words.
_SHORTEST_IN_TEXT = 4
_SHORTEST_IN_DATA = 6
# No text that holds one can be written anywhere. Only an escape spells them, so a clean answer has none.
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class Redactor:
    """Strikes out the secrets of one set of credentials, and `others`: raw, percent-encoded or escaped."""

    __slots__ = ("_needles", "_patterns", "_secrets")

    def __init__(self, credentials: Credentials | None, *others: str) -> None:
        own = () if credentials is None else (credentials.access_key_secret, credentials.security_token)
        self._secrets = [s for s in (*own, *others) if s]
        self._patterns: dict[int, re.Pattern[str] | None] = {}
        # A backslash or a percent sign may spell any character: only the parsed strings tell then.
        told = [secret.encode() for secret in self._secrets if len(secret) >= _SHORTEST_IN_DATA]
        self._needles = (b"\\", b"%", *told)

    def text(self, text: str, *signed: str) -> str:
        """Return `text` without the secrets, nor the `signed` values of this very attempt."""
        for value in signed:
            text = text.replace(value, _MASK)
        return self._masked(text, _SHORTEST_IN_TEXT)

    def is_clean(self, body: bytes, signature: str) -> bool:
        """Whether `data` would find nothing in what is parsed from `body`: a look that costs next to nothing."""
        return signature.encode() not in body and not any(needle in body for needle in self._needles)

    def data(self, data: Any, signature: str) -> Any:
        """Return a copy of parsed JSON without the secrets, this attempt's `signature`, and lone surrogates.

        Raises:
            RecursionError: It is nested too deeply.
        """
        if isinstance(data, str):
            return self._masked(_SURROGATES.sub("\ufffd", data.replace(signature, _MASK)), _SHORTEST_IN_DATA)
        if isinstance(data, dict):
            return {self.data(key, signature): self.data(value, signature) for key, value in data.items()}
        if isinstance(data, list):
            return [self.data(item, signature) for item in data]
        return data

    def _masked(self, text: str, shortest: int) -> str:
        # Made when first needed: most programs never meet anything to strike out.
        if shortest not in self._patterns:
            self._patterns[shortest] = _pattern(self._secrets, shortest)
        pattern = self._patterns[shortest]
        return text if pattern is None else pattern.sub(_MASK, text)


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
