"""Spans of one function, where the setting `traces_url` asks for them; without it OpenTelemetry is not even imported.

There is one span for each request (telemetry.py begins and ends it), each attempt at a call (client.py) and each
statement (statements.py), in the words of OpenTelemetry's semantic conventions. None holds a parameter of a statement,
a query string, a header or a body. They are sent in the background, a second behind, by OTLP over HTTP.
A statement of a sampled request also bears its trace in a comment, whether or not spans are recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg2
from flask import current_app

from .sqlcomment import commented

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from .settings import FunctionSettings
    from .telemetry import Trace
    from .tracer import Tracer

_SHARED = frozenset({__name__, f"{__package__}.database", f"{__package__}.statements"})


def make_tracer(function: str, settings: FunctionSettings) -> Tracer | None:
    """What records the spans of a function, if its settings ask for it."""
    if not settings.traces_url:
        return None
    from .tracer import Tracer  # noqa: PLC0415 - see there

    return Tracer(function, settings.replica, settings.traces_url, settings.traces_ratio)


def begin_call(trace: Trace | None, function: str, method: str) -> Span | None:
    """The span of one attempt at a call, if the request is recorded."""
    if trace is None or trace.tracer is None:
        return None
    attributes = {"http.request.method": method, "peer.service": function}
    return trace.tracer.begin(trace, f"{method} {function}", attributes)


def end_call(trace: Trace | None, span: Span | None, status: str) -> None:
    """End the span of an attempt; `status` is that of the answer, or `none`."""
    if trace is None or trace.tracer is None or span is None:
        return
    if status.isdigit():
        span.set_attribute("http.response.status_code", int(status))
    failed = not status.isdigit() or int(status) >= 400
    trace.tracer.end(span, status if failed else "")


def traceparent_of(span: Span) -> str:
    """The header for a call made under this span (W3C Trace Context)."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def execute(trace: Trace, cursor: Any, statement: str, parameters: Any) -> None:
    """Have `cursor` execute a statement of a sampled request: its trace in a comment, and a span around it."""
    span = _begin_statement(trace, statement)
    traceparent = traceparent_of(span) if span else trace.traceparent()
    tags = {"application": current_app.name, "route": trace.route, "traceparent": traceparent}
    failure = "unfinished"
    try:
        cursor.execute(commented(statement, tags, doubled=bool(parameters)), parameters or None)
        failure = ""
    except psycopg2.Error as error:
        failure = error.pgcode or type(error).__name__
        raise
    finally:
        if span and trace.tracer:
            trace.tracer.end(span, failure)


def commit(trace: Trace, work: Callable[[], None]) -> None:
    """End a transaction by `work`, with a span around it if the request is recorded: there the disk is waited for."""
    if trace.tracer is None:
        work()
        return
    attributes = {"db.system.name": "postgresql", "db.operation.name": "COMMIT"}
    span = trace.tracer.begin(trace, "COMMIT", attributes)
    failure = "unfinished"
    try:
        work()
        failure = ""
    finally:
        trace.tracer.end(span, failure)


def _begin_statement(trace: Trace, statement: str) -> Span | None:
    if trace.tracer is None:
        return None
    operation, name = statement.split(None, 1)[0].upper(), asker()
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "code.function.name": name,
    }
    return trace.tracer.begin(trace, f"{operation} {name}", attributes)


def asker() -> str:
    """Whose statement is run, such as `store.open_cart`: the nearest caller outside of this module, statements.py and database.py."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] in _SHARED:
        frame = frame.f_back
    return f"{frame.f_globals['__name__'].rpartition('.')[2]}.{frame.f_code.co_name}"
