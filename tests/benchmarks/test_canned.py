from __future__ import annotations

import json

from benchmarks import canned
from benchmarks.peers import QUERY

_REQUEST = f"POST /?{QUERY} HTTP/1.1\r\nhost: 127.0.0.1".encode()


def _parts(whole: bytes) -> tuple[str, bytes]:
    head, _, body = whole.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n" in f"{head.decode()}\r\n"
    return head.decode(), body


def test_no_two_answers_are_the_same() -> None:
    """Answers of one status differ in their request ID alone, as a service's do."""
    answers = canned.Answers("Processing")
    first, second = (json.loads(_parts(answers.now(_REQUEST))[1]) for _ in range(2))
    assert first.pop("RequestId") != second.pop("RequestId")
    assert first == second


def test_answer_is_whole() -> None:
    """A hundred tasks in the status that was asked for; a finished one says when."""
    head, body = _parts(canned.Answers("Finished").now(_REQUEST))
    rows = json.loads(body)["TaskSet"]["Task"]
    assert head.startswith("HTTP/1.1 200 OK\r\nDate: ")
    assert [row["TaskId"] for row in rows] == canned.IDS
    assert {row["TaskStatus"] for row in rows} == {"Finished"}
    assert all(row["FinishedTime"] for row in rows)


def test_echo_lists_what_is_asked() -> None:
    """The echo lists the tasks that the query names."""
    request = b"POST /?PageSize=2&TaskIds=t-1%2Ct-2 HTTP/1.1\r\nhost: 127.0.0.1"
    rows = json.loads(_parts(canned.Echo().now(request))[1])["TaskSet"]["Task"]
    assert [(row["TaskId"], row["TaskStatus"]) for row in rows] == [("t-1", "Processing"), ("t-2", "Processing")]
