"""Section 5: errors that the edge makes, their forms, and what plugins do to them."""

from __future__ import annotations

import re
import socket

import pytest

from tests.support.observed import (
    ABSENT,
    HTML_KIND,
    JSON_KIND,
    REQUEST_ID,
    TEXT_KIND,
    XML_KIND,
    Differs,
    HeldBy,
    Row,
    Site,
    Table,
    cases,
)

SECTION = 5
NO_ROUTE = "no Route matched with those values"
INVALID = "An invalid response was received from the upstream server"
PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CONFIG = """
_format_version: "3.0"
services:
- {name: up, url: "http://127.0.0.1:$UPSTREAM", retries: 0, read_timeout: 100, routes: [{name: up, paths: [/up]}]}
- {name: down, url: "http://127.0.0.1:1", retries: 1, routes: [{name: down, paths: [/down]}]}
- {name: unknown, url: "http://nowhere.invalid", routes: [{name: unknown, paths: [/unknown]}]}
- {name: empty, host: pool, routes: [{name: empty, paths: [/empty]}]}
- {name: weightless, host: weightless, routes: [{name: weightless, paths: [/weightless]}]}
upstreams:
- {name: pool, targets: [{target: "cart-replicas.openfaas-fn:8080"}]}
- {name: weightless, targets: [{target: "127.0.0.1:$UPSTREAM", weight: 0}]}
"""
TOUCHED = (
    CONFIG
    + """
plugins:
- {name: cors, config: {origins: ["https://shop.example"], credentials: true}}
- {name: correlation-id, config: {header_name: X-Request-Id, echo_downstream: true}}
- {name: rate-limiting, config: {minute: 100000, policy: local}}
- {name: request-size-limiting, config: {allowed_payload_size: 1, size_unit: bytes}}
- {name: response-transformer, config: {add: {headers: ["Cache-Control:no-store"]}, replace: {headers: ["Content-Type:text/x-own"]}}}
"""
)
ORIGIN = {"Origin": "https://shop.example"}


def no_route(accept: str | None, kind: str) -> Row:
    return Row("/nope", 404, headers={"Accept": accept} if accept else {}, says=NO_ROUTE, kind=kind)


def down(headers: dict[str, str], kind: str) -> Row:
    return Row("/down", 502, method="POST", body=b"{}", headers=headers, says=INVALID, kind=kind)


def unreadable(request: bytes, status: int = 400, **more: object) -> Row:
    return Row("", status, raw=request, has={"Connection": "close", "X-Edge-Reply": ABSENT}, **more)


TABLES = [
    Table(
        CONFIG,
        {
            "5.1 the edge's own errors take the form that is asked for, JSON without a wish": [
                no_route(None, JSON_KIND),
                no_route("application/json", JSON_KIND),
                no_route("*/*", JSON_KIND),
                no_route("image/png", JSON_KIND),
                no_route("text/html", HTML_KIND),
                no_route(PAGE, HTML_KIND),
                no_route("text/plain", TEXT_KIND),
                no_route("application/xml", XML_KIND),
                no_route("text/plain;q=0.1, application/json", JSON_KIND),
                no_route("application/json;q=0.1, text/plain;q=0.5", TEXT_KIND),
                Row("/empty", 503, headers={"Accept": "text/plain"}, says="failure to get a peer from the ring-balancer", kind=TEXT_KIND),
            ],
            "5.2 an upstream's failure is text without a wish, or what the request's body is": [
                Row("/down", 502, says=INVALID, kind=TEXT_KIND),
                down({"Content-Type": "application/json"}, JSON_KIND),
                down({"Content-Type": "application/json; charset=utf-8"}, JSON_KIND),
                down({"Accept": "*/*"}, JSON_KIND),
                down({"Accept": "text/html"}, HTML_KIND),
                down({"Accept": "text/plain", "Content-Type": "application/json"}, TEXT_KIND),
                down({"Accept": "application/xml", "Content-Type": "application/json"}, XML_KIND),
                Row("/down", 502, method="HEAD", text=""),
            ],
            "5.3 a request that cannot be read is answered in text whatever it asks for": [
                Row("/api/%zz", 400, headers={"Accept": "application/json"}, says="Bad request", kind=TEXT_KIND),
                Row("/up", 405, method="TRACE", headers={"Accept": "application/json"}, has={"Content-Type": TEXT_KIND}),
                unreadable(b"GET /up HTTP/1.1\r\nAccept: application/json\r\n\r\n"),
            ],
            "5.4 no route": [no_route(None, JSON_KIND)],
            "5.5 refused, reset and closed connections are 502": [
                Row("/down", 502, says=INVALID, kind=TEXT_KIND),
                Row("/up", 502, given={"behaviour": "reset"}, says=INVALID, kind=TEXT_KIND),
            ],
            "5.6 a timeout is 504": [
                Row("/up", 504, given={"behaviour": "slow:0.3"}, says="The upstream server is timing out", kind=TEXT_KIND),
                HeldBy("contract/test_edge_failures.py", "test_silent_connect_is_504"),
            ],
            "5.7 a name that does not resolve is 503": [Row("/unknown", 503, says="name resolution failed")],
            "5.8 no target is 503": [
                Row("/empty", 503, says="failure to get a peer from the ring-balancer"),
                Row("/weightless", 503, says="failure to get a peer from the ring-balancer"),
            ],
            "5.9 an upstream that closes in mid-body cuts the connection": [
                HeldBy("contract/kong_observed/test_05_errors.py", "test_answer_that_breaks_off_is_cut_off_for_the_client"),
            ],
            "5.10 a request line over 8 kB is 414, headers over 32 kB are 400": [
                Row("/up/" + "x" * 8200, 414, says="URI too long", kind=TEXT_KIND),
                Row("/up/" + "x" * 8000, 200),
                Row("/up", 400, headers={f"X-{name}": "x" * 8000 for name in "abcde"}),
                Differs("one header above 8 kB"),
            ],
            "5.11 what could be smuggled is refused and the connection closed": [
                unreadable(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                unreadable(b"GET /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
                unreadable(b"GET /up HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
                Row("", raw=b"GET /up HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\nConnection: close\r\n\r\n", saw={"X": "1 folded"}),
                Differs("a header folded over two lines"),
                unreadable(b"GET /up HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"),
                unreadable(b"GET /up HTTP/1.1\r\n\r\n"),
                Row("", 400, raw=b"GET /up HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", says="Bad request", kind=TEXT_KIND),
                Row("", 400, raw=b"GET /up HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n"),
            ],
            "5.12 other encodings and versions are refused": [
                unreadable(b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
                Differs("`HTTP/2.5`"),
            ],
            "5.13 HTTP/1.0 is served, without a Host too": [
                Row("", raw=b"GET /up HTTP/1.0\r\n\r\n", sees="/"),
                Row("", raw=b"GET /up HTTP/1.0\r\nHost: a\r\n\r\n", sees="/"),
            ],
            "5.14 a client that falls silent is closed after 60 s": [Differs("a silent client")],
        },
    ),
    Table(
        TOUCHED,
        {
            "5.15 on no route only the response phase of global plugins runs": [
                Row("/nope", 404, headers=ORIGIN, has={
                    "Access-Control-Allow-Origin": "https://shop.example", "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
                    "X-Request-Id": re.compile(".+"), "Cache-Control": "no-store", "RateLimit-Limit": ABSENT, "X-Kong-Request-Id": REQUEST_ID,
                }),
                Row("/nope", 404, method="POST", body=b"too long"),
                Row("/nope", 404, method="OPTIONS", headers={**ORIGIN, "Access-Control-Request-Method": "PUT"},
                    has={"Access-Control-Allow-Methods": ABSENT, "Access-Control-Allow-Origin": "https://shop.example"}),
                Differs("plugins on requests that cannot be read"),
            ],
            "5.16 failures carry what plugins add": [
                Row("/down", 502, headers={**ORIGIN, "X-Request-Id": "mine"}, has={
                    "Access-Control-Allow-Origin": "https://shop.example", "X-Request-Id": "mine", "Cache-Control": "no-store",
                    "RateLimit-Limit": "100000", "Content-Type": "text/x-own",
                }),
                Row("/up", 413, method="POST", body=b"too long", headers=ORIGIN,
                    has={"Access-Control-Allow-Origin": "https://shop.example", "RateLimit-Limit": ABSENT}),
            ],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_error_is_told_as_kong_tells_it(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def test_answer_that_breaks_off_is_cut_off_for_the_client(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        site.load(CONFIG.replace("$UPSTREAM", str(server.getsockname()[1])))
        with socket.create_connection(("127.0.0.1", site.edge.port), timeout=5) as client:
            client.sendall(b"GET /up HTTP/1.1\r\nHost: a\r\n\r\n")
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            received = b""
            while part := client.recv(65536):
                received += part
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"half")
