"""Section 2: what a path becomes on its way to the upstream."""

from __future__ import annotations

import pytest

from tests.support.observed import TEXT_KIND, Differs, Row, Site, Table, cases

SECTION = 2
NO_ROUTE = "no Route matched with those values"
CONFIG = """
_format_version: "3.0"
services:
- {name: products, url: "http://127.0.0.1:$UPSTREAM/function/products", routes: [{name: products, paths: [/api/products]}]}
- {name: orders, url: "http://127.0.0.1:$UPSTREAM/function/orders", routes: [{name: orders, paths: [/api/orders]}]}
- {name: segments, url: "http://127.0.0.1:$UPSTREAM/function/seg", routes: [{name: segments, paths: ["~/seg/products($|/)"]}]}
- name: bare
  url: http://127.0.0.1:$UPSTREAM
  routes:
  - {name: np, paths: [/np]}
  - {name: npseg, paths: ["~/npseg($|/)"]}
  - {name: rx, paths: ['~/rx/(?<id>[0-9]+)']}
- name: base
  url: http://127.0.0.1:$UPSTREAM/base/
  routes:
  - {name: keep, paths: [/keep], strip_path: false}
  - {name: keepseg, paths: ["~/keepseg($|/)"], strip_path: false}
  - {name: slash, paths: [/slash/]}
"""


def seen(path: str, upstream: str) -> Row:
    return Row(path, sees=upstream)


def no_route(path: str) -> Row:
    return Row(path, 404, says=NO_ROUTE)


def unreadable(target: bytes) -> Row:
    return Row("", 400, raw=b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", has={"Connection": "close"})


TABLES = [
    Table(
        CONFIG,
        {
            "2.1 the prefix is taken off and the rest joined to the service's path": [
                seen("/api/products", "/function/products"),
                seen("/api/products/7", "/function/products/7"),
            ],
            "2.2 a slash at the end stays": [seen("/api/products/", "/function/products/")],
            "2.3 the query passes byte for byte, an empty one too": [
                seen("/api/products?", "/function/products?"),
                seen("/api/products?a=//b/%70&%zz", "/function/products?a=//b/%70&%zz"),
            ],
            "2.4 a prefix knows no segments, and taking it off inserts a slash": [
                seen("/api/productsX", "/function/products/X"),
                seen("/api/products-new/7", "/function/products/-new/7"),
            ],
            "2.5 doubled slashes, dots and escapes are resolved before routing": [
                seen("//api//products///7", "/function/products/7"),
                seen("/api/products/./7", "/function/products/7"),
                seen("/api/%70roducts/7", "/function/products/7"),
                seen("/%61%70%69/products", "/function/products"),
            ],
            "2.6 going up leads to another route": [
                seen("/api/products/../orders/1", "/function/orders/1"),
                seen("/api/products/%2e%2e/orders/1", "/function/orders/1"),
                seen("/api/products/.%2E/orders/1", "/function/orders/1"),
            ],
            "2.7 going up to nothing is no route": [no_route("/api/products/.."), no_route("/api/products/%2e%2e")],
            "2.8 an escaped slash is kept, in capitals, and separates nothing": [
                seen("/api/products/a%2fb", "/function/products/a%2Fb"),
                seen("/api/products/..%2forders", "/function/products/..%2Forders"),
                seen("/api/products/..%2F..%2Fadmin", "/function/products/..%2F..%2Fadmin"),
            ],
            "2.9 a prefix matches before an escaped slash": [seen("/api/products%2F7", "/function/products/%2F7")],
            "2.10 an escaped slash is no slash of a prefix": [no_route("/api%2Fproducts"), no_route("/%2Fapi/products")],
            "2.11 UTF-8 is escaped in capitals": [
                seen("/api/products/a%20b%c3%a9", "/function/products/a%20b%C3%A9"),
                Differs("raw bytes above 127"),
            ],
            "2.12 what a URL may not hold is escaped": [
                seen('/api/products/a+b|c"<>{}^`', "/function/products/a+b%7Cc%22%3C%3E%7B%7D%5E%60"),
            ],
            "2.13 what it may hold is kept": [
                seen("/api/products/;x+y", "/function/products/;x+y"),
                seen("/api/products/a;b=1/c", "/function/products/a;b=1/c"),
                seen("/api/products/~a:b@c!$&'()*,=", "/function/products/~a:b@c!$&'()*,="),
                Differs("`#` and `\\` in a path"),
            ],
            "2.14 escapes are resolved once": [
                seen("/api/products/%252e", "/function/products/%252e"),
                seen("/api/products/%252e%252e/x", "/function/products/%252e%252e/x"),
                seen("/api/products/%252Fx", "/function/products/%252Fx"),
            ],
            "2.15 a path that is not UTF-8 is no route": [no_route("/api/products/%e9"), no_route("/api/products/%ff%fe")],
            "2.16 a target that cannot be read is refused": [
                Row("/api/products/%zz", 400, says="Bad request", kind=TEXT_KIND),
                Row("/api/products/%", 400, says="Bad request", kind=TEXT_KIND),
                Row("/api/products/%00", 400),
                Differs("climbs above the root"),
                unreadable(b"/sp ace"),
                unreadable(b"api/products"),
            ],
            "2.17 of an absolute target the host counts, not the header": [
                Row("", raw=b"GET http://other.example/api/products/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                    sees="/function/products/7", saw={"X-Forwarded-Host": "other.example"}),
            ],
            "2.18 service paths join with one slash": [
                seen("/np", "/"),
                seen("/np/", "/"),
                seen("/np/x", "/x"),
                seen("/npx", "/x"),
                seen("/npseg", "/"),
                seen("/npseg/", "/"),
                seen("/npseg/x/y", "/x/y"),
            ],
            "2.19 strip_path: false keeps the prefix, a prefix may end in a slash, a regex is anchored at its start": [
                seen("/keep/x", "/base/keep/x"),
                seen("/keepX", "/base/keepX"),
                seen("/keepseg", "/base/keepseg"),
                seen("/keepseg/x", "/base/keepseg/x"),
                seen("/slash/x", "/base/x"),
                seen("/slash/", "/base/"),
                no_route("/slash"),
                seen("/rx/77", "/"),
                seen("/rx/77/y", "/y"),
                seen("/rx/77y", "/y"),
                no_route("/rx/seven"),
                no_route("/x/rx/77"),
            ],
            "2.20 `~/x($|/)` takes whole segments only": [
                seen("/seg/products", "/function/seg"),
                seen("/seg/products/", "/function/seg/"),
                seen("/seg/products/7?x=1", "/function/seg/7?x=1"),
                seen("/seg/products/%2Fmetrics", "/function/seg/%2Fmetrics"),
                no_route("/seg/productsX"),
                no_route("/seg/productsmetrics"),
                no_route("/seg/products%2Fmetrics"),
                no_route("/seg/products;metrics"),
            ],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_upstream_is_sent_the_path_that_kong_would_send(site: Site, config: str, row: Row) -> None:
    site.check(config, row)
