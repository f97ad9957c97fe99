"""Which route takes a request and what its upstream is sent, as seen on a real Kong (kong-observed, sections 1 to 5)."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edge import RunningEdge, Upstream, running_edge

CONFIG = """
_format_version: "3.0"
services:
- name: products
  url: http://127.0.0.1:{port}/function/products
  routes:
  - {{name: products, paths: [/api/products]}}
- name: orders
  url: http://127.0.0.1:{port}/function/orders
  routes:
  - {{name: orders, paths: [/api/orders]}}
- name: segments
  url: http://127.0.0.1:{port}/function/seg
  routes:
  - {{name: segments, paths: ["~/seg/products($|/)"]}}
- name: bare
  url: http://127.0.0.1:{port}
  routes:
  - {{name: np, paths: [/np]}}
  - {{name: npseg, paths: ["~/npseg($|/)"]}}
  - {{name: rx, paths: ['~/rx/(?<id>[0-9]+)']}}
  - {{name: only-get, paths: [/get], methods: [GET]}}
  - {{name: kept-host, paths: [/kept-host], preserve_host: true}}
- name: base
  url: http://127.0.0.1:{port}/base/
  routes:
  - {{name: keep, paths: [/keep], strip_path: false}}
  - {{name: slash, paths: [/slash/]}}
- name: disabled
  url: http://127.0.0.1:{port}/off
  enabled: false
  routes: [{{name: disabled, paths: [/off]}}]
- {{name: by-prefix, url: "http://127.0.0.1:{port}/long-prefix", routes: [{{name: p1, paths: [/w/long/prefix]}}]}}
- {{name: by-regex, url: "http://127.0.0.1:{port}/regex", routes: [{{name: p2, paths: ['~/w/l[a-z]+']}}]}}
- {{name: by-host, url: "http://127.0.0.1:{port}/host", routes: [{{name: p3, paths: [/w], hosts: [shop.example]}}]}}
- {{name: by-wild, url: "http://127.0.0.1:{port}/wild", routes: [{{name: p4, paths: [/w], hosts: ["*.example"]}}]}}
- name: by-header
  url: http://127.0.0.1:{port}/header
  routes: [{{name: p5, paths: [/w], headers: {{x-kind: [a, b]}}}}]
- {{name: root, url: "http://127.0.0.1:{port}/", routes: [{{name: root, paths: [/], hosts: [root.example]}}]}}
routes:
- {{name: lonely, paths: [/lonely]}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def edge(upstream: Upstream) -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state) as running:
        running.load(CONFIG.format(port=upstream.server_port))
        yield running
    shutil.rmtree(state)


PATHS = [
    ("/api/products", "/function/products"),
    ("/api/products/", "/function/products/"),
    ("/api/products?", "/function/products?"),
    ("/api/products?a=//b/%70", "/function/products?a=//b/%70"),
    ("/api/productsX", "/function/products/X"),
    ("//api//products///7", "/function/products/7"),
    ("/api/products/./7", "/function/products/7"),
    ("/api/%70roducts/7", "/function/products/7"),
    ("/api/products/../orders/1", "/function/orders/1"),
    ("/api/products/%2e%2e/orders/1", "/function/orders/1"),
    ("/api/products/a%2fb", "/function/products/a%2Fb"),
    ("/api/products/..%2forders", "/function/products/..%2Forders"),
    ("/api/products%2F7", "/function/products/%2F7"),
    ("/api/products/a%20b%c3%a9", "/function/products/a%20b%C3%A9"),
    ('/api/products/a+b|c"<>{}^`', "/function/products/a+b%7Cc%22%3C%3E%7B%7D%5E%60"),
    ("/api/products/;x+y", "/function/products/;x+y"),
    ("/api/products/%252e", "/function/products/%252e"),
    ("/seg/products", "/function/seg"),
    ("/seg/products/", "/function/seg/"),
    ("/seg/products/7?x=1", "/function/seg/7?x=1"),
    ("/seg/products/%2Fmetrics", "/function/seg/%2Fmetrics"),
    ("/np", "/"),
    ("/np/", "/"),
    ("/np/x", "/x"),
    ("/npx", "/x"),
    ("/npseg", "/"),
    ("/npseg/", "/"),
    ("/npseg/x/y", "/x/y"),
    ("/keep/x", "/base/keep/x"),
    ("/slash/x", "/base/x"),
    ("/rx/77", "/"),
    ("/rx/77/y", "/y"),
    ("/rx/77y", "/y"),
]


@pytest.mark.parametrize(("path", "seen"), PATHS)
def test_upstream_sees_the_path_that_kong_would_send(edge: RunningEdge, path: str, seen: str) -> None:
    answer = edge.get(path)
    assert (answer.status, answer.json["path"]) == (200, seen)


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/API/products",
        "/api%2Fproducts",
        "/api/products/..",
        "/api/products/%e9",
        "/slash",
        "/off",
        "/seg/productsX",
        "/seg/productsmetrics",
        "/seg/products%2Fmetrics",
        "/rx/seven",
    ],
)
def test_paths_of_no_route_get_kongs_404(edge: RunningEdge, path: str) -> None:
    answer = edge.get(path)
    rid = answer.header("X-Kong-Request-Id")
    assert answer.status == 404
    assert answer.text == f'{{\n  "message":"no Route matched with those values",\n  "request_id":"{rid}"\n}}'
    assert answer.header("Content-Type") == "application/json; charset=utf-8"


@pytest.mark.parametrize("path", ["/api/products/%zz", "/api/products/%00"])
def test_paths_that_cannot_be_read_get_400(edge: RunningEdge, path: str) -> None:
    assert edge.get(path).status == 400


PRECEDENCE = [
    ("longer prefix loses to a regex", "/w/long/prefix/x", {"Host": "other"}, "/regex"),
    ("two kinds beat one", "/w/long", {"Host": "shop.example"}, "/host"),
    ("the port does not count", "/w/long", {"Host": "shop.example:8000"}, "/host"),
    ("a wildcard host takes the others", "/w/long", {"Host": "x.example"}, "/wild"),
    ("header beats wildcard host", "/w/long", {"Host": "x.example", "X-Kind": "b"}, "/header"),
    ("plain host beats header", "/w/long", {"Host": "shop.example", "X-Kind": "b"}, "/host"),
    ("a header that differs does not match", "/w/long", {"Host": "other", "X-Kind": "c"}, "/regex"),
]


@pytest.mark.parametrize(
    ("path", "headers", "seen"), [row[1:] for row in PRECEDENCE], ids=[r[0] for r in PRECEDENCE]
)
def test_stronger_route_wins(edge: RunningEdge, path: str, headers: dict[str, str], seen: str) -> None:
    assert edge.get(path, headers).json["path"].startswith(seen)


@pytest.mark.parametrize("method", ["POST", "FOO", "OPTIONS"])
def test_method_that_is_not_listed_is_no_route(edge: RunningEdge, method: str) -> None:
    assert edge.send(method, "/get/1").status == 404


def test_trace_is_refused_before_any_route(edge: RunningEdge) -> None:
    answer = edge.send("TRACE", "/api/products")
    assert answer.status == 405
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"


def test_route_without_service_says_so(edge: RunningEdge) -> None:
    answer = edge.get("/lonely")
    assert (answer.status, answer.json["message"]) == (503, "no Service found with those values")


def test_root_route_of_a_host_sends_paths_as_they_are(edge: RunningEdge) -> None:
    assert edge.get("/a/b", {"Host": "root.example"}).json["path"] == "/a/b"
    assert edge.get("/", {"Host": "root.example"}).json["path"] == "/"


def upstream_headers(
    edge: RunningEdge, path: str, headers: dict[str, str] | None = None
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in edge.get(path, headers).json["headers"]:
        found.setdefault(name, []).append(value)
    return found


def test_upstream_is_told_where_the_request_came_from(edge: RunningEdge, upstream: Upstream) -> None:
    sent = {
        "Host": "Shop.Example:99",
        "X-Forwarded-For": "9.9.9.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Path": "/evil",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "9.9.9.9",
        "X-Kong-Request-Id": "mine",
        "Via": "1.1 foo",
    }
    seen = upstream_headers(edge, "/api/products/7?x=1", sent)
    assert seen["host"] == [f"127.0.0.1:{upstream.server_port}"]
    assert ", ".join(seen["x-forwarded-for"]).replace(",", ", ").replace("  ", " ") == "9.9.9.9, 127.0.0.1"
    assert seen["x-forwarded-proto"] == ["http"]
    assert seen["x-forwarded-host"] == ["shop.example"]
    assert seen["x-forwarded-port"] == [str(edge.port)]
    assert seen["x-forwarded-path"] == ["/api/products/7"]
    assert seen["x-forwarded-prefix"] == ["/api/products"]
    assert seen["x-real-ip"] == ["127.0.0.1"]
    assert seen["via"] in (["1.1 foo", "1.1 localfaas/0.1.0"], ["1.1 foo,1.1 localfaas/0.1.0"])
    [rid] = seen["x-kong-request-id"]
    assert len(rid) == 32
    assert not [name for name in seen if name.startswith(("x-envoy", "x-edge"))]


def test_no_prefix_is_told_where_none_was_taken_off(edge: RunningEdge) -> None:
    for path in ("/keep/x", "/rx/7"):
        assert "x-forwarded-prefix" not in upstream_headers(edge, path, {"X-Forwarded-Prefix": "/evil"})
    assert upstream_headers(edge, "/seg/products/7")["x-forwarded-prefix"] == ["/seg/products/"]


def test_preserved_host_keeps_its_port(edge: RunningEdge) -> None:
    assert upstream_headers(edge, "/kept-host", {"Host": "a.example:99"})["host"] == ["a.example:99"]


def test_client_headers_pass_untouched_and_hop_headers_do_not(edge: RunningEdge) -> None:
    sent = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Authorization": "Bearer x",
        "Cookie": "a=1; b=2",
        "x_under": "1",
        "Connection": "x-hop",
        "X-Hop": "1",
        "TE": "gzip",
        "X-Envoy-Retry-On": "5xx",
        "X-Envoy-Upstream-Rq-Timeout-Ms": "1",
    }
    seen = upstream_headers(edge, "/api/products", sent)
    for name in ("traceparent", "Authorization", "Cookie", "x_under"):
        assert seen[name.lower()] == [sent[name]]
    assert not {"x-hop", "te", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms"} & set(seen)


def test_proxied_answer_carries_latencies_and_names_the_edge(edge: RunningEdge, upstream: Upstream) -> None:
    upstream.headers = {"Via": "1.1 origin", "Location": "/x", "Set-Cookie": "a=1"}
    try:
        answer = edge.get("/api/products")
    finally:
        upstream.calm()
    assert answer.header(
        "X-Kong-Upstream-Latency",
    ).isdecimal()
    assert answer.header("X-Kong-Proxy-Latency").isdecimal()
    assert len(answer.header("X-Kong-Request-Id")) == 32
    assert ",".join(answer.all("Via")) == "1.1 origin,1.1 localfaas/0.1.0"
    assert answer.header("Server") == "localfaas/0.1.0"
    assert answer.header("Location") == "/x"
    assert not [name for name, _ in answer.headers if name.startswith(("x-envoy", "x-edge"))]


def test_servers_own_name_stays(edge: RunningEdge, upstream: Upstream) -> None:
    upstream.headers = {"Server": "granian"}
    try:
        assert edge.get("/api/products").all("Server") == ["granian"]
    finally:
        upstream.calm()


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("text/plain", "text/plain; charset=UTF-8"),
        ("text/html; charset=latin1", "text/html; charset=latin1"),
        ("application/problem+json", "application/problem+json"),
        ("text/event-stream", "text/event-stream"),
    ],
)
def test_charset_is_told_for_text(edge: RunningEdge, upstream: Upstream, sent: str, received: str) -> None:
    upstream.headers = {"Content-Type": sent}
    try:
        assert edge.get("/api/products").header("Content-Type") == received
    finally:
        upstream.calm()


def test_own_answer_has_no_via_and_no_upstream_latency(edge: RunningEdge) -> None:
    answer = edge.get("/nope")
    assert answer.header("X-Kong-Response-Latency") == "0"
    assert answer.header("Server") == "localfaas/0.1.0"
    for name in ("Via", "X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency"):
        assert answer.header(name) is None


FORMS = [
    (None, "application/json; charset=utf-8", "{"),
    ("*/*", "application/json; charset=utf-8", "{"),
    ("image/png", "application/json; charset=utf-8", "{"),
    (
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html; charset=utf-8",
        "<!doctype html>\n",
    ),
    ("text/plain", "text/plain; charset=utf-8", "no Route matched with those values\nrequest_id: "),
    (
        "application/xml",
        "application/xml; charset=utf-8",
        '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>',
    ),
    ("text/plain;q=0.1, application/json", "application/json; charset=utf-8", "{"),
]


@pytest.mark.parametrize(("accept", "kind", "start"), FORMS)
def test_error_takes_the_form_that_is_asked_for(
    edge: RunningEdge, accept: str | None, kind: str, start: str
) -> None:
    answer = edge.get("/nope", {"Accept": accept} if accept else None)
    assert answer.header("Content-Type") == kind
    assert answer.text.startswith(start)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /api/products HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /api/products HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET /sp ace HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET api/products HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /api/products HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 40000 + b"\r\n\r\n",
    ],
    ids=["no host", "two lengths", "bad length", "space", "no slash", "headers over 32 kB"],
)
def test_unreadable_request_gets_plain_400_and_the_connection_is_closed(
    edge: RunningEdge, data: bytes
) -> None:
    received = edge.raw(data)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nconnection: close\r\n" in received
    assert b"x-edge" not in received


def test_http_1_0_is_served_without_a_host(edge: RunningEdge) -> None:
    assert edge.raw(b"GET /api/products HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")


def test_websocket_passes_in_both_directions(edge: RunningEdge) -> None:
    """Under a size limit too, which gathers ordinary bodies."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        size = "plugins: [{name: request-size-limiting}]\n"
        edge.load(CONFIG.format(port=port) + size)
        with socket.create_connection(("127.0.0.1", edge.port), timeout=5) as client:
            client.sendall(
                b"GET /np HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            peer, _ = server.accept()
            with peer:
                assert b"\r\nupgrade: websocket\r\n" in peer.recv(65536)
                peer.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
                client.sendall(b"ping")
                assert peer.recv(100) == b"ping"
                peer.sendall(b"pong")
                assert client.recv(100) == b"pong"


def test_no_script_failed(edge: RunningEdge) -> None:
    """Runs last in this module: a script that fails lets requests pass without their plugins."""
    assert edge.stat("http.edge.lua.errors") == 0
