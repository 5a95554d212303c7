"""No spelling of a secret survives, and nothing else is lost."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter.api import redaction
from ecs_waiter.api.redaction import Redactor
from ecs_waiter.escaping import escape_control
from ecs_waiter.slices import at_once


def _cleaned(redactor: Redactor, data: Any, signature: str) -> Any:
    return at_once(redactor.steps(data, signature))


PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(secret=PLAIN, token=PLAIN | st.none(), around=st.text(max_size=20), data=st.data())
def test_every_spelling_is_found(secret: str, token: str | None, around: str, data: st.DataObject) -> None:
    """Raw, percent-encoded once or twice, or as JSON within text: the secret is removed."""
    redactor = Redactor(secret, token)
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
            assert spelling not in _cleaned(redactor, [{"a": text}], "f" * 64)[0]["a"]
            assert not redactor.is_clean(json.dumps(text).encode(), "f" * 64)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_other_words_are_left(text: str) -> None:
    """Text without a secret is unchanged."""
    redactor = Redactor("\u007e" * 30, "!" * 30)
    assert redactor.text(text) == _cleaned(redactor, text, "f" * 64) == text


@given(
    text=st.lists(st.sampled_from(["abc/def+ghi", "abc", "%2F", "def+", "/", "\u4e2d", "x" * 30]), max_size=30).map(
        "".join
    ),
    most=st.integers(0, 60),
)
def test_the_start_of_a_text(text: str, most: int) -> None:
    """Redacting only the start of a text equals cutting the redacted text: no part of a secret is left at the end."""
    redactor = Redactor("abc/def+ghi")
    assert redactor.text(text, most=most) == redactor.text(text)[:most]


@pytest.mark.parametrize("window", [1, 3, 8])
@given(
    text=st.lists(st.sampled_from(["abc/def+ghi", "abc%2Fdef%2bghi", "abc", "def+ghi", "\ud800"]), max_size=20).map(
        "".join
    )
)
def test_windows_cut_no_secret(window: int, text: str) -> None:
    """The windows in which a text is searched do not change the result."""
    redactor = Redactor("abc/def+ghi")
    with mock.patch.object(redaction, "_WINDOW", window):
        assert redactor.text(text) == text.replace("abc%2Fdef%2bghi", "abc/def+ghi").replace("abc/def+ghi", "***")
        found = _cleaned(redactor, {"a": [text]}, "f" * 64)
    assert found == {"a": [redactor.text(text).replace("\ud800", "\ufffd")]}


WORDS = st.lists(
    st.sampled_from(["abc/def+ghi", "abc", "/def+", "%", "\\", "\n", "\U0001f600", "\u4e2d", "f" * 64])
).map("".join)


@given(data=st.recursive(WORDS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)), ascii=st.booleans())
def test_what_looks_clean_is_clean(data: Any, ascii: bool) -> None:  # noqa: A002 - json's own word
    """An answer that is not searched holds no secret, and removing one leaves the rest unchanged."""
    redactor = Redactor("abc/def+ghi")
    body = json.dumps(data, ensure_ascii=ascii).encode()
    found = _cleaned(redactor, json.loads(body), "f" * 64)
    if redactor.is_clean(body, "f" * 64):
        assert found == data
    # Spellings of the sampled words hold no bracket, quote or comma.
    assert json.loads(json.dumps(data).replace("abc/def+ghi", "***").replace("f" * 64, "***")) == found


def test_letters_by_their_codes() -> None:
    """JSON that spells letters, digits or half a surrogate pair by their codes is searched."""
    redactor = Redactor("abc/def+ghi")
    for spelled in (b'"\\u0061bc/def+ghi"', b'"ab\\u0063\\/def+ghi"', b'"\\uD83d"'):
        assert not redactor.is_clean(spelled, "f" * 64)
    assert redactor.is_clean(b'"50% of C:\\\\x \\u003c \\u4e2d \\n"', "f" * 64)


def test_short_ones_are_words() -> None:
    """A value that is too short for a secret does not remove parts of words; in data, which holds IDs, the limit is higher."""
    assert Redactor("key").text("a monkey") == "a monkey"
    assert Redactor("words").text("my words") == "my ***"
    assert _cleaned(Redactor("words"), "my words", "f" * 64) == "my words"


def test_one_secret_within_the_other() -> None:
    """Of two secrets that begin alike, the longer is removed as a whole."""
    assert Redactor("secret", "secret-token").text("a secret-token") == "a ***"


@given(text=st.text(max_size=3000))
def test_printable(text: str) -> None:
    """A shown text is one line, printable anywhere, and of limited length."""
    shown = escape_control(text)
    assert len(shown) <= 1000
    assert len(shown.splitlines()) <= 1
    shown.encode()
