"""Crowds: all of a hundred thousand tasks end as they should, whatever their callers do, and nothing is left of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support import scenes

from ecs_waiter.testing.virtual_time import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

SCENES = [
    (scenes.wait, 100_000),
    (scenes.come_and_go, 100_000),
    (scenes.wait_in_regions, 4_000),
    (scenes.as_completed, 10_000),
    (scenes.submit, 10_000),
    (scenes.leave, 10_000),
    (scenes.time_out, 10_000),
    (scenes.refused, 10_000),
    (scenes.come_back, 10_000),
    (scenes.closing, 10_000),
    (scenes.closing_failed, 10_000),
    (scenes.time_out_failed, 10_000),
    (scenes.refused_waits, 10_000),
    (scenes.read_many, 10_000),
    (scenes.large_answers, 10_000),
]


@pytest.mark.parametrize(("scene", "count"), SCENES, ids=[scene.__name__ for scene, _ in SCENES])
def test_crowds(scene: Callable[[int], Coroutine[None, None, None]], count: int) -> None:
    """Every task of a crowd ends as it should, and the waiter, the schedule and the loop keep nothing of it."""
    with virtual_time():
        asyncio.run(scene(count))
