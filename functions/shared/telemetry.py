"""What a request leaves behind: response headers, a JSON log line, and what it adds to metrics.py's figures.

`X-Request-Id` is the caller's, or a new one; `X-Served-By` is the replica; `traceparent` (W3C Trace Context) is
passed on, and the spans of tracing.py hang from it. Metrics are labelled by the route template, never by the path.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg2

from . import later, metrics
from .settings import Duration
from .waiting import Waits

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from .tracer import Tracer

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:#+/=-]{1,128}\Z")
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})\Z")
_TRACESTATE = re.compile(r"[\x20-\x7e\t]{1,512}\Z")
_MORE_FIELDS = ("statement", "sqlstate", "constraint", "milliseconds")
"""What a record may say beside its message."""

log = logging.getLogger("magasin")


@dataclass(slots=True)
class Trace:
    """What is known of a request from its headers, and its route once it is found.

    `span_id` is this request's own place in the trace, `parent_id` its caller's, or empty where the trace begins here.
    """

    request_id: str
    trace_id: str
    parent_id: str
    span_id: str
    trace_flags: str
    deadline: float
    waited: float | None = None
    """Seconds between the gateway taking it and its beginning here; None where nobody says."""
    waited_too_long: bool = False
    route: str = "unmatched"
    tracestate: str = ""
    span: Span | None = None
    tracer: Tracer | None = None
    """Both only while spans of this request are recorded."""

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace wants it recorded."""
        return self.trace_flags[1] in "13579bdf"

    def traceparent(self) -> str:
        """The header for a call made on behalf of this request."""
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)

current_trace = _current.get
"""The trace of the request being worked on; None outside of one. Asked for at each statement and call."""


def begin_trace(environ: Mapping[str, Any], budget_seconds: float) -> Trace:
    """Read the headers; a malformed one counts as absent. The deadline is the earlier of ours and `X-Timeout`."""
    fresh = os.urandom(40).hex()
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    if not _REQUEST_ID.match(request_id):
        request_id = f"{fresh[32:40]}-{fresh[40:44]}-{fresh[44:48]}-{fresh[48:52]}-{fresh[52:64]}"
    parent = _TRACEPARENT.match(environ.get("HTTP_TRACEPARENT", ""))
    trace_id, parent_id, flags = parent.groups() if parent else (fresh[:32], "", "00")
    budget = budget_seconds
    if "HTTP_X_TIMEOUT" in environ:
        budget = min(budget, parse_timeout(environ["HTTP_X_TIMEOUT"]) or budget)
    trace = Trace(request_id, trace_id, parent_id, fresh[64:], flags, time.monotonic() + budget)
    if parent and "HTTP_TRACESTATE" in environ and _TRACESTATE.match(environ["HTTP_TRACESTATE"]):
        trace.tracestate = environ["HTTP_TRACESTATE"]
    return trace


def parse_timeout(text: str) -> float | None:
    """Seconds of a Go duration such as `750ms`; None for anything else, a bare number too, which the edge does not read either."""
    if text.isdecimal():
        return None
    try:
        return Duration(text)
    except ValueError:
        return None


REHEARSAL = "magasin.rehearsal"
"""In the environ of a request that a replica makes of itself, with an identity: nobody asked, so nothing is counted or written."""


class Telemetry:
    """WSGI middleware around a whole function."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        function: str,
        replica: str,
        budget: float,
        tracer: Tracer | None = None,
    ) -> None:
        self._app = app
        self.tracer = tracer
        self._names = f'"function": {_encode(function)}, "replica": {_encode(replica)}'
        self._replica = replica
        self._budget = budget
        self._waits = Waits()
        self._fresh = True

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = time.perf_counter()
        trace = begin_trace(environ, self._budget)
        if "HTTP_X_START_TIME" in environ:
            trace.waited, trace.waited_too_long = self._waits.judge(environ["HTTP_X_START_TIME"])
        if self.tracer is not None and REHEARSAL not in environ:
            self.tracer.begin_request(trace, environ)
        status = "500"

        def start(status_line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = status_line[:3]
            headers.append(("X-Request-Id", trace.request_id))
            headers.append(("X-Served-By", self._replica))
            return start_response(status_line, headers, exc_info)

        metrics.in_flight.add(id(trace))
        before = _current.set(trace)
        try:
            return self._app(environ, start)
        finally:
            _current.reset(before)
            metrics.in_flight.discard(id(trace))
            seconds = time.perf_counter() - started
            if REHEARSAL not in environ:
                later.do(self._record, environ["REQUEST_METHOD"], trace, status, seconds, time.time())

    def _record(self, method: str, trace: Trace, status: str, seconds: float, ended: float) -> str:
        """Count a request; its line for the log."""
        method = method if method in _KNOWN_METHODS else "other"
        if trace.tracer is not None:
            trace.tracer.end_request(trace, method, int(status), ended)
        metrics.REQUEST_SECONDS.observe((trace.route, method, status), seconds)
        if trace.waited is not None:
            metrics.QUEUE_SECONDS.observe(trace.waited)
        first = ""
        if self._fresh:
            self._fresh, first = False, ', "first": true'
            metrics.FIRST_SECONDS.set(seconds)
        # Put together by hand, which takes a third of the time; an id from a header has no character to be escaped.
        return (
            f'{{"time": "{_stamp(ended)}", "level": "info", "message": "request", {self._names}'
            f', "request_id": "{trace.request_id}", "trace_id": "{trace.trace_id}"'
            f', "method": "{method}", "route": {_quoted(trace.route)}, "status": {status}'
            f', "milliseconds": {seconds * 1000:.3f}{first}}}\n'
        )


def write_line(**fields: Any) -> None:
    """Write one JSON line with the time to standard output."""
    sys.stdout.write(_encode({"time": _stamp(time.time()), **fields}) + "\n")
    sys.stdout.flush()


def _stamp(moment: float) -> str:
    return f"{_second(int(moment))}.{int(moment % 1 * 1_000_000):06d}Z"


@lru_cache(maxsize=2)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


_encode = json.JSONEncoder().encode


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return _encode(text)


class JsonLogHandler(logging.Handler):
    """Log records as JSON lines, with the ids of the request that they belong to."""

    def __init__(self, function: str, replica: str) -> None:
        super().__init__()
        self._names = {"function": function, "replica": replica}

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **self._names,
        }
        if trace := current_trace():
            fields |= {"request_id": trace.request_id, "trace_id": trace.trace_id, "route": trace.route}
        fields |= {name: told for name in _MORE_FIELDS if (told := getattr(record, name, None)) is not None}
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            fields["traceback"] = _without_values(text, record.exc_info[1])
        write_line(**fields)


def said(error: BaseException) -> str:
    """What `error` says; of PostgreSQL's without the lines behind it, in which are keys, rows and parts of the statement."""
    if isinstance(error, psycopg2.Error) and error.pgcode:
        return f"{error.diag.message_primary} ({error.pgcode})"
    return str(error)


def _without_values(traceback: str, error: BaseException | None) -> str:
    """The traceback of `error` and of those that led to it, each as it is `said`."""
    while error is not None:
        if full := str(error).strip():
            traceback = traceback.replace(full, said(error).strip())
        error = error.__cause__ or error.__context__
    return traceback


def configure_logging(function: str, replica: str, level: str) -> None:
    """Send the root logger, from `level` on, through one JsonLogHandler."""
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, JsonLogHandler)]
    root.addHandler(JsonLogHandler(function, replica))
    root.setLevel(level)
