"""The store of spans: what it takes, keeps, refuses and forgets, and what a person sees of it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from localfaas.traces import otlp, store
from localfaas.traces.app import create_app, wanted_from
from localfaas.traces.otlp import BadBody, read
from localfaas.traces.store import Store, Wanted
from localfaas.traces.waterfall import rows
from tests.support.spans import TRACE, export, span

OTHER = "a" * 32


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "spans.db", clock=lambda: 1_800_000_000)) as made:
        yield made


@pytest.fixture
def client(kept: Store) -> FlaskClient:
    return create_app(kept).test_client()


def post(client: FlaskClient, body: bytes, kind: str = otlp.PROTOBUF, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/traces", data=body, content_type=kind, headers=named).status_code


def test_protobuf_gzip_and_json_are_read_alike() -> None:
    sent = [span(1, attributes={"request.id": "r1"}), span(2, parent=1, failed=True)]
    body = export(sent)
    plain = {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [
                        {"key": "service.name", "value": {"stringValue": "cart"}},
                        {"key": "service.instance.id", "value": {"stringValue": "cart-1"}},
                    ]
                },
                "scopeSpans": [{"spans": [_json_of(one) for one in sent]}],
            }
        ]
    }
    assert read(body, otlp.PROTOBUF, "") == sent
    assert read(gzip.compress(body), otlp.PROTOBUF, "gzip") == sent
    assert read(json.dumps(plain).encode(), "application/json; charset=utf-8", "") == sent


def _json_of(one: otlp.Span) -> dict[str, object]:
    return {
        "traceId": one.trace_id,
        "spanId": one.span_id,
        "parentSpanId": one.parent_id,
        "name": one.name,
        "kind": 2,
        "startTimeUnixNano": str(one.started_ns),
        "endTimeUnixNano": str(one.ended_ns),
        "status": {"code": 2} if one.failed else {},
        "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in one.attributes.items()],
        "unknownField": 1,
    }


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "status"),
    [
        (b"\xff\xff nonsense", otlp.PROTOBUF, "", 400),
        (b"{", otlp.JSON, "", 400),
        (b'{"resourceSpans": 7}', otlp.JSON, "", 400),
        (b"\xff", otlp.JSON, "", 400),
        (b"[" * 100_000, otlp.JSON, "", 400),
        (b"not gzip", otlp.PROTOBUF, "gzip", 400),
        (gzip.compress(b"cut")[:-9], otlp.PROTOBUF, "gzip", 400),
        (gzip.compress(bytes(otlp.LARGEST_BYTES + 1)), otlp.PROTOBUF, "gzip", 413),
        (b"", otlp.PROTOBUF, "br", 415),
        (b"", "text/plain", "", 415),
        (b"", "", "", 415),
    ],
    ids=[
        "protobuf", "json", "json of another shape", "not utf-8", "deep json", "gzip", "half of a gzip",
        "too much in a gzip", "another encoding", "another type", "no type",
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused(body: bytes, kind: str, encoding: str, status: int) -> None:
    with pytest.raises(BadBody) as caught:
        read(body, kind, encoding)
    assert caught.value.status == status


def test_a_span_without_usable_ids_is_left_out_and_long_texts_are_cut() -> None:
    long = span(1, attributes={"text": "x" * 5000, "nothing": "-"})
    (found,) = read(export([span(2, trace="ab"), long]), otlp.PROTOBUF, "")
    assert found.attributes == {"text": "x" * otlp.LONGEST_TEXT}


def test_traces_are_found_by_function_time_error_and_either_id(kept: Store) -> None:
    kept.add([span(1, took=50), span(2, parent=1, service="products", attributes={"request.id": "r1"})])
    kept.add([span(3, trace=OTHER, began=10, failed=True)])
    found = {
        name: [one.trace_id for one in kept.traces(wanted)]
        for name, wanted in {
            "all": Wanted(),
            "function": Wanted(service="products"),
            "slow": Wanted(least_ms=20),
            "failed": Wanted(failed=True),
            "request": Wanted(id="r1"),
            "trace": Wanted(id=OTHER),
            "none": Wanted(id="r1", failed=True),
        }.items()
    }
    assert found == {
        "all": [OTHER, TRACE], "function": [TRACE], "slow": [TRACE], "failed": [OTHER], "request": [TRACE],
        "trace": [OTHER], "none": [],
    }  # fmt: skip


def test_spans_of_one_trace_may_come_in_any_order_and_twice(kept: Store) -> None:
    for batch in (
        [span(2, parent=1, began=1)],
        [span(1, took=9)],
        [span(1, took=9), span(2, parent=1, began=1)],
    ):
        kept.add(batch)
    (listed,) = kept.traces(Wanted())
    assert (listed.spans, listed.milliseconds, listed.name) == (2, 9, "GET /")


def test_the_oldest_go_when_there_is_too_much_or_they_are_too_old(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "spans.db", 300_000, lambda: 1_800_000_000)) as kept:
        kept.add([span(1, trace=OTHER, began=-store.LONGEST_SECONDS * 1000 - 1)])
        for number in range(400):
            kept.add([span(1, trace=f"{number:032x}", began=number, attributes={"text": "x" * 1000})])
        assert kept.drop_old() > 1
        assert kept.bytes_used() <= 300_000
        left = [one.trace_id for one in kept.traces(Wanted(limit=400))]
        assert left == [f"{number:032x}" for number in range(399, 399 - len(left), -1)]
        assert kept.spans(OTHER) == []


def test_rows_hang_below_their_parents_in_the_order_in_which_they_began() -> None:
    spans = [
        span(4, parent=2, began=3, took=1),
        span(3, parent=1, began=5, took=4),
        span(1, took=10),
        span(2, parent=1, began=1, took=4),
        span(9, parent=77, began=8),
    ]
    made = rows(spans)
    assert [(int(row.span.span_id, 16), row.depth, row.is_orphan) for row in made] == [
        (1, 0, False), (2, 1, False), (4, 2, False), (3, 1, False), (9, 0, True),
    ]  # fmt: skip
    assert [(row.left, row.width) for row in made[:2]] == [(0, 100), (10, 40)]
    assert [row.own_ms for row in made[:3]] == [2, 3, 1]


def test_a_circle_of_parents_still_shows_every_span_once() -> None:
    assert [row.depth for row in rows([span(1, parent=2), span(2, parent=1), span(3, parent=3)])] == [0, 0, 0]


def test_what_a_page_is_asked_for_is_read_leniently() -> None:
    assert wanted_from({"ms": "x", "id": "a b", "failed": "2"}) == Wanted()
    assert wanted_from({"ms": "-1", "function": "cart", "failed": "1"}) == Wanted(service="cart", failed=True)
    assert wanted_from({"ms": "nan"}) == wanted_from({"ms": "inf"}) == Wanted()


def test_a_person_sees_the_list_and_one_trace_without_a_script(kept: Store, client: FlaskClient) -> None:
    hostile = "<script>alert(1)</script>"
    assert (
        post(client, export([span(1, name=hostile, failed=True, attributes={"http.route": hostile})])) == 200
    )
    for path in ("/", f"/?id={TRACE}&function=cart&failed=1&ms=0.5", f"/traces/{TRACE}"):
        page = client.get(path)
        assert page.status_code == 200
        assert "&lt;script&gt;alert(1)" in page.text
        assert not re.search(r"<script|\bon\w+=|style=|javascript:", page.text)
        assert "script-src" not in page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    with client.get("/static/traces.css") as sheet:
        assert sheet.status_code == 200
    assert client.get("/traces/" + OTHER).status_code == 404


def test_bad_bodies_and_other_host_names_are_refused(client: FlaskClient) -> None:
    assert post(client, b"\xff\xff nonsense") == 400
    assert post(client, b"", "text/html") == 415
    assert post(client, bytes(otlp.LARGEST_BYTES + 1)) == 413
    assert client.get("/", headers={"Host": "evil.example:8095"}).status_code == 421
    assert client.get("/", headers={"Host": "localhost:8095"}).status_code == 200
