"""Random numbers of the library's own, so that it does not change those of a program that seeds `random`."""

from __future__ import annotations

from random import Random

from ecs_waiter.after_fork import after_fork

__all__ = ["CHANCE"]

CHANCE = Random()  # noqa: S311 - for jitter, not for secrets
"""Draws all jitter."""

# Forked processes must not poll and retry in step.
after_fork(CHANCE.seed)
