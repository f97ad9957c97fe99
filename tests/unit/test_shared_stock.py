"""Stock as inventory keeps it: calls stay within its limits, and locations that are known are not waited for."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
from requests import Response

from functions.inventory import views
from functions.shared import UpstreamTimeout, stock
from functions.shared.stock import LARGEST_QUANTITY, Locations, lines_of


def test_lines_of_one_sku_are_one_line_unless_inventory_takes_no_such_quantity() -> None:
    assert lines_of([("A", 2), ("B", 1), ("A", 3)]) == [
        {"sku": "A", "quantity": 5},
        {"sku": "B", "quantity": 1},
    ]
    assert lines_of([("A", 600_000)] * 2) == [
        {"sku": "A", "quantity": 1_000_000},
        {"sku": "A", "quantity": 200_000},
    ]
    assert lines_of([("A", 1_000_000)] * 2) == [{"sku": "A", "quantity": 1_000_000}] * 2
    assert LARGEST_QUANTITY == views.LARGEST_QUANTITY


class FakeInventory:
    """Has S1, until it is silent."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self.silent = False

    def get(self, function: str, path: str, *, timeout_seconds: float = math.inf) -> Response:
        assert (function, path) == ("inventory", "/locations")
        self.timeouts.append(timeout_seconds)
        if self.silent:
            raise UpstreamTimeout
        rows = [{"location": "S1", "kind": "store", "time_zone": "America/Toronto"}]
        response = Response()
        response.status_code, response._content = 200, json.dumps({"items": rows}).encode()
        return response


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the monotonic clock says."""
    clock = [1000.0]
    monkeypatch.setattr(stock, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


def test_known_locations_are_told_at_once_while_inventory_is_silent(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    inventory = FakeInventory()
    monkeypatch.setattr(stock, "current", lambda: SimpleNamespace(client=inventory))
    locations = Locations()
    known: Any = locations.find("S1")
    assert (known.kind, inventory.timeouts) == ("store", [math.inf])

    now[0] += stock.LOCATIONS_SECONDS
    inventory.silent = True
    assert [locations.find("S1"), locations.find("S1")] == [known, known]
    assert inventory.timeouts[1:] == [stock.REFRESH_TIMEOUT_SECONDS]
    with pytest.raises(UpstreamTimeout):
        locations.find("S2")

    now[0] += stock.REFRESH_AGAIN_SECONDS
    inventory.silent = False
    assert locations.find("S1") == known
    assert locations.find("S1") == known
    assert inventory.timeouts[2:] == [math.inf, stock.REFRESH_TIMEOUT_SECONDS]
