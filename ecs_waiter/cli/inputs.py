"""Inputs: the tasks and parameters that arguments and stdin name."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ecs_waiter.cli.exit_codes import CommandError, ExitCode, MisuseError
from ecs_waiter.cli.streams import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Stdin", "TaskRef", "read_params", "read_refs", "read_within", "region_of_params"]

_CHECK_EVERY = 0.1
_NO_REGION = (
    "no region is known for {task_id}: write REGION:ID, or name the region with --region or ALIBABA_CLOUD_REGION_ID"
)
# The fields that hold tasks in the answers of the service and of this command.
_WRAPPERS = ("TaskSet", "Task", "tasks")
_DEEPEST = 8
_LONGEST_SHOWN = 80
_BLANK = re.compile(r"\s*")
# The service's IDs have a hyphen and digits. One of the two is required: field names, words of a message and `null`
# have neither.
_ID = re.compile(r"(?=.*(?:[0-9]|-\w))\w[\w.*~-]*", re.DOTALL)
# Vertical or box-drawing lines anywhere, or nothing but the characters of a ruler.
_TABLE = re.compile(r"[|\u2500-\u257f]|\A[-+=*_.:~\s]+\Z")
# `ErrorCode: X`, `ERROR: SDK.ServerError`, `[error] X`, `error X`. A region has a hyphen, these names have none.
_MESSAGE = re.compile(r"\[?(?:error|warn(?:ing)?|fatal|panic|usage)\b|[A-Za-z_.]+:(?:\s|$)", re.IGNORECASE)
_PIPE_JSON = "pipe JSON (`aliyun` without --output, `ecs-waiter list` with --output json), or one ID per line"
_SECRETS = frozenset({"accesskeyid", "accesskeysecret", "securitytoken", "signature"})


# -- tasks ------------------------------------------------------------------------------------------------------------


class TaskRef(NamedTuple):
    """The region and ID of a task."""

    region_id: str
    task_id: str

    def __str__(self) -> str:
        return f"{self.region_id}:{self.task_id}"


def read_refs(arguments: Iterable[str], region_id: str | None, read_stdin: Callable[[], str]) -> list[TaskRef]:
    """Return the tasks that the arguments name, each once, in the order named.

    Args:
        arguments: ``ID``, ``REGION:ID``, or ``-`` for those on stdin.
        region_id: The region of tasks without one.
        read_stdin: Called at most once.

    Raises:
        MisuseError: No task is named, or an ID or its region is missing or invalid.
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
    """Return what a word is instead of an ID, and what to do; None if the check of IDs explains it better."""
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
    from ecs_waiter.ids import check_region, check_task_id  # noqa: PLC0415 - slow to import, and --help does not need it

    try:
        checked = check_task_id(task_id)
        if region_id is None:
            raise MisuseError(_NO_REGION.format(task_id=checked))
        return TaskRef(sys.intern(check_region(region_id)), checked)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"{_shown(word)}: {error}" if word else str(error)) from None


def _from_text(text: str, region_id: str | None) -> Iterator[TaskRef]:
    """Read a mix of lines with IDs and JSON in any layout."""
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


def _skip_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _json_at(text: str, at: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        line = text[at:].partition("\n")[0].strip()
        if _MESSAGE.match(line):
            _from_word(line, None, is_piped=True)
        raise MisuseError("invalid JSON") from None


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
            raise MisuseError("the JSON has no TaskId: was the operation rejected, or done at once?")
        for item in inner if not task_id else ():
            yield from _from_json(item, region, depth - 1)
    else:
        raise MisuseError("JSON that names tasks is an object with a TaskId, or a list of such objects")


# -- parameters -------------------------------------------------------------------------------------------------------


def read_params(pairs: Iterable[str], document: str | None) -> dict[str, Any]:
    """Return an operation's parameters.

    Args:
        pairs: ``Key=Value`` each. The key may name an item of a list or map, such as ``Tag.1.Key``.
        document: A JSON object. The client flattens its lists and maps. A pair overrides it.

    Raises:
        MisuseError: A parameter is malformed, given twice, or a secret.
    """
    params: dict[str, Any] = {}
    if document is not None:
        try:
            found = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise MisuseError(f"--params: invalid JSON: {error}") from None
        if not isinstance(found, dict):
            raise MisuseError('--params takes a JSON object, such as {"ImageName": "web", "Tag": [{"Key": "k"}]}')
        params.update(found)
    given: set[str] = set()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise MisuseError(f"--param takes Key=Value, not {pair!r}")
        if key in given:
            raise MisuseError(f"--param {key} is given twice: items of a list are numbered, as in Tag.1.Key, Tag.2.Key")
        given.add(key)
        params[key] = value
    for key in params:
        if key.lower() in _SECRETS:
            raise MisuseError(f"{key} is not accepted here: credentials come from the environment or a profile")
    return params


def region_of_params(params: Mapping[str, Any], region_id: str | None) -> str | None:
    """Return the region from the option, else from the parameter ``RegionId``.

    Raises:
        MisuseError: They differ.
    """
    given = params.get("RegionId")
    if not isinstance(given, str):
        return region_id
    if region_id not in {None, given}:
        raise MisuseError(f"--region {region_id} and RegionId={given} are two regions: remove one")
    return given


# -- stdin ------------------------------------------------------------------------------------------------------------


class Stdin:
    """Reads stdin within a deadline.

    Args:
        timeout: Seconds that reading and the work after it may take together. None means no limit, and 0 no limit
            for reading.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = timeout
        self._began: float | None = None

    def read(self) -> str:
        """Return all of stdin.

        Raises:
            CommandError: It cannot be read, or is not closed in time.
            KeyboardInterrupt: SIGINT or SIGTERM came.
            MisuseError: It is not text.
        """
        self._began = time.monotonic()
        if sys.stdin.isatty():
            say("reading task IDs from the terminal, one per line; Ctrl-D ends the list")
        try:
            return read_within(sys.stdin.fileno(), self._timeout or None).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise MisuseError("stdin is not UTF-8 text") from None

    def left(self) -> float | None:
        """Return the seconds that are left for the work after reading."""
        if self._timeout is None or self._began is None:
            return self._timeout
        return max(0.0, self._timeout - (time.monotonic() - self._began))


def read_within(number: int, seconds: float | None) -> bytes:
    """Return everything that a file descriptor gives until it is closed; raises as `Stdin.read` does."""
    pieces: list[bytes] = []
    errors: list[OSError] = []

    def read() -> None:
        # Not through sys.stdin: at its exit the interpreter would wait for the lock that this thread holds.
        try:
            while piece := os.read(number, 1 << 16):
                pieces.append(piece)
        except OSError as error:
            errors.append(error)

    deadline = math.inf if seconds is None else time.monotonic() + seconds
    reader = threading.Thread(target=read, name=f"ecs-waiter-fd{number}", daemon=True)
    with _sigterm_interrupts():
        try:
            reader.start()
        except RuntimeError:
            # The process can start no thread: read without a deadline.
            read()
        while reader.is_alive():
            if (left := deadline - time.monotonic()) <= 0:
                raise CommandError(f"timed out after {seconds:g} s: stdin was not closed", ExitCode.TIMED_OUT)
            # In steps, because on Windows Ctrl-C does not interrupt a wait.
            reader.join(min(left, _CHECK_EVERY))
    if errors:
        raise CommandError(f"cannot read stdin: {errors[0].strerror}")
    return b"".join(pieces)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM too, until the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
