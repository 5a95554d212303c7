"""A local ECS task API over HTTP that an official SDK cannot tell from the service, with faults on demand."""

from __future__ import annotations

from ecs_waiter.emulator.emulator import EcsEmulator
from ecs_waiter.emulator.faults.injection import Injection
from ecs_waiter.emulator.wire import Request

__all__ = ["EcsEmulator", "Injection", "Request"]
