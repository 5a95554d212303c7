"""Lets OpenTelemetry's own SDK collect for the time of a test; nothing else of the process is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import opentelemetry.metrics
import opentelemetry.trace
import pytest
from support.collecting import Collected

from ecs_waiter import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Collect, for the time of the test."""
    collected = Collected()
    monkeypatch.setattr(opentelemetry.trace, "get_tracer", collected.tracers.get_tracer)
    monkeypatch.setattr(opentelemetry.metrics, "get_meter", collected.meters.get_meter)
    telemetry._shared.cache_clear()
    yield collected
    telemetry._shared.cache_clear()
    collected.tracers.shutdown()
    collected.meters.shutdown()
