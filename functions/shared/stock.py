"""Stock as inventory keeps it, for functions that move it: how its answers are read, and where the locations are.

Inventory keeps what it did under the caller's reference, so each call may be repeated, under a key of its own:
an answer that was stored for an earlier call may be out of date.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from requests import Response

from .errors import Unavailable, UpstreamTimeout
from .service import current

LOCATIONS_SECONDS = 300.0
"""Locations hardly ever change; they are asked for again after this long."""
REFRESH_TIMEOUT_SECONDS = 1.0
"""What is known already is not waited for any longer."""
REFRESH_AGAIN_SECONDS = 5.0
"""After a refresh that failed nobody tries again for this long, unless a location is not known."""
LARGEST_QUANTITY = 1_000_000
"""What inventory takes in one line."""
PASSING_CODES = frozenset({"idempotency_key_in_flight", "issue_undone", "reservation_in_flight"})
"""Refusals that say nothing about how much there is; an issue that is undone belongs to a sale that was given up."""

_AWAY = "Stock cannot be reached right now; try again shortly."
_log = logging.getLogger("magasin")

Goods = Sequence[tuple[str, int]]
"""SKU and quantity of each line that moves stock."""


@dataclass(frozen=True)
class Location:
    """A place that keeps stock; `kind` is `store` or `warehouse`."""

    code: str
    kind: str
    time_zone: str


class Locations:
    """The locations as inventory lists them; those known last, at once, while it cannot be reached."""

    def __init__(self) -> None:
        self._locations: dict[str, Location] = {}
        self._good_until = 0.0

    def find(self, code: str) -> Location | None:
        """None when there is no such location. Raises Unavailable when that cannot be known."""
        if time.monotonic() >= self._good_until or code not in self._locations:
            self._refresh(code)
        return self._locations.get(code)

    def _refresh(self, code: str) -> None:
        known = code in self._locations
        timeout_seconds = REFRESH_TIMEOUT_SECONDS if known else math.inf
        try:
            response = current().client.get("inventory", "/locations", timeout_seconds=timeout_seconds)
            rows = read_answer(response)["items"]
            self._locations = {
                row["location"]: Location(row["location"], row["kind"], row["time_zone"]) for row in rows
            }
            self._good_until = time.monotonic() + LOCATIONS_SECONDS
        except (Unavailable, UpstreamTimeout):
            if not known:
                raise
            self._good_until = time.monotonic() + REFRESH_AGAIN_SECONDS
        except (ValueError, KeyError, TypeError) as error:
            _log.exception("inventory answered something that is not its locations")
            raise Unavailable from error


class StockLacking(Exception):
    """Inventory has less than what is wanted; `lacking` has `sku`, `requested` and `available` of each."""

    def __init__(self, lacking: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("stock is lacking")
        self.lacking = lacking


class StockRefused(Exception):
    """Inventory has decided against it for another reason; nothing has moved."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def book_in(location: str, reference: str, goods: Goods, *, restock: bool) -> None:
    """Book goods in, once for this reference; with `restock` false they are written off at once.

    Raises StockLacking or StockRefused when nothing has moved and nothing will,
    Unavailable or UpstreamTimeout when that is not known.
    """
    body = {"location": location, "reference": reference, "lines": lines_of(goods), "restock": restock}
    read_decision(post("/returns", body))


def lines_of(goods: Goods) -> list[dict[str, Any]]:
    """Lines with the same SKU together, so that a long bill stays within inventory's limits on lines and quantities."""
    quantities: dict[str, int] = {}
    for sku, quantity in goods:
        quantities[sku] = quantities.get(sku, 0) + quantity
    return [
        {"sku": sku, "quantity": min(LARGEST_QUANTITY, quantity - before)}
        for sku, quantity in quantities.items()
        for before in range(0, quantity, LARGEST_QUANTITY)
    ]


def post(path: str, body: Any) -> Response:
    """A call of inventory under a key of its own."""
    key = str(uuid.uuid4())
    return current().client.call("POST", "inventory", path, json=body, idempotency_key=key)


def read_answer(response: Response) -> dict[str, Any]:
    """The body of a success; anything else means that inventory cannot be used now."""
    try:
        body = response.json() if response.status_code in {200, 201} else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        _log.error("inventory answered %s: %.300s", response.status_code, response.text)
        raise stock_unavailable()
    return body


def read_decision(response: Response) -> dict[str, Any]:
    """The body of a success; raises StockLacking or StockRefused for what inventory has decided against."""
    if response.status_code not in {409, 422}:
        return read_answer(response)
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
        lacking = [
            {name: row[name] for name in ("sku", "requested", "available")}
            for row in problem.get("lacking", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise stock_unavailable() from error
    if code in PASSING_CODES:
        raise stock_unavailable()
    if lacking:
        raise StockLacking(lacking)
    raise StockRefused(code, detail)


def stock_unavailable() -> Unavailable:
    return Unavailable(_AWAY, code="stock_unavailable")
