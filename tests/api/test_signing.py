"""Signing reproduces the official signer exactly."""

from __future__ import annotations

import hashlib
import json
import re
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from alibabacloud_tea_openapi.utils import Utils, get_canonical_query_string
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from ecs_waiter.api.signing import EMPTY_SHA256, canonical_query, canonical_request, flatten, sign, string_to_sign

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "acs3-vectors.json").read_text(encoding="utf-8"))

# The official signer leaves names as they are where the service's own rule quotes them: those it agrees on are plain.
plain_names = st.from_regex(r"[A-Za-z][A-Za-z0-9.~_-]{0,15}", fullmatch=True)
unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
queries = st.dictionaries(plain_names, unicode_text)
headers = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True), st.text(st.characters(exclude_categories=["Cs"]))
)
scalars = st.none() | unicode_text | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(unicode_text, inner),
    max_leaves=6,
)


def parts(vector: dict[str, Any]) -> dict[str, Any]:
    """A vector's request as arguments of the functions."""
    return {
        "method": vector["method"],
        "path": vector["path"],
        "query": canonical_query(vector["query"]),
        "headers": vector["headers"],
        "body_sha256": hashlib.sha256(vector["body"].encode()).hexdigest(),
    }


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_each_step_reproduces_the_vectors(vector: dict[str, Any]) -> None:
    """The canonical request, the string to sign and the header are the official signer's."""
    canonical, _ = canonical_request(**parts(vector))
    assert canonical == vector["canonical_request"]
    assert string_to_sign(canonical) == vector["string_to_sign"]
    authorization = sign(
        **parts(vector), access_key_id=vector["access_key_id"], access_key_secret=vector["access_key_secret"]
    )
    assert authorization == vector["authorization"]


@given(query=queries, headers=headers, secret=st.text(st.characters(codec="ascii"), min_size=1))
@example(query={"ResourceIds.1": "a", "ResourceIds.10": "b", "ResourceIds.2": "c"}, headers={}, secret="s")
@example(query={"K": "", "k": " *~+/%", "ID": "a,b"}, headers={"x-acs-date": "\t 2026 \n"}, secret="s")
def test_any_request_is_signed_as_the_official_signer_does(
    query: dict[str, str], headers: dict[str, str], secret: str
) -> None:
    """On any query and headers, our header is the official one."""
    request = SimpleNamespace(method="POST", pathname="/", query=query, headers=headers)
    ours = sign(
        method="POST",
        path="/",
        query=canonical_query(query),
        headers=headers,
        body_sha256=EMPTY_SHA256,
        access_key_id="LTAI",
        access_key_secret=secret,
    )
    assert ours == Utils.get_authorization(request, "ACS3-HMAC-SHA256", EMPTY_SHA256, "LTAI", secret)


@given(query=queries)
def test_any_query_is_written_as_the_official_signer_does(query: dict[str, str]) -> None:
    """Code points sort, UTF-8 is quoted, an empty value keeps its equals sign."""
    assert canonical_query(query) == get_canonical_query_string(query)


@given(query=st.dictionaries(unicode_text, unicode_text))
def test_a_query_says_what_it_was_made_of(query: dict[str, str]) -> None:
    """Only unreserved characters are unquoted, in names too, and parsing the query returns the parameters."""
    written = canonical_query(query)
    assert re.fullmatch(r"([A-Za-z0-9_.~=&-]|%[0-9A-F]{2})*", written)
    if written not in {"", "="}:
        assert dict(parse_qsl(written, keep_blank_values=True, strict_parsing=True)) == query


@given(query=st.dictionaries(unicode_text, unicode_text, min_size=1))
def test_a_query_goes_on_the_wire_as_it_was_signed(query: dict[str, str]) -> None:
    """The URL that aiohttp sends does not touch a query that comes encoded."""
    written = canonical_query(query)
    assert URL(f"https://ecs.example.com/?{written}", encoded=True).raw_query_string == written


def test_names_sort_as_code_points() -> None:
    """`.10` goes before `.2`, and capitals before small letters."""
    assert canonical_query({"b": "1", "R.2": "2", "R.10": "3", "R.1": "4"}) == "R.1=4&R.10=3&R.2=2&b=1"


def test_header_names_are_lowered_and_values_stripped() -> None:
    """The order and case in which headers come makes no difference."""
    canonical, names = canonical_request(
        method="POST", path="/", query="", headers={"X-Acs-Date": " d ", "Host": "h"}, body_sha256=EMPTY_SHA256
    )
    assert names == "host;x-acs-date"
    assert canonical == f"POST\n/\n\nhost:h\nx-acs-date:d\n\nhost;x-acs-date\n{EMPTY_SHA256}"


@given(params=st.dictionaries(unicode_text, values))
@example(params={"": {"": ["a"]}, ".": "b", "c.": [None, ["d"]], "e": []})
def test_parameters_flatten_as_the_official_client_does(params: dict[str, object]) -> None:
    """List items are numbered from one, map items by name; None is left out but counted."""
    assert flatten(params) == Utils.query(params)


def test_flags_are_what_the_service_documents() -> None:
    """A bool is written in lower case."""
    assert flatten({"DryRun": True, "Force": [False]}) == {"DryRun": "true", "Force.1": "false"}


def test_enums_are_their_values() -> None:
    """An enum member that is a string or a number is sent as its value, not its name."""

    class Word(str, Enum):  # noqa: UP042 - StrEnum would print as its value; this one would not
        FINISHED = "Finished"

    class Size(IntEnum):
        LARGE = 3

    assert flatten({"A": Word.FINISHED, "B": Size.LARGE}) == {"A": "Finished", "B": "3"}


def endless() -> list[object]:
    """A list that holds itself."""
    inner: list[object] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        object(),
        float("nan"),
        float("inf"),
        1j,
        iter("ab"),
        [["ok", {"deep": object()}]],
        {3: "a name that is no text"},
        endless(),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(value: object) -> None:
    """A value that cannot be sent raises TypeError, and the message names its parameter."""
    with pytest.raises(TypeError, match="Filter"):
        flatten({"RegionId": "cn-hangzhou", "Filter": value})


@pytest.mark.parametrize("params", [None, "RegionId", ["RegionId"], [("RegionId", "cn-hangzhou")]])
def test_parameters_are_a_map(params: Any) -> None:
    """Anything but a mapping raises TypeError."""
    with pytest.raises(TypeError, match="a map of names to values"):
        flatten(params)


@pytest.mark.parametrize("params", [{"Name": "\ud800"}, {"Tag": [{"Name\udfff": "v"}]}])
def test_a_lone_surrogate_is_refused_by_name(params: dict[str, object]) -> None:
    """Text that UTF-8 cannot carry is a ValueError that can itself be printed."""
    with pytest.raises(ValueError, match="Name") as caught:
        flatten(params)
    str(caught.value).encode()


@given(text=st.text())
def test_any_text_is_sent_or_refused_as_a_value_error(text: str) -> None:
    """Any text is sent or raises ValueError."""
    try:
        flat = flatten({"Name": text})
    except ValueError:
        with pytest.raises(UnicodeEncodeError):
            text.encode()
    else:
        assert flat == {"Name": text}
        assert canonical_query(flat).startswith("Name=")
