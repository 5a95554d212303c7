"""All that is made of one answer, from the bytes of its body to the errors told: whatever it says, it is borne."""

from __future__ import annotations

import pickle
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ecs_waiter import Credentials, EcsWaiterError, PollPolicy, TaskCanceledError, TaskFailedError, TaskNotFoundError
from ecs_waiter.api import service_errors
from ecs_waiter.api.body import unpack
from ecs_waiter.api.exchange import Reply
from ecs_waiter.api.signing import Signer
from ecs_waiter.api.tasks import detail_of, page_of, poll_answer
from ecs_waiter.api.transport import ApiResponse, read_reply
from ecs_waiter.errors import ServiceUnavailableError
from ecs_waiter.escaping import escape_control
from ecs_waiter.polling.schedule import PollSchedule
from ecs_waiter.slices import at_once

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
        plain = unpack(body, fields.get("Content-Encoding", "").strip().lower())
    except (aiohttp.ClientError, zlib.error):
        return  # a fault by itself
    response = at_once(read_reply(Reply(status, fields, plain), _REQUEST))
    if response.date is not None:
        _SIGNER.correct(response.date)
        _SIGNER.sign("DescribeTasks", "", Credentials("example-key-id", SECRET, TOKEN))
        _SIGNER.correction = 0.0
    if response.error is not None:
        service_errors.is_rejected_key(response.error)
        _check_error(response.error)
        return
    assert not any(SECRET in text or TOKEN in text for text in _texts(response.data))
    _poll(response)
    _list(response)
    _look_up(response)


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


def _poll(response: ApiResponse) -> None:
    """What the poller makes of it."""
    schedule = PollSchedule(_POLICY, float)
    schedule.add(ASKED, 0)
    batch = schedule.take(0)
    assert batch is not None
    try:
        answer = poll_answer(REGION, response)
    except ServiceUnavailableError as error:
        _check_error(error)
        schedule.fault(batch, now=1)
        return
    result = schedule.answer(batch, answer, 1)
    assert result.error is None
    for entry, _ in result.changes:
        assert entry.task_id in ASKED
        _check_task(answer.task(entry.task_id))


def _list(response: ApiResponse) -> None:
    """What a listing makes of it."""
    try:
        page = page_of(REGION, response, page_number=1, page_size=100)
    except ServiceUnavailableError as error:
        _check_error(error)
        return
    for task in page.tasks[:5]:
        _check_task(task)


def _look_up(response: ApiResponse) -> None:
    """What the look-up of a failure's reason makes of it."""
    try:
        detail = detail_of(REGION, "t-1", response)
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
    assert escape_control(told)[:900] == told[:900]
    assert SECRET not in told
    assert TOKEN not in told
    told.encode()
    repr(error).encode()
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert str(twin) == told
