"""Faults on demand: what can go wrong with an answer, and when it does."""

from __future__ import annotations

from ecs_waiter.emulator.faults.base import check_whole
from ecs_waiter.emulator.faults.injection import Faults, Injection, When, make_fault

__all__ = ["Faults", "Injection", "When", "check_whole", "make_fault"]
