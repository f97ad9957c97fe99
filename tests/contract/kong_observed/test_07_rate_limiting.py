"""Section 7: rate-limiting, policy local. What counts is a sequence, so a claim here is a function more often than a row."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.edge import Answer
from tests.support.observed import ABSENT, DIGITS, Differs, HeldBy, Row, Site, Table, cases
from tests.support.waiting import wait_for

SECTION = 7
HERE = "contract/kong_observed/test_07_rate_limiting.py"
PERIODS = ("Second", "Minute", "Hour", "Day", "Month", "Year")
PREFLIGHT = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}


def service(name: str, limits: str, more: str = "") -> str:
    plugin = f"{{name: rate-limiting, config: {{{limits}}}}}"
    return (
        f'- {{name: {name}, url: "http://127.0.0.1:$UPSTREAM", routes: [{{name: {name}, paths: [/{name}], plugins: [{plugin}{more}]}}]}}\n'
    )  # fmt: skip


def by_header(limits: str) -> str:
    return f"{limits}, limit_by: header, header_name: X-Who"


CONFIG = (
    '_format_version: "3.0"\nservices:\n'
    + service("three", by_header("minute: 3"))
    + service("plenty", "minute: 100000")
    + service("aligned", by_header("second: 1"))
    + service("all", by_header("second: 2, minute: 50, hour: 100, day: 200, month: 300, year: 400"))
    + service("seven", by_header("minute: 7"))
    + service("address", by_header("minute: 2"))
    + service("hidden", by_header("minute: 1, hide_client_headers: true, error_code: 503, error_message: later"))
    + service("guarded", by_header("minute: 1"),
              ", {name: cors}, {name: request-size-limiting, config: {allowed_payload_size: 1, size_unit: bytes}}")
    + '- {name: one, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: one, paths: [/one]}]}\n'
    + '- {name: other, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: other, paths: [/other]}]}\n'
    + f"plugins: [{{name: rate-limiting, config: {{{by_header('minute: 2')}}}}}]\n"
)  # fmt: skip
TABLES = [
    Table(
        CONFIG,
        {
            "7.1 an answer tells the limit, what is left and when it is renewed": [
                Row("/plenty", has={"X-RateLimit-Limit-Minute": "100000", "X-RateLimit-Remaining-Minute": DIGITS, "RateLimit-Limit": "100000",
                                    "RateLimit-Remaining": DIGITS, "RateLimit-Reset": DIGITS, "Retry-After": ABSENT}),
            ],
            "7.2 above the limit it is 429 with Retry-After": [HeldBy(HERE, "test_answers_tell_what_is_left")],
            "7.3 several limits are all told, and the tightest summed up": [HeldBy(HERE, "test_several_limits_are_told_and_the_tightest_summed_up")],
            "7.4 a window is aligned to the clock": [HeldBy(HERE, "test_window_is_aligned_to_the_clock")],
            "7.5 a refused request counts nowhere": [HeldBy(HERE, "test_several_limits_are_told_and_the_tightest_summed_up")],
            "7.6 a global limit has one bucket over all routes, a route's own replaces it": [
                HeldBy(HERE, "test_global_bucket_spans_routes_and_a_routes_own_replaces_it"),
            ],
            "7.7 the address is the peer's, whatever a client says": [HeldBy(HERE, "test_absent_header_counts_by_address_whatever_the_client_claims")],
            "7.8 without the header the address counts": [HeldBy(HERE, "test_absent_header_counts_by_address_whatever_the_client_claims")],
            "7.9 counts are exact, where Kong's leak": [HeldBy(HERE, "test_many_at_once_get_no_more_than_the_limit"), Differs("exact under concurrency")],
            "7.10 counts outlive a reload": [HeldBy(HERE, "test_lower_limit_holds_at_once_for_what_was_counted")],
            "7.11 headers can be hidden": [HeldBy(HERE, "test_headers_can_be_hidden_and_the_answer_changed")],
            "7.12 status and message can be changed": [HeldBy(HERE, "test_headers_can_be_hidden_and_the_answer_changed")],
            "7.13 no route, preflights and what was refused before are not counted": [
                Row("/nowhere", 404, has={"RateLimit-Limit": ABSENT}),
                HeldBy(HERE, "test_sizes_preflights_and_unknown_paths_are_not_counted"),
            ],
        },
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def _early_in_a_minute(site: Site) -> None:
    """Not so near the end of a minute that a test would see two windows."""
    wait_for(lambda: 0.05 < time.time() % 60 < 57, 5, "a new minute")
    site.load(CONFIG)
    site.upstream.calm()


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_limit_is_told_as_kong_tells_it(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def asked(site: Site, count: int, path: str, who: str = "me", method: str = "GET") -> list[Answer]:
    return [site.edge.send(method, path, {"X-Who": who}) for _ in range(count)]


def statuses(site: Site, count: int, path: str, who: str = "me") -> list[int]:
    return [answer.status for answer in asked(site, count, path, who)]


def within_a_second(site: Site, count: int, path: str) -> tuple[list[Answer], str]:
    """So many answers of one second, and who asked: somebody new each time that a busy machine took longer."""
    for number in range(20):
        wait_for(lambda: 0.05 < time.time() % 1 < 0.3, what="a new second")
        second, who = int(time.time()), f"me {number}"
        answers = asked(site, count, path, who)
        if int(time.time()) == second:
            return answers, who
    raise AssertionError("this machine is too busy for so many requests in a second")


def test_answers_tell_what_is_left(site: Site) -> None:
    answers = asked(site, 4, "/three")
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.header("X-RateLimit-Remaining-Minute") for answer in answers] == ["2", "1", "0", "0"]
    for answer in answers:
        assert answer.header("X-RateLimit-Limit-Minute") == answer.header("RateLimit-Limit") == "3"
        assert answer.header("RateLimit-Remaining") == answer.header("X-RateLimit-Remaining-Minute")
        assert 1 <= int(answer.header("RateLimit-Reset") or 0) <= 60
    refused = answers[-1]
    assert refused.json["message"] == "API rate limit exceeded"
    assert refused.header("Retry-After") == refused.header("RateLimit-Reset")
    [head] = asked(site, 1, "/three", method="HEAD")
    assert (head.status, head.body, head.header("RateLimit-Remaining")) == (429, b"", "0")


def test_window_is_aligned_to_the_clock(site: Site) -> None:
    answers, who = within_a_second(site, 2, "/aligned")
    assert [answer.status for answer in answers] == [200, 429]
    wait_for(lambda: statuses(site, 1, "/aligned", who) == [200], what="a new window")


def test_several_limits_are_told_and_the_tightest_summed_up(site: Site) -> None:
    (first, second, third), _ = within_a_second(site, 3, "/all")
    for period, limit in zip(PERIODS, (2, 50, 100, 200, 300, 400), strict=True):
        assert first.header(f"X-RateLimit-Limit-{period}") == str(limit)
    assert (first.header("RateLimit-Limit"), second.header("RateLimit-Remaining")) == ("2", "0")
    assert third.status == 429
    assert third.header("X-RateLimit-Remaining-Hour") == second.header("X-RateLimit-Remaining-Hour") == "98"


def test_many_at_once_get_no_more_than_the_limit(site: Site) -> None:
    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(lambda _: statuses(site, 1, "/seven")[0], range(30)))
    assert found.count(200) == 7


def test_global_bucket_spans_routes_and_a_routes_own_replaces_it(site: Site) -> None:
    assert [statuses(site, 1, path, "global")[0] for path in ("/one", "/other", "/one")] == [200, 200, 429]
    assert asked(site, 1, "/seven", "global")[0].header("RateLimit-Remaining") == "6"


def test_lower_limit_holds_at_once_for_what_was_counted(site: Site) -> None:
    assert statuses(site, 3, "/seven", "reload") == [200, 200, 200]
    site.load(CONFIG.replace("minute: 7", "minute: 4"))
    assert statuses(site, 2, "/seven", "reload") == [200, 429]


def test_absent_header_counts_by_address_whatever_the_client_claims(site: Site) -> None:
    claims = [{"X-Forwarded-For": f"9.9.9.{number}", "X-Real-IP": "9.9.9.9"} for number in range(3)]
    assert [site.edge.get("/address", claim).status for claim in claims] == [200, 200, 429]


def test_headers_can_be_hidden_and_the_answer_changed(site: Site) -> None:
    for status, answer in zip((200, 503), asked(site, 2, "/hidden"), strict=True):
        assert answer.status == status
        assert not [name for name, _ in answer.headers if "ratelimit" in name or name == "retry-after"]
    assert answer.json["message"] == "later"


def test_sizes_preflights_and_unknown_paths_are_not_counted(site: Site) -> None:
    me = {"X-Who": "uncounted"}
    assert site.edge.send("POST", "/guarded", me, body=b"xx").status == 413
    assert site.edge.send("OPTIONS", "/guarded", {**PREFLIGHT, **me}).status == 200
    assert site.edge.get("/nowhere", me).status == 404
    assert site.edge.get("/guarded", me).status == 200
    assert site.edge.send("OPTIONS", "/guarded", {**PREFLIGHT, **me}).status == 200
    assert site.edge.get("/guarded", me).status == 429
