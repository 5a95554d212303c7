"""The library's own random numbers, so that a program that seeds `random` gets the numbers it expects."""

from __future__ import annotations

from random import Random

from ecs_waiter.forking import in_forked_child

__all__ = ["CHANCE"]

CHANCE = Random()  # noqa: S311 - spreads load, guards no secret
"""Draws all jitter."""

# Forked processes must not poll and retry in step.
in_forked_child(CHANCE.seed)
