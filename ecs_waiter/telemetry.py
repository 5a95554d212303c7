"""Telemetry: OpenTelemetry's metrics and spans of TaskWaiters, if the extra `otel` is installed.

Counters read what the waiters count anyway, and only when they are collected. Spans and histograms use OpenTelemetry's
API, which does almost nothing until an SDK is set up.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ecs_waiter.after_fork import after_fork
from ecs_waiter.errors import ApiError, EcsWaiterError
from ecs_waiter.escaping import escape_control
from ecs_waiter.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import Meter, Observation
    from opentelemetry.trace import Span, SpanContext, Tracer
    from yarl import URL

    from ecs_waiter.api.transport import ApiResponse, Attempt
    from ecs_waiter.models import Task
    from ecs_waiter.polling.subscribers import Subscriber
    from ecs_waiter.stats import RegionStats
    from ecs_waiter.wait import Wait

__all__ = ["MOST_LINKS", "Telemetry", "telemetry"]

MOST_LINKS = 128
"""The span of a wait links to this many last calls: as many as OpenTelemetry's SDK keeps by default."""

_PROVIDER = "alibaba_cloud"

_COUNTED = (
    ("calls", "ecs_waiter.calls", "{call}", "HTTP requests sent to the service"),
    ("throttled", "ecs_waiter.throttled_calls", "{call}", "Answers by which the service asked for fewer calls"),
    ("retried", "ecs_waiter.retries", "{retry}", "Calls made again after a passing fault"),
)

# The span of the last call of an asyncio task, until the poller reports whom it served.
_last_call: ContextVar[SpanContext | None] = ContextVar("ecs_waiter_last_call", default=None)


def telemetry(counts: Callable[[], Mapping[str, RegionStats]]) -> Telemetry | None:
    """Return the telemetry of one waiter, or None where OpenTelemetry is not installed.

    Args:
        counts: Returns the waiter's counters by region; called from any thread.
    """
    shared = _shared()
    return None if shared is None else Telemetry(*shared, counts)


@cache
def _shared() -> tuple[Tracer, Meters] | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - an optional dependency, slow to import
    except ImportError:
        return None
    scope = ("ecs_waiter", __version__)
    return trace.get_tracer(*scope), Meters(metrics.get_meter(*scope))


class Meters:
    """The instruments of a process, which all its waiters share."""

    def __init__(self, meter: Meter) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[Telemetry] = WeakSet()
        self._closed: dict[str, Counter[str]] = {field: Counter() for field, *_ in _COUNTED}
        for field, name, unit, description in _COUNTED:
            meter.create_observable_counter(name, [partial(self._read, field)], unit, description)
        waiting = [partial(self._read, "waiting")]
        meter.create_observable_up_down_counter("ecs_waiter.waiting_tasks", waiting, "{task}", "Tasks waited for now")
        self.settled = meter.create_counter("ecs_waiter.settled_tasks", "{task}", "Tasks that have ended")
        self.promptness = meter.create_histogram("ecs_waiter.task.promptness", "s", "From a task's end to its answer")
        self.age = meter.create_histogram("ecs_waiter.task.age", "s", "From a task's creation to the answer of its end")
        after_fork(self._renew_lock)

    def _renew_lock(self) -> None:
        # The thread that holds it may not exist in the child.
        self._lock = threading.Lock()

    def are_read(self) -> bool:
        """Whether an SDK receives the values of histograms. If not, they are not computed."""
        from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415 - see `_shared`

        # The API's own histogram does nothing, unless it is a proxy and an SDK was set up later.
        kinds = type(self.promptness), type(get_meter_provider())
        return not all(kind.__module__.startswith("opentelemetry.metrics") for kind in kinds)

    def opened(self, waiter: Telemetry) -> None:
        """Start to read a waiter's counters."""
        with self._lock:
            self._open.add(waiter)

    def closed(self, waiter: Telemetry) -> None:
        """Keep the last counts of a waiter, so that the sums never go down."""
        with self._lock:
            if waiter in self._open:
                self._open.discard(waiter)
                for region_id, counted in waiter.counts().items():
                    for field, counts in self._closed.items():
                        counts[region_id] += getattr(counted, field)

    def _read(self, field: str, _options: object) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation  # noqa: PLC0415 - see `_shared`

        with self._lock:
            sums = Counter(self._closed.get(field))
            for waiter in tuple(self._open):
                for region_id, counted in waiter.counts().items():
                    sums[region_id] += getattr(counted, field)
        return [Observation(count, _in_region(region_id)) for region_id, count in sums.items()]


class Telemetry:
    """Telemetry of one TaskWaiter: the spans of its waits and calls, and the Observer of its pollers.

    Args:
        tracer: Makes the spans.
        meters: The process's instruments.
        counts: Returns the waiter's counters by region.
    """

    def __init__(self, tracer: Tracer, meters: Meters, counts: Callable[[], Mapping[str, RegionStats]]) -> None:
        self.counts = counts
        self._tracer = tracer
        self._meters = meters
        self._waits: dict[Subscriber, _WaitSpan] = {}
        meters.opened(self)

    def close(self) -> None:
        """Keep the last counts of the waiter, which is closed."""
        self._meters.closed(self)

    # -- waits --------------------------------------------------------------------------------------------------------

    @contextmanager
    def waiting(self, wait: Wait) -> Iterator[None]:
        """Make a span of a wait."""
        self.begin(wait, tuple(wait.targets.regions), len(wait.targets))
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            if (kept := self._waits.get(wait)) is not None:
                kept.sum_up(wait)
            self.end(wait, error)

    def begin(self, subscriber: Subscriber, regions: tuple[str, ...], tasks: int) -> None:
        """Begin the span of a wait for this many tasks."""
        span = self._tracer.start_span("ecs_waiter.wait")
        if span.is_recording():
            span.set_attributes({"cloud.provider": _PROVIDER, "ecs_waiter.wait.tasks": tasks})
            if len(regions) == 1:
                span.set_attribute("cloud.region", regions[0])
            else:
                span.set_attribute("ecs_waiter.wait.regions", regions)
            self._waits[subscriber] = _WaitSpan(span)

    def end(self, subscriber: Subscriber, error: BaseException | None) -> None:
        """End the span of a wait."""
        kept = self._waits.pop(subscriber, None)
        if kept is not None:
            kept.end(error)

    # -- calls --------------------------------------------------------------------------------------------------------

    def around(self, attempt: Attempt) -> Attempt:
        """Return a function that makes an attempt at a call within a span."""
        from opentelemetry.trace import SpanKind, use_span  # noqa: PLC0415 - see `_shared`

        async def traced(region_id: str, action: str, request: Any, *arguments: Any, **settings: Any) -> ApiResponse:
            attributes = _call_attributes(region_id, action, request.url)
            span = self._tracer.start_span(f"Ecs/{action}", kind=SpanKind.CLIENT, attributes=attributes)
            if not span.is_recording():
                return await attempt(region_id, action, request, *arguments, **settings)
            _last_call.set(span.get_span_context())
            with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
                try:
                    response = await attempt(region_id, action, request, *arguments, **settings)
                except EcsWaiterError as error:
                    _fail_call(span, error)
                    raise
                if response.error is not None:
                    _fail_call(span, response.error)
                else:
                    span.set_attribute("http.response.status_code", 200)
                return response

        return traced

    # -- as an Observer -----------------------------------------------------------------------------------------------

    def served(self, subscribers: Iterable[Subscriber]) -> None:
        """Link the waits of these subscribers to the call that has just returned."""
        call = _last_call.get()
        if call is not None:
            _last_call.set(None)
            for subscriber in subscribers if self._waits else ():
                kept = self._waits.get(subscriber)
                if kept is not None:
                    kept.link(call)

    def settled(
        self,
        region_id: str,
        outcome: str,
        tasks: Sequence[Task | None],
        watched: Sequence[float],
        date: float | None,
    ) -> None:
        """Count tasks that have ended, and record the delay of those that ended while they were watched."""
        attributes = {**_in_region(region_id), "ecs_waiter.outcome": outcome}
        self._meters.settled.add(len(tasks), attributes)
        if date is None or not self._meters.are_read():
            return
        for task, seconds in zip(tasks, watched, strict=True):
            if task is not None and task.finished_time is not None:
                delay = max(0.0, date - task.finished_time.timestamp())
                if delay <= seconds:
                    self._meters.promptness.record(delay, attributes)
            if task is not None and task.creation_time is not None:
                self._meters.age.record(max(0.0, date - task.creation_time.timestamp()), attributes)


class _WaitSpan:
    """The span of a wait, and the last calls that served it."""

    __slots__ = ("_calls", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self._calls: deque[SpanContext] = deque(maxlen=MOST_LINKS)

    def link(self, call: SpanContext) -> None:
        """Link to a call, once although it asks for several tasks of the wait."""
        if not self._calls or self._calls[-1] is not call:
            self._calls.append(call)

    def sum_up(self, wait: Wait) -> None:
        if wait.pending:
            self.span.set_attribute("ecs_waiter.wait.pending", wait.pending)
        if wait.failures:
            kinds = list(wait.failures)
            self.span.set_attribute("ecs_waiter.wait.failed", wait.failures.total())
            _fail(self.span, kinds[0] if len(kinds) == 1 else "TasksFailedError")

    def end(self, error: BaseException | None) -> None:
        for call in self._calls:
            self.span.add_link(call)
        # A wait that its caller cancels, or an iteration that it leaves, has not failed.
        if isinstance(error, Exception):
            _fail(self.span, type(error).__name__)
        self.span.end()


def _fail(span: Span, kind: str, message: str | None = None) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see `_shared`

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, message)


def _fail_call(span: Span, error: EcsWaiterError) -> None:
    """Mark the span of a call as failed. Errors of this library contain no secrets."""
    kind = type(error.__cause__ or error).__name__
    if isinstance(error, ApiError):
        if error.http_status is not None:
            span.set_attribute("http.response.status_code", error.http_status)
            kind = str(error.http_status)
        if error.request_id is not None:
            span.set_attribute("alibaba_cloud.request_id", escape_control(error.request_id))
        if error.code is not None:
            kind = escape_control(error.code)
    _fail(span, kind, str(error))


def _call_attributes(region_id: str, action: str, url: URL) -> dict[str, str | int]:
    return {
        **_in_region(region_id),
        "http.request.method": "POST",
        "rpc.system": "alibaba_cloud",
        "rpc.service": "Ecs",
        "rpc.method": action,
        "server.address": url.host or "",
        "server.port": url.port or 0,
        # Without the query, which has the parameters.
        "url.full": f"{url.origin()}/",
    }


def _in_region(region_id: str) -> dict[str, str]:
    return {"cloud.provider": _PROVIDER, "cloud.region": region_id}
