"""One checkout through a real edge and a real gateway leaves one trace: every hop in it, under the right parent."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.shared import later
from localfaas.traces.otlp import Span
from tests.support.edge import Answer
from tests.support.postgres import PostgresServer
from tests.support.traced import TracedShop, parents, running_traced_shop
from tests.support.waiting import wait_for
from tests.support.webshop import checkout_body

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EVERYBODY = {"edge", "gateway", "checkout", "cart", "products", "inventory", "orders", "payments"}


@pytest.fixture(scope="module")
def traced(postgres_server: PostgresServer) -> Iterator[TracedShop]:
    state = Path(tempfile.mkdtemp(prefix="mg-", dir="/tmp"))
    with running_traced_shop(postgres_server, state) as traced:
        traced.shop.renew()
        yield traced
    shutil.rmtree(state, ignore_errors=True)


def check_out(traced: TracedShop, subject: str, **headers: str) -> Answer:
    """A customer's checkout of two lines, through the edge."""
    who = traced.shop.customer(subject)
    body = checkout_body(traced.shop.fill(who, A=1, B=2))
    sent = {**who, "Idempotency-Key": traced.shop.new_key(), "Content-Type": "application/json", **headers}
    answer = traced.edge.send("POST", "/api/checkout", sent, body=json.dumps(body))
    assert answer.status == 201, answer.text
    return answer


def request_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    later.settle()
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in lines if '"message": "request"' in line]


def chain(span: Span, parent_of: Any) -> list[tuple[str, str]]:
    """Service and kind from a span up to the first."""
    found = [(span.service, span.kind)]
    while span := parent_of.get(span.span_id):
        found.append((span.service, span.kind))
    return found[::-1]


def test_a_checkout_is_one_trace_of_all_that_took_part(
    traced: TracedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = str(check_out(traced, "ada").header("x-request-id"))
    lines = [line for line in request_lines(capsys) if line["request_id"] == request_id]
    trace_id = traced.trace_of(request_id)
    spans = traced.spans_of(trace_id)
    parent_of = parents(spans)

    assert {span.service for span in spans} == EVERYBODY
    assert [span.service for span in spans if not span.parent_id] == ["edge"]
    assert [span for span in spans if span.parent_id and span.span_id not in parent_of] == []
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert {line["function"] for line in lines} == EVERYBODY - {"edge", "gateway"}
    assert len(lines) == sum(span.kind == "server" for span in spans if span.instance == "test-1")
    asked = next(span for span in spans if span.service == "cart" and span.name.startswith("INSERT"))
    assert chain(asked, parent_of) == [
        ("edge", "server"), ("gateway", "server"), ("checkout", "server"), ("checkout", "client"),
        ("gateway", "server"), ("cart", "server"), ("cart", "client"),
    ]  # fmt: skip
    for span in spans:
        if parent := parent_of.get(span.span_id):
            assert parent.started_ns <= span.started_ns + 1_000_000, (parent, span)


def test_spans_say_who_worked_and_for_which_request_and_nothing_of_people(traced: TracedShop) -> None:
    request_id = str(check_out(traced, "beatrix").header("x-request-id"))
    spans = traced.spans_of(traced.trace_of(request_id))
    edge = next(span for span in spans if span.service == "edge")
    gateway = next(span for span in spans if span.service == "gateway")
    assert (edge.name, gateway.name) == ("POST checkout-post", "POST function checkout")
    assert edge.attributes["kong.service"] == "checkout"
    assert gateway.attributes["function"] == "checkout.openfaas-fn"
    for span in (edge, gateway):
        assert span.attributes["request.id"] == request_id
        assert span.attributes["replica"] == "test-1"
        assert span.attributes["http.status_code"] == "201"
    kept = json.dumps([span.attributes for span in spans], ensure_ascii=False)
    for secret in ("Lovelace", "Érables", "tok_ok", "Bearer", "beatrix"):
        assert secret not in kept


def test_a_client_s_own_trace_goes_on(traced: TracedShop) -> None:
    check_out(traced, "cleo", traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01")
    spans = traced.spans_of(TRACE_ID)
    assert [span.service for span in spans if span.parent_id == PARENT_ID] == ["edge"]


def test_a_trace_that_makes_no_sense_is_replaced(traced: TracedShop) -> None:
    nonsense = ("nonsense", f"00-{'0' * 32}-{PARENT_ID}-01", f"00-{TRACE_ID}-{PARENT_ID}-01-x")
    answers = [traced.edge.get("/api/products/nosuch", {"traceparent": sent}) for sent in nonsense]
    for answer in answers:
        spans = traced.spans_of(traced.trace_of(str(answer.header("x-request-id"))))
        assert [span.parent_id for span in spans if span.service == "edge"] == [""]


def test_a_client_that_records_nothing_is_not_recorded(
    traced: TracedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = "ab" * 16
    traced.edge.get("/api/products", {"traceparent": f"00-{quiet}-{PARENT_ID}-00"})
    its_lines = wait_for(lambda: [one for one in request_lines(capsys) if one["trace_id"] == quiet])
    assert len(its_lines) == 1, "its own line; another request's may come later than its answer"
    later = traced.edge.get("/api/products")
    traced.spans_of(traced.trace_of(str(later.header("x-request-id"))))
    assert traced.store.spans(quiet) == []
