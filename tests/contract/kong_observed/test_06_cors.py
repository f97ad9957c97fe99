"""Section 6: cors."""

from __future__ import annotations

import pytest

from tests.support.observed import ABSENT, Differs, HeldBy, Row, Site, Table, cases

SECTION = 6
SHOP, LOCAL, EVIL = "https://shop.example", "http://localhost:3000", "https://evil.example"
ALLOW = "Access-Control-Allow-"
EXPOSE, MAX_AGE = "Access-Control-Expose-Headers", "Access-Control-Max-Age"
ASK_METHOD, ASK_HEADERS = "Access-Control-Request-Method", "Access-Control-Request-Headers"
ALL_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"
TWO = f"origins: [{SHOP}, '{LOCAL}'], credentials: true, max_age: 600, headers: [A, B, C], exposed_headers: [X, Y]"


def service(name: str, config: str, more: str = "") -> str:
    cors = f"[{{name: cors, config: {{{config}}}}}{more}]"
    return (
        f'- {{name: {name}, url: "http://127.0.0.1:$UPSTREAM", routes: [{{name: {name}, paths: [/{name}], plugins: {cors}}}]}}\n'
    )  # fmt: skip


CONFIG = (
    '_format_version: "3.0"\nservices:\n'
    + service("two", TWO)
    + service("one", f"origins: ['{SHOP}']")
    + service("any", "")
    + service("star", "origins: ['*']")
    + service("anycred", "origins: ['*'], credentials: true")
    + service("regex", r"origins: ['https://.*\.shop\.example', 'https://other.example']")
    + service("continue", f"origins: ['{SHOP}'], preflight_continue: true")
    + service("methods", f"origins: ['{SHOP}'], methods: [GET, POST]")
    + service("keyed", TWO, ", {name: request-termination, config: {status_code: 401, message: closed}}")
)
GLOBAL = f"""
_format_version: "3.0"
services:
- {{name: up, url: "http://127.0.0.1:$UPSTREAM", routes: [{{name: up, paths: [/up]}}]}}
- {{name: get, url: "http://127.0.0.1:$UPSTREAM", routes: [{{name: get, paths: [/get], methods: [GET]}}]}}
- {{name: down, url: "http://127.0.0.1:1", retries: 0, routes: [{{name: down, paths: [/down]}}]}}
plugins:
- {{name: cors, config: {{{TWO}}}}}
- {{name: request-size-limiting, config: {{allowed_payload_size: 1, size_unit: bytes}}}}
"""
SIMPLE = {"vary": "Origin", ALLOW + "Credentials": "true", EXPOSE: "X,Y"}


def preflight(path: str, origin: str, has: dict[str, str | None], **asked: str) -> Row:
    """An answered preflight; it never says what may be read, and never reaches the upstream."""
    headers = {"Origin": origin, ASK_METHOD: "PUT", **asked}
    own = {"Content-Length": "0", "Content-Type": ABSENT, "Via": ABSENT, EXPOSE: ABSENT, **has}
    return Row(path, method="OPTIONS", headers=headers, has=own, text="")


def simple(path: str, origin: str | None, has: dict[str, str | None]) -> Row:
    return Row(path, headers={"Origin": origin} if origin is not None else {}, has=has)


def carried(path: str, status: int, **more: object) -> Row:
    return Row(path, status, headers={"Origin": SHOP}, has={**SIMPLE, ALLOW + "Origin": SHOP}, **more)


LISTED = {ALLOW + "Methods": ALL_METHODS, ALLOW + "Headers": "A,B,C", MAX_AGE: "600", "vary": "Origin", ALLOW + "Credentials": "true"}  # fmt: skip
TABLES = [
    Table(
        CONFIG,
        {
            "6.1 a preflight of a listed origin is answered 200 at the edge": [
                preflight("/two", SHOP, {**LISTED, ALLOW + "Origin": SHOP}),
                preflight("/two", LOCAL, {**LISTED, ALLOW + "Origin": LOCAL}),
                preflight("/methods", SHOP, {ALLOW + "Methods": "GET,POST", MAX_AGE: ABSENT, ALLOW + "Credentials": ABSENT}),
            ],
            "6.2 of an unlisted one too, without its name": [preflight("/two", EVIL, {**LISTED, ALLOW + "Origin": ABSENT})],
            "6.3 OPTIONS is a preflight only with an origin and a method asked for": [
                Row("/two", method="OPTIONS", headers={"Origin": SHOP}, sees="/", has={**SIMPLE, ALLOW + "Origin": SHOP}),
                Row("/two", method="OPTIONS", headers={ASK_METHOD: "PUT"}, sees="/", has={ALLOW + "Methods": ABSENT}),
                Row("/two", method="OPTIONS", sees="/"),
                Row("/two", method="OPTIONS", headers={"Origin": SHOP, ASK_METHOD: ""}, sees="/"),
            ],
            "6.4 an answer to a listed origin names it": [
                simple("/two", SHOP, {**SIMPLE, ALLOW + "Origin": SHOP, ALLOW + "Methods": ABSENT, MAX_AGE: ABSENT}),
                simple("/two", LOCAL, {**SIMPLE, ALLOW + "Origin": LOCAL}),
            ],
            "6.5 to an unlisted one, to none and to null it has the rest": [
                simple("/two", origin, {**SIMPLE, ALLOW + "Origin": ABSENT}) for origin in (EVIL, None, "null")
            ],
            "6.6 a single literal origin is always named": [
                simple("/one", origin, {ALLOW + "Origin": SHOP, "vary": "Origin"}) for origin in (SHOP, EVIL, None)
            ],
            "6.7 by default every origin is allowed, and what is asked for": [
                simple("/any", SHOP, {ALLOW + "Origin": "*", "vary": ABSENT, ALLOW + "Credentials": ABSENT}),
                simple("/star", SHOP, {ALLOW + "Origin": "*", "vary": ABSENT}),
                simple("/any", None, {ALLOW + "Origin": "*"}),
                preflight("/any", SHOP, {ALLOW + "Origin": "*", ALLOW + "Headers": "x-a, x-b", "vary": ABSENT}, **{ASK_HEADERS: "x-a, x-b"}),
            ],
            "6.8 every origin with credentials is named": [
                simple("/anycred", SHOP, {ALLOW + "Origin": SHOP, "vary": "Origin", ALLOW + "Credentials": "true"}),
                simple("/anycred", None, {ALLOW + "Origin": "*", ALLOW + "Credentials": "true"}),
            ],
            "6.9 without `headers` those asked for are allowed, none if none": [
                preflight("/one", SHOP, {ALLOW + "Headers": "X-One,X-Two"}, **{ASK_HEADERS: "X-One,X-Two"}),
                preflight("/one", SHOP, {ALLOW + "Headers": ABSENT}),
            ],
            "6.10 a scheme's own port is left out": [
                simple("/two", SHOP + ":443", {ALLOW + "Origin": SHOP}),
                preflight("/two", SHOP + ":443", {ALLOW + "Origin": SHOP}),
            ],
            "6.11 other case, scheme, subdomain and a longer end are other origins": [
                simple("/two", origin, {ALLOW + "Origin": ABSENT})
                for origin in ("https://SHOP.example", "http://shop.example", "https://x.shop.example", SHOP + ".evil", SHOP + ":8443")
            ],
            "6.12 a regular expression is anchored at both ends": [
                simple("/regex", "https://a.shop.example", {ALLOW + "Origin": "https://a.shop.example"}),
                simple("/regex", "https://other.example", {ALLOW + "Origin": "https://other.example"}),
                simple("/regex", "https://a.shop.example:8443", {ALLOW + "Origin": ABSENT}),
                simple("/regex", "https://a.shop.example.evil", {ALLOW + "Origin": ABSENT}),
                simple("/regex", "http://a.shop.example", {ALLOW + "Origin": ABSENT}),
                simple("/regex", "https://a.shopxexample", {ALLOW + "Origin": ABSENT}),
                Differs("regex origins of literal text"),
            ],
            "6.13 a continued preflight is the upstream's": [
                Row("/continue", method="OPTIONS", headers={"Origin": SHOP, ASK_METHOD: "PUT"}, sees="/",
                    has={ALLOW + "Origin": ABSENT, ALLOW + "Methods": ABSENT, "vary": ABSENT}),
                simple("/continue", SHOP, {ALLOW + "Origin": SHOP, "vary": "Origin"}),
            ],
            "6.14 an upstream's own origin is replaced, its Vary kept": [
                Row("/two", headers={"Origin": SHOP}, given={"headers": {ALLOW + "Origin": "*", "Vary": "Accept"}},
                    has={ALLOW + "Origin": SHOP, "vary": ["Accept", "Origin"]}),
            ],
            "6.15 of two origins the first counts": [
                Row("", raw=f"GET /two HTTP/1.1\r\nHost: a\r\nOrigin: {SHOP}\r\nOrigin: {EVIL}\r\nConnection: close\r\n\r\n".encode(),
                    has={ALLOW + "Origin": SHOP}),
            ],
            "6.16 an empty origin is none, where Kong answers 500": [
                Row("/two", method="OPTIONS", headers={"Origin": "", ASK_METHOD: "PUT"}, sees="/", has={ALLOW + "Origin": ABSENT}),
                Differs("an empty `Origin`"),
            ],
            "6.17 a preflight is answered before a limit is asked": [
                HeldBy("contract/kong_observed/test_07_rate_limiting.py", "test_sizes_preflights_and_unknown_paths_are_not_counted"),
                preflight("/keyed", SHOP, {**LISTED, ALLOW + "Origin": SHOP}),
            ],
        },
    ),
    Table(
        GLOBAL,
        {
            "6.18 the edge's own errors can be read by the page that asked": [
                carried("/nowhere", 404),
                carried("/down", 502),
                carried("/up", 413, method="POST", body=b"too long"),
                carried("/up", 500, given={"status": 500}),
                Row("/nowhere", 404, headers={"Origin": EVIL}, has={**SIMPLE, ALLOW + "Origin": ABSENT}),
            ],
            "6.19 a preflight to no route is no preflight": [
                Row(path, 404, method="OPTIONS", headers={"Origin": SHOP, ASK_METHOD: "PUT"},
                    has={**SIMPLE, ALLOW + "Origin": SHOP, ALLOW + "Methods": ABSENT})
                for path in ("/nowhere", "/get")
            ],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_page_is_answered_as_kong_answers_it(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def test_preflight_never_reaches_the_upstream(site: Site) -> None:
    site.load(CONFIG)
    site.upstream.calm()
    for origin in (SHOP, EVIL):
        site.edge.send("OPTIONS", "/two", {"Origin": origin, ASK_METHOD: "PUT"})
    assert site.upstream.seen == []
