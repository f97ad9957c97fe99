"""The books at the end, to the unit: what was acknowledged is there once, stock is what is left, money is what was paid."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2

from benchmarks.report import BenchmarkError
from localfaas.settings import Settings
from localfaas.up import admin_url
from tests.experiments.common.driving import Kept
from tests.experiments.common.shop import STORE, WAREHOUSE
from tests.support.webshop import BOOKS

SETTLE_SECONDS = 120.0
GOODS = "EXP-%"
PASSING = (0, 429, 500, 502, 503, 504)
"""Statuses that are no final answer: what was asked may be done or not. load.js insists on the same, and on a 409 of a key
in flight, which cannot be told here from a refusal."""


@dataclass(frozen=True)
class Document:
    """A sale or an order that counts: the key of its request, and what it cost."""

    document: str
    key: str
    cents: int


@dataclass(frozen=True)
class Ledgers:
    """What the tables say once all is settled."""

    sales: Sequence[Document]
    orders: Sequence[Document]
    units: Mapping[str, Mapping[str, int]]
    """By location: `on_hand`, `ledger`, `received`, `sold` by its documents' lines, `returned` of those, `reserved`."""
    captured_cents: int
    tendered_cents: int
    unsettled: int
    wrong: Mapping[str, int]
    """By what must hold, how many rows say otherwise (tests/support/webshop.py)."""
    refunded_cents: int = 0
    """By orders, for what was cancelled."""
    given_back_cents: int = 0
    """By the provider."""


def differences(
    sales: Sequence[Kept], orders: Sequence[Kept], unanswered: Mapping[str, int], books: Ledgers
) -> dict[str, list[str]]:
    """By what must hold, each difference in words; empty lists where it holds.

    `unanswered` says of how many sales and orders no final answer is known: as many may be there beside the others.
    """
    units = {place: dict(its) for place, its in books.units.items()}
    return {
        "sales": _documents("sale", sales, books.sales, unanswered["sales"]),
        "orders": _documents("order", orders, books.orders, unanswered["orders"]),
        "stock": [*_stock(units), *_units("sales", len(books.sales), STORE, units), *_units("orders", len(books.orders), WAREHOUSE, units)],
        "money": _money(books),
        "settled": [f"{books.unsettled} documents are not settled"] if books.unsettled else [],
        "books": [f"{name}: {count} rows say otherwise" for name, count in books.wrong.items() if count],
    }  # fmt: skip


def _documents(kind: str, kept: Sequence[Kept], there: Sequence[Document], unanswered: int) -> list[str]:
    found = []
    acknowledged = {one.key: str(one.value) for one in kept if one.value is not None}
    by_key = {one.key: one for one in there}
    for key, document in acknowledged.items():
        if key not in by_key:
            found.append(f"the {kind} {document} was acknowledged and is not there")
        elif by_key[key].document != document:
            found.append(f"the {kind} {document} was acknowledged, and {by_key[key].document} is there")
    for key, times in Counter(one.key for one in there).items():
        if times > 1:
            found.append(f"the request {key} has made {times} {kind}s")
    refused = {
        one.key for one in kept if one.value is None and 400 <= one.status < 500 and one.status not in PASSING
    }
    found += [f"the {kind} of {key} was refused and is there" for key in refused & by_key.keys()]
    beside = by_key.keys() - acknowledged.keys() - refused
    if len(beside) > unanswered:
        found.append(f"{len(beside)} {kind}s are there that nobody was told of, of at most {unanswered}")
    return found


def _stock(units: Mapping[str, Mapping[str, int]]) -> list[str]:
    found = []
    for place, its in units.items():
        left = its["received"] - its["sold"] + its.get("returned", 0)
        if not its["on_hand"] == its["ledger"] == left:
            found.append(
                f"{place} has {its['on_hand']}, its ledger {its['ledger']}, and received less sold, with what came back, is {left}"
            )
        if its["reserved"]:
            found.append(f"{its['reserved']} in {place} are still promised")
    return found


def _units(kind: str, documents: int, place: str, units: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Each document is one unit."""
    sold = units[place]["sold"]
    return [] if sold == documents else [f"{documents} {kind} of one unit each have sold {sold} in {place}"]


def _money(books: Ledgers) -> list[str]:
    ordered, sold = (sum(one.cents for one in its) for its in (books.orders, books.sales))
    found = []
    if ordered != books.captured_cents:
        found.append(f"orders come to {ordered} cents, and the provider has captured {books.captured_cents}")
    if books.refunded_cents != books.given_back_cents:
        found.append(
            f"orders have refunded {books.refunded_cents} cents, and the provider has given back {books.given_back_cents}"
        )
    if sold != books.tendered_cents:
        found.append(f"sales come to {sold} cents, and {books.tendered_cents} were tendered")
    return found


def settled(settings: Settings) -> int:
    """How many documents are still open, once none is, or time is up. Raises BenchmarkError without a database."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            [(left,)] = _select(settings, _UNSETTLED)
            if not left or time.monotonic() > deadline:
                return int(left)
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"the database did not come back, so the books cannot be read: {error}"
                ) from error
        time.sleep(1)


def read(settings: Settings) -> Ledgers:
    """Wait until all is settled, and read."""
    unsettled = settled(settings)
    [(captured, tendered, refunded, given_back)] = _select(settings, _MONEY)
    return Ledgers(
        [Document(*row) for row in _select(settings, _SALES)],
        [Document(*row) for row in _select(settings, _ORDERS)],
        {
            place: dict(
                zip(
                    ("on_hand", "reserved", "ledger", "received", "sold", "returned"),
                    map(int, rest),
                    strict=True,
                )
            )
            for place, *rest in _select(settings, _UNITS)
        },
        int(captured),
        int(tendered),
        unsettled,
        {name: len(_select(settings, statement)) for name, statement in BOOKS.items()},
        int(refunded),
        int(given_back),
    )


def _select(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(admin_url(settings))) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


_UNSETTLED = """
SELECT (SELECT count(*) FROM checkout.checkouts WHERE settled_at IS NULL)
     + (SELECT count(*) FROM sales.sales WHERE status IN ('pending', 'undoing', 'voiding'))
     + (SELECT count(*) FROM orders.orders WHERE status = 'cancelled' AND paid_at IS NOT NULL)
"""
_SALES = """
SELECT sale_id::text, substring(request FROM '[^ ]+$'), total_cents FROM sales.sales
WHERE origin = 'till' AND status = 'complete'
"""
_ORDERS = """
SELECT orders.order_id::text, request_key, total_cents
FROM orders.orders JOIN checkout.checkouts USING (checkout_id)
WHERE paid_at IS NOT NULL
"""
_MONEY = """
SELECT (SELECT coalesce(sum(amount_cents), 0) FROM payments.ledger WHERE kind = 'captured'),
       (SELECT coalesce(sum(amount_cents), 0) FROM sales.tenders JOIN sales.sales USING (sale_id) WHERE status = 'complete'),
       (SELECT coalesce(sum(refunded_cents), 0) FROM orders.orders),
       (SELECT coalesce(sum(amount_cents), 0) FROM payments.ledger WHERE kind = 'refunded')
"""
_UNITS = f"""
WITH sold AS (
    SELECT store AS location, sum(quantity) AS quantity
    FROM sales.sale_lines JOIN sales.sales USING (sale_id)
    WHERE status = 'complete' AND sku LIKE '{GOODS}' GROUP BY store
    UNION ALL
    SELECT location, sum(quantity)
    FROM orders.order_lines JOIN orders.orders USING (order_id)
    WHERE paid_at IS NOT NULL AND sku LIKE '{GOODS}' GROUP BY location
), returned AS (
    SELECT location, sum(quantity) AS quantity
    FROM orders.order_lines JOIN orders.orders USING (order_id)
    WHERE restocked_at IS NOT NULL AND sku LIKE '{GOODS}' GROUP BY location
), moved AS (
    SELECT location, sum(quantity) AS ledger, sum(quantity) FILTER (WHERE kind = 'receipt') AS received
    FROM inventory.ledger WHERE sku LIKE '{GOODS}' GROUP BY location
)
SELECT location, sum(on_hand), sum(reserved), min(ledger), min(received),
    coalesce((SELECT sum(quantity) FROM sold WHERE sold.location = stock.location), 0),
    coalesce((SELECT sum(quantity) FROM returned WHERE returned.location = stock.location), 0)
FROM inventory.stock JOIN moved USING (location)
WHERE sku LIKE '{GOODS}' GROUP BY location
"""
