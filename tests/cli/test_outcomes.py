"""From what a wait gave to JSON, lines and exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ecs_waiter import (
    ApiError,
    AuthenticationError,
    EcsWaiterError,
    ServiceUnavailableError,
    Task,
    TaskCanceledError,
    TaskDetail,
    TaskFailedError,
    TaskNotFoundError,
    ThrottledError,
)
from ecs_waiter.cli.inputs import TaskRef
from ecs_waiter.cli.messages import explain, outage_reason
from ecs_waiter.cli.outcomes import KnownTask, Record, WatchedTasks, exit_code, record_of, status_outcome
from ecs_waiter.cli.reporting import Outages, PlainReporter, outcome_line
from ecs_waiter.cli.results import json_pieces
from ecs_waiter.stats import RegionStats, WaiterStats

REF = TaskRef("cn-hangzhou", "t-1")


def task(status: str = "Processing") -> Task:
    """The task as listed."""
    return Task(region_id="cn-hangzhou", task_id="t-1", task_status=status, task_action="ImportImage")


def records(*outcomes: str) -> list[Record]:
    """A record of each outcome."""
    return [Record(TaskRef("cn-hangzhou", f"t-{number}"), outcome) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (task("Finished"), "finished"),
        (TaskFailedError(task("Failed")), "failed"),
        (TaskCanceledError(task("Deleted")), "canceled"),
        (TaskNotFoundError("t-1", "cn-hangzhou"), "not_found"),
        (AuthenticationError("Forbidden", "no"), "error"),
        (EcsWaiterError("a bug"), "error"),
    ],
)
def test_outcome(result: Task | EcsWaiterError, outcome: str) -> None:
    """Each result has its outcome."""
    assert record_of(REF, result).outcome == outcome


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["finished", "finished"], 0),
        (["finished", "failed"], 1),
        (["canceled"], 1),
        (["not_found"], 1),
        (["error", "failed"], 3),
        (["pending", "failed"], 1),
        ([], 0),
    ],
)
def test_exit_code(outcomes: list[str], code: int) -> None:
    """An error outweighs failures; a deadline outweighs both."""
    assert exit_code(outcomes) == code
    assert exit_code(outcomes, timed_out=True) == 124


def test_summary_counts_what_occurs() -> None:
    """The summary counts the outcomes that occur."""
    document = json.loads("".join(json_pieces(records("finished", "failed", "finished"))))
    assert document["summary"] == {"finished": 2, "failed": 1}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("Finished", "finished"),
        ("Failed", "failed"),
        ("Deleted", "canceled"),
        ("Paused", "pending"),
        ("Odd", "pending"),
    ],
)
def test_status(status: str, outcome: str) -> None:
    """A status by itself means an outcome."""
    assert status_outcome(task(status)) == outcome


def test_reason_of_several_steps() -> None:
    """A failed task's code is its first, its message all the service's words."""
    steps = [
        {"error_code": "First", "error_msg": "one"},
        {"error_code": "Second", "error_msg": "two"},
        {"error_code": "First", "error_msg": "one"},
    ]
    detail = TaskDetail(region_id="cn-hangzhou", task_id="t-1", operations=steps)  # type: ignore[arg-type]
    told = record_of(REF, TaskFailedError(task("Failed"), detail)).as_json()["error"]
    assert told == {"type": "TaskFailedError", "code": "First", "message": "one; two", "request_id": None}
    untold = record_of(REF, TaskFailedError(task("Failed"))).as_json()["error"]
    assert untold["message"] == "the service gave no reason"


def test_pending_task_as_json() -> None:
    """What is not known is null; times are UTC with a Z."""
    assert set(Record(REF, "pending").as_json().values()) == {"cn-hangzhou", "t-1", "pending", None}
    seen = task().model_copy(update={"creation_time": datetime(2026, 1, 31, 12, tzinfo=UTC)})
    assert Record(REF, "pending", KnownTask(REF, seen)).as_json()["creation_time"] == "2026-01-31T12:00:00Z"


def test_progress() -> None:
    """A task counts under its status while it is pending, then under its outcome."""
    progress = WatchedTasks([REF, TaskRef("cn-hangzhou", "t-2")])
    progress.update(task("Processing"))
    assert progress.counts() == {"processing": 1, "unseen": 1}
    assert progress.finish(REF, TaskFailedError(task("Failed"))).outcome == "failed"
    assert [one.outcome for one in progress.records()] == ["failed", "pending"]
    assert progress.counts() == {"unseen": 1, "failed": 1}


def test_a_refused_key_without_another() -> None:
    """If a rejected key has no successor, the message gives the rejection and why there is no other key."""
    error = AuthenticationError("InvalidAccessKeyId.NotFound", "no such key", "R-1", 404)
    error.__cause__ = AuthenticationError(None, "no credentials found: the login has expired")
    told = explain(error)
    assert "InvalidAccessKeyId.NotFound: no such key; request ID R-1" in told
    assert told.endswith("; asked again, no credentials found: the login has expired")


def fault(words: str, *, sent: bool = True) -> ServiceUnavailableError:
    """A passing fault."""
    return ServiceUnavailableError(None, words, sent=sent)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ThrottledError("Throttling.User", "slow down"), "it is throttling calls"),
        (
            fault("ecs.cn-x.aliyuncs.com: ClientConnectorDNSError: Cannot connect to host x ssl:True [no name]"),
            "the name ecs.cn-x.aliyuncs.com cannot be resolved: check the network and the region's name",
        ),
        (
            fault("h:1: ClientConnectorError: Cannot connect to host h:1 ssl:default [Connect call failed ('h', 1)]"),
            "no connection to h:1 (Connect call failed ('h', 1))",
        ),
        (ServiceUnavailableError("ServiceUnavailable", "later"), "ServiceUnavailable: later"),
    ],
)
def test_outage_reason(error: ApiError, reason: str) -> None:
    """Why a region gives no answer, in few words."""
    assert outage_reason(error) == reason


def test_explain_is_one_line() -> None:
    """Whatever the service says, the explanation is one printable line."""
    told = explain(ApiError("Odd\nCode", "words\x1b[2J", "1"), where="cn-hangzhou")
    assert told.isprintable()
    assert told.startswith("cn-hangzhou: the service rejected the request (Odd\\nCode: words\\x1b[2J; request ID 1)")


def test_a_start_in_doubt_is_told() -> None:
    """An outage that may have started something says so."""
    last = fault("h: no connection within 15 s", sent=False)
    doubtful = ServiceUnavailableError(None, "no good answer; the operation may have started: look")
    doubtful.__cause__ = last
    assert "may have started" in explain(doubtful)
    sure = ServiceUnavailableError(None, "no good answer", sent=False)
    sure.__cause__ = last
    assert explain(sure) == (
        "no answer, h: no connection within 15 s; check the network, a firewall, and ECS_WAITER_ENDPOINT if it is set"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            "h: ClientConnectorDNSError: Cannot connect to host h:443 ssl:default [Name or service not known]",
            "the name h cannot be resolved: check the network and the region's name",
        ),
        (
            "h:8: ClientConnectorError: Cannot connect to host h:8 ssl:default [Connection refused]",
            "no connection to h:8 (Connection refused)",
        ),
        ("h: no connection within 15 s", "h: no connection within 15 s"),
        (
            "h through the proxy p:3128: ClientConnectorDNSError: Cannot connect to host p:3128 ssl:default [No]",
            "h through the proxy p:3128: ClientConnectorDNSError: Cannot connect to host p:3128 ssl:default [No]",
        ),
    ],
)
@pytest.mark.parametrize("name", ["", "HTTPS_PROXY", "the system's https proxy"])
def test_a_proxy_that_is_not_used_is_named(words: str, shown: str, name: str) -> None:
    """However a fault is reworded, the proxy setting that was not used stays, with the command's own option."""
    hint = f"; {name} is set but not used: pass trust_env=True (command: --proxy-from-env)" if name else ""
    kept = f"; {name} is set but not used: add --proxy-from-env" if name else ""
    assert outage_reason(fault(f"{words}{hint}", sent=False)) == f"{shown}{kept}"


def test_one_error_of_a_region_is_told_once() -> None:
    """Copies of one error for many tasks are one line, which names the region."""
    told: set[str] = set()
    lines = [
        outcome_line(
            Record(TaskRef("cn-hangzhou", name), "error"), AuthenticationError("Forbidden.RAM", "no", "7"), told
        )
        for name in ("t-1", "t-2")
    ]
    assert lines[0] is not None
    assert lines[0].startswith("cn-hangzhou: the access key does not have permission")
    assert lines[1] is None


def stats(error: ApiError | None) -> WaiterStats:
    """A waiter whose one region has this fault."""
    return WaiterStats({"cn-hangzhou": RegionStats(1, 1, 0, 0, 0, 1, fault=error)})


def test_outages_are_told_once_and_their_end_too() -> None:
    """A fault that lasts is told once, with its reason; one that passes is not; the end of what was told is."""
    outages = Outages(600)
    bad, good = stats(fault("h: no connection within 15 s", sent=False)), stats(None)
    assert [outages.notes(bad, 0), outages.notes(good, 1), outages.notes(bad, 2), outages.notes(bad, 3)] == [[]] * 4
    (note,) = outages.notes(bad, 4)
    assert note == ("cn-hangzhou is not responding: h: no connection within 15 s; retrying for 10m00s (Ctrl-C stops)")
    assert outages.notes(bad, 60) == []
    assert outages.notes(good, 61) == ["cn-hangzhou is responding again"]


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line on every change; and one now and then, for CI ends what is silent."""
    lines: list[str] = []
    progress = WatchedTasks([REF])
    reporter = PlainReporter(progress, lines.append, Outages(600))
    reporter.changed(task())
    monkeypatch.setattr(WatchedTasks, "seconds", property(lambda _: 301.0))
    reporter.tick(stats(None))
    assert lines == ["t-1 (cn-hangzhou): Processing, ImportImage", "still waiting for 1 of 1 after 5m01s"]
