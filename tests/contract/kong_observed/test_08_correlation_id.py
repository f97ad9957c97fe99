"""Section 8: correlation-id."""

from __future__ import annotations

import re

import pytest

from tests.support.observed import ABSENT, REQUEST_ID, UUID4, Differs, Row, Site, Table, cases

SECTION = 8
COUNTED = re.compile(UUID4.pattern + r"#\d+")
CONFIG = """
_format_version: "3.0"
services:
- {name: up, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: up, paths: [/up]}]}
- {name: down, url: "http://127.0.0.1:1", retries: 0, routes: [{name: down, paths: [/down]}]}
- {name: counted, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: counted, paths: [/counted], plugins: [{name: correlation-id}]}]}
- {name: own, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: own, paths: [/own], plugins: [{name: correlation-id, config: {header_name: X-Id, echo_downstream: true}}]}]}
plugins:
- {name: correlation-id, config: {header_name: X-Request-Id, generator: uuid, echo_downstream: true}}
"""
LONG = "my id/" + "x" * 300
TABLES = [
    Table(
        CONFIG,
        {
            "8.1 a request without an id, or with an empty one, gets a new one": [
                Row("/up", saw={"X-Request-Id": UUID4}, has={"X-Request-Id": UUID4}),
                Row("/up", headers={"X-Request-Id": ""}, saw={"X-Request-Id": UUID4}, has={"X-Request-Id": UUID4}),
            ],
            "8.2 a client's id is kept as it is; of two the client is told the first": [
                Row("/up", headers={"X-Request-Id": LONG}, saw={"X-Request-Id": LONG}, has={"X-Request-Id": LONG}),
                Row("", raw=b"GET /own HTTP/1.1\r\nHost: a\r\nX-Id: one\r\nX-Id: two\r\nConnection: close\r\n\r\n",
                    saw={"X-Id": ["one", "two"]}, has={"X-Id": "one"}),
                Differs("two ids in `X-Request-Id`"),
            ],
            "8.3 an upstream's id is overwritten": [
                Row("/up", headers={"X-Request-Id": "mine"}, given={"headers": {"X-Request-Id": "theirs"}}, has={"X-Request-Id": "mine"}),
            ],
            "8.4 errors carry it, and name the edge's own in the body": [
                Row("/nowhere", 404, headers={"X-Request-Id": "mine"}, has={"X-Request-Id": "mine", "X-Kong-Request-Id": REQUEST_ID},
                    says="no Route matched with those values"),
                Row("/down", 502, headers={"X-Request-Id": "mine"}, has={"X-Request-Id": "mine"}),
                Row("/nowhere", 404, has={"X-Request-Id": UUID4}),
            ],
            "8.5 the default generator counts": [Row("/counted", saw={"Kong-Request-ID": COUNTED}), Differs("`tracker`")],
            "8.6 by default the header is Kong-Request-ID and not echoed": [Row("/counted", has={"Kong-Request-ID": ABSENT})],
        },
    )
]  # fmt: skip


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_request_is_named_as_kong_names_it(site: Site, config: str, row: Row) -> None:
    site.check(config, row)


def test_id_for_the_upstream_is_the_clients_own(site: Site) -> None:
    site.load(CONFIG)
    answer = site.edge.get("/up")
    assert answer.all("X-Request-Id") == [
        value for name, value in answer.json["headers"] if name == "x-request-id"
    ]


def test_counter_goes_up_by_one_under_one_name(site: Site) -> None:
    site.load(CONFIG)
    answers = (site.edge.get("/counted").json["headers"] for _ in range(2))
    (first, one), (second, two) = (
        dict(map(tuple, headers))["kong-request-id"].split("#") for headers in answers
    )
    assert (first, int(one) + 1) == (second, int(two))
