"""Shrinks a world in which something went wrong, and reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.oracle import violations
from support.playing import play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.worlds import World

__all__ = ["shrunk", "told"]

_TRIALS = 200


def shrunk(world: World) -> World:
    """A smaller world in which something is wrong too."""
    trials = 0
    smaller = True
    while smaller and trials < _TRIALS:
        smaller = False
        for candidate in world.smaller():
            trials += 1
            if violations(play(candidate)):
                world, smaller = candidate, True
                break
    return world


def told(world: World, found: Sequence[str]) -> str:
    """What is wrong, in what world, and how to see it again."""
    wrong = "\n  ".join(found[:5])
    callers = "\n  ".join(map(str, world.callers))
    return (
        f"seed {world.seed}:\n  {wrong}\nagain: make simulate SEEDS='{world.seed} {world.seed + 1}'\n"
        f"shrunk to {world.pace}\ncallers:\n  {callers}\ntroubles: {world.troubles}"
    )
