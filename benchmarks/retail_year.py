"""A year of made-up sales of five stores, written into the tables with COPY: the same year for the same number of lines.

Products sell unevenly (the popularity of the n-th is 1/n, as Zipf found for words), stores open at nine and close at
nine of their own clock, and three sales in a hundred come back in part.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2.extensions

STORES = {"S1": 30, "S2": 20, "S3": 25, "S4": 10, "S5": 15}
"""Store to its share of the sales."""
ZONES = {
    "S1": "America/Toronto", "S2": "America/Toronto", "S3": "America/Toronto", "S4": "America/Halifax",
    "S5": "America/Vancouver",
}  # fmt: skip
LOCATIONS = (*STORES, "W1")
PRODUCTS = 4_000
CATEGORIES = 20
DAYS = 365
LINES_PER_SALE = (1, 7)
RETURN_SHARE = 0.03
ROWS_PER_COPY = 20_000

ALWAYS_IN_STOCK = tuple(f"TILL-{number}" for number in range(1, 6))
"""Products that the sales of the benchmark itself are of."""
STORE_OF_THE_TILL = "S1"

Row = tuple[Any, ...]

PRODUCT_COLUMNS = ("sku", "name", "category", "price_cents", "currency")
STOCK_COLUMNS = ("location", "sku", "on_hand", "low_at")
LEDGER_COLUMNS = ("location", "sku", "quantity", "on_hand", "kind", "moved_by")

SALE_COLUMNS = (
    "sale_id", "status", "origin", "store", "cashier", "business_date", "sold_at", "completed_at", "receipt_number",
    "currency", "subtotal_cents", "taxes", "tax_cents", "document",
)  # fmt: skip
SALE_LINE_COLUMNS = (
    "sale_id", "line", "sku", "name", "category", "quantity", "list_price_cents", "unit_price_cents",
    "tax_parts_cents", "tax_cents", "returned_quantity", "returned_tax_parts_cents", "sold_at",
)  # fmt: skip
RETURN_COLUMNS = (
    "return_id", "sale_id", "status", "origin", "store", "cashier", "business_date", "returned_at", "completed_at",
    "receipt_number", "currency", "subtotal_cents", "taxes", "tax_cents", "refund_kind", "reason", "document",
)  # fmt: skip
RETURN_LINE_COLUMNS = (
    "return_id", "line", "sale_id", "sale_line", "sku", "name", "category", "restock", "quantity", "unit_price_cents",
    "tax_parts_cents", "tax_cents", "returned_at",
)  # fmt: skip


@dataclass(frozen=True)
class Product:
    sku: str
    name: str
    category: str
    price_cents: int

    @classmethod
    def always_in_stock(cls, sku: str) -> Product:
        return cls(sku, f"Product {sku}", "till", 1_000)


@dataclass(frozen=True)
class Documents:
    """Rows of one sale, and of the return that it may have."""

    sale: Row
    sale_lines: list[Row]
    return_: Row | None
    return_lines: list[Row]


class RetailYear:
    """The year that ends on `last_day`; sales are added to it a part at a time."""

    def __init__(self, last_day: date) -> None:
        self._first_day = last_day - timedelta(days=DAYS - 1)
        self._chance = random.Random(0)  # noqa: S311  made-up sales, nothing secret
        self._receipts: dict[tuple[str, str, date], int] = {}
        self.products = [self._product(number) for number in range(PRODUCTS)]
        self._popularity = list(itertools.accumulate(1 / (number + 20) for number in range(PRODUCTS)))

    def load_goods(self, connection: psycopg2.extensions.connection) -> None:
        """Write the catalogue and the stock of every location, with its ledger, and commit."""
        stock = list(self._stock())
        with connection.cursor() as cursor:
            _copy(cursor, "products.products", PRODUCT_COLUMNS, self._catalogue())
            _copy(cursor, "inventory.stock", STOCK_COLUMNS, stock)
            _copy(cursor, "inventory.ledger", LEDGER_COLUMNS, (
                (location, sku, on_hand, on_hand, "receipt", "bench") for location, sku, on_hand, _ in stock if on_hand
            ))  # fmt: skip
        connection.commit()

    def load_sales(self, connection: psycopg2.extensions.connection, lines: int) -> None:
        """Write sales of `lines` lines in all, and what comes back of them, and commit."""
        documents = self._documents(lines)
        with connection.cursor() as cursor:
            while chunk := list(itertools.islice(documents, ROWS_PER_COPY)):
                returned = [one for one in chunk if one.return_]
                _copy(cursor, "sales.sales", SALE_COLUMNS, (one.sale for one in chunk))
                _copy(
                    cursor,
                    "sales.sale_lines",
                    SALE_LINE_COLUMNS,
                    (row for one in chunk for row in one.sale_lines),
                )
                _copy(
                    cursor, "sales.returns", RETURN_COLUMNS, (one.return_ for one in returned if one.return_)
                )
                _copy(
                    cursor,
                    "sales.return_lines",
                    RETURN_LINE_COLUMNS,
                    (row for one in returned for row in one.return_lines),
                )
        connection.commit()

    def _product(self, number: int) -> Product:
        category = f"category {number % CATEGORIES:02}"
        return Product(f"P{number:05}", f"Product {number}", category, self._chance.randrange(95, 9_995, 10))

    def _catalogue(self) -> Iterator[Row]:
        for product in [*self.products, *map(Product.always_in_stock, ALWAYS_IN_STOCK)]:
            yield product.sku, product.name, product.category, product.price_cents, "CAD"

    def _stock(self) -> Iterator[Row]:
        for location in LOCATIONS:
            most = 2_000 if location == "W1" else 60
            for product in self.products:
                yield location, product.sku, self._chance.randrange(most), self._chance.choice((None, 2, 5))
        for sku in ALWAYS_IN_STOCK:
            yield STORE_OF_THE_TILL, sku, 1_000_000, None

    def _documents(self, lines: int) -> Iterator[Documents]:
        left = lines
        while left > 0:
            documents = self._sale(min(left, self._chance.randint(*LINES_PER_SALE)))
            left -= len(documents.sale_lines)
            yield documents

    def _sale(self, lines: int) -> Documents:
        store = self._chance.choices(list(STORES), list(STORES.values()))[0]
        day = self._first_day + timedelta(days=self._chance.randrange(DAYS))
        sold_at = self._moment(store, day)
        sale_id = self._uuid()
        wanted = self._chance.choices(self.products, cum_weights=self._popularity, k=lines)
        rows = [self._line(sale_id, line, product, sold_at) for line, product in enumerate(wanted, 1)]
        comes_back = self._chance.random() < RETURN_SHARE and day < self._first_day + timedelta(days=DAYS - 1)
        money = self._money(rows)
        receipt = self._receipt("sale", store, day)
        sale = (
            sale_id,
            "complete",
            "import",
            store,
            "till",
            day,
            sold_at,
            sold_at,
            receipt,
            "CAD",
            *money,
            sale_id,
        )
        if not comes_back:
            return Documents(sale, rows, None, [])
        return_, return_line = self._return(store, day + timedelta(days=1), rows[0])
        rows[0] = (*rows[0][:10], rows[0][5], rows[0][8], sold_at)
        return Documents(sale, rows, return_, [return_line])

    def _line(self, sale_id: str, line: int, product: Product, sold_at: datetime) -> Row:
        quantity = self._chance.choice((1, 1, 1, 2, 3))
        taxes = [quantity * product.price_cents * rate // 100_000 for rate in (5_000, 9_975)]
        parts = f"{{{taxes[0]},{taxes[1]}}}"
        price = product.price_cents
        return (
            sale_id, line, product.sku, product.name, product.category, quantity, price, price, parts, sum(taxes),
            0, "{0,0}", sold_at,
        )  # fmt: skip

    def _return(self, store: str, day: date, line: Row) -> tuple[Row, Row]:
        at, return_id = self._moment(store, day), self._uuid()
        receipt = self._receipt("return", store, day)
        head = (
            return_id, line[0], "complete", "import", store, "till", day, at, at, receipt, "CAD", *self._money([line]),
            "account", "made up", return_id,
        )  # fmt: skip
        sale_id, number, sku, name, category, quantity, _, price, parts, tax = line[:10]
        return head, (
            return_id,
            1,
            sale_id,
            number,
            sku,
            name,
            category,
            True,
            quantity,
            price,
            parts,
            tax,
            at,
        )

    def _money(self, rows: list[Row]) -> tuple[int, str, int]:
        """Subtotal, taxes and their sum, of lines as they are written."""
        tax = sum(row[9] for row in rows)
        return sum(row[5] * row[7] for row in rows), json.dumps([{"name": "tax", "amount_cents": tax}]), tax

    def _receipt(self, series: str, store: str, day: date) -> int:
        number = self._receipts.get((series, store, day), 0) + 1
        self._receipts[series, store, day] = number
        return number

    def _moment(self, store: str, day: date) -> datetime:
        opening = datetime(day.year, day.month, day.day, 9, tzinfo=ZoneInfo(ZONES[store]))
        return opening.astimezone(UTC) + timedelta(seconds=self._chance.randrange(12 * 3600))

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))


def _copy(
    cursor: psycopg2.extensions.cursor, table: str, columns: tuple[str, ...], rows: Iterable[Row]
) -> None:
    """COPY `rows` in text format; None is NULL. None of the values has a tab, a newline or a backslash."""
    text = "".join("\t".join("\\N" if value is None else str(value) for value in row) + "\n" for row in rows)
    cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", io.StringIO(text))
