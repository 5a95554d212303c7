"""All that is made of one answer, from the bytes of its body to the errors told: whatever it says, it is borne."""

from __future__ import annotations

import pickle
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ecs_waiter import Credentials, EcsWaiterError, PollPolicy, TaskCanceledError, TaskFailedError, TaskNotFoundError
from ecs_waiter.api import faults
from ecs_waiter.api.answers import age_of, detail_of, page_of, snapshot_of
from ecs_waiter.api.exchange import Reply, _unpacked
from ecs_waiter.api.fingerprint import fingerprint_of
from ecs_waiter.api.listing import read_listing
from ecs_waiter.api.request import Signer
from ecs_waiter.api.transport import Answer, _judged
from ecs_waiter.errors import ApiError, ServiceUnavailableError
from ecs_waiter.polling.schedule import PollSchedule
from ecs_waiter.printable import printable
from support.answering import answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.models import Task

__all__ = ["ASKED", "SECRET", "TOKEN", "read"]

REGION = "cn-hangzhou"
ASKED = ("t-1", "t-2", "t-3")
SECRET = "secret-of-ours"
TOKEN = "token/of+ours=%"

_SIGNER = Signer(URL("https://ecs.cn-hangzhou.aliyuncs.com/"), clock=lambda: 1e9, nonce=lambda: "nonce")
_REQUEST = _SIGNER.sign("DescribeTasks", "RegionId=cn-hangzhou", Credentials("example-key-id", SECRET, TOKEN))
_POLICY = PollPolicy()


def read(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Read one answer in every way that the library does, and print all that comes of it.

    Raises:
        AssertionError: It tells a secret, or what cannot be printed.
        Exception: Anything else that escapes is the library's error.
    """
    fields = CIMultiDictProxy(CIMultiDict(headers))
    try:
        plain = _unpacked(body, fields.get("Content-Encoding", "").strip().lower())
    except (aiohttp.ClientError, zlib.error):
        return  # a fault by itself
    reply = Reply(status, fields, plain)
    result, told = _judged(reply, _REQUEST, fingerprint_of(plain), None)
    faults.is_wrong_clock(told)
    if told.date is not None:
        _SIGNER.correct(told.date)
        _SIGNER.sign("DescribeTasks", "", Credentials("example-key-id", SECRET, TOKEN))
        _SIGNER.correction = 0.0
    if isinstance(result, ApiError):
        faults.is_refused_key(result)
        _check_error(result)
        return
    assert not any(SECRET in text or TOKEN in text for text in _texts(result.data))
    quick, _ = _judged(reply, _REQUEST, fingerprint_of(plain), partial(read_listing, REGION))
    assert isinstance(quick, Answer)
    if quick.listing is not None:
        assert _snapshot(quick) == _snapshot(result)
    _poll(result)
    _list(result)
    _look_up(result)


def _texts(data: Any) -> Iterator[str]:
    """Every text in parsed JSON, however deep."""
    parts = [data]
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            parts += [*part, *part.values()]
        elif isinstance(part, list):
            parts += part


def _snapshot(answer: Answer) -> tuple[Any, ...]:
    """What a poll learns."""
    try:
        snapshot = snapshot_of(REGION, answer)
    except ServiceUnavailableError as error:
        # The quick reader leaves the request ID out.
        return (error.code, error.message)
    return snapshot.tasks, [task.model_fields_set for task in snapshot.tasks], snapshot.total_count, snapshot.date


def _poll(answer: Answer) -> None:
    """What the poller makes of it."""
    schedule = PollSchedule(_POLICY, float)
    schedule.add(ASKED, 0)
    batch = schedule.take(0)
    assert batch is not None
    try:
        snapshot = snapshot_of(REGION, answer)
    except ServiceUnavailableError as error:
        _check_error(error)
        schedule.fault(batch, asked_at=0, now=1)
        return
    tasks = snapshot.tasks
    news = answered(
        schedule,
        batch,
        [task.task_id for task in tasks],
        [task.task_status for task in tasks],
        total_count=snapshot.total_count,
        age_of=lambda index: age_of(tasks[index], snapshot.date),
        now=1,
    )
    assert news.error is None
    for _, index, _ in news.changes:
        assert tasks[index].task_id in ASKED
        _check_task(tasks[index])


def _list(answer: Answer) -> None:
    """What a listing makes of it."""
    try:
        page = page_of(REGION, answer, page_number=1, page_size=100)
    except ServiceUnavailableError as error:
        _check_error(error)
        return
    for task in page.tasks[:5]:
        _check_task(task)


def _look_up(answer: Answer) -> None:
    """What the look-up of a failure's reason makes of it."""
    try:
        detail = detail_of(REGION, "t-1", answer)
    except ServiceUnavailableError as error:
        _check_error(error)
        return
    _check_error(TaskFailedError(detail, detail))


def _check_task(task: Task) -> None:
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 - our own
    _check_error(TaskCanceledError(task))
    _check_error(TaskFailedError(task))
    _check_error(TaskNotFoundError("t-1", REGION, task))


def _check_error(error: EcsWaiterError) -> None:
    """An error can be printed anywhere, on one line, and tells no secret."""
    told = str(error)
    assert printable(told)[:900] == told[:900]
    assert SECRET not in told
    assert TOKEN not in told
    told.encode()
    repr(error).encode()
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert str(twin) == told
