"""What the edge does beside the plugins of the record: addresses refused, answers compressed, time told and kept."""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge import PROJECT, RunningEdge, Upstream, running_edge
from tests.support.waiting import wait_for

TIMING = re.compile(r"edge;dur=(\d+)e-3, upstream;dur=(\d+)e-3")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state, PROJECT) as edge:
        yield edge
    shutil.rmtree(state)


@pytest.fixture(scope="module")
def over_ipv6() -> Iterator[RunningEdge]:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state, PROJECT, BIND="::1") as edge:
        yield edge
    shutil.rmtree(state)


@pytest.fixture
def edge(running: RunningEdge, upstream: Upstream) -> Iterator[RunningEdge]:
    upstream.calm()
    yield running
    upstream.calm()


def load(edge: RunningEdge, upstream: Upstream, own: str = "", more: str = "", everywhere: str = "") -> None:
    """Two routes, plugins on the first of them; a file that is in force is not loaded again."""
    text = f"""
_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:{upstream.server_port}
  {more}
  routes: [{{name: a, paths: [/a], plugins: [{own}]}}, {{name: b, paths: [/b]}}]
plugins: [{everywhere}]
"""
    if edge.edge.loaded.text != text:
        edge.load(text)


# ip-restriction


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("curl", ["curl/8.5", "a CURL"], ["wget"]),
        ("^curl", ["curl/8.5"], ["a curl"]),
        ("curl$|wget", ["a curl", "wget 1"], ["curl/8.5"]),
    ],
)
def test_a_regex_of_a_header_may_match_a_part_of_it(
    edge: RunningEdge, upstream: Upstream, pattern: str, matching: list[str], others: list[str]
) -> None:
    """As Kong's router has it, which anchors the regular expressions of paths alone (kong/router/transform.lua)."""
    port = upstream.server_port
    edge.load(f"""
_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:{port}
  routes: [{{name: bots, paths: [/a], headers: {{user-agent: ["~*{pattern}"]}}}}]
""")
    assert [edge.get("/a", {"User-Agent": agent}).status for agent in matching] == [200] * len(matching)
    assert [edge.get("/a", {"User-Agent": agent}).status for agent in others] == [404] * len(others)


def restricted(config: str) -> str:
    return f"{{name: ip-restriction, config: {{{config}}}}}"


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ("deny: [127.0.0.1]", False),
        ("deny: [127.0.0.0/8, '::1']", False),
        ("deny: [10.0.0.0/8, 127.0.0.2, '2001:db8::/32']", True),
        ("allow: [127.0.0.1/32]", True),
        ("allow: ['::1', 10.1.2.3]", False),
        ("allow: [127.0.0.0/8], deny: [127.0.0.1]", False),
        ("allow: [127.0.0.0/8], deny: [10.0.0.0/8]", True),
    ],
)
def test_address_is_refused_by_deny_first_and_then_by_allow(
    edge: RunningEdge, upstream: Upstream, config: str, passes: bool
) -> None:
    load(edge, upstream, restricted(config))
    answer = edge.get("/a", {"X-Forwarded-For": "10.1.2.3", "X-Real-IP": "::1"})
    assert answer.status == (200 if passes else 403)
    assert len(upstream.seen) == passes
    assert edge.get("/b").status == 200


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ("deny: ['::1']", False),
        ("deny: ['::/64', 127.0.0.1]", False),
        ("allow: ['::/127']", True),
        ("allow: [127.0.0.1]", False),
    ],
)
def test_addresses_of_ipv6_are_told_apart_too(
    over_ipv6: RunningEdge, upstream: Upstream, config: str, passes: bool
) -> None:
    load(over_ipv6, upstream, restricted(config))
    with socket.create_connection(("::1", over_ipv6.port), timeout=5) as client:
        client.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 " if passes else b"HTTP/1.1 403 ")
    assert (b'"IP address not allowed: ::1"' in answer) is not passes


def test_refusal_is_kongs_and_can_be_worded_otherwise(edge: RunningEdge, upstream: Upstream) -> None:
    load(edge, upstream, restricted("deny: [127.0.0.1]"))
    answer = edge.get("/a")
    assert answer.json == {
        "message": "IP address not allowed: 127.0.0.1",
        "request_id": answer.header("X-Kong-Request-Id"),
    }
    assert (answer.header("Via"), answer.header("X-Kong-Response-Latency")) == (None, "0")
    load(edge, upstream, restricted("deny: [127.0.0.1], status: 404, message: nothing here"))
    answer = edge.get("/a", {"Accept": "text/plain"})
    assert (answer.status, answer.text.splitlines()[0]) == (404, "nothing here")


def test_refusal_comes_after_cors_and_before_limits(edge: RunningEdge, upstream: Upstream) -> None:
    everywhere = (
        "{name: cors, config: {origins: [https://shop.example, https://b.example]}}, "
        "{name: rate-limiting, config: {year: 900000}}, {name: request-size-limiting, config: {allowed_payload_size: 1}}"
    )
    load(edge, upstream, restricted("deny: [127.0.0.1]"), everywhere=everywhere)
    left = int(edge.get("/b").header("RateLimit-Remaining") or 0)
    refused = edge.get("/a", {"Origin": "https://shop.example"})
    assert (refused.status, refused.header("Access-Control-Allow-Origin")) == (403, "https://shop.example")
    assert refused.header("RateLimit-Remaining") is None
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    assert edge.send("OPTIONS", "/a", preflight).status == 200
    assert edge.get("/b").header("RateLimit-Remaining") == str(left - 1)


def test_refusal_stands_even_if_the_script_fails(edge: RunningEdge, upstream: Upstream) -> None:
    """Envoy is given the same routes with a plugin that the script does not know: it stumbles, and decides nothing."""
    load(edge, upstream, restricted("deny: [127.0.0.1]"))
    routes = edge.edge.envoy.files.root / "rds" / "rds.json"
    broken = routes.read_text().replace("ip-restriction\\", "nothing\\").replace('"id": "', '"id": "x')
    routes.with_suffix(".broken").write_text(broken)
    failures = edge.stat("http.edge.lua.errors")
    routes.with_suffix(".broken").rename(routes)

    def script_failed() -> bool:
        assert edge.get("/a").status == 403
        return edge.stat("http.edge.lua.errors") > failures

    wait_for(script_failed, what="the script's failure")
    assert upstream.seen == []


# Compression


def large(upstream: Upstream) -> None:
    """The upstream tells its request's headers back; a long one makes a long answer."""
    upstream.headers = {"ETag": '"7"', "Cache-Control": "max-age=9"}


LONG = {"X-Long": "x" * 3000}


def test_large_json_is_compressed_for_who_can_read_it(edge: RunningEdge, upstream: Upstream) -> None:
    load(edge, upstream)
    large(upstream)
    plain = edge.get("/a", LONG)
    packed = edge.get("/a", {**LONG, "Accept-Encoding": "gzip"})
    assert (plain.header("Content-Encoding"), packed.header("Content-Encoding")) == (None, "gzip")
    assert len(packed.body) < len(plain.body) / 3
    assert b"x" * 3000 in gzip.decompress(packed.body)
    assert (plain.header("ETag"), packed.header("ETag")) == ('"7"', 'W/"7"')
    assert packed.header("Vary") == "Accept-Encoding"


@pytest.mark.parametrize(
    ("asked", "kind", "encoding"),
    [
        ("gzip", "application/problem+json", "gzip"),
        ("gzip", "Application/JSON; charset=utf-8", "gzip"),
        ("br, gzip;q=0.5", "application/json", "gzip"),
        ("gzip;q=0", "application/json", None),
        ("br", "application/json", None),
        ("gzip", "application/jsonlines", None),
        ("gzip", "image/png", None),
    ],
)
def test_only_listed_types_and_only_as_asked(
    edge: RunningEdge, upstream: Upstream, asked: str, kind: str, encoding: str | None
) -> None:
    load(edge, upstream)
    upstream.headers = {"Content-Type": kind}
    assert edge.get("/a", {**LONG, "Accept-Encoding": asked}).header("Content-Encoding") == encoding


def test_small_answers_and_those_already_packed_are_left_alone(edge: RunningEdge, upstream: Upstream) -> None:
    load(edge, upstream)
    assert edge.get("/a", {"Accept-Encoding": "gzip"}).header("Content-Encoding") is None
    upstream.headers = {"Content-Encoding": "br"}
    assert edge.get("/a", {**LONG, "Accept-Encoding": "gzip"}).header("Content-Encoding") == "br"


# Time


def test_time_in_the_edge_and_upstream_is_told_below_the_millisecond(
    edge: RunningEdge, upstream: Upstream
) -> None:
    load(edge, upstream)
    upstream.headers = {"Server-Timing": "db;dur=5"}
    upstream.behaviour = "slow:0.02"
    answer = edge.get("/a")
    theirs, ours = answer.all("Server-Timing")
    told = TIMING.fullmatch(ours)
    assert theirs == "db;dur=5"
    assert told
    in_edge, in_upstream = (int(microseconds) for microseconds in told.groups())
    assert in_edge // 1000 == int(answer.header("X-Kong-Proxy-Latency") or -1)
    assert in_upstream // 1000 == int(answer.header("X-Kong-Upstream-Latency") or -1) >= 20


@pytest.mark.parametrize("path", ["/nowhere", "/a"])
def test_answers_of_the_edge_itself_tell_no_such_times(
    edge: RunningEdge, upstream: Upstream, path: str
) -> None:
    load(edge, upstream, "{name: request-termination}")
    assert edge.get(path).header("Server-Timing") is None


def test_failures_of_the_upstream_tell_no_such_times(edge: RunningEdge, upstream: Upstream) -> None:
    load(edge, upstream, more="retries: 0")
    upstream.behaviour = "reset"
    answer = edge.get("/a")
    assert (answer.status, answer.header("Server-Timing")) == (502, None)


HUNG = "retries: 5\n  read_timeout: 300"


@pytest.mark.parametrize(("deadline", "attempts"), [("100ms", 1), ("0.45s", 2)])
def test_reads_are_not_tried_again_past_the_clients_own_deadline(
    edge: RunningEdge, upstream: Upstream, deadline: str, attempts: int
) -> None:
    load(edge, upstream, more=HUNG)
    upstream.behaviour = "hang"
    answer = edge.get("/a", {"X-Timeout": deadline})
    assert (answer.status, answer.text.splitlines()[0]) == (504, "The upstream server is timing out")
    wait_for(lambda: edge.stat("http.edge.downstream_rq_active") == 0, what="nothing in flight")
    assert len(upstream.seen) == attempts


@pytest.mark.parametrize("text", ["", "soon", "10", "-1s", "1.5.5s", "0s", "1s soon", "9" * 400 + "h"])
def test_deadline_that_is_none_is_as_if_there_were_none(
    edge: RunningEdge, upstream: Upstream, text: str
) -> None:
    load(edge, upstream)
    answer = edge.get("/a", {"X-Timeout": text})
    assert answer.status == 200
    assert ["x-timeout", text] in answer.json["headers"]
    assert not [name for name, _ in answer.json["headers"] if name.startswith("x-envoy")]


@pytest.mark.parametrize("more", [{}, {"X-Timeout": "5s"}])
def test_a_deadline_for_the_upstream_is_not_the_edges(
    edge: RunningEdge, upstream: Upstream, more: dict[str, str]
) -> None:
    load(edge, upstream)
    upstream.behaviour = "slow:0.1"
    answer = edge.get("/a", {"grpc-timeout": "20m", **more})
    assert answer.status == 200
    assert ["grpc-timeout", "20m"] in answer.json["headers"]


def test_a_client_that_left_is_not_served_by_further_attempts(edge: RunningEdge, upstream: Upstream) -> None:
    load(edge, upstream, more=HUNG)
    upstream.behaviour = "hang"
    with socket.create_connection(("127.0.0.1", edge.port), timeout=5) as client:
        client.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: upstream.seen, what="the first attempt")
    wait_for(lambda: edge.stat("http.edge.downstream_rq_active") == 0, what="nothing in flight")
    assert len(upstream.seen) == 1


# Trace context

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sent_on(edge: RunningEdge, **headers: str) -> tuple[str, dict[str, str]]:
    """Kong's id of a request with these headers, and what the upstream saw of it."""
    answer = edge.get("/b", headers)
    return str(answer.header("x-kong-request-id")), dict(answer.json["headers"])


def test_a_client_s_trace_passes_as_it_is(edge: RunningEdge, upstream: Upstream) -> None:
    load(edge, upstream)
    for sent in (TRACEPARENT, TRACEPARENT[:-2] + "00"):
        _, seen = sent_on(edge, traceparent=sent, tracestate="a=1")
        assert (seen["traceparent"], seen["tracestate"]) == (sent, "a=1")


@pytest.mark.parametrize(
    "sent",
    [
        None, "", "nonsense", TRACEPARENT.upper(), TRACEPARENT + "-00", "01" + TRACEPARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        TRACEPARENT.replace("-", "a"), f"{TRACEPARENT}, {TRACEPARENT}", "é" * 27 + "x",
    ],
)  # fmt: skip
def test_where_a_client_began_none_a_trace_begins_that_nobody_records(
    edge: RunningEdge, upstream: Upstream, sent: str | None
) -> None:
    load(edge, upstream)
    headers = {} if sent is None else {"traceparent": sent, "tracestate": "a=1"}
    request_id, seen = sent_on(edge, **headers)
    assert seen["traceparent"] == f"00-{request_id}-{request_id[16:]}-00"
    assert "tracestate" not in seen


def test_no_client_says_what_only_the_platform_may(edge: RunningEdge, upstream: Upstream) -> None:
    """A function, which is WSGI, cannot tell `X_Real_IP` from the edge's own `X-Real-IP`."""
    load(edge, upstream)
    sent = {
        "X-Start-Time": "1",
        "x_start_time": "1",
        "X_Real_IP": "9.9.9.9",
        "X-Real-Ip": "9.9.9.9",
        "X_Other": "1",
    }
    _, seen = sent_on(edge, **sent)
    assert seen["x-real-ip"] == "127.0.0.1"
    assert {name for name in seen if "_" in name or name == "x-start-time"} == set()
