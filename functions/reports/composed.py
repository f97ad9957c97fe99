"""Reports put together from sums: what is asked for becomes selections of facts, and their sums become rows and sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from functions.shared import Row

from . import domain, stock, store
from .moment import Moment
from .periods import Period, bucket_after, bucket_start, buckets_between
from .queries import PeriodQuery, SalesQuery, TrendQuery
from .rendering import Report, long_form, wants_csv
from .store import Selection

COMPARED = ("previous_net_cents", "previous_units", "change_cents", "change_percent")
TOP_COLUMNS = ("rank", "sku", "name", "units_sold", "units_returned", "net_cents", "tax_cents")
SLOW_COLUMNS = (
    "rank",
    "sku",
    "name",
    "category",
    "units",
    "net_cents",
    "on_hand",
    "value_cents",
    "last_sold_on",
)
TREND_COLUMNS = ("start", "net_cents", "units", "average_net_cents", "average_units", "change_percent")
STOCK_COLUMNS = (
    "in_stock_count", "out_of_stock_count", "low_count", "on_hand", "reserved", "available", "value_cents",
    "unpriced_count",
)  # fmt: skip
LOW_COLUMNS = (
    "location", "sku", "name", "category", "on_hand", "reserved", "available", "low_at", "short_by", "requested",
)  # fmt: skip
OVER_COLUMNS = (
    "location", "sku", "name", "category", "on_hand", "reserved", "available", "units_sold", "cover_days", "excess",
    "excess_value_cents",
)  # fmt: skip
REPLENISHMENT_COLUMNS = (
    "location", "sku", "name", "category", "on_hand", "reserved", "available", "requested", "low_at", "units_sold",
    "reorder_point", "order_up_to", "suggested_quantity", "warehouse_available",
)  # fmt: skip
SECTION_ROWS = 10
OVERVIEW_WINDOW = 7


def sales_report(moment: Moment, query: SalesQuery) -> Report:
    """Sums by `query.by`, and the total over all of them."""
    period = query.period(moment.today)
    compared = query.compare == "previous"
    selection = Selection(
        source=query.source,
        by=query.by,
        period=period,
        stores=_stores(moment, query.source, query.by),
        compared=compared,
        channel=query.channel,
        category=query.category,
        product_keys=None if query.sku is None else store.find_product_keys(moment.connection, query.sku),
        order=query.chosen_order,
        limit=query.limit,
    )
    measures = (*domain.MEASURES, *(COMPARED if compared else ()))
    previous = period.previous() if compared else None
    return moment.report(
        "sales", (*_keys(query.by), *measures), _rows(moment, selection), period,
        previous=previous and {"from": previous.first, "to": previous.last},
        by=query.by, total=_total(moment, selection, measures),
    )  # fmt: skip


def _stores(moment: Moment, source: str, by: Sequence[str]) -> list[str]:
    return moment.product_stores if source == "product" and "store" not in by else moment.stores


def _keys(by: Sequence[str]) -> list[str]:
    """The columns that tell the rows of a report apart."""
    return [key for dimension in by for key in (["sku", "name"] if dimension == "product" else [dimension])]


def _rows(moment: Moment, selection: Selection) -> Iterator[dict[str, Any]]:
    return map(domain.with_changes, store.sum_sales(moment.connection, selection))


def _total(moment: Moment, selection: Selection, measures: Sequence[str] = domain.MEASURES) -> dict[str, Any]:
    """The selection as one row; zeros when nothing was sold.

    It is summed from the coarsest facts that can tell, so it also has the counts that rows of products have not.
    """
    coarsest = "category" if selection.category else "day"
    source = "product" if selection.product_keys is not None else coarsest
    whole = replace(
        selection, source=source, by=(), stores=_stores(moment, source, ()), limit=None, order="key"
    )
    rows = list(_rows(moment, whole))
    row = rows[0] if rows else domain.with_changes(_nothing_sold(source))
    return {measure: row[measure] for measure in measures}


def _nothing_sold(source: str) -> Row:
    counted = source == "day"
    return {
        **dict.fromkeys(domain.MEASURES, 0),
        **({} if counted else dict.fromkeys(("sale_count", "return_count", "void_count"))),
        "previous_net_cents": 0,
        "previous_units": 0,
    }


def top_sellers(
    moment: Moment,
    period: Period,
    measure: str,
    limit: int,
    *,
    channel: str | None = None,
    category: str | None = None,
) -> list[dict[str, Any]]:
    """The first `limit` products by `net` or `units`."""
    selection = Selection(
        source="product", by=("product",), period=period, stores=moment.product_stores, channel=channel,
        category=category, goods_only=True, order=measure, limit=limit,
    )  # fmt: skip
    return _ranked(store.sum_sales(moment.connection, selection), TOP_COLUMNS)


def slow_sellers(
    moment: Moment,
    period: Period,
    measure: str,
    limit: int,
    *,
    channel: str | None = None,
    category: str | None = None,
) -> list[dict[str, Any]]:
    """The last `limit` of what is on sale and in stock."""
    filters = {**moment.filters(category, None), "stores": moment.product_stores, "channel": channel}
    rows = stock.slow_sellers(moment.connection, period, measure, limit, filters)
    return _ranked(rows, SLOW_COLUMNS)


def _ranked(rows: Iterator[Row] | list[Row], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {column: rank if column == "rank" else row[column] for column in columns}
        for rank, row in enumerate(rows, 1)
    ]


def trend_report(moment: Moment, query: TrendQuery) -> Report:
    """A row for each day, week or month of the period, also for those in which nothing was sold.

    The averages need whole weeks and months, so the period begins with the first one of them.
    """
    period = query.period(moment.today)
    period = Period(bucket_start(period.first, query.by), period.last)
    keys = None if query.sku is None else store.find_product_keys(moment.connection, query.sku)
    source = "product" if query.sku is not None else "category" if query.category is not None else "day"
    selection = Selection(
        source=source, by=(query.by,), period=period, stores=_stores(moment, source, ()),
        channel=query.channel, category=query.category, product_keys=keys,
    )  # fmt: skip
    rows = _trend(moment, selection, query.window)
    return moment.report("trend", TREND_COLUMNS, rows, period, by=query.by, window=query.window)


def _trend(moment: Moment, selection: Selection, window: int) -> list[dict[str, Any]]:
    """The averages of the first rows need what was sold before the period, so that is read as well."""
    (bucket,) = selection.by
    first = bucket_after(bucket_start(selection.period.first, bucket), bucket, 1 - 2 * window)
    longer = replace(selection, period=Period(first, selection.period.last))
    sums = {row[bucket]: row for row in store.sum_sales(moment.connection, longer)}
    values = [
        (start, row["net_cents"], row["units_sold"] - row["units_returned"])
        if (row := sums.get(start))
        else (start, 0, 0)
        for start in buckets_between(first, selection.period.last, bucket)
    ]
    return domain.trend(values, window)


def stock_columns(by: Sequence[str]) -> tuple[str, ...]:
    return (*_keys(by), *STOCK_COLUMNS)


def store_report(moment: Moment, query: PeriodQuery) -> Report:
    """One store in sections."""
    period = query.period(moment.today)
    place = moment.places[moment.stores[0]]
    sections = {
        "total": _total(moment, _compared(moment, "day", (), period, query.channel), _COMPARED_MEASURES),
        "days": _section(moment, "day", ("day",), period, query.channel),
        "hours": _section(moment, "hour", ("hour",), period, query.channel, compared=False),
        "categories": _section(moment, "category", ("category",), period, query.channel),
        "top_products": top_sellers(moment, period, "net", SECTION_ROWS, channel=query.channel),
        "stock": _stock_section(moment),
    }
    head = {name: place[name] for name in ("name", "kind", "time_zone")}
    return _composed(moment, "store", query, period, sections=sections, head=head)


def overview(moment: Moment, query: PeriodQuery) -> Report:
    """The chain in sections."""
    period = query.period(moment.today)
    by_day = Selection(source="day", by=("day",), period=period, stores=moment.stores, channel=query.channel)
    sections = {
        "total": _total(moment, _compared(moment, "day", (), period, query.channel), _COMPARED_MEASURES),
        "stores": _section(moment, "day", ("store",), period, query.channel),
        "channels": _section(moment, "day", ("channel",), period, query.channel),
        "categories": _section(moment, "category", ("category",), period, query.channel),
        "top_products": top_sellers(moment, period, "net", SECTION_ROWS, channel=query.channel),
        "slow_products": slow_sellers(moment, period, "net", SECTION_ROWS, channel=query.channel),
        "trend": _trend(moment, by_day, OVERVIEW_WINDOW),
        "stock": _stock_section(moment),
    }
    return _composed(moment, "overview", query, period, sections=sections, head={})


_COMPARED_MEASURES = (*domain.MEASURES, *COMPARED)


def _compared(
    moment: Moment, source: str, by: Sequence[str], period: Period, channel: str | None
) -> Selection:
    order = "net" if "category" in by else "key"
    return Selection(source, by, period, moment.stores, compared=True, channel=channel, order=order)


def _section(
    moment: Moment,
    source: str,
    by: Sequence[str],
    period: Period,
    channel: str | None,
    *,
    compared: bool = True,
) -> list[dict[str, Any]]:
    selection = replace(_compared(moment, source, by, period, channel), compared=compared)
    columns = (*by, *domain.MEASURES, *(COMPARED if compared else ()))
    return [{column: row[column] for column in columns} for row in _rows(moment, selection)]


def _stock_section(moment: Moment) -> list[dict[str, Any]]:
    rows = stock.sum_stock(moment.connection, ("location",), moment.filters(None, None))
    return [{column: row[column] for column in stock_columns(("location",))} for row in rows]


def _composed(
    moment: Moment,
    file_name: str,
    query: PeriodQuery,
    period: Period,
    *,
    sections: Mapping[str, Any],
    head: Mapping[str, Any],
) -> Report:
    """In JSON the sections are members of their own; in CSV they are rows of one table."""
    if wants_csv(query.format):
        columns = ("section", "item", "measure", "value")
        return moment.report(file_name, columns, long_form(sections), period)
    previous = period.previous()
    whole = {"previous": {"from": previous.first, "to": previous.last}, **head, **sections}
    return moment.report(file_name, period=period, **whole)
