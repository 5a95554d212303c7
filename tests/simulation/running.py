"""Runs any number of worlds: ``python tests/simulation/running.py 0 100000``; a failing one is told and shrunk."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from oracle import violations
from playing import play
from worlds import World, make_world

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIALS = 200
_SHOWN_EVERY = 30.0


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


def main(first: int, last: int) -> int:
    """Play the worlds of these seeds; returns how many of them went wrong."""
    wrong = calls = 0
    began = shown = time.monotonic()
    for seed in range(first, last):
        story = play(make_world(seed))
        calls += len(story.sent)
        if found := violations(story):
            wrong += 1
            sys.stdout.write(f"{told(shrunk(make_world(seed)), found)}\n\n")
        if time.monotonic() - shown > _SHOWN_EVERY:
            shown = time.monotonic()
            sys.stdout.write(f"{seed + 1 - first} worlds, {calls} calls, {wrong} wrong, {shown - began:.0f} s\n")
            sys.stdout.flush()
    sys.stdout.write(f"{last - first} worlds, {calls} calls, {wrong} wrong, {time.monotonic() - began:.0f} s\n")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]))))
