"""Spans as a test makes them, and what a test looks for in those that were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from localfaas.traces.otlp import Span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECOND = 1_000_000_000


def span(
    number: int, parent: int = 0, began: float = 0, took: float = 1, trace: str = TRACE, **more: Any
) -> Span:
    """A span by numbers: its id, its parent's (0: none), when it began and how many milliseconds it took."""
    began_ns = 1_800_000_000 * SECOND + int(began * 1e6)
    values = {"service": "cart", "instance": "cart-1", "name": "GET /", "kind": "server", "failed": False}
    return Span(
        trace_id=trace,
        span_id=f"{number:016x}",
        parent_id=f"{parent:016x}" if parent else "",
        started_ns=began_ns,
        ended_ns=began_ns + int(took * 1e6),
        **{**values, "attributes": {}, **more},
    )


def export(spans: Sequence[Span]) -> bytes:
    """An OTLP body with `spans`, as an exporter would send it."""
    message = ExportTraceServiceRequest()
    for one in spans:
        group = message.resource_spans.add()
        for key, value in (("service.name", one.service), ("service.instance.id", one.instance)):
            group.resource.attributes.add(key=key).value.string_value = value
        made = group.scope_spans.add().spans.add(
            trace_id=bytes.fromhex(one.trace_id),
            span_id=bytes.fromhex(one.span_id),
            parent_span_id=bytes.fromhex(one.parent_id),
            name=one.name,
            kind=2,
            start_time_unix_nano=one.started_ns,
            end_time_unix_nano=one.ended_ns,
        )
        made.status.code = 2 if one.failed else 0
        for key, value in one.attributes.items():
            made.attributes.add(key=key).value.string_value = value
    return message.SerializeToString()
