"""Section 4, compression: nginx directives that Kong passes on and the edge reads in the project's kong.conf."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.edge import PROJECT
from tests.support.observed import ABSENT, Row, Site, Table, cases, running_site

SECTION = 4
CONFIG = """
_format_version: "3.0"
services: [{name: up, url: "http://127.0.0.1:$UPSTREAM", routes: [{name: up, paths: [/up]}]}]
"""
GZIP, LARGE = {"Accept-Encoding": "gzip"}, {"X-Padding": "x" * 2000}
"""The upstream tells its headers back, so a long one makes a large answer."""
PACKED = {"Content-Encoding": "gzip", "Content-Length": ABSENT, "Vary": "Accept-Encoding"}


def packed(kind: str) -> Row:
    return Row("/up", headers={**GZIP, **LARGE}, given={"headers": {"Content-Type": kind}}, has=PACKED)


def plain(headers: dict[str, str], given: dict[str, str] | None = None) -> Row:
    return Row(
        "/up",
        headers=headers,
        given={"headers": given or {}},
        has={"Content-Encoding": (given or {}).get("Content-Encoding")},
    )


TABLES = [
    Table(
        CONFIG,
        {
            "4.11 large answers of listed types are compressed": [
                packed("application/json"),
                packed("application/problem+json"),
                packed("text/html"),
                Row("/up", headers={**GZIP, **LARGE}, given={"headers": {"ETag": '"7"'}}, has={**PACKED, "ETag": 'W/"7"'}),
            ],
            "4.12 others are not": [
                plain(GZIP),
                plain(LARGE),
                plain({**LARGE, "Accept-Encoding": "gzip;q=0"}),
                plain({**LARGE, "Accept-Encoding": "br"}),
                plain({**GZIP, **LARGE}, {"Content-Type": "application/vnd.api+json"}),
                plain({**GZIP, **LARGE}, {"Content-Type": "text/event-stream"}),
                plain({**GZIP, **LARGE}, {"Content-Encoding": "br"}),
            ],
        },
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site(PROJECT) as running:
        yield running


@pytest.mark.parametrize(("config", "row"), cases(TABLES))
def test_answer_is_compressed_as_by_kong(site: Site, config: str, row: Row) -> None:
    site.check(config, row)
