"""Section 1: which of several routes takes a request."""

from __future__ import annotations

import pytest

from tests.support.observed import ABSENT, REQUEST_ID, TEXT_KIND, Differs, Row, Site, Table, cases

SECTION = 1
NO_ROUTE = "no Route matched with those values"
CONFIG = """
_format_version: "3.0"
services:
- {name: by-prefix, url: "http://127.0.0.1:$UPSTREAM/long-prefix", routes: [{name: p1, paths: [/w/long/prefix]}]}
- {name: by-regex, url: "http://127.0.0.1:$UPSTREAM/regex", routes: [{name: p2, paths: ['~/w/l[a-z]+']}]}
- {name: by-host, url: "http://127.0.0.1:$UPSTREAM/host", routes: [{name: p3, paths: [/w], hosts: [shop.example]}]}
- {name: by-wild, url: "http://127.0.0.1:$UPSTREAM/wild", routes: [{name: p4, paths: [/w], hosts: ["*.example"]}]}
- {name: by-header, url: "http://127.0.0.1:$UPSTREAM/header", routes: [{name: p5, paths: [/w], headers: {x-kind: [a, b]}}]}
- {name: two-headers, url: "http://127.0.0.1:$UPSTREAM/two", routes: [{name: p6, paths: [/w], headers: {x-kind: [a], x-more: ["1"]}}]}
- {name: only-get, url: "http://127.0.0.1:$UPSTREAM/get", routes: [{name: g, paths: [/get], methods: [GET]}]}
- {name: root, url: "http://127.0.0.1:$UPSTREAM/", routes: [{name: root, paths: [/], hosts: [root.example]}]}
- {name: one-header, url: "http://127.0.0.1:$UPSTREAM/one-regex", routes: [{name: h1, paths: ['~/h/[a-z]+'], headers: {x-one: ["1"]}}]}
- {name: two-of-them, url: "http://127.0.0.1:$UPSTREAM/two-prefix", routes: [{name: h2, paths: [/h], headers: {x-one: ["1"], x-two: ["2"]}}]}
- {name: kinds, url: "http://127.0.0.1:$UPSTREAM/kinds", routes: [{name: k, paths: [/k], hosts: [shop.example], methods: [GET]}]}
- {name: longer, url: "http://127.0.0.1:$UPSTREAM/longer", routes: [{name: l, paths: [/k/longer], hosts: [shop.example]}]}
- {name: priority, url: "http://127.0.0.1:$UPSTREAM/low", routes: [{name: r1, paths: ['~/r/[a-z]+'], regex_priority: 1}]}
- {name: higher, url: "http://127.0.0.1:$UPSTREAM/high", routes: [{name: r2, paths: ['~/r/[a-z]'], regex_priority: 2}]}
- {name: disabled, url: "http://127.0.0.1:$UPSTREAM/off", enabled: false, routes: [{name: closed, paths: [/off]}]}
- {name: same-1, url: "http://127.0.0.1:$UPSTREAM/one", routes: [{name: s1, id: 00000000-0000-4000-8000-000000000001, paths: [/same]}]}
- {name: same-2, url: "http://127.0.0.1:$UPSTREAM/two", routes: [{name: s2, id: 00000000-0000-4000-8000-000000000002, paths: [/same]}]}
- {name: secure, url: "http://127.0.0.1:$UPSTREAM/", routes: [{name: secure, paths: [/secure], protocols: [https]}]}
- {name: moved, url: "http://127.0.0.1:$UPSTREAM/", routes: [{name: moved, paths: [/moved], protocols: [https], https_redirect_status_code: 308}]}
routes:
- {name: lonely, paths: [/lonely]}
"""
SHOP = {"Host": "shop.example"}


def no_route(path: str, **more: object) -> Row:
    return Row(path, 404, says=NO_ROUTE, **more)


TABLE = Table(
    CONFIG,
    {
        "1.1 more kinds of matcher win over a longer path": [
            Row("/w/long", headers=SHOP, sees="/host/long"),
            Row("/k/longer/x", headers=SHOP, sees="/kinds/longer/x"),
        ],
        "1.2 a regular expression wins over a longer prefix": [
            Row("/w/long/prefix/x", headers={"Host": "other"}, sees="/regex/prefix/x"),
            Row("/r/abc", sees="/high/bc"),
        ],
        "1.3 plain host, then header, then wildcard host": [
            Row("/w/long", headers={"Host": "x.example"}, sees="/wild/long"),
            Row("/w/long", headers={"Host": "x.example", "X-Kind": "b"}, sees="/header/long"),
            Row("/w/long", headers={**SHOP, "X-Kind": "b"}, sees="/host/long"),
            Row("/w/long", headers={"Host": "x.example", "X-Kind": "a", "X-More": "1"}, sees="/two/long"),
            Row("/w/long", headers={"Host": "other", "X-Kind": "c"}, sees="/regex"),
        ],
        "1.4 more headers win over a regular expression": [
            Row("/h/abc", headers={"X-One": "1", "X-Two": "2"}, sees="/two-prefix/abc"),
            Row("/h/abc", headers={"X-One": "1"}, sees="/one-regex"),
        ],
        "1.5 of equal routes the greatest id wins": [
            Row("/same", sees="/two"),
        ],
        "1.6 a host matches with any port": [
            Row("/w/x", headers={"Host": "shop.example:8000"}, sees="/host/x"),
            Row("/", headers={"Host": "root.example"}, sees="/"),
            Row("/a/b", headers={"Host": "root.example"}, sees="/a/b"),
            no_route("/w", headers={"Host": "shop.example."}),
            Differs("compared without case"),
        ],
        "1.7 a method that is not listed is no route, never 405": [
            no_route("/get/1", method="POST", body=b""),
            no_route("/get/1", method="FOO"),
            no_route("/get/1", method="OPTIONS"),
            Row("/get/1", sees="/get/1"),
        ],
        "1.8 TRACE and CONNECT are refused before routing": [
            Row("/w/long", 405, method="TRACE", has={"Content-Type": TEXT_KIND, "Via": ABSENT}),
            Differs("`CONNECT`"),
        ],
        "1.9 paths are compared with case": [no_route("/W/long"), no_route("/GET/1")],
        "1.10 routes of a disabled service are not there": [no_route("/off")],
        "1.11 a route for https only tells plain clients to upgrade": [
            Row("/secure/x", 426, says="Please use HTTPS protocol", has={"Via": ABSENT}),
                Differs("has no `Upgrade` header"),
            Row("/moved/x?y=1", 308, headers={"Host": "shop.example:8000"}, has={"Location": "https://shop.example/moved/x?y=1"}),
        ],
        "1.12 a route without a service says so": [
            Row("/lonely", 503, says="no Service found with those values", has={"X-Kong-Request-Id": REQUEST_ID}),
        ],
    },
)  # fmt: skip
TABLES = [TABLE]


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_route_is_chosen_as_kong_chooses(site: Site, config: str, row: Row) -> None:
    site.check(config, row)
