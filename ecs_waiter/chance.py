"""The library's own random numbers: a program that seeds `random` gets its own sequence, whatever this library draws."""

from __future__ import annotations

from random import Random

from ecs_waiter.forking import in_forked_child

__all__ = ["CHANCE"]

CHANCE = Random()  # noqa: S311 - spreads load, guards no secret
"""Draws all jitter."""

# Forked processes must not poll and retry in step.
in_forked_child(CHANCE.seed)
