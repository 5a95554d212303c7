"""No spelling of a secret survives, and nothing else is lost."""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter.api.credentials import Credentials
from ecs_waiter.api.redaction import Redactor
from ecs_waiter.printable import printable

PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(secret=PLAIN, token=PLAIN | st.none(), around=st.text(max_size=20), data=st.data())
def test_every_spelling_is_found(secret: str, token: str | None, around: str, data: st.DataObject) -> None:
    """Raw, percent-encoded once or twice, or as JSON within text: the secret is struck out."""
    redactor = Redactor(Credentials("id", secret, token))
    for hidden in filter(None, (secret, token)):
        spellings = [
            hidden,
            quote(hidden, safe=""),
            quote(quote(hidden, safe=""), safe=""),
            json.dumps(hidden)[1:-1].replace("/", "\\/"),
        ]
        for spelling in spellings:
            text = f"{around}<{spelling}>{around}"
            assert spelling not in redactor.text(text)
            assert spelling not in redactor.data([{"a": text}], "f" * 64)[0]["a"]
            assert not redactor.is_clean(json.dumps(text).encode(), "f" * 64)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_other_words_are_left(text: str) -> None:
    """Text without a secret comes back as it was."""
    redactor = Redactor(Credentials("id", "\u007e" * 30, "!" * 30))
    assert redactor.text(text) == redactor.data(text, "f" * 64) == text


def test_short_ones_are_words() -> None:
    """What is too short for a secret does not strike out parts of words; in data, where IDs stand, even less so."""
    assert Redactor(Credentials("id", "key")).text("a monkey") == "a monkey"
    assert Redactor(Credentials("id", "words")).text("my words") == "my ***"
    assert Redactor(Credentials("id", "words")).data("my words", "f" * 64) == "my words"


def test_one_secret_within_the_other() -> None:
    """Of two secrets that begin alike, the longer is struck out whole."""
    assert Redactor(Credentials("id", "secret", "secret-token")).text("a secret-token") == "a ***"


@given(text=st.text(max_size=3000))
def test_printable(text: str) -> None:
    """What is shown is one line, printable anywhere, and of bounded length."""
    shown = printable(text)
    assert len(shown) <= 1000
    assert len(shown.splitlines()) <= 1
    shown.encode()
