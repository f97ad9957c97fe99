"""What plugins answer and add, as seen on a real Kong (kong-observed, sections 6 to 10)."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.edge import RunningEdge, Upstream, running_edge, wait_for

UUID4 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
SHOP = "https://shop.example"
PREFLIGHT = {"Origin": SHOP, "Access-Control-Request-Method": "PUT"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state) as edge:
        yield edge
        assert edge.stat("http.edge.lua.errors") == 0
    shutil.rmtree(state)


@pytest.fixture
def edge(running: RunningEdge, upstream: Upstream) -> Iterator[RunningEdge]:
    upstream.calm()
    yield running
    upstream.calm()


def with_plugins(edge: RunningEdge, upstream: Upstream, plugins: str, route_plugins: str = "[]") -> None:
    """One service on /a (with plugins of its own route) and one on /b, under global plugins."""
    edge.load(f"""
_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:{upstream.server_port}
  routes: [{{name: a, paths: [/a], plugins: {route_plugins}}}]
- name: b
  url: http://127.0.0.1:{upstream.server_port}
  routes: [{{name: b, paths: [/b]}}]
plugins: {plugins}
""")


# correlation-id


@pytest.fixture
def correlated(edge: RunningEdge, upstream: Upstream) -> RunningEdge:
    config = "{header_name: X-Request-Id, generator: uuid, echo_downstream: true}"
    with_plugins(edge, upstream, f"[{{name: correlation-id, config: {config}}}]")
    return edge


def ids_seen_upstream(body: dict[str, list[list[str]]]) -> list[str]:
    return [value for name, value in body["headers"] if name == "x-request-id"]


@pytest.mark.parametrize("headers", [{}, {"X-Request-Id": ""}], ids=["absent", "empty"])
def test_request_without_id_gets_one(correlated: RunningEdge, headers: dict[str, str]) -> None:
    answer = correlated.get("/a", headers)
    [seen] = ids_seen_upstream(answer.json)
    assert UUID4.match(seen)
    assert answer.all("X-Request-Id") == [seen]


def test_clients_id_is_kept_as_it_is(correlated: RunningEdge) -> None:
    mine = "my id/ÿ" + "x" * 300
    answer = correlated.get("/a", {"X-Request-Id": mine.encode().decode("latin-1")})
    assert answer.header("X-Request-Id") == ids_seen_upstream(answer.json)[0]
    assert len(answer.header("X-Request-Id") or "") == len(mine.encode())


def test_of_two_ids_the_upstream_gets_both_and_the_client_the_first(
    edge: RunningEdge, upstream: Upstream
) -> None:
    with_plugins(
        edge, upstream, "[{name: correlation-id, config: {header_name: X-Id, echo_downstream: true}}]"
    )
    received = edge.raw(b"GET /a HTTP/1.1\r\nHost: a\r\nX-Id: one\r\nX-Id: two\r\n\r\n")
    assert b"\r\nx-id: one\r\n" in received
    assert b'["x-id", "one"], ["x-id", "two"]' in received


def test_upstreams_id_is_overwritten(correlated: RunningEdge, upstream: Upstream) -> None:
    upstream.headers = {"X-Request-Id": "theirs"}
    assert correlated.get("/a", {"X-Request-Id": "mine"}).all("X-Request-Id") == ["mine"]


def test_errors_carry_the_id_but_name_the_edges_own_in_the_body(correlated: RunningEdge) -> None:
    answer = correlated.get("/nowhere", {"X-Request-Id": "mine"})
    assert answer.header("X-Request-Id") == "mine"
    assert answer.json["request_id"] == answer.header("X-Kong-Request-Id") != "mine"


def test_default_generator_counts_and_does_not_echo(edge: RunningEdge, upstream: Upstream) -> None:
    with_plugins(edge, upstream, "[{name: correlation-id}]")
    seen = []
    for _ in range(2):
        answer = edge.get("/a")
        assert answer.header("Kong-Request-ID") is None
        seen += [value for name, value in answer.json["headers"] if name == "kong-request-id"]
    (first, one), (second, two) = (item.split("#") for item in seen)
    assert first == second
    assert int(two) == int(one) + 1


# request-size-limiting


@pytest.fixture
def limited(edge: RunningEdge, upstream: Upstream) -> RunningEdge:
    config = "{allowed_payload_size: 1, size_unit: kilobytes}"
    with_plugins(edge, upstream, f"[{{name: request-size-limiting, config: {config}}}]")
    return edge


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
def test_limit_is_inclusive(limited: RunningEdge, upstream: Upstream, chunked: bool) -> None:
    fits = limited.send("POST", "/a", body=b"x" * 1024, chunked=chunked)
    assert (fits.status, fits.json["length"]) == (200, 1024)
    assert ["content-length", "1024"] in fits.json["headers"]
    upstream.seen.clear()
    over = limited.send("POST", "/a", body=b"x" * 1025, chunked=chunked)
    assert (over.status, over.json["message"]) == (413, "Request size limit exceeded")
    assert over.json["request_id"] == over.header("X-Kong-Request-Id")
    assert upstream.seen == []


def test_refused_size_keeps_the_connection(limited: RunningEdge) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n"
    received = limited.raw(head + b"x" * 2000 + b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 413 ")


def test_length_can_be_required(edge: RunningEdge, upstream: Upstream) -> None:
    config = "{allowed_payload_size: 1, require_content_length: true}"
    with_plugins(edge, upstream, f"[{{name: request-size-limiting, config: {config}}}]")
    answer = edge.get("/a")
    assert (answer.status, answer.json["message"]) == (411, "A valid Content-Length header is required")
    assert edge.send("POST", "/a", body=b"x", chunked=True).status == 200


# cors


@pytest.fixture
def shared(edge: RunningEdge, upstream: Upstream) -> RunningEdge:
    cors(
        edge,
        upstream,
        f"origins: [{SHOP}, 'http://localhost:3000'], credentials: true, max_age: 600, "
        "headers: [A, B, C], exposed_headers: [X, Y]",
    )
    return edge


def cors(edge: RunningEdge, upstream: Upstream, config: str) -> None:
    with_plugins(edge, upstream, f"[{{name: cors, config: {{{config}}}}}]")


ALLOW = "Access-Control-Allow-"
ALL_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"


@pytest.mark.parametrize("origin", [SHOP, "https://evil.example"], ids=["listed", "unlisted"])
def test_preflight_is_answered_for_any_origin(shared: RunningEdge, upstream: Upstream, origin: str) -> None:
    answer = shared.send("OPTIONS", "/a", {**PREFLIGHT, "Origin": origin})
    assert (answer.status, answer.body, answer.header("Content-Length")) == (200, b"", "0")
    assert answer.header("Content-Type") is None
    assert answer.all("vary") == ["Origin"]
    assert answer.header(ALLOW + "Origin") == (SHOP if origin == SHOP else None)
    assert answer.header(ALLOW + "Credentials") == "true"
    assert answer.header(ALLOW + "Headers") == "A,B,C"
    assert answer.header(ALLOW + "Methods") == ALL_METHODS
    assert answer.header("Access-Control-Max-Age") == "600"
    assert answer.header("Access-Control-Expose-Headers") is None
    assert answer.header("X-Kong-Response-Latency") == "0"
    assert answer.all("X-Kong-Request-Id").__len__() == 1
    assert answer.header("Via") is None
    assert upstream.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": SHOP},
        {"Origin": "", "Access-Control-Request-Method": "PUT"},
        {"Access-Control-Request-Method": "PUT"},
    ],
    ids=["no method asked", "empty origin", "no origin"],
)
def test_other_options_requests_are_proxied(shared: RunningEdge, headers: dict[str, str]) -> None:
    assert shared.send("OPTIONS", "/a", headers).json["method"] == "OPTIONS"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (SHOP, SHOP),
        (SHOP + ":443", SHOP),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://SHOP.example", None),
        ("http://shop.example", None),
        ("https://x.shop.example", None),
        ("https://shop.example.evil", None),
        ("null", None),
        (None, None),
    ],
)
def test_simple_answer_allows_listed_origins_only(
    shared: RunningEdge, origin: str | None, allowed: str | None
) -> None:
    answer = shared.get("/a", {"Origin": origin} if origin else {})
    assert answer.header(ALLOW + "Origin") == allowed
    assert answer.all("vary") == ["Origin"]
    assert answer.header(ALLOW + "Credentials") == "true"
    assert answer.header("Access-Control-Expose-Headers") == "X,Y"


def test_no_route_is_readable_by_the_page_that_asked(shared: RunningEdge) -> None:
    for method in ("GET", "OPTIONS"):
        answer = shared.send(method, "/nowhere", PREFLIGHT)
        assert (answer.status, answer.header(ALLOW + "Origin")) == (404, SHOP)
        assert answer.header("Access-Control-Expose-Headers") == "X,Y"


def test_upstreams_cors_headers_are_replaced_and_its_vary_kept(
    shared: RunningEdge, upstream: Upstream
) -> None:
    upstream.headers = {ALLOW + "Origin": "*", "Vary": "Accept"}
    answer = shared.get("/a", {"Origin": SHOP})
    assert answer.all(ALLOW + "Origin") == [SHOP]
    assert ",".join(answer.all("vary")) == "Accept,Origin"


@pytest.mark.parametrize("origin", [SHOP, "https://evil.example", None])
def test_single_literal_origin_is_always_named(
    edge: RunningEdge, upstream: Upstream, origin: str | None
) -> None:
    cors(edge, upstream, f"origins: ['{SHOP}']")
    answer = edge.get("/a", {"Origin": origin} if origin else {})
    assert (answer.header(ALLOW + "Origin"), answer.all("vary")) == (SHOP, ["Origin"])


def test_defaults_allow_every_origin_and_what_is_asked(edge: RunningEdge, upstream: Upstream) -> None:
    with_plugins(edge, upstream, "[{name: cors}]")
    simple = edge.get("/a", {"Origin": SHOP})
    assert (simple.header(ALLOW + "Origin"), simple.header("vary")) == ("*", None)
    asked = {**PREFLIGHT, "Access-Control-Request-Headers": "x-a, x-b"}
    assert edge.send("OPTIONS", "/a", asked).header(ALLOW + "Headers") == "x-a, x-b"
    assert edge.send("OPTIONS", "/a", PREFLIGHT).header(ALLOW + "Headers") is None


def test_every_origin_with_credentials_is_named(edge: RunningEdge, upstream: Upstream) -> None:
    cors(edge, upstream, "origins: ['*'], credentials: true")
    with_origin, without = edge.get("/a", {"Origin": SHOP}), edge.get("/a")
    assert (with_origin.header(ALLOW + "Origin"), with_origin.all("vary")) == (SHOP, ["Origin"])
    assert without.header(ALLOW + "Origin") == "*"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.shop.example", True),
        ("https://a.shop.example:8443", False),
        ("https://a.shop.example.evil", False),
    ],
)
def test_regex_origin_is_anchored_at_both_ends(
    edge: RunningEdge, upstream: Upstream, origin: str, allowed: bool
) -> None:
    cors(edge, upstream, r"origins: ['https://.*\.shop\.example', 'https://other.example']")
    assert edge.get("/a", {"Origin": origin}).header(ALLOW + "Origin") == (origin if allowed else None)


def test_continued_preflight_gets_no_cors_header(edge: RunningEdge, upstream: Upstream) -> None:
    cors(edge, upstream, f"origins: ['{SHOP}'], preflight_continue: true")
    answer = edge.send("OPTIONS", "/a", PREFLIGHT)
    assert answer.json["method"] == "OPTIONS"
    assert not [name for name, _ in answer.headers if name.startswith("access-control")]


# rate-limiting


def rate(edge: RunningEdge, upstream: Upstream, config: str, more: str = "", route: str = "[]") -> None:
    """A limit of its own scope for each test would be a reload; tests use limits that cannot meet."""
    with_plugins(edge, upstream, f"[{{name: rate-limiting, config: {{{config}}}}}{more}]", route)


def by_header(name: str, limits: str) -> str:
    return f"{limits}, limit_by: header, header_name: {name}"


def early_in_a_minute() -> None:
    """Not so near the end of a minute that a test would see two windows."""
    wait_for(lambda: time.time() % 60 < 57, 5, "a new minute")


def test_answers_tell_what_is_left(edge: RunningEdge, upstream: Upstream) -> None:
    early_in_a_minute()
    rate(edge, upstream, by_header("X-Who", "minute: 3"))
    answers = [edge.get("/a", {"X-Who": "test 1"}) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.header("X-RateLimit-Remaining-Minute") for answer in answers] == ["2", "1", "0", "0"]
    for answer in answers:
        assert answer.header("X-RateLimit-Limit-Minute") == answer.header("RateLimit-Limit") == "3"
        assert answer.header("RateLimit-Remaining") == answer.header("X-RateLimit-Remaining-Minute")
        assert 1 <= int(answer.header("RateLimit-Reset") or 0) <= 60
    refused = answers[-1]
    assert refused.json["message"] == "API rate limit exceeded"
    assert refused.header("Retry-After") == refused.header("RateLimit-Reset")
    assert answers[0].header("Retry-After") is None


def test_window_is_aligned_to_the_clock(edge: RunningEdge, upstream: Upstream) -> None:
    rate(edge, upstream, by_header("X-Who", "second: 1"))
    wait_for(lambda: 0.05 < time.time() % 1 < 0.3, 2, "a new second")
    assert [edge.get("/a", {"X-Who": "test 2"}).status for _ in range(2)] == [200, 429]
    wait_for(lambda: edge.get("/a", {"X-Who": "test 2"}).status == 200, 2, "a new window")


def test_several_windows_are_told_and_the_tightest_summed_up(edge: RunningEdge, upstream: Upstream) -> None:
    early_in_a_minute()
    wait_for(lambda: 0.05 < time.time() % 1 < 0.3, 2, "a new second")
    rate(
        edge,
        upstream,
        by_header("X-Who", "second: 2, minute: 50, hour: 100, day: 200, month: 300, year: 400"),
    )
    first, second, third = (edge.get("/a", {"X-Who": "test 3"}) for _ in range(3))
    for period, limit in (
        ("Second", 2),
        ("Minute", 50),
        ("Hour", 100),
        ("Day", 200),
        ("Month", 300),
        ("Year", 400),
    ):
        assert first.header(f"X-RateLimit-Limit-{period}") == str(limit)
    assert (first.header("RateLimit-Limit"), second.header("RateLimit-Remaining")) == ("2", "0")
    assert third.status == 429
    assert third.header("X-RateLimit-Remaining-Hour") == second.header("X-RateLimit-Remaining-Hour") == "98"


def test_many_at_once_get_no_more_than_the_limit(edge: RunningEdge, upstream: Upstream) -> None:
    early_in_a_minute()
    rate(edge, upstream, by_header("X-Who", "minute: 7"))
    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(lambda _: edge.get("/a", {"X-Who": "test 4"}).status, range(30)))
    assert found.count(200) == 7


def test_global_bucket_spans_routes_and_a_routes_own_replaces_it(
    edge: RunningEdge, upstream: Upstream
) -> None:
    early_in_a_minute()
    rate(edge, upstream, by_header("X-Who", "minute: 2"))
    assert [edge.get(path, {"X-Who": "test 5"}).status for path in ("/a", "/b", "/a")] == [200, 200, 429]
    own = "[{name: rate-limiting, config: {minute: 9, limit_by: header, header_name: X-Who}}]"
    rate(edge, upstream, by_header("X-Who", "minute: 2"), route=own)
    assert edge.get("/a", {"X-Who": "test 5"}).header("RateLimit-Remaining") == "8"
    assert edge.get("/b", {"X-Who": "test 5"}).status == 429


def test_counters_survive_a_reload_so_a_lower_limit_holds_at_once(
    edge: RunningEdge, upstream: Upstream
) -> None:
    early_in_a_minute()
    rate(edge, upstream, by_header("X-Who", "minute: 50"))
    for _ in range(3):
        assert edge.get("/a", {"X-Who": "test 6"}).status == 200
    rate(edge, upstream, by_header("X-Who", "minute: 4"))
    assert [edge.get("/a", {"X-Who": "test 6"}).status for _ in range(2)] == [200, 429]


def test_absent_header_counts_by_address_whatever_the_client_claims(
    edge: RunningEdge, upstream: Upstream
) -> None:
    early_in_a_minute()
    own = "[{name: rate-limiting, config: {minute: 2, limit_by: header, header_name: X-Who}}]"
    rate(edge, upstream, "minute: 100000", route=own)
    claims = ({"X-Forwarded-For": f"9.9.9.{number}", "X-Real-IP": "9.9.9.9"} for number in range(3))
    assert [edge.get("/a", claim).status for claim in claims] == [200, 200, 429]


def test_headers_can_be_hidden_and_the_answer_changed(edge: RunningEdge, upstream: Upstream) -> None:
    early_in_a_minute()
    rate(
        edge,
        upstream,
        by_header("X-Who", "minute: 1, hide_client_headers: true, error_code: 503, error_message: later"),
    )
    edge.get("/a", {"X-Who": "test 8"})
    answer = edge.get("/a", {"X-Who": "test 8"})
    assert (answer.status, answer.json["message"]) == (503, "later")
    assert not [name for name, _ in answer.headers if "ratelimit" in name or name == "retry-after"]


def test_refused_sizes_preflights_and_unknown_paths_are_not_counted(
    edge: RunningEdge, upstream: Upstream
) -> None:
    early_in_a_minute()
    more = (
        ", {name: cors}, {name: request-size-limiting, config: {allowed_payload_size: 1, size_unit: bytes}}"
    )
    rate(edge, upstream, by_header("X-Who", "minute: 1"), more)
    me = {"X-Who": "test 9"}
    assert edge.send("POST", "/a", me, body=b"xx").status == 413
    assert edge.send("OPTIONS", "/a", {**PREFLIGHT, **me}).status == 200
    nowhere = edge.get("/nowhere", me)
    assert (nowhere.status, nowhere.header("RateLimit-Limit")) == (404, None)
    assert edge.get("/a", me).status == 200
    assert edge.send("OPTIONS", "/a", {**PREFLIGHT, **me}).status == 200
    assert edge.get("/a", me).status == 429


# request-termination


def test_termination_answers_without_the_upstream(edge: RunningEdge, upstream: Upstream) -> None:
    own = "[{name: request-termination, config: {status_code: 403, message: 'no \"more\"'}}]"
    with_plugins(edge, upstream, "[]", own)
    answer = edge.get("/a", {"Accept": "text/html"})
    assert (answer.status, answer.text) == (403, '{"message":"no \\"more\\""}')
    assert answer.header("Content-Type") == "application/json; charset=utf-8"
    assert answer.header("Via") is None
    assert upstream.seen == []


def test_termination_can_have_a_body_of_its_own_and_wait_for_a_trigger(
    edge: RunningEdge, upstream: Upstream
) -> None:
    config = "{status_code: 200, body: '<p>back soon</p>', content_type: text/html, trigger: closed}"
    with_plugins(edge, upstream, "[]", f"[{{name: request-termination, config: {config}}}]")
    assert edge.get("/a").json["path"] == "/"
    for path, headers in (("/a?closed", {}), ("/a?x=1&closed=2", {}), ("/a", {"closed": "1"})):
        answer = edge.get(path, headers)
        assert (answer.text, answer.header("Content-Type")) == (
            "<p>back soon</p>",
            "text/html; charset=UTF-8",
        )


# response-transformer


def test_response_headers_are_changed_as_asked(edge: RunningEdge, upstream: Upstream) -> None:
    config = (
        "{remove: {headers: [X-Gone]}, rename: {headers: ['X-Old:X-New']}, replace: {headers: ['X-Here:new', 'X-Absent:no']},"
        " add: {headers: ['Cache-Control:no-store', 'X-Added:a:b']}, append: {headers: ['X-More:two']}}"
    )
    with_plugins(edge, upstream, f"[{{name: response-transformer, config: {config}}}]")
    upstream.headers = {
        "X-Gone": "1", "X-Old": "kept", "X-Here": "old", "Cache-Control": "max-age=1", "X-More": "one",
    }  # fmt: skip
    answer = edge.get("/a")
    assert [answer.header(name) for name in ("X-Gone", "X-Old", "X-Absent")] == [None, None, None]
    assert [answer.header(name) for name in ("X-New", "X-Here", "X-Added")] == ["kept", "new", "a:b"]
    assert answer.all("Cache-Control") == ["max-age=1"]
    assert ",".join(answer.all("X-More")) == "one,two"
    assert edge.get("/nowhere").header("Cache-Control") == "no-store"


def test_disabled_plugin_does_nothing(edge: RunningEdge, upstream: Upstream) -> None:
    with_plugins(edge, upstream, "[{name: request-termination, enabled: false}]")
    assert edge.get("/a").status == 200
