"""The fingerprint of an answer: the same for what tells the same, and for nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_waiter.api.fingerprint import fingerprint_of

ROWS = {"TaskSet": {"Task": [{"TaskId": "t-1", "TaskStatus": "Processing"}]}, "TotalCount": 1}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["RequestId", "TaskId"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
@pytest.mark.parametrize("is_first", [True, False])
def test_the_request_id_does_not_count(separators: tuple[str, str], is_first: bool) -> None:
    """Wherever it stands: it is another one in each answer."""

    def body(request_id: str) -> bytes:
        own = {"RequestId": request_id}
        return json.dumps({**own, **ROWS} if is_first else {**ROWS, **own}, separators=separators).encode()

    assert fingerprint_of(body("473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E")) == fingerprint_of(body("R-2"))


def test_everything_else_counts() -> None:
    """A status that changed makes another fingerprint; so does a request ID that is no plain word."""
    body = json.dumps({"RequestId": "R-1", **ROWS})
    assert fingerprint_of(body.encode()) != fingerprint_of(body.replace("Processing", "Finished").encode())
    assert fingerprint_of(body.encode()) != fingerprint_of(body.replace("R-1", 'R\\"').encode())


@given(VALUES, VALUES)
def test_answers_of_one_fingerprint_tell_the_same(one: object, other: object) -> None:
    """But for one request ID, which nobody reads, they are equal when parsed."""
    a, b = json.dumps(one).encode(), json.dumps(other).encode()
    if fingerprint_of(a) == fingerprint_of(b):
        assert _without_request_ids(one) == _without_request_ids(other)


def _without_request_ids(value: object) -> object:
    if isinstance(value, dict):
        return {name: "" if name == "RequestId" else _without_request_ids(part) for name, part in value.items()}
    return list(map(_without_request_ids, value)) if isinstance(value, list) else value
