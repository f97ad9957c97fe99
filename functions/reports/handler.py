"""Reports over HTTP: owns the facts of sales in the schema reports, reads views of others, and calls no function.

Each report is read in one snapshot. The login role reads only; `POST /refresh` calls the one procedure that sums facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Response
from prometheus_client import Counter, Gauge

from functions.shared import (
    Api,
    Connection,
    DatabaseSettings,
    FunctionApp,
    TokenSettings,
    current,
    setting,
)
from functions.shared import create_app as build

from . import composed, stock, store
from . import queries as asked
from .moment import Moment, open_moment, own_store
from .periods import Period
from .queries import Policy
from .rendering import CSV, Report, answer
from .views import (
    LowStock,
    Overstock,
    Overview,
    Rebuild,
    Refresh,
    Replenishment,
    Sales,
    SlowSellers,
    Stock,
    StoreReport,
    TopSellers,
    Trend,
)

READERS = ("hq", "staff")

REFRESHED = Counter("reports_days_refreshed_total", "Store days whose facts were summed again.")
AS_OF = Gauge("reports_as_of_timestamp_seconds", "The moment that facts are of, as this replica last saw.")


@dataclass(frozen=True, kw_only=True)
class ReportsSettings(DatabaseSettings, TokenSettings):
    currency: str = setting("ISO 4217 code of the currency of all sales.", default="CAD")
    refresh_budget_ms: int = setting("One call of /refresh sums facts for about this long.", default=1000)
    lead_time_days: int = setting(
        "Days from asking for stock to having it, unless a request says.", default=3
    )
    safety_days: int = setting("Days of sales to keep in stock beside that.", default=4)
    cover_days: int = setting("Days of sales that a replenishment is to last.", default=14)
    overstock_days: int = setting("What lasts longer than this many days is too much.", default=90)


api = Api("reports", title="Reports", migration="0017", warm_up=["/sales?from=2001-01-01&to=2001-01-01"])


@api.get("/sales", query=asked.SalesQuery, answers={200: (Sales, CSV)}, roles=READERS, problems=[503])
def report_sales(query: asked.SalesQuery) -> Response:
    """Consolidated sales between two days, with the period before.

    By store, channel, category, product, hour, day, week, month, or up to three of these together.
    """
    return _answer(query, lambda moment: composed.sales_report(moment, query))


@api.get(
    "/products/top", query=asked.SellersQuery, answers={200: (TopSellers, CSV)}, roles=READERS, problems=[503]
)
def report_top_sellers(query: asked.SellersQuery) -> Response:
    """The products that sold most, by money or by units; charges are no products."""

    def make(moment: Moment) -> Report:
        period = query.period(moment.today)
        rows = composed.top_sellers(
            moment, period, query.measure, query.limit, channel=query.channel, category=query.category
        )
        return moment.report("top-sellers", composed.TOP_COLUMNS, rows, period)

    return _answer(query, make)


@api.get(
    "/products/slow",
    query=asked.SellersQuery,
    answers={200: (SlowSellers, CSV)},
    roles=READERS,
    problems=[503],
)
def report_slow_sellers(query: asked.SellersQuery) -> Response:
    """The products on sale and in stock that sold least, or not at all; with what lies there."""

    def make(moment: Moment) -> Report:
        period = query.period(moment.today)
        rows = composed.slow_sellers(
            moment, period, query.measure, query.limit, channel=query.channel, category=query.category
        )
        return moment.report("slow-sellers", composed.SLOW_COLUMNS, rows, period)

    return _answer(query, make)


@api.get("/trends", query=asked.TrendQuery, answers={200: (Trend, CSV)}, roles=READERS, problems=[503])
def report_trend(query: asked.TrendQuery) -> Response:
    """Net sales by day, week or month with their moving average, and how that has changed."""
    return _answer(query, lambda moment: composed.trend_report(moment, query))


@api.get("/stock", query=asked.StockQuery, answers={200: (Stock, CSV)}, roles=READERS, problems=[503])
def report_stock(query: asked.StockQuery) -> Response:
    """Stock as it is now and its value at the catalogue's prices, by location, category or product."""

    def make(moment: Moment) -> Report:
        rows = stock.sum_stock(moment.connection, query.by, moment.filters(query.category, None))
        return moment.report("stock", composed.stock_columns(query.by), rows, of_stock=True)

    return _answer(query, make)


@api.get(
    "/stock/low", query=asked.StockListQuery, answers={200: (LowStock, CSV)}, roles=READERS, problems=[503]
)
def report_low_stock(query: asked.StockListQuery) -> Response:
    """What is at or below its threshold now, and what has been asked for already."""

    def make(moment: Moment) -> Report:
        rows = stock.low_stock(moment.connection, moment.store, query.category, query.limit)
        return moment.report("low-stock", composed.LOW_COLUMNS, rows, of_stock=True)

    return _answer(query, make)


@api.get(
    "/stock/over", query=asked.OverstockQuery, answers={200: (Overstock, CSV)}, roles=READERS, problems=[503]
)
def report_overstock(query: asked.OverstockQuery) -> Response:
    """What lasts longer than `cover_days` at the pace at which it sells, or does not sell."""

    def make(moment: Moment) -> Report:
        days = query.cover_days or current().settings(ReportsSettings).overstock_days
        sold_in = _window(query, moment)
        rows = stock.overstock(moment.connection, sold_in, days, moment.filters(query.category, query.limit))
        return moment.report("overstock", composed.OVER_COLUMNS, rows, sold_in, cover_days=days)

    return _answer(query, make)


@api.get(
    "/replenishment",
    query=asked.ReplenishmentQuery,
    answers={200: (Replenishment, CSV)},
    roles=READERS,
    problems=[503],
)
def report_replenishment(query: asked.ReplenishmentQuery) -> Response:
    """What each location should ask for: from its velocity, the lead time, and what it has and has asked for.

    A SKU is due when what is available and asked for is not more than velocity x (lead time + safety days), or its
    threshold; it is brought up to velocity x (lead time + safety days + cover days).
    The warehouse is held to what the whole chain sells.
    """

    def make(moment: Moment) -> Report:
        policy = _policy(query)
        sold_in = _window(query, moment)
        rows = stock.replenishment(
            moment.connection, sold_in, policy, moment.filters(query.category, query.limit)
        )
        return moment.report("replenishment", composed.REPLENISHMENT_COLUMNS, rows, sold_in, **vars(policy))

    return _answer(query, make)


def _window(query: asked.VelocityQuery, moment: Moment) -> Period:
    """The days that velocity is measured in: until yesterday, since today is not over."""
    until = query.until or moment.today - timedelta(days=1)
    return Period(until - timedelta(days=query.window_days - 1), until)


def _policy(query: asked.ReplenishmentQuery) -> Policy:
    usual = current().settings(ReportsSettings)
    chosen = {
        name: getattr(usual, name) if getattr(query, name) is None else getattr(query, name)
        for name in ("lead_time_days", "safety_days", "cover_days")
    }
    return Policy(**chosen)


@api.get(
    "/stores/<store>",
    query=asked.PeriodQuery,
    answers={200: (StoreReport, CSV)},
    roles=READERS,
    problems=[404, 503],
)
def report_store(store: str, query: asked.PeriodQuery) -> Response:
    """One store: its sales by day, hour, category and product, and its stock."""
    return _answer(query, lambda moment: composed.store_report(moment, query), store_of_path=store)


@api.get("/overview", query=asked.PeriodQuery, answers={200: (Overview, CSV)}, roles=("hq",), problems=[503])
def report_overview(query: asked.PeriodQuery) -> Response:
    """The head office's view of the chain, in one call."""
    return _answer(query, lambda moment: composed.overview(moment, query))


def _answer(
    query: asked.ReportQuery, make: Callable[[Moment], Report], store_of_path: str | None = None
) -> Response:
    """The report that `make` reads, for whoever may see it."""
    wanted = store_of_path or getattr(query, "store", None)
    scope = own_store(current().identity(), wanted)
    currency = current().settings(ReportsSettings).currency

    def read(connection: Connection) -> Report:
        moment = open_moment(connection, scope, currency, in_path=store_of_path is not None)
        AS_OF.set(moment.as_of.timestamp())
        return make(moment)

    return answer(current().database, read, query.format)


@api.post("/refresh", answers={200: Refresh}, roles=("service",), problems=[503])
def refresh_facts() -> dict[str, Any]:
    """Bring facts up to date with what was sold, a batch at a time; for maintenance.

    Any number of these may run at once: one works, the others have nothing to do.
    """
    budget = current().settings(ReportsSettings).refresh_budget_ms
    done = current().database.change(lambda connection: store.refresh(connection, budget))
    as_of = current().database.read(store.read_as_of)
    REFRESHED.inc(done["refreshed"])
    if as_of is not None:
        AS_OF.set(as_of.timestamp())
    return {**done, "as_of": as_of}


@api.post("/rebuild", answers={200: Rebuild}, roles=("hq", "service"), problems=[503])
def rebuild_facts() -> dict[str, int]:
    """Have all facts summed anew from the documents by the refreshes to come, whatever is in them now.

    Reports are whole and up to date meanwhile. Doing it twice is harmless.
    """
    return {"days": current().database.change(store.rebuild)}


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The reports function in `environ`; the template calls this once."""
    return build(api, ReportsSettings, environ)
