"""SQL over the facts of sales, one function for each statement; the caller owns the transaction, and thus the snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from functions.shared import Connection, Row, execute, fetch_all, fetch_one, metrics

from .periods import NOTHING, Cover, Period, Shift, cover, shift_of

WHOLE_CHAIN: Final = "*"
"""The store under which facts of products are summed over all stores."""
ROWS_PER_FETCH = 1_000


@dataclass(frozen=True)
class Selection:
    """Which facts to sum: by what, of which days, stores, channel and products; None is all."""

    source: str
    by: Sequence[str]
    period: Period
    stores: Sequence[str]
    compared: bool = False
    channel: str | None = None
    category: str | None = None
    product_keys: Sequence[int] | None = None
    goods_only: bool = False
    order: str = "key"
    limit: int | None = None

    def parameters(self) -> dict[str, Any]:
        shift = shift_of(self.period) if self.compared else Shift(0, 0)
        return {
            "by": list(self.by),
            "first": self.period.first,
            "stores": list(self.stores),
            "channel": self.channel,
            "category": self.category,
            "keys": None if self.product_keys is None else list(self.product_keys),
            "goods_only": self.goods_only,
            "order": self.order,
            "limit": self.limit,
            "shift_months": shift.months,
            "shift_days": shift.days,
            **spans("", self._cover()),
            **spans("previous_", self._previous_cover()),
        }

    def _cover(self) -> Cover:
        by_month = self.source != "day" and not {"day", "week"} & set(self.by)
        return cover(self.period, by_month=by_month)

    def _previous_cover(self) -> Cover:
        if not self.compared:
            return Cover(NOTHING, NOTHING, NOTHING)
        # A month that is moved by days lands in two months, so its days have to be moved one by one.
        moved = "month" in self.by and not self.period.whole_months
        by_month = self.source != "day" and not moved and not {"day", "week"} & set(self.by)
        return cover(self.period.previous(), by_month=by_month)


def spans(prefix: str, days: Cover) -> dict[str, date]:
    """The six dates of a cover as parameters of `SPANS`."""
    return {
        f"{prefix}{part}_{end}": span[end == "last"]
        for part, span in (("months", days.months), ("head", days.head), ("tail", days.tail))
        for end in ("first", "last")
    }


def hold_snapshot(connection: Connection) -> None:
    """Have all statements of this transaction see the same moment; must be its first."""
    execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    # Reports are read to their end, so a plan that is quick for the first rows only is of no use.
    execute(connection, "SET LOCAL cursor_tuple_fraction = 1")


def read_places(connection: Connection) -> list[Row]:
    """Every location with its date at the moment `as_of` that facts are of (None: they never were summed)."""
    return fetch_all(
        connection,
        """
        SELECT progress.as_of, now() AS now, place.location, place.name, place.kind, place.time_zone,
            (progress.as_of AT TIME ZONE place.time_zone)::date AS today
        FROM progress
        CROSS JOIN inventory.report_locations AS place
        ORDER BY place.location
        """,
    )


def find_product_keys(connection: Connection, sku: str) -> list[int]:
    """The keys under which a SKU has been sold: one for each category it was in."""
    rows = fetch_all(
        connection, "SELECT product_key FROM products WHERE sku = %(sku)s ORDER BY product_key", {"sku": sku}
    )
    return [row["product_key"] for row in rows]


def sum_sales(connection: Connection, selection: Selection) -> Iterator[Row]:
    """Sums of the selected facts, one row for each combination of `by`, read as they are needed."""
    return stream(connection, SALES[selection.source], selection.parameters())


def stream(connection: Connection, statement: str, parameters: dict[str, Any]) -> Iterator[Row]:
    """The rows of `statement` through a cursor on the server: never more than a batch of them in memory.

    One at a time in a transaction, unless it is read to its end; who stops before that ends the transaction.
    """
    cursor = connection.cursor("report")
    started = time.perf_counter()
    cursor.execute(statement, parameters)
    rows = cursor.fetchmany(ROWS_PER_FETCH)
    metrics.QUERY_SECONDS.observe(metrics.operation(statement), time.perf_counter() - started)
    names = [column[0] for column in cursor.description or ()]
    while rows:
        yield from (dict(zip(names, row, strict=True)) for row in rows)
        rows = cursor.fetchmany(ROWS_PER_FETCH)
    cursor.close()


def refresh(connection: Connection, budget_ms: int) -> Row:
    """Bring facts up to date for about `budget_ms`: `refreshed` store days, and whether there is `more` to do."""
    execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ WRITE")
    row = fetch_one(
        connection, "SELECT refreshed, more FROM refresh(%(budget_ms)s)", {"budget_ms": budget_ms}
    )
    assert row is not None
    return row


def rebuild(connection: Connection) -> int:
    """Have the next refreshes sum everything anew; the number of store days to do."""
    execute(connection, "SET TRANSACTION READ WRITE")
    row = fetch_one(connection, "SELECT rebuild() AS days")
    assert row is not None
    return int(row["days"])


def read_as_of(connection: Connection) -> Any:
    row = fetch_one(connection, "SELECT as_of FROM progress")
    return row["as_of"] if row else None


def _in_spans(prefix: str) -> str:
    return f"""
        (fact.period = 'month' AND fact.period_start BETWEEN %({prefix}months_first)s AND %({prefix}months_last)s)
        OR (fact.period = 'day' AND fact.period_start BETWEEN %({prefix}head_first)s AND %({prefix}head_last)s)
        OR (fact.period = 'day' AND fact.period_start BETWEEN %({prefix}tail_first)s AND %({prefix}tail_last)s)"""


SPANS: Final = _in_spans("")
"""The facts that make up a cover; see `spans`."""

_DATE: Final = """
    CASE
        WHEN fact.period_start >= %(first)s THEN fact.period_start
        ELSE (fact.period_start + make_interval(months => %(shift_months)s, days => %(shift_days)s))::date
    END"""
"""A day of the previous period counts where it is compared."""

_MEASURES: Final = (
    "units_sold", "units_returned", "sold_cents", "returned_cents", "tax_cents",
)  # fmt: skip
_COUNTS: Final = ("sale_count", "return_count", "void_count")

_FACTS: Final = {
    "day": "(SELECT 'day' AS period, business_date AS period_start, day_sales.* FROM day_sales)",
    "hour": "hour_sales",
    "category": "category_sales",
    "product": "product_sales",
}


def _statement(source: str) -> str:
    """Sums of one kind of facts; `by` decides at planning time which keys are more than null."""
    hour = "CASE WHEN 'hour' = ANY(%(by)s) THEN fact.hour END" if source == "hour" else "NULL::smallint"
    category = (
        "CASE WHEN 'category' = ANY(%(by)s) THEN fact.category END" if source == "category" else "NULL::text"
    )
    product_key = "fact.product_key" if source == "product" else "NULL::integer"
    only_category = (
        "(%(category)s::text IS NULL OR fact.category = %(category)s)" if source == "category" else "true"
    )
    only_product = (
        "(%(keys)s::integer[] IS NULL OR fact.product_key = ANY(%(keys)s))" if source == "product" else "true"
    )
    counts = _COUNTS if source in ("day", "hour") else ()
    present = ",\n    ".join(
        f"total(fact.{name}) FILTER (WHERE fact.period_start >= %(first)s) AS {name}"
        for name in (*counts, *_MEASURES)
    )
    return f"""
SELECT
    CASE WHEN 'day' = ANY(%(by)s) THEN {_DATE} END AS day,
    CASE WHEN 'week' = ANY(%(by)s) THEN date_trunc('week', {_DATE})::date END AS week,
    CASE WHEN 'month' = ANY(%(by)s) THEN date_trunc('month', {_DATE})::date END AS month,
    {hour} AS hour,
    CASE WHEN 'store' = ANY(%(by)s) THEN fact.store END AS store,
    CASE WHEN 'channel' = ANY(%(by)s) THEN fact.channel END AS channel,
    {category} AS category,
    {product_key} AS product_key,
    {present},
    total(fact.sold_cents - fact.returned_cents) FILTER (WHERE fact.period_start < %(first)s) AS previous_net_cents,
    total(fact.units_sold - fact.units_returned) FILTER (WHERE fact.period_start < %(first)s) AS previous_units
FROM {_FACTS[source]} AS fact
WHERE fact.store = ANY(%(stores)s)
    AND (%(channel)s::text IS NULL OR fact.channel = %(channel)s)
    AND {only_category}
    AND {only_product}
    AND ({SPANS}
        OR {_in_spans("previous_")})
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""  # noqa: S608 - made of the constants above


_PRODUCT_SUMS: Final = ",\n    ".join(
    f"total(part.{name}) AS {name}" for name in (*_MEASURES, "previous_net_cents", "previous_units")
)

_BY_PRODUCT: Final = f"""
SELECT
    day, week, month, hour, store, channel,
    CASE WHEN 'category' = ANY(%(by)s) THEN product.category END AS category,
    CASE WHEN 'product' = ANY(%(by)s) THEN product.sku END AS sku,
    CASE WHEN 'product' = ANY(%(by)s) THEN COALESCE(max(catalogue.name), max(product.name)) END AS name,
    {_PRODUCT_SUMS}
FROM ({_statement("product")}) AS part
JOIN products AS product ON product.product_key = part.product_key
LEFT JOIN products.report_products AS catalogue ON 'product' = ANY(%(by)s) AND catalogue.sku = product.sku
WHERE (%(category)s::text IS NULL OR product.category = %(category)s)
    AND NOT (%(goods_only)s AND product.charge)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""  # noqa: S608


def _report(source: str) -> str:
    counts = ", ".join(
        _COUNTS if source in ("day", "hour") else [f"NULL::bigint AS {name}" for name in _COUNTS]
    )
    product = "sku, name" if source == "product" else "NULL::text AS sku, NULL::text AS name"
    sums = _BY_PRODUCT if source == "product" else _statement(source)
    return f"""
SELECT
    day, week, month, hour, store, channel, category, {product}, {counts},
    units_sold, units_returned, sold_cents, returned_cents, sold_cents - returned_cents AS net_cents, tax_cents,
    sold_cents - returned_cents + tax_cents AS total_cents, previous_net_cents, previous_units
FROM ({sums}) AS report
ORDER BY
    CASE %(order)s
        WHEN 'net' THEN sold_cents - returned_cents
        WHEN 'units' THEN units_sold - units_returned
    END DESC NULLS LAST,
    day, week, month, hour, store, channel, category, sku
LIMIT %(limit)s
"""  # noqa: S608


SALES: Final = {source: _report(source) for source in _FACTS}
