"""Secrets as they might be told, and all that one would print of what came of a wait."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ecs_waiter import StaticCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CREDENTIALS", "KEY_ID", "SECRET", "TOKEN", "forms", "locals_of", "told_of"]

KEY_ID = "example-key-id"
SECRET = "eXaMpLe/+SeCrEt=%41"
TOKEN = "eXaMpLe+tOkEn/==%2B;and-more"
CREDENTIALS = StaticCredentials(KEY_ID, SECRET, TOKEN)


def forms(*secrets: str) -> set[str]:
    """A secret as it is, and as it stands in a query, in JSON and in either case of percent codes."""
    told = {form for s in secrets for form in (s, quote(s), quote(s, safe=""), json.dumps(s)[1:-1], repr(s)[1:-1])}
    return told | {form.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d") for form in told}


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for link in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from _chain(link, seen)


def told_of(outcome: object) -> str:
    """All that one would print of what came of a wait: texts, reprs and fields of the whole chain, and its pickle."""
    if not isinstance(outcome, BaseException):
        return f"{outcome!r} {outcome}"
    texts = [f"{error} {error!r} {error.args} {vars(error)}" for error in _chain(outcome, set())]
    return "\n".join([*texts, *traceback.format_exception(outcome), repr(pickle.dumps(outcome, 0))])


def locals_of(error: BaseException) -> str:
    """What tools that record local variables show of an error, its causes and contexts: the variables of all frames.

    The frames of the tests themselves are left out.
    """
    shown = []
    for link in _chain(error, set()):
        trace = link.__traceback__
        while trace is not None:
            if "tests" not in Path(trace.tb_frame.f_code.co_filename).parts:
                shown += [f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items()]
            trace = trace.tb_next
    return "\n".join(shown)
