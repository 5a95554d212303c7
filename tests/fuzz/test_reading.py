"""Whatever an answer's bytes and headers say, nothing but our own errors comes of it, and all of them can be printed."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.answer_bytes import EXAMPLES, STATUSES, mutate_json, split
from support.reading import ASKED, SECRET, TOKEN, read

# Inputs that broke something once, as the fuzzer left them.
CRASHERS = {
    "a request ID that would steer a terminal": b'\0\n\n{"RequestId": "\\u001b[2J\\nforged", "TotalCount": 1}',
}

LINE = st.text(max_size=40)
NAMES = st.sampled_from(["Date", "Content-Encoding", "x-acs-retry-after", "x-ratelimit-user", "Retry-After", "X"])
HEADERS = st.lists(st.tuples(NAMES, LINE), max_size=4)
KEYS = st.sampled_from(
    [
        "TaskSet",
        "Task",
        "TaskId",
        "TaskStatus",
        "TotalCount",
        "Code",
        "Message",
        "RequestId",
        "CreationTime",
        "OperationProgressSet",
        "OperationProgress",
        "ErrorMsg",
        "RelatedItemSet",
        "RelatedItem",
        "Name",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | LINE
    | st.sampled_from([*ASKED, SECRET, TOKEN, "Failed", "Deleted", "2026-01-01T00:00Z", "99%"])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | LINE, inner, max_size=5), max_leaves=25
)


@pytest.mark.parametrize("data", CRASHERS.values(), ids=CRASHERS)
def test_crashers(data: bytes) -> None:
    """What broke something once does so no more."""
    read(*split(data))


@pytest.mark.parametrize("data", EXAMPLES)
def test_examples(data: bytes) -> None:
    """The fuzzer's examples are read."""
    read(*split(data))


@settings(deadline=None)
@given(status=st.sampled_from(STATUSES), headers=HEADERS, body=st.binary(max_size=200))
def test_any_bytes(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """No body that is no JSON escapes as anything but our own."""
    read(status, headers, body)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(status=st.sampled_from(STATUSES), headers=HEADERS, data=JSON)
def test_any_json(status: int, headers: list[tuple[str, str]], data: object) -> None:
    """No JSON escapes as anything but our own, on whatever status it comes."""
    fields = [(name, value) for name, value in headers if name != "Content-Encoding"]
    read(status, fields, json.dumps(data).encode())


@pytest.mark.parametrize("example", [split(data) for data in EXAMPLES if split(data)[2].startswith(b"{")])
def test_mutants(example: tuple[int, list[tuple[str, str]], bytes]) -> None:
    """An answer in which anything is missing, doubled or of another type is a fault or an answer."""
    status, headers, body = example
    for seed in range(300):
        mutant = body
        for _ in range(seed % 4 + 1):
            mutant = mutate_json(mutant, random.Random(seed)) or mutant
        read(status, headers, mutant)
