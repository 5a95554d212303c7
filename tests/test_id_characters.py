"""One class of characters decides what an ID may hold and what a message shows as it is."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.helpers import failure

from ecs_waiter import EcsClient, TaskWaiter, wait_for_task, wait_for_tasks
from ecs_waiter.escaping import escape_control
from ecs_waiter.ids import check_each, check_task_id

if TYPE_CHECKING:
    from ecs_waiter.emulator import EcsEmulator

EVERY_CHARACTER = [chr(number) for number in range(sys.maxunicode + 1)]
# Control, format and private characters, lone surrogates, what is not assigned, and line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
SAMPLES = [
    "\x00", "\x1b", "\x7f", "\x85", "\xad", "\u061c", "\u070f", "\u180e", "\u200b", "\u200e", "\u2028", "\u202e", "\u2060",
    "\u2066", "\u2069", "\u206f", "\ud800", "\ue000", "\ufdd0", "\ufeff", "\ufff9", "\uffff", "\U000110bd", "\U0001d173",
    "\U000e0001", "\U000e0041", "\U0010ffff",
]  # fmt: skip


def _is_refused(task_id: str) -> bool:
    try:
        check_task_id(task_id)
    except ValueError:
        return True
    return False


def test_every_character() -> None:
    """An ID may hold exactly the characters that are shown as they are, except for commas and spaces."""
    shown = {character for character in EVERY_CHARACTER if escape_control(character) == character}
    accepted = {character for character in EVERY_CHARACTER if not _is_refused(f"t-{character}1")}
    assert shown - accepted == {",", " "}
    assert accepted <= shown
    assert not {character for character in shown if unicodedata.category(character) in UNSEEN}
    assert not {character for character in accepted if character.isspace()}
    assert {"\u955c", "\xe9", "*", "~", "_", "."} <= accepted


@given(st.text(st.characters() | st.sampled_from(SAMPLES), max_size=2000))
def test_messages(text: str) -> None:
    """Whatever is shown holds nothing but characters that may be shown, and what an ID may hold is left unchanged."""
    shown = escape_control(text)
    assert all(map(str.isprintable, shown))
    if text and len(text) <= 256 and not _is_refused(text):
        assert shown == text


@given(st.lists(st.text(st.sampled_from(["t", "-", "1", "*", "\xe9", ",", " ", *SAMPLES]), max_size=4), min_size=1))
def test_many_are_checked_like_one(ids: list[str]) -> None:
    """Many IDs that are checked together are refused exactly if one of them alone would be."""
    if any(map(_is_refused, ids)):
        with pytest.raises(ValueError, match="task ID"):
            check_each(ids)
    else:
        check_each(ids)


@pytest.mark.asyncio
@pytest.mark.parametrize("character", SAMPLES, ids=ascii)
async def test_refused_everywhere(virtual_ecs: EcsEmulator, character: str) -> None:
    """An ID with a character that cannot be shown is refused by every function before any call, in printable words."""
    task_id = f"t-{character}1"
    async with TaskWaiter() as waiter, EcsClient() as client:
        for refused in (
            wait_for_task(task_id),
            wait_for_tasks(["t-1", task_id]),
            waiter.wait([task_id]),
            client.describe_tasks(task_ids=[task_id]),
        ):
            assert str(await failure(ValueError, refused)).isprintable()
        with pytest.raises(ValueError, match="control characters"):
            waiter.submit(task_id)
    assert virtual_ecs.requests == []
