"""Section 4: what is added to a proxied answer, to one of the edge's own, and to a failure."""

from __future__ import annotations

import pytest

from tests.support.observed import (
    ABSENT,
    DIGITS,
    JSON_KIND,
    REQUEST_ID,
    Differs,
    HeldBy,
    Row,
    Site,
    Table,
    cases,
)

SECTION = 4
CONFIG = """
_format_version: "3.0"
services:
- {name: up, url: "http://127.0.0.1:$UPSTREAM", retries: 0, routes: [{name: up, paths: [/up]}]}
- {name: down, url: "http://127.0.0.1:1", retries: 0, routes: [{name: down, paths: [/down]}]}
"""
PROXIED = {"X-Kong-Upstream-Latency": DIGITS, "X-Kong-Proxy-Latency": DIGITS, "X-Kong-Request-Id": REQUEST_ID}


def typed(sent: str, received: str) -> Row:
    return Row("/up", given={"headers": {"Content-Type": sent}}, has={"Content-Type": received})


def passes(status: int) -> Row:
    return Row(
        "/up", status, given={"status": status}, sees="/", has={**PROXIED, "Content-Type": "application/json"}
    )


TABLES = [
    Table(
        CONFIG,
        {
            "4.1 a proxied answer carries latencies, Via and the request's id": [
                Row("/up", has={**PROXIED, "Via": "1.1 localfaas/$VERSION", "Server": "localfaas/$VERSION", "X-Kong-Response-Latency": ABSENT}),
                Row("/up", given={"headers": {"Server": "granian"}}, has={"Server": "granian"}),
                Row("/up", given={"headers": {"Via": "1.1 origin"}}, has={"Via": ["1.1 origin", "1.1 localfaas/$VERSION"]}),
                Row("/up", has={"X-Envoy-Upstream-Service-Time": ABSENT, "X-Edge-Reply": ABSENT}),
            ],
            "4.2 a failure of the upstream looks like a proxied answer": [
                Row("/down", 502, has={"X-Kong-Request-Id": REQUEST_ID, "X-Kong-Response-Latency": ABSENT, "Via": "1.1 localfaas/$VERSION",
                                       "Server": "localfaas/$VERSION", "X-Edge-Reply": ABSENT}),
                Differs("`X-Kong-*-Latency` on 502"),
            ],
            "4.3 the edge's own answer has one latency and no Via": [
                Row("/nowhere", 404, has={"X-Kong-Response-Latency": DIGITS, "Server": "localfaas/$VERSION", "X-Kong-Request-Id": REQUEST_ID,
                                          "Content-Type": JSON_KIND, "Content-Length": DIGITS, "Via": ABSENT,
                                          "X-Kong-Upstream-Latency": ABSENT, "X-Kong-Proxy-Latency": ABSENT}),
            ],
            "4.4 Date": [Differs("`Date` on proxied answers")],
            "4.5 an upstream's X-Kong headers are overwritten, its others pass": [
                Row("/up", given={"headers": {"X-Kong-Request-Id": "theirs", "X-Kong-Proxy-Latency": "x"}}, has=PROXIED),
                Row("/up", 302, given={"status": 302, "headers": {"Location": "/x", "Set-Cookie": "a=1"}}, has={"Location": "/x", "Set-Cookie": "a=1"}),
                Row("/up", given={"headers": {"Keep-Alive": "timeout=5", "Connection": "keep-alive"}}, has={"Keep-Alive": ABSENT}),
                HeldBy("contract/kong_observed/test_04_response_headers.py", "test_several_cookies_stay_several"),
            ],
            "4.6 a charset is added to text without one": [
                typed("text/html", "text/html; charset=UTF-8"),
                typed("text/plain", "text/plain; charset=UTF-8"),
                typed("text/xml", "text/xml; charset=UTF-8"),
                typed("application/javascript", "application/javascript; charset=UTF-8"),
                typed("text/html; charset=latin1", "text/html; charset=latin1"),
                typed("application/json", "application/json"),
                typed("application/problem+json", "application/problem+json"),
                typed("text/css", "text/css"),
                typed("text/event-stream", "text/event-stream"),
            ],
            "4.7 an upstream's own errors pass unchanged": [passes(status) for status in (201, 400, 404, 413, 429, 500, 502, 503, 504)],
            "4.8 HEAD, 204 and 304 have no body": [
                Row("/up", method="HEAD", text="", has={"Content-Length": DIGITS}),
                Row("/up", 204, given={"status": 204}, text="", has={"Content-Length": ABSENT}),
                Row("/up", 304, given={"status": 304}, text=""),
            ],
            "4.9 which headers are sent is a setting of the node": [Differs("`headers` and `headers_upstream`")],
            "4.10 compression is a setting of the node": [HeldBy("contract/kong_observed/test_04_compression.py", "test_answer_is_compressed_as_by_kong")],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_answer_carries_what_kong_would_add(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def test_several_cookies_stay_several(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    site.upstream.headers = {"Set-Cookie": "a=1", "set-cookie": "b=2"}
    assert site.edge.get("/up").all("Set-Cookie") == ["a=1", "b=2"]
