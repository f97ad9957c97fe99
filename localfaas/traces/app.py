"""The store's HTTP side: spans in at `/v1/traces`, pages out."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from flask import Flask, Response, abort, render_template, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from localfaas.traces import otlp
from localfaas.traces.otlp import Span
from localfaas.traces.store import Store, Wanted
from localfaas.traces.waterfall import rows

HOSTS = frozenset({"127.0.0.1", "localhost"})
"""Other names that lead here are somebody's trick to have a browser read the pages (DNS rebinding)."""
LISTED = 50
COLOURS = 10
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ID = re.compile(r"[!-~]{1,128}")


def create_app(store: Store) -> Flask:
    """The whole of the store's HTTP side."""
    app = Flask("localfaas.traces")
    app.config["MAX_CONTENT_LENGTH"] = otlp.LARGEST_BYTES
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(ms=milliseconds, moment=moment)
    app.before_request(_check_host)
    app.after_request(_secure)

    @app.post("/v1/traces")
    def take() -> Response:
        spans = otlp.read(
            request.get_data(), request.content_type or "", request.headers.get("Content-Encoding", "")
        )
        store.add(spans)
        if request.mimetype == otlp.JSON:
            return Response("{}", mimetype=otlp.JSON)
        return Response(ExportTraceServiceResponse().SerializeToString(), mimetype=otlp.PROTOBUF)

    @app.get("/")
    def index() -> str:
        wanted = wanted_from(request.args)
        return render_template(
            "traces.html", traces=store.traces(wanted), wanted=wanted, services=store.services(), limit=LISTED
        )

    @app.get("/traces/<trace_id>")
    def one(trace_id: str) -> str:
        spans = store.spans(trace_id)
        found = rows(spans)
        if not found:
            abort(404, "There is no such trace here: it was dropped, or was never recorded.")
        return render_template("trace.html", trace_id=trace_id, rows=found, colours=colours(spans))

    @app.get("/healthz")
    def health() -> str:
        return "ok"

    @app.errorhandler(otlp.BadBody)
    def refuse(error: otlp.BadBody) -> tuple[str, int]:
        return f"{error}\n", error.status

    @app.errorhandler(sqlite3.OperationalError)
    def refuse_full(error: sqlite3.OperationalError) -> tuple[str, int]:
        app.logger.error("the store cannot be used: %s", error)
        return "the store cannot be used right now\n", 503

    return app


def wanted_from(arguments: Mapping[str, str]) -> Wanted:
    """The filter that a query asks for; what makes no sense in it is left out."""
    try:
        least = max(0.0, float(arguments.get("ms") or 0))
    except ValueError:
        least = 0.0
    one = arguments.get("id", "").strip()
    return Wanted(
        service=arguments.get("function", "")[:100],
        least_ms=least if least < 1e9 else 0.0,
        failed=arguments.get("failed") == "1",
        id=one if _ID.fullmatch(one) else "",
        limit=LISTED,
    )


def milliseconds(value: float) -> str:
    """A duration with as many digits as it deserves."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.2f} ms"


def moment(nanoseconds: int) -> str:
    """A time in UTC, to the millisecond."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):
        return "unknown"


def colours(spans: Sequence[Span]) -> dict[str, int]:
    """The number of each service's colour in one trace, in the order in which they appear."""
    names = dict.fromkeys(span.service for span in spans)
    return {name: number % COLOURS for number, name in enumerate(names)}


def _check_host() -> None:
    if request.host.rpartition(":")[0] not in HOSTS and request.host not in HOSTS:
        abort(421, "This store answers to 127.0.0.1 and localhost only.")


def _secure(response: Response) -> Response:
    response.headers.update(SECURITY)
    if request.endpoint == "static":
        response.headers["Cache-Control"] = "max-age=300"
    return response
