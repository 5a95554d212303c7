"""Collected: what OpenTelemetry's own SDK keeps in memory of all that a test's waiters tell."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Collected:
    """What was told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meters = MeterProvider([self._metrics], shutdown_on_exit=False)

    def spans(self, name: str) -> list[ReadableSpan]:
        """The spans of a name that have ended, in that order."""
        return [span for span in self._spans.get_finished_spans() if span.name == name]

    def points(self, name: str) -> dict[tuple[str, ...], Any]:
        """What a metric has now, by its region, and its outcome if it tells one; of a histogram the sum."""
        data = self._metrics.get_metrics_data()
        found: dict[tuple[str, ...], Any] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
            for point in metric.data.data_points if metric.name == name else ():
                told = dict(point.attributes or {})
                assert told.pop("cloud.provider") == "alibaba_cloud"
                key = (str(told.pop("cloud.region")), *map(str, told.values()))
                found[key] = point.value if isinstance(point, NumberDataPoint) else point.sum
        return found

    def units(self) -> dict[str, str]:
        """Every metric that has something to tell, with its unit."""
        data = self._metrics.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data is not None else []
        return {metric.name: str(metric.unit) for scope in scopes for metric in scope.metrics}
