"""The cadences of the peers, played over the same tasks as ours: who is asked when, in which call."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.simulated import Played

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.lives import Life

__all__ = ["Pause", "by_due_time", "exponential", "fixed_loop", "one_by_one"]

Pause: TypeAlias = "Callable[[int, float], float]"
"""Seconds until the next look, by the number of looks so far and the task's age."""


def exponential(first: float, longest: float) -> Pause:
    """Twice as long each time, from `first` up to `longest` seconds."""
    return lambda looks, _age: min(first * 2.0 ** min(looks - 1, 30), longest)


def fixed_loop(lives: Sequence[Life], seconds: float, batch: int = 100) -> Played:
    """One loop that asks about all that it has every so many seconds, in batches; who comes meanwhile has to wait."""
    played = Played()
    coming = sorted(lives, key=lambda life: life.asked, reverse=True)
    waiting: list[Life] = []
    now = 0.0
    while coming or waiting:
        while coming and coming[-1].asked <= now:
            waiting.append(coming.pop())
        played.calls += math.ceil(len(waiting) / batch)
        played.looks += len(waiting)
        played.lateness |= {life.task_id: now - life.ends for life in waiting if life.ends <= now}
        waiting = [life for life in waiting if life.ends > now]
        now += seconds
    return played


def one_by_one(lives: Sequence[Life], pause: Pause) -> Played:
    """A loop for each task, which asks about it alone from the moment it comes."""
    played = Played()
    for life in lives:
        at, looks = life.asked, 1
        while at < life.ends:
            at += pause(looks, at - life.created)
            looks += 1
        played.calls += looks
        played.looks += looks
        played.lateness[life.task_id] = at - life.ends
    return played


def by_due_time(lives: Sequence[Life], pause: Pause, batch: int = 100) -> Played:
    """A due time for each task; a call goes out when one is due, filled up with those that are due next."""
    played = Played()
    coming = sorted(lives, key=lambda life: life.asked, reverse=True)
    due: list[tuple[float, int, int, Life]] = []
    number = 0
    while coming or due:
        now = min(coming[-1].asked if coming else math.inf, due[0][0] if due else math.inf)
        asked: list[tuple[int, Life]] = []
        while coming and coming[-1].asked <= now and len(asked) < batch:
            asked.append((1, coming.pop()))
        while due and len(asked) < batch:
            _, _, looks, life = heapq.heappop(due)
            asked.append((looks + 1, life))
        played.calls += 1
        played.looks += len(asked)
        for looks, life in asked:
            if life.ends > now:
                number += 1
                heapq.heappush(due, (now + pause(looks, now - life.created), number, looks, life))
            else:
                played.lateness[life.task_id] = now - life.ends
    return played
