"""OpenTelemetry behind tracing.py. Only imported where spans are recorded: it costs 8 MB and a fifth of a second."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from . import later

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from .telemetry import Trace

PATH = "/v1/traces"
SEND_EVERY_MS = 1000
MOST_WAITING = 4096
"""Spans that wait to be sent, some 4 MB; while as many wait, the oldest are dropped for new ones."""
SEND_TIMEOUT_SECONDS = 1.0
LAST_SEND_SECONDS = 2.0
"""What a replica that stops gives to the spans that wait; it ends at most a send later."""

_log = logging.getLogger("magasin")


class Tracer:
    """The spans of one function, sent in the background. `exporter` stands in for OTLP in tests."""

    def __init__(
        self, function: str, replica: str, url: str, share: float, exporter: SpanExporter | None = None
    ) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the sender says what there is to say
        otlp = exporter or OTLPSpanExporter(url.rstrip("/") + PATH, timeout=SEND_TIMEOUT_SECONDS)
        self._sender = _Sender(otlp, url)
        self._processor = BatchSpanProcessor(
            self._sender, max_queue_size=MOST_WAITING, schedule_delay_millis=SEND_EVERY_MS
        )
        resource = Resource({"service.name": function, "service.instance.id": replica})
        provider = TracerProvider(ParentBasedTraceIdRatio(share), resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("magasin")
        atexit.register(self.close)

    def begin_request(self, trace: Trace, environ: Mapping[str, Any]) -> None:
        """Begin the span of a request and put the trace under it: a new one, unless the caller began it."""
        span = self._tracer.start_span(
            environ["REQUEST_METHOD"],
            _remote(trace) if trace.parent_id else None,
            SpanKind.SERVER,
            {"url.path": environ["PATH_INFO"], "request.id": trace.request_id},
        )
        context = span.get_span_context()
        trace.trace_id, trace.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        trace.trace_flags = f"{context.trace_flags:02x}"
        if span.is_recording():
            trace.span, trace.tracer = span, self

    def end_request(self, trace: Trace, method: str, status: int, ended: float) -> None:
        """End the span of a request that was answered, or left, with this status, at this time (since 1970)."""
        assert trace.span is not None
        trace.span.update_name(f"{method} {trace.route}")
        trace.span.set_attributes(
            {"http.request.method": method, "http.route": trace.route, "http.response.status_code": status}
        )
        self.end(trace.span, str(status) if status >= 500 else "", int(ended * 1e9))

    def begin(self, trace: Trace, name: str, attributes: Mapping[str, Any]) -> Span:
        """A span of something that is asked of others while a request is worked on, on whichever thread."""
        assert trace.span is not None
        return self._tracer.start_span(name, set_span_in_context(trace.span), SpanKind.CLIENT, attributes)

    def end(self, span: Span, failure: str, ended_ns: int | None = None) -> None:
        """End a span now, or when it had ended; `failure` names what went wrong, if anything did."""
        if failure:
            span.set_attribute("error.type", failure)
            span.set_status(StatusCode.ERROR)
        span.end(ended_ns)

    def close(self) -> None:
        """Send what waits, within LAST_SEND_SECONDS and one more send; later spans are dropped."""
        atexit.unregister(self.close)
        later.settle()  # requests end there
        self._sender.until = time.monotonic() + LAST_SEND_SECONDS
        self._processor.shutdown()  # type: ignore[no-untyped-call]


def _remote(trace: Trace) -> Context:
    """The caller's place in the trace."""
    flags = TraceFlags(int(trace.trace_flags, 16))
    parent = SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent))


class _Sender(SpanExporter):
    """Sends spans on, and says in the log when they begin to be lost and when they arrive again: once each."""

    def __init__(self, exporter: SpanExporter, url: str) -> None:
        self._exporter = exporter
        self._url = url
        self._arriving = True
        self.until = float("inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() > self.until:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        arriving = result is SpanExportResult.SUCCESS
        if arriving and not self._arriving:
            _log.info("spans arrive again at %s", self._url)
        elif self._arriving and not arriving:
            _log.warning("spans do not arrive at %s; they are dropped until they do", self._url)
        self._arriving = arriving
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
