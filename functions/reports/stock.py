"""SQL over stock as it is now, beside how fast it sells; the caller owns the transaction, and thus the snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from functions.shared import Connection, Row, fetch_all

from .periods import Period, cover
from .queries import Policy
from .store import SPANS, WHOLE_CHAIN, spans, stream


def sum_stock(connection: Connection, by: Sequence[str], filters: Mapping[str, Any]) -> Iterator[Row]:
    """Stock and its value at the catalogue's prices, one row for each combination of `by`."""
    return stream(connection, _STOCK, {**filters, "by": list(by)})


def low_stock(
    connection: Connection, location: str | None, category: str | None, limit: int | None
) -> Iterator[Row]:
    """Rows of stock at or below their threshold, those that lack most first."""
    return stream(connection, _LOW, {"location": location, "category": category, "limit": limit})


def overstock(
    connection: Connection, sold_in: Period, cover_days: int, filters: Mapping[str, Any]
) -> Iterator[Row]:
    """Rows of stock that last longer than `cover_days` at the velocity of `sold_in`, the most valuable excess first."""
    return stream(connection, _OVERSTOCK, {**_velocity(sold_in), **filters, "cover_days": cover_days})


def replenishment(
    connection: Connection, sold_in: Period, policy: Policy, filters: Mapping[str, Any]
) -> Iterator[Row]:
    """Rows of stock at or below their reorder point, with what would bring them up again."""
    parameters = {
        **_velocity(sold_in),
        **filters,
        "until_arrival": policy.lead_time_days + policy.safety_days,
        "until_next": policy.lead_time_days + policy.safety_days + policy.cover_days,
    }
    return stream(connection, _REPLENISHMENT, parameters)


def slow_sellers(
    connection: Connection, sold_in: Period, measure: str, limit: int, filters: Mapping[str, Any]
) -> list[Row]:
    """Products on sale and in stock that sold least, also those that did not sell at all."""
    parameters = {**_velocity(sold_in), **filters, "measure": measure, "limit": limit}
    return fetch_all(connection, _SLOW, parameters)


def _velocity(sold_in: Period) -> dict[str, Any]:
    return {"window_days": sold_in.days, "chain": WHOLE_CHAIN, **spans("", cover(sold_in))}


_CATALOGUE: Final = """
SELECT sku, name, category, active, CASE WHEN currency = %(currency)s THEN price_cents END AS price_cents
FROM products.report_products
"""
"""Cents of different currencies do not add up: what is priced in another one is without a price."""

_STOCK: Final = f"""
SELECT
    CASE WHEN 'location' = ANY(%(by)s) THEN stock.location END AS location,
    CASE WHEN 'category' = ANY(%(by)s) THEN COALESCE(catalogue.category, '') END AS category,
    CASE WHEN 'product' = ANY(%(by)s) THEN stock.sku END AS sku,
    CASE WHEN 'product' = ANY(%(by)s) THEN max(catalogue.name) END AS name,
    count(*) FILTER (WHERE stock.on_hand > 0) AS in_stock_count,
    count(*) FILTER (WHERE stock.available = 0) AS out_of_stock_count,
    count(*) FILTER (WHERE stock.available <= stock.low_at) AS low_count,
    sum(stock.on_hand)::bigint AS on_hand,
    sum(stock.reserved)::bigint AS reserved,
    sum(stock.available)::bigint AS available,
    COALESCE(sum(stock.on_hand * catalogue.price_cents), 0)::bigint AS value_cents,
    count(*) FILTER (WHERE stock.on_hand > 0 AND catalogue.price_cents IS NULL) AS unpriced_count
FROM inventory.report_stock AS stock
LEFT JOIN ({_CATALOGUE}) AS catalogue ON catalogue.sku = stock.sku
WHERE (%(location)s::text IS NULL OR stock.location = %(location)s)
    AND (%(category)s::text IS NULL OR catalogue.category = %(category)s)
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
"""  # noqa: S608 - made of constants

_LOW: Final = """
SELECT
    stock.location, stock.sku, catalogue.name, catalogue.category,
    stock.on_hand, stock.reserved, stock.available, stock.low_at,
    stock.low_at - stock.available AS short_by,
    COALESCE(request.requested, 0)::bigint AS requested
FROM inventory.report_stock AS stock
LEFT JOIN products.report_products AS catalogue ON catalogue.sku = stock.sku
LEFT JOIN inventory.report_requests AS request ON request.location = stock.location AND request.sku = stock.sku
WHERE stock.available <= stock.low_at
    AND (%(location)s::text IS NULL OR stock.location = %(location)s)
    AND (%(category)s::text IS NULL OR catalogue.category = %(category)s)
ORDER BY short_by DESC, stock.location, stock.sku
LIMIT %(limit)s
"""

_SOLD: Final = f"""
SELECT fact.store, product.sku,
    total(fact.units) AS units,
    total(fact.net_cents) AS net_cents
FROM (
    SELECT fact.store, fact.product_key,
        total(fact.units_sold - fact.units_returned) AS units,
        total(fact.sold_cents - fact.returned_cents) AS net_cents
    FROM product_sales AS fact
    WHERE fact.store = ANY(%(stores)s)
        AND (%(channel)s::text IS NULL OR fact.channel = %(channel)s)
        AND ({SPANS})
    GROUP BY fact.store, fact.product_key
) AS fact
JOIN products AS product ON product.product_key = fact.product_key
WHERE NOT product.charge
GROUP BY fact.store, product.sku
"""  # noqa: S608
"""What each store, or the whole chain, sold of each SKU; below zero if more came back."""

_STOCK_AND_SALES: Final = f"""
SELECT
    stock.location, stock.sku, catalogue.name, catalogue.category, catalogue.price_cents,
    stock.on_hand, stock.reserved, stock.available, stock.low_at,
    GREATEST(COALESCE(sold.units, 0), 0) AS units_sold
FROM inventory.report_stock AS stock
JOIN inventory.report_locations AS place ON place.location = stock.location
JOIN ({_CATALOGUE}) AS catalogue ON catalogue.sku = stock.sku AND catalogue.active
LEFT JOIN (
    SELECT COALESCE(store, %(chain)s) AS store, sku, total(units) AS units
    FROM ({_SOLD}) AS sold
    GROUP BY GROUPING SETS ((store, sku), (sku))
) AS sold
    ON sold.sku = stock.sku
    -- The warehouse supplies all, so it needs what all sell.
    AND sold.store = CASE place.kind WHEN 'warehouse' THEN %(chain)s ELSE stock.location END
WHERE (%(location)s::text IS NULL OR stock.location = %(location)s)
    AND (%(category)s::text IS NULL OR catalogue.category = %(category)s)
"""  # noqa: S608

# available / (units_sold / window_days) > cover_days, in whole numbers.
_OVERSTOCK: Final = f"""
SELECT
    location, sku, name, category, on_hand, reserved, available, units_sold,
    CASE WHEN units_sold > 0 THEN round(available * %(window_days)s::numeric / units_sold, 1)::float8 END AS cover_days,
    excess, COALESCE(excess * price_cents, 0) AS excess_value_cents
FROM (
    SELECT stock.*,
        available - (units_sold * %(cover_days)s + %(window_days)s - 1) / %(window_days)s AS excess
    FROM ({_STOCK_AND_SALES}) AS stock
) AS stock
WHERE excess > 0
ORDER BY excess_value_cents DESC, location, sku
LIMIT %(limit)s
"""  # noqa: S608

_REPLENISHMENT: Final = f"""
SELECT
    location, sku, name, category, on_hand, reserved, available, requested, low_at, units_sold,
    reorder_point, order_up_to, order_up_to - available - requested AS suggested_quantity, warehouse_available
FROM (
    SELECT stock.*,
        COALESCE(request.requested, 0)::bigint AS requested,
        COALESCE(warehouse.available, 0)::bigint AS warehouse_available,
        GREATEST((units_sold * %(until_arrival)s + %(window_days)s - 1) / %(window_days)s, stock.low_at)
            AS reorder_point,
        GREATEST((units_sold * %(until_next)s + %(window_days)s - 1) / %(window_days)s, stock.low_at + 1)
            AS order_up_to
    FROM ({_STOCK_AND_SALES}) AS stock
    LEFT JOIN inventory.report_requests AS request ON request.location = stock.location AND request.sku = stock.sku
    LEFT JOIN (
        SELECT stock.sku, sum(stock.available) AS available
        FROM inventory.report_stock AS stock
        JOIN inventory.report_locations AS place ON place.location = stock.location AND place.kind = 'warehouse'
        GROUP BY stock.sku
    ) AS warehouse ON warehouse.sku = stock.sku
) AS stock
WHERE available + requested <= reorder_point
    AND order_up_to > available + requested
ORDER BY location, order_up_to - available - requested DESC, sku
LIMIT %(limit)s
"""  # noqa: S608

_SLOW: Final = f"""
SELECT slow.*, (
    SELECT max(fact.period_start)
    FROM product_sales AS fact
    JOIN products AS product ON product.product_key = fact.product_key
    WHERE product.sku = slow.sku
        AND fact.store = ANY(%(stores)s)
        AND (%(channel)s::text IS NULL OR fact.channel = %(channel)s)
        AND fact.period = 'day'
        AND fact.units_sold > 0
) AS last_sold_on
FROM (
    SELECT
        catalogue.sku, catalogue.name, catalogue.category,
        COALESCE(sold.units, 0) AS units, COALESCE(sold.net_cents, 0) AS net_cents,
        stock.on_hand, COALESCE(stock.on_hand * catalogue.price_cents, 0) AS value_cents
    FROM (
        SELECT sku, sum(on_hand)::bigint AS on_hand
        FROM inventory.report_stock
        WHERE %(location)s::text IS NULL OR location = %(location)s
        GROUP BY sku
    ) AS stock
    JOIN ({_CATALOGUE}) AS catalogue ON catalogue.sku = stock.sku AND catalogue.active
    LEFT JOIN ({_SOLD}) AS sold ON sold.sku = stock.sku
    WHERE stock.on_hand > 0
        AND (%(category)s::text IS NULL OR catalogue.category = %(category)s)
    ORDER BY
        CASE %(measure)s WHEN 'net' THEN COALESCE(sold.net_cents, 0) ELSE COALESCE(sold.units, 0) END,
        value_cents DESC,
        catalogue.sku
    LIMIT %(limit)s
) AS slow
"""  # noqa: S608
