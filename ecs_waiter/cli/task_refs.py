"""Which tasks: IDs, REGION:ID, and what other commands print, on stdin."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ecs_waiter.cli.failure import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["TaskRef", "read_refs"]

_NO_REGION = (
    "no region is known for {task_id}: write REGION:ID, or name the region with --region or ALIBABA_CLOUD_REGION_ID"
)
# What wraps tasks in the answers of the service and of this command.
_WRAPPERS = ("TaskSet", "Task", "tasks")
_DEEPEST = 8
_LONGEST_SHOWN = 80
_BLANK = re.compile(r"\s*")
# The service's IDs have a hyphen and digits. One of the two is required: field names, words of a message and `null`
# have neither.
_ID = re.compile(r"(?=.*(?:[0-9]|-\w))\w[\w.*~-]*", re.DOTALL)
# The lines between columns, or a ruler.
_TABLE = re.compile(r"[|\u2500-\u257f]|\A[-+=*_.:~\s]+\Z")
# `ErrorCode: X`, `ERROR: SDK.ServerError`, `[error] X`, `error X`. A region has a hyphen, these names have none.
_MESSAGE = re.compile(r"\[?(?:error|warn(?:ing)?|fatal|panic|usage)\b|[A-Za-z_.]+:(?:\s|$)", re.IGNORECASE)
_PIPE_JSON = "pipe JSON (`aliyun` without --output, `ecs-waiter list` with --output json), or one ID a line"


class TaskRef(NamedTuple):
    """One task: where it runs and its ID."""

    region_id: str
    task_id: str

    def __str__(self) -> str:
        return f"{self.region_id}:{self.task_id}"


def read_refs(arguments: Iterable[str], region_id: str | None, read_stdin: Callable[[], str]) -> list[TaskRef]:
    """Return the tasks that the arguments name, each once, in the order named.

    Args:
        arguments: ``ID``, ``REGION:ID``, or ``-`` for those on stdin.
        region_id: The region of those that name none.
        read_stdin: Called once at most.

    Raises:
        MisuseError: There are none, one is no task's ID, or its region is not known or no region.
    """
    refs: dict[str, TaskRef] = {}
    has_read = False
    for argument in arguments:
        if argument != "-":
            _add(refs, _from_word(argument, region_id))
        elif not has_read:
            has_read = True
            found = 0
            for ref in _from_text(read_stdin(), region_id):
                _add(refs, ref)
                found += 1
            if not found:
                raise MisuseError("stdin named no task: did the command before the pipe fail?")
    if not refs:
        raise MisuseError("name the tasks to wait for: ID, REGION:ID, or - to read them from stdin")
    return list(refs.values())


def _add(refs: dict[str, TaskRef], ref: TaskRef) -> None:
    known = refs.setdefault(ref.task_id, ref)
    if known != ref:
        raise MisuseError(
            f"{ref.task_id} is named in two regions, {known.region_id} and {ref.region_id}: a task runs in one"
        )


def _from_word(word: str, region_id: str | None, *, is_piped: bool = False) -> TaskRef:
    region, colon, task_id = word.partition(":")
    if not colon:
        region, task_id = "", word
    if not _ID.fullmatch(task_id) and (kind := _kind_of(word)) is not None:
        what, hint = kind
        raise MisuseError(f"{_shown(word)} is {what}, not a task ID{f': {hint}' if is_piped else ''}")
    return _checked(task_id, region if colon else region_id, word)


def _kind_of(word: str) -> tuple[str, str] | None:
    """What a word is that does not have the form of an ID, and what to do; None for an empty ID and odd characters."""
    if _MESSAGE.match(word):
        return "a message of a command", "if the command before the pipe failed, fix that first"
    if _TABLE.search(word):
        return "a line of a table", _PIPE_JSON
    if "," in word or any(map(str.isspace, word)):
        return "more than one word (an ID has neither commas nor white space)", _PIPE_JSON
    if not word or word.endswith(":") or not word.isprintable():
        return None
    return "a table header or other text", _PIPE_JSON


def _shown(word: str) -> str:
    return repr(word if len(word) <= _LONGEST_SHOWN else f"{word[:_LONGEST_SHOWN]}...")


def _checked(task_id: object, region_id: object, word: str | None = None) -> TaskRef:
    from ecs_waiter.ids import check_region, check_task_id  # noqa: PLC0415 - asyncio is slow to import for --help

    try:
        checked = check_task_id(task_id)
        if region_id is None:
            raise MisuseError(_NO_REGION.format(task_id=checked))
        return TaskRef(sys.intern(check_region(region_id)), checked)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"{_shown(word)}: {error}" if word else str(error)) from None


def _from_text(text: str, region_id: str | None) -> Iterator[TaskRef]:
    """Read lists of IDs and JSON in any layout, one after the other."""
    at = _skip_blank(text, 0)
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        try:
            if text[at] in '{["':
                value, end = _json_at(text, at)
                yield from _from_json(value, region_id, _DEEPEST)
            elif text[at] != "#":
                yield _from_word(text[at:end].strip(), region_id, is_piped=True)
        except MisuseError as error:
            raise MisuseError(f"line {text.count(chr(10), 0, at) + 1} of stdin: {error}") from None
        at = _skip_blank(text, end)


def _json_at(text: str, at: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        line = text[at:].partition("\n")[0].strip()
        if _MESSAGE.match(line):
            _from_word(line, None, is_piped=True)
        raise MisuseError("it begins like JSON but is none") from None


def _from_json(value: Any, region_id: str | None, depth: int) -> Iterator[TaskRef]:
    if isinstance(value, str):
        yield _from_word(value, region_id, is_piped=True)
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _from_json(item, region_id, depth - 1)
    elif isinstance(value, dict) and depth:
        region = value.get("RegionId") or value.get("region_id") or region_id
        task_id = value.get("TaskId") or value.get("task_id")
        inner = [value[name] for name in _WRAPPERS if isinstance(value.get(name), list | dict)]
        if task_id:
            yield _checked(task_id, region)
        elif not inner:
            raise MisuseError("the JSON has no TaskId: was the operation refused, or done at once?")
        for item in inner if not task_id else ():
            yield from _from_json(item, region, depth - 1)
    else:
        raise MisuseError("JSON that names tasks is an object with a TaskId, or a list of such")


def _skip_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at
