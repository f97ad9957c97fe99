"""What a dashboard asks of a platform's Prometheus, and trade until it has answers to everything."""

from __future__ import annotations

import math
import time
from typing import Any

import requests

from tests.support import dashboards
from tests.support.dashboards import Asked, filled_in, values_of
from tests.support.platform import Platform
from tests.support.shoppers import Street
from tests.support.traffic import requests_going_on, trade

SHOWN_SECONDS = 300
STEP_SECONDS = 5
DEADLINE_SECONDS = 60
BOARDS = dashboards.boards()
QUERIES = [query for name, board in BOARDS.items() for query in dashboards.queries(name, board)]

WITHOUT_DATA = {
    "overview | Alerts that fire | A": "no alert need fire",
    "autoscaling | Scaling alerts now | A": "no rule need scale",
    "overview | Calls that failed | B": "a line for each function that failed; none need fail",
    "overview | Calls that were repeated | B": "a line for each function that was asked again; none need be",
}
"""Queries that may find nothing on a healthy platform, and why; their panels say so, or have a line at 0 beside them."""


class Prometheus:
    """What a dashboard asks it, over the last five minutes."""

    def __init__(self, platform: Platform) -> None:
        self._base = platform.settings.url("prometheus") + "/api/v1/"
        self._session = requests.Session()

    def close(self) -> None:
        self._session.close()

    def series(self, query: Asked) -> list[dict[str, Any]]:
        """The labels of each series that has a number."""
        now, expr = time.time(), filled_in(query.expr, SHOWN_SECONDS)
        if query.instant:
            found = self._data("query", query=expr)["result"]
        else:
            span = {"start": now - SHOWN_SECONDS, "end": now, "step": STEP_SECONDS}
            found = self._data("query_range", query=expr, **span)["result"]
        return [one["metric"] for one in found if _has_a_number(one)]

    def values(self, query: str) -> list[str]:
        selector, label = values_of(filled_in(query))
        return self._data(f"label/{label}/values", **{"match[]": selector})

    def _data(self, path: str, **parameters: Any) -> Any:
        answer = self._session.post if path.startswith("query") else self._session.get
        told = answer(
            self._base + path, **{"data" if path.startswith("query") else "params": parameters}, timeout=30
        )
        assert told.status_code == 200, (parameters, told.text)
        return told.json()["data"]


def _has_a_number(series: dict[str, Any]) -> bool:
    samples = series["values"] if "values" in series else [series["value"]]
    return any(not math.isnan(float(value)) for _, value in samples)


def trade_until_all_is_seen(platform: Platform) -> Prometheus:
    """Until every query has data or the deadline has passed; the tests say what has none.

    Trade goes on meanwhile: a rate needs two values, and a percentile something between them.
    """
    client, street = Prometheus(platform), Street(platform)
    deadline = time.monotonic() + DEADLINE_SECONDS
    missing = [query for query in QUERIES if str(query) not in WITHOUT_DATA]
    with requests_going_on(platform):
        while missing and time.monotonic() < deadline:
            trade(street)
            time.sleep(2)
            missing = [query for query in missing if not client.series(query)]
    return client
