"""Routes that look: locations, stock, what is low, and whether the books are right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.shared import Answer, Invalid, Row, current, decode_cursor, encode_cursor, page

from . import store, views
from .common import READERS, api, require_location

MOST_DIFFERENCES = 100


@api.get("/locations", answers={200: views.LocationList})
def list_locations() -> dict[str, Any]:
    """The stores and the warehouse."""
    return {"items": current().database.read(store.list_locations), "next": None}


@api.get("/stock", query=views.StockQuery, answers={200: views.StockPage}, roles=READERS, problems=[400])
def list_stock(query: views.StockQuery) -> dict[str, Any]:
    """Stock by location and SKU."""
    filters = {"location": query.location, "skus": query.sku or None, **_place(query)}
    return _page(current().database.read(store.list_stock, filters), query)


@api.get("/stock/<path:sku>", answers={200: views.SkuStock}, roles=READERS)
def read_stock(sku: str) -> dict[str, Any]:
    """One SKU over all locations; zeros for one that was never seen."""
    rows = current().database.read(store.stock_of, sku)
    sums = {name: sum(row[name] for row in rows) for name in ("on_hand", "reserved", "available")}
    return {"sku": sku, **sums, "locations": rows}


@api.get(
    "/low-stock", query=views.LowStockQuery, answers={200: views.StockPage}, roles=READERS, problems=[400]
)
def list_low_stock(query: views.LowStockQuery) -> dict[str, Any]:
    """Rows that have no more available than their threshold."""
    filters = {"location": query.location, **_place(query)}
    return _page(current().database.read(store.list_low_stock, filters), query)


def _place(query: views.PageQuery) -> Mapping[str, Any]:
    location, sku = decode_cursor(query.after, str, str) if query.after else (None, None)
    return {"after_location": location, "after_sku": sku, "limit": query.limit + 1}


def _page(rows: list[Row], query: views.PageQuery) -> dict[str, Any]:
    return page(rows, query.limit, lambda row: encode_cursor(row["location"], row["sku"]))


@api.put("/thresholds", body=views.Thresholds, answers={204: None}, roles=("staff", "hq"), problems=[403])
def set_thresholds(body: views.Thresholds) -> Answer:
    """Say from how many available on a SKU is low at a location; sent twice it does the same once."""
    skus = [line.sku for line in body.lines]
    repeated = [place for place, sku in enumerate(skus) if sku in skus[:place]]
    if repeated:
        errors = [{"field": f"lines.{place}.sku", "message": "is given more than once"} for place in repeated]
        raise Invalid("A SKU is given more than once.", code="sku_repeated", errors=errors)
    with current().database.transaction() as connection:
        require_location(connection, body.location)
        store.set_thresholds(connection, {(body.location, line.sku): line.low_at for line in body.lines})
    return Answer(None, 204)


@api.get("/invariants", answers={200: views.Invariants}, roles=("staff", "hq"))
def check_invariants() -> dict[str, Any]:
    """Whether every row of stock is the sum of its ledger and of its open reservations; names those that differ."""
    rows = current().database.read(store.find_differences, MOST_DIFFERENCES + 1)
    checked = rows[0]["checked"]
    differences = [
        {name: value for name, value in row.items() if name != "checked"} for row in rows if row["location"]
    ]
    return {
        "holds": not differences,
        "checked": checked,
        "differences": differences[:MOST_DIFFERENCES],
        "more": len(differences) > MOST_DIFFERENCES,
    }
