"""Spans of a function: who their parents are, what they say, what is lost when nobody takes them, and none when off."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from werkzeug.test import Client

from functions.shared import Api, FunctionApp, FunctionSettings, Unavailable
from functions.shared import create_app as build
from functions.shared.client import ServiceClient
from functions.shared.settings import SettingsError
from functions.shared.sqlcomment import commented
from functions.shared.telemetry import Telemetry, current_trace
from functions.shared.tracer import Tracer
from tests.support.ports import free_offset
from tests.unit.test_shared_client import Gateway

PROJECT = Path(__file__).parents[2]
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01", f"00-{TRACE_ID}-{PARENT_ID}-00"

api = Api("toys", title="Toys")


@api.get("/<id:toy_id>")
def read_toy(toy_id: int) -> dict[str, str]:
    """The trace that this request is in."""
    trace = current_trace()
    assert trace is not None
    return {"traceparent": trace.traceparent(), "tracestate": trace.tracestate}


@api.get("/broken")
def broken() -> None:
    """Fail in a way nobody thought of."""
    raise KeyError


@dataclass
class Recorded:
    """A function whose spans stay here."""

    client: FlaskClient
    tracer: Tracer
    exporter: InMemorySpanExporter
    app: FunctionApp

    def spans(self) -> list[ReadableSpan]:
        """All spans, in the order in which they began; none is recorded afterwards."""
        self.tracer.close()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


def telemetry_of(app: FunctionApp) -> Telemetry:
    assert isinstance(app.wsgi_app, Telemetry)
    return app.wsgi_app


def recorded(share: float = 1.0) -> Recorded:
    exporter = InMemorySpanExporter()
    tracer = Tracer("toys", "toys-2", "http://nowhere", share, exporter)
    app = build(api, FunctionSettings, {"HOSTNAME": "toys-2"})
    telemetry_of(app).tracer = tracer
    return Recorded(app.test_client(), tracer, exporter, app)


@pytest.fixture
def function() -> Iterator[Recorded]:
    made = recorded()
    yield made
    made.tracer.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, span and parent."""
    assert span.context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


def test_a_request_is_one_span_below_its_caller_s(
    function: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    function.client.get("/7?card=4242", headers={"traceparent": SAMPLED, "X-Request-Id": "r1"})
    (span,) = function.spans()
    trace_id, _, parent_id = ids(span)
    assert (trace_id, parent_id, span.name, span.kind.name) == (
        TRACE_ID,
        PARENT_ID,
        "GET /<id:toy_id>",
        "SERVER",
    )
    assert span.attributes == {
        "url.path": "/7",
        "request.id": "r1",
        "http.request.method": "GET",
        "http.route": "/<id:toy_id>",
        "http.response.status_code": 200,
    }
    assert span.resource.attributes == {"service.name": "toys", "service.instance.id": "toys-2"}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"request"' in line]
    assert [line["trace_id"] for line in lines][-1] == TRACE_ID


@pytest.mark.parametrize("sent", ["", "nonsense", f"00-{'0' * 32}-{PARENT_ID}-01", SAMPLED.upper()])
def test_without_a_usable_parent_the_trace_begins_here(function: Recorded, sent: str) -> None:
    answer = function.client.get("/7", headers={"traceparent": sent, "tracestate": "a=1"})
    (span,) = function.spans()
    trace_id, span_id, parent_id = ids(span)
    assert parent_id == ""  # 03: sampled, and the id is random (Trace Context level 2)
    assert answer.get_json() == {"traceparent": f"00-{trace_id}-{span_id}-03", "tracestate": ""}


def test_a_failure_is_an_error_and_a_refusal_is_not(function: Recorded) -> None:
    for path in ("/broken", "/no/where"):
        function.client.get(path)
    assert [(span.name, span.status.status_code.name) for span in function.spans()] == [
        ("GET /broken", "ERROR"),
        ("GET unmatched", "UNSET"),
    ]


def test_what_the_caller_does_not_record_is_not_recorded_here() -> None:
    function = recorded()
    answer = function.client.get("/7", headers={"traceparent": UNSAMPLED, "tracestate": "a=1"})
    assert function.spans() == []
    trace_id, _, flags = answer.get_json()["traceparent"].split("-", 1)[1].split("-")
    assert (trace_id, flags, answer.get_json()["tracestate"]) == (TRACE_ID, "00", "a=1")


def test_of_traces_that_begin_here_a_share_is_recorded() -> None:
    function = recorded(share=0.0)
    assert function.client.get("/7").get_json()["traceparent"].endswith("-02")
    function.client.get("/7", headers={"traceparent": SAMPLED})
    assert len(function.spans()) == 1
    with pytest.raises(SettingsError, match="traces_ratio"):
        build(api, FunctionSettings, {"traces_ratio": "1.5"})


def test_each_attempt_at_a_call_is_a_span_and_the_parent_of_what_it_reaches(
    function: Recorded, gateway: Gateway
) -> None:
    client = ServiceClient(gateway.url, None)
    gateway.statuses = [503, 200]

    def call_twice(environ: object, start: Callable[..., object]) -> list[bytes]:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, client.get, "cart", "/items?card=4242").result()
            gateway.statuses = [404]
            pool.submit(copy_context().run, client.get, "cart", "/").result()
        start("200 OK", [])
        return []

    telemetry = Telemetry(call_twice, "toys", "toys-2", 5.0, function.tracer)
    Client(telemetry).get("/7", headers={"traceparent": SAMPLED})
    client.close()
    server, *calls = function.spans()
    assert [(span.name, span.status.status_code.name) for span in calls] == [
        ("GET cart", "ERROR"), ("GET cart", "UNSET"), ("GET cart", "ERROR"),
    ]  # fmt: skip
    assert {ids(span)[::2] for span in calls} == {(TRACE_ID, ids(server)[1])}
    assert [seen["traceparent"] for seen in gateway.seen] == [
        f"00-{TRACE_ID}-{ids(span)[1]}-01" for span in calls
    ]
    assert "4242" not in str([span.attributes for span in calls])


def test_spans_that_nobody_takes_are_dropped_and_that_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"http://127.0.0.1:{free_offset() + 8095}"
    app = build(api, FunctionSettings, {"HOSTNAME": "toys-2", "traces_url": url})
    tracer = telemetry_of(app).tracer
    assert tracer is not None
    client, started = app.test_client(), time.perf_counter()
    for _ in range(3):
        assert client.get("/7").status_code == 200
        tracer._processor.force_flush()
    client.get("/7")
    tracer.close()
    assert time.perf_counter() - started < 8
    said = [line for line in capsys.readouterr().out.splitlines() if "spans" in line]
    assert len(said) == 1
    assert json.loads(said[0])["message"] == f"spans do not arrive at {url}; they are dropped until they do"


def test_without_the_setting_opentelemetry_is_not_even_imported() -> None:
    program = (
        "import sys; from functions.shared import Api, FunctionSettings, create_app;"
        "import functions.shared.client;"
        "app = create_app(Api('toys', title='Toys'), FunctionSettings, {'traces_url': ''});"
        "app.test_client().get('/');"
        "sys.exit(app.wsgi_app.tracer is not None or any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


def test_nothing_ends_a_comment_but_its_end() -> None:
    hostile = "*/; DROP TABLE carts; -- '%s %(x)s \n"
    text = commented("SELECT 1", {"route": hostile, "application": "cart"}, doubled=False)
    encoded = "%2A%2F%3B%20DROP%20TABLE%20carts%3B%20--%20%27%25s%20%25%28x%29s%20%0A"
    assert text == f"SELECT 1 /*application='cart',route='{encoded}'*/"
    assert commented("SELECT 1", {"route": "/"}, doubled=True) == "SELECT 1 /*route='%%2F'*/"


def test_a_refusal_reaches_the_caller_whether_or_not_it_is_recorded(gateway: Gateway) -> None:
    gateway.statuses = [503]
    client = ServiceClient(gateway.url, None, default_budget_seconds=1.0)
    with pytest.raises(Unavailable):
        client.call("POST", "cart", "/")
    client.close()
