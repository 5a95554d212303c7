"""Words of a hostile service can forge no line of a log and steer no terminal, wherever they stand."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from support.helpers import every
from support.hostile import Asked, Raw, hostile, page, row

from ecs_waiter import EcsClient, PollPolicy, TaskNotFoundError, TaskWaiter, wait_for_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

# Clear the screen, set the title, go back in the line, begin a new one, write from right to left, C1's own escape.
EVIL = "\x1b[2J\x1b]0;pwned\x07\r\b\nERROR root: forged \u202egnirts \x9b31m \u2028 \x00 \ud800 \x7f"
UNPRINTABLE = re.compile(
    r"[^\x20-\x7e\xa0-\u061b\u061d-\u200a\u2010-\u2027\u202f-\u205f\u206a-\ud7ff\ue000-\ufefe\uff00-\U0010ffff]"
)
POLICY = PollPolicy(wait=every(1).wait, outage_budget=5, not_found_grace=5)


def _error(status: int, field: str) -> Callable[[Asked], Any]:
    body = {"Code": "A.B", "Message": "m", "RequestId": "R", field: EVIL}
    return lambda _: web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


def _failing(asked: Asked) -> Any:
    if asked.action == "DescribeTasks":
        return page(row("t-1", "Failed", TaskAction=EVIL))
    step = {"OperationStatus": EVIL, "ErrorCode": EVIL, "ErrorMsg": EVIL * 1000}
    return {**row("t-1", "Failed"), "OperationProgressSet": {"OperationProgress": [step]}}


PLACES: dict[str, Callable[[Asked], Any]] = {
    **{f"{status} {field}": _error(status, field)
       for status in (200, 302, 400, 403, 429, 503) for field in ("Code", "Message", "RequestId", "HostId")},
    "XML": lambda _: web.Response(status=400, body=f"<Error><Code>{EVIL}</Code></Error>".encode("utf-8", "replace")),
    "XML references": lambda _: web.Response(
        status=400, body=b"<Error><Code>A&#27;[2J&#10;&#x9b;</Code><Message>&#8238;m&#10;</Message></Error>"
    ),
    "status": lambda _: page(row("t-1", EVIL)),
    "action of a canceled task": lambda _: page(row("t-1", "Deleted", TaskAction=EVIL, ResourceId=EVIL)),
    "reason": _failing,
    "request ID of no answer": lambda _: {"RequestId": EVIL},
    "another task's ID": lambda _: page(row(EVIL, EVIL)),
    "TaskId of a detail": lambda asked: page(row("t-1", "Failed")) if asked.action == "DescribeTasks" else {"TaskId": EVIL},
    "keys": lambda _: page(row("t-1", **{EVIL: EVIL}), **{EVIL: EVIL}),
    "reason phrase": lambda _: Raw(b"HTTP/1.1 500 \x1b[2J\x9b\x07 no\r\nContent-Length: 0\r\n\r\n"),
    "status line": lambda _: Raw(EVIL.encode("utf-8", "replace") + b"\r\n\r\n"),
    "header": lambda _: Raw(b"HTTP/1.1 200 OK\r\nX\x1b[2J: \x1b\x00\x9b\r\nContent-Length: 2\r\n\r\n{}"),
    "encoding": lambda _: Raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: \x9b31m\xc2\x9b\r\nContent-Length: 2\r\n\r\n{}"),
    "location": lambda _: Raw(b"HTTP/1.1 302 No\r\nLocation: /\x9b31m\xc2\x9b\r\nContent-Length: 0\r\n\r\n"),
    "chunk": lambda _: Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\x9b\r\n"),
}  # fmt: skip


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """All messages of the log, wide open, and the texts of what came of calls, with all that caused them."""
    caplog.set_level(1)

    def texts(*outcomes: object) -> list[str]:
        said = [record.getMessage() for record in caplog.records if record.name.startswith("ecs_waiter")]
        for outcome in outcomes:
            link = outcome
            while isinstance(link, BaseException):
                said.append(str(link))
                link = link.__cause__
        return said

    return texts


@pytest.mark.parametrize("answer", PLACES.values(), ids=PLACES)
@pytest.mark.asyncio
async def test_no_place_steers(answer: Callable[[Asked], Any], told: Callable[..., list[str]]) -> None:
    """Every log message and every error's text is one line of printable characters, and not a long one."""
    with hostile(answer):
        outcomes = await asyncio.gather(
            wait_for_task("t-1", policy=POLICY, timeout=60),
            wait_for_task("t-1", policy=POLICY, timeout=0),
            return_exceptions=True,
        )
        async with EcsClient(policy=POLICY) as client, TaskWaiter(policy=POLICY) as waiter:
            outcomes += await asyncio.gather(
                client.describe_tasks(),
                client.describe_task_attribute("t-1"),
                client.cancel_task("t-1"),
                client.call("DescribeInstances"),
                waiter.run("ExportImage", timeout=60),
                return_exceptions=True,
            )
    texts = told(*outcomes)
    assert texts
    assert [text for text in texts if UNPRINTABLE.search(text)] == []
    assert max(map(len, texts)) < 5000


@pytest.mark.asyncio
async def test_a_task_that_vanishes(told: Callable[..., list[str]]) -> None:
    """What was last known of a task that is gone forges nothing in its error."""
    with hostile(lambda asked: page(row("t-1", "Processing", TaskAction=EVIL)) if asked.number < 3 else page()):
        (outcome,) = await asyncio.gather(wait_for_task("t-1", policy=POLICY), return_exceptions=True)
    assert isinstance(outcome, TaskNotFoundError)
    assert [text for text in told(outcome) if UNPRINTABLE.search(text)] == []


@pytest.mark.parametrize("started", [EVIL, f"t-1{EVIL}", "t-1\x1b[2J", "t-1\u202e", "t-1,\nt-2"])
@pytest.mark.asyncio
async def test_the_id_of_a_start(told: Callable[..., list[str]], started: str) -> None:
    """A TaskId that would steer a terminal, as answer to a start, is told unreadable and printable."""
    with hostile(lambda _: {"TaskId": started}):
        async with TaskWaiter(policy=POLICY) as waiter:
            (outcome,) = await asyncio.gather(waiter.run("ExportImage", timeout=60), return_exceptions=True)
    assert isinstance(outcome, Exception)
    assert [text for text in told(outcome) if UNPRINTABLE.search(text)] == []
    assert all(not UNPRINTABLE.search(line.rstrip("\n")) for line in traceback.format_exception_only(outcome))


@pytest.mark.parametrize("own", ["t-1\n", "t-1\x1b[2J", "t 1", "t-1\u202e", "t-1\x9b", "\ud800"])
def test_ids_of_the_callers_own(own: str) -> None:
    """An ID that is none is refused with a text that can be printed, wherever the caller has it from."""
    with pytest.raises(ValueError, match="ID") as refused:
        asyncio.run(wait_for_task(own, region_id="cn-hangzhou"))
    assert not UNPRINTABLE.search(str(refused.value))


COMMANDS = [
    ("wait", "t-evil", "t-fails"),
    ("wait", "t-evil", "t-fails", "--verbose"),
    ("wait", "t-evil", "t-fails", "--output", "json"),
    ("wait", "t-evil", "t-fails", "--output", "jsonl"),
    ("list",),
    ("list", "--output", "json"),
    ("show", "t-fails"),
    ("cancel", "t-evil"),
    ("run", "ExportImage"),
]


def _poison(fields: dict[str, Any]) -> dict[str, Any]:
    """Every text that nobody needs to find the task again is replaced."""
    kept = {"TaskId", "TaskStatus", "CreationTime", "FinishedTime"}

    def poisoned(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [poisoned(name, item) for item in value]
        return value if name in kept or not isinstance(value, str) else EVIL

    return {key: poisoned(key, value) for key, value in fields.items()}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_command(ecs_emulator: EcsEmulator, command: tuple[str, ...]) -> None:
    """What the command prints, to a pipe, are lines of printable characters, whatever a service says of its tasks."""
    ecs_emulator.add_task(task_id="t-evil", outcome="Deleted")
    ecs_emulator.add_task(task_id="t-fails", outcome="Failed", error=("A", "b"))
    ecs_emulator.inject("rewrite", change=_poison)
    ran = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "ecs_waiter.cli", *command], capture_output=True, check=False, timeout=60
    )
    printed = (ran.stdout + ran.stderr).decode()
    assert printed
    assert [line for line in printed.split("\n") if UNPRINTABLE.search(line)] == []
    assert not re.search(r"^ERROR root", printed, re.MULTILINE)


@pytest.mark.parametrize(
    "command", [("list",), ("list", "--output", "json"), ("list", "--output", "jsonl")], ids=" ".join
)
def test_ids_of_a_listing(ecs_emulator: EcsEmulator, command: tuple[str, ...]) -> None:
    """IDs and statuses that nobody asked for, which only a listing shows, are printed as harmless."""
    task_id = ecs_emulator.add_task()

    def evil(fields: dict[str, Any]) -> dict[str, Any]:
        rows = [{**listed, "TaskId": EVIL, "TaskStatus": EVIL} for listed in fields["TaskSet"]["Task"]]
        return {**fields, "TaskSet": {"Task": rows}}

    ecs_emulator.inject("rewrite", change=evil)
    ran = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "ecs_waiter.cli", *command], capture_output=True, check=False, timeout=60
    )
    printed = (ran.stdout + ran.stderr).decode()
    assert "forged" in printed
    assert task_id not in printed
    assert [line for line in printed.split("\n") if UNPRINTABLE.search(line)] == []
