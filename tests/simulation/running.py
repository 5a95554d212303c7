"""Runs any number of worlds: ``make simulate SEEDS="0 100000"``; a failing one is minimized and printed."""

from __future__ import annotations

import sys
import time

from support.oracle import violations
from support.playing import play
from support.shrinking import shrunk, told
from support.worlds import make_world

_SHOWN_EVERY = 30.0


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
