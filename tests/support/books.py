"""Documents written straight into the tables of sales and orders, and what they add up to, computed from those tables in Python.

Nothing of reports is used for the sums: rows are read as they are, and days and hours come from zoneinfo.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2.extensions
from flask.testing import FlaskClient

from functions.reports.handler import create_app
from functions.shared import FunctionApp
from tests.support.functions import Secrets
from tests.support.postgres import TEMPLATE, Database, PostgresServer

ZONES = {
    "S1": ZoneInfo("America/Toronto"), "S2": ZoneInfo("America/Toronto"), "S3": ZoneInfo("America/Toronto"),
    "S4": ZoneInfo("America/Halifax"), "S5": ZoneInfo("America/Vancouver"), "W1": ZoneInfo("America/Toronto"),
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    sku: str = "A"
    quantity: int = 1
    price_cents: int = 100
    tax_cents: int = 0
    category: str = "toys"
    charge: bool = False


@dataclass(frozen=True)
class Entry:
    """One line of a document that counts, signed by nothing: `kind` says which way it goes."""

    kind: str
    document: str
    store: str
    channel: str
    day: date
    hour: int
    sku: str
    category: str
    charge: bool
    quantity: int
    total_cents: int
    tax_cents: int


@dataclass
class Books:
    """A database with documents in it, and the reports function on it."""

    database: Database
    app: FunctionApp
    secrets: Secrets
    connection: psycopg2.extensions.connection
    receipts: dict[tuple[str, str, date], int] = field(default_factory=dict)

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def get(self, path: str, **headers: str) -> Any:
        """The answer to the head office."""
        return self.client().get(path, headers={**self.secrets.bearer("hq"), **headers})

    def report(self, path: str) -> dict[str, Any]:
        response = self.get(path)
        assert response.status_code == 200, response.data
        answer: dict[str, Any] = response.get_json()
        return answer

    def refresh(self) -> int:
        """Refresh to the end, as maintenance does; the number of store days that were summed."""
        service = self.secrets.bearer("service", subject="maintenance")
        refreshed, more = 0, True
        while more:
            response = self.client().post("/refresh", headers=service)
            assert response.status_code == 200, response.data
            refreshed, more = refreshed + response.get_json()["refreshed"], response.get_json()["more"]
        return refreshed

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run a statement as the superuser, in the open transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []

    def empty(self) -> None:
        """As if nothing had ever been sold."""
        self.rows(
            "TRUNCATE sales.sales, sales.returns, reports.day_sales, reports.hour_sales, reports.category_sales,"
            " reports.product_sales, reports.products, reports.stale_days, reports.stale_months,"
            " products.products, inventory.replenishments CASCADE"
        )
        self.rows("DELETE FROM inventory.stock")
        # The history of orders is append-only, even for this.
        self.rows("SET LOCAL session_replication_role = replica")
        for table in ("return_lines", "returns", "order_lines", "history", "orders", "checkouts"):
            self.rows(f"DELETE FROM orders.{table}")
        self.rows("SET LOCAL session_replication_role = origin")
        self.rows("UPDATE reports.progress SET scanned_xid = '0', scanned_at = NULL, as_of = NULL")
        self.receipts.clear()
        self.connection.commit()

    def stock_product(
        self, sku: str, price_cents: int = 100, category: str = "toys", active: bool = True
    ) -> None:
        self.rows(
            "INSERT INTO products.products (sku, name, category, price_cents, currency, active)"
            " VALUES (%(sku)s, 'Product ' || %(sku)s, %(category)s, %(price)s, 'CAD', %(active)s)",
            {"sku": sku, "category": category, "price": price_cents, "active": active},
        )

    def put_stock(
        self, location: str, sku: str, on_hand: int, reserved: int = 0, low_at: int | None = None
    ) -> None:
        self.rows(
            "INSERT INTO inventory.stock (location, sku, on_hand, reserved, low_at)"
            " VALUES (%(location)s, %(sku)s, %(on_hand)s, %(reserved)s, %(low_at)s)",
            {"location": location, "sku": sku, "on_hand": on_hand, "reserved": reserved, "low_at": low_at},
        )

    def ask(self, location: str, sku: str, quantity: int) -> None:
        """An open request of a store for replenishment."""
        self.rows(
            "WITH request AS (INSERT INTO inventory.replenishments (location, asked_by) VALUES (%(location)s, 'x')"
            " RETURNING replenishment_id) INSERT INTO inventory.replenishment_lines (replenishment_id, sku, requested)"
            " SELECT replenishment_id, %(sku)s, %(quantity)s FROM request",
            {"location": location, "sku": sku, "quantity": quantity},
        )

    def sell(self, store: str, at: datetime, *lines: Line, status: str = "complete") -> str:
        """Record a sale in the open transaction; its id."""
        return self._document("sale", store, at, lines, status)

    def take_back(self, store: str, at: datetime, *lines: Line, status: str = "complete") -> str:
        """Record a return in the open transaction; its id."""
        return self._document("return", store, at, lines, status)

    def complete(self, sale_id: str) -> None:
        """Give a pending sale its receipt."""
        (sale,) = self.rows(
            "SELECT store, business_date FROM sales.sales WHERE sale_id = %(id)s", {"id": sale_id}
        )
        receipt = self._receipt("sale", sale["store"], sale["business_date"])
        self.rows(
            "UPDATE sales.sales SET status = 'complete', completed_at = now(), receipt_number = %(receipt)s,"
            " changed_xid = pg_current_xact_id() WHERE sale_id = %(id)s",
            {"id": sale_id, "receipt": receipt},
        )

    def void(self, sale_id: str) -> None:
        self.rows(
            "UPDATE sales.sales SET status = 'voided', voided_at = now(), changed_xid = pg_current_xact_id()"
            " WHERE sale_id = %(id)s",
            {"id": sale_id},
        )

    def order(self, location: str, at: datetime, *lines: Line, paid: bool = True) -> str:
        """Record an order of the web shop in the open transaction; its id."""
        order_id = str(uuid.uuid4())
        self.rows(
            _ORDER,
            {
                "id": order_id, "location": location, "zone": ZONES[location].key, "at": at,
                "number": uuid.uuid4().hex[:9].upper(),
                "subtotal": sum(line.quantity * line.price_cents for line in lines),
                "tax": sum(line.tax_cents for line in lines),
            },
        )  # fmt: skip
        for number, line in enumerate(lines, 1):
            self.rows(
                _ORDER_LINE, {"id": order_id, "number": number, "name": f"sold as {line.sku}", **vars(line)}
            )
        if paid:
            self.rows(_ORDER_PAID, {"id": order_id, "at": at})
        return order_id

    def cancel_order(self, order_id: str, at: datetime, *, refunded: bool = True) -> None:
        """Cancel a paid order and pay it back, unless something of it was returned."""
        if self.rows("SELECT 1 AS one FROM orders.returns WHERE order_id = %(id)s", {"id": order_id}):
            return
        self.rows(_ORDER_CANCELLED, {"id": order_id, "at": at})
        if refunded:
            self.rows(_ORDER_REFUNDED, {"id": order_id, "at": at})

    def return_order(self, order_id: str, at: datetime, which: int, *, complete: bool = True) -> None:
        """Some of one line of a paid order comes back."""
        (order,) = self.rows("SELECT * FROM orders.orders WHERE order_id = %(id)s", {"id": order_id})
        lines = self.rows(
            "SELECT * FROM orders.order_lines WHERE order_id = %(id)s AND returned_quantity < quantity ORDER BY line",
            {"id": order_id},
        )
        if not lines:
            return
        line = lines[which % len(lines)]
        quantity = 1 + which % (line["quantity"] - line["returned_quantity"])
        tax = line["tax_cents"] * quantity // line["quantity"]
        self.rows(
            _ORDER_RETURN,
            {
                "id": str(uuid.uuid4()), "order": order_id, "location": order["location"], "at": at,
                "day": at.astimezone(ZONES[order["location"]]).date(), "complete": complete, "line": line["line"],
                "quantity": quantity, "tax": tax, "subtotal": quantity * line["unit_price_cents"],
            },
        )  # fmt: skip

    def erase_order(self, order_id: str) -> None:
        """Take the personal data out of an order."""
        self.rows(
            "UPDATE orders.orders SET address = NULL, erased_at = now() WHERE order_id = %(id)s",
            {"id": order_id},
        )

    def _document(self, kind: str, store: str, at: datetime, lines: Sequence[Line], status: str) -> str:
        document_id = str(uuid.uuid4())
        day = at.astimezone(ZONES[store]).date()
        has_receipt = status in {"complete", "voiding", "voided"}
        values = {
            "id": document_id, "status": status, "store": store, "day": day, "at": at,
            "completed_at": at if has_receipt else None,
            "receipt": self._receipt(kind, store, day) if has_receipt else None,
            "subtotal": sum(line.quantity * line.price_cents for line in lines),
            "tax": sum(line.tax_cents for line in lines), "voided_at": at if status == "voided" else None,
        }  # fmt: skip
        self.rows(_SALE if kind == "sale" else _RETURN, values)
        for number, line in enumerate(lines, 1):
            self.rows(
                _SALE_LINE if kind == "sale" else _RETURN_LINE,
                {"id": document_id, "number": number, "at": at, "name": f"sold as {line.sku}", **vars(line)},
            )
        return document_id

    def _receipt(self, kind: str, store: str, day: date) -> int:
        self.receipts[kind, store, day] = self.receipts.get((kind, store, day), 0) + 1
        return self.receipts[kind, store, day]

    def entries(self) -> list[Entry]:
        """Every line that counts, from the tables."""
        found = []
        for kind, documents, lines, key, at in (
            ("sale", "sales.sales", "sales.sale_lines", "sale_id", "sold_at"),
            ("return", "sales.returns", "sales.return_lines", "return_id", "returned_at"),
        ):
            by_id = {row[key]: row for row in self.rows(f"SELECT * FROM {documents}")}
            for line in self.rows(f"SELECT * FROM {lines}"):
                document = by_id[line[key]]
                if document["status"] not in {"complete", "voiding"}:
                    continue
                moment = document[at].astimezone(ZONES[document["store"]])
                found.append(
                    Entry(
                        kind, document[key], document["store"], document["channel"], moment.date(), moment.hour,
                        line["sku"], line["category"], line["charge"], line["quantity"], line["total_cents"],
                        line["tax_cents"],
                    )
                )  # fmt: skip
        found += self._web_entries()
        self.connection.commit()
        return found

    def _web_entries(self) -> list[Entry]:
        """A paid order is sold when it is paid; it comes back when it is cancelled, once refunded, or by returns."""
        orders = {row["order_id"]: row for row in self.rows("SELECT * FROM orders.orders")}
        lines = self.rows("SELECT * FROM orders.order_lines")
        returns = {row["return_id"]: row for row in self.rows("SELECT * FROM orders.returns")}
        found = []
        for line in lines:
            order = orders[line["order_id"]]
            if order["paid_at"] is not None:
                found.append(_web_entry("sale", order["order_id"], order["location"], order["paid_at"], line))
            if order["cancelled_at"] is not None and order["status"] == "refunded":
                found.append(
                    _web_entry(
                        "return",
                        f"{order['order_id']}:cancel",
                        order["location"],
                        order["cancelled_at"],
                        line,
                    )
                )
        for line in self.rows("SELECT * FROM orders.return_lines"):
            back = returns[line["return_id"]]
            if back["status"] == "complete":
                found.append(
                    _web_entry("return", back["return_id"], back["location"], back["created_at"], line)
                )
        return found

    def voids(self) -> list[tuple[str, str, date, int]]:
        """Store, channel, day and hour of every voided sale."""
        rows = self.rows("SELECT store, channel, sold_at FROM sales.sales WHERE status = 'voided'")
        self.connection.commit()
        moments = [
            (row["store"], row["channel"], row["sold_at"].astimezone(ZONES[row["store"]])) for row in rows
        ]
        return [(store, channel, moment.date(), moment.hour) for store, channel, moment in moments]


def _web_entry(kind: str, document: str, location: str, at: datetime, line: Mapping[str, Any]) -> Entry:
    moment = at.astimezone(ZONES[location])
    return Entry(
        kind, document, location, "web", moment.date(), moment.hour, line["sku"], line["category"], False,
        line["quantity"], line["total_cents"], line["tax_cents"],
    )  # fmt: skip


@contextmanager
def open_books(server: PostgresServer, directory: Path, **settings: str) -> Iterator[Books]:
    """Books in a database of their own."""
    database = server.create_database(TEMPLATE)
    secrets = Secrets.make(directory, services=("maintenance",), reports_db=database.url("reports"))
    app = create_app({**secrets.environ, "threads": "4", **settings})
    connection = database.connect()
    try:
        yield Books(database, app, secrets, connection)
    finally:
        connection.close()
        app.service.database.close()
        database.drop()


FACTS = {
    "day_sales": "SELECT * FROM reports.day_sales",
    "hour_sales": "SELECT * FROM reports.hour_sales",
    "category_sales": "SELECT * FROM reports.category_sales",
    "product_sales": "SELECT sku, category, charge, fact.* FROM reports.product_sales AS fact JOIN reports.products USING (product_key)",
}


def facts(books: Books) -> dict[str, list[tuple[Any, ...]]]:
    """All facts, in no order."""
    found = {name: sorted(map(repr, books.rows(statement))) for name, statement in FACTS.items()}
    books.connection.commit()
    return found


_SALE = """
INSERT INTO sales.sales (
    sale_id, status, origin, store, cashier, business_date, sold_at, completed_at, receipt_number, currency,
    subtotal_cents, taxes, tax_cents, document, voided_at
) VALUES (
    %(id)s, %(status)s, 'import', %(store)s, 'c', %(day)s, %(at)s, %(completed_at)s, %(receipt)s, 'CAD',
    %(subtotal)s, '[]', %(tax)s, %(id)s, %(voided_at)s
)
"""

_SALE_LINE = """
INSERT INTO sales.sale_lines (
    sale_id, line, sku, name, category, charge, quantity, list_price_cents, unit_price_cents,
    tax_parts_cents, tax_cents, returned_tax_parts_cents, sold_at
) VALUES (
    %(id)s, %(number)s, %(sku)s, %(name)s, %(category)s, %(charge)s, %(quantity)s, %(price_cents)s, %(price_cents)s,
    ARRAY[%(tax_cents)s], %(tax_cents)s, ARRAY[0], %(at)s
)
"""

_RETURN = """
INSERT INTO sales.returns (
    return_id, status, origin, store, cashier, business_date, returned_at, completed_at, receipt_number, currency,
    subtotal_cents, taxes, tax_cents, refund_kind, reason, document
) VALUES (
    %(id)s, %(status)s, 'import', %(store)s, 'c', %(day)s, %(at)s, %(completed_at)s, %(receipt)s, 'CAD',
    %(subtotal)s, '[]', %(tax)s, 'account', 'why not', %(id)s
)
"""

_RETURN_LINE = """
INSERT INTO sales.return_lines (
    return_id, line, sku, name, category, charge, restock, quantity, unit_price_cents,
    tax_parts_cents, tax_cents, returned_at
) VALUES (
    %(id)s, %(number)s, %(sku)s, %(name)s, %(category)s, %(charge)s, true, %(quantity)s, %(price_cents)s,
    ARRAY[%(tax_cents)s], %(tax_cents)s, %(at)s
)
"""

_ORDER = """
WITH checkout AS (
    INSERT INTO orders.checkouts (checkout_id, order_id) VALUES (gen_random_uuid(), %(id)s) RETURNING checkout_id
)
INSERT INTO orders.orders (
    order_id, number, checkout_id, customer_id, location, time_zone, reservation_id, currency, subtotal_cents, taxes,
    tax_cents, address, content_sha256, changed_by, created_at
)
SELECT
    %(id)s, translate(%(number)s, 'ILOU', '1101'), checkout_id, 'ada', %(location)s, %(zone)s, gen_random_uuid(), 'CAD',
    %(subtotal)s, '[]', %(tax)s, '{}', '', 'checkout', %(at)s
FROM checkout
"""

_ORDER_LINE = """
INSERT INTO orders.order_lines (
    order_id, line, sku, name, category, quantity, unit_price_cents, tax_parts_cents, tax_cents, returned_tax_parts_cents
) VALUES (
    %(id)s, %(number)s, %(sku)s, %(name)s, %(category)s, %(quantity)s, %(price_cents)s, ARRAY[%(tax_cents)s],
    %(tax_cents)s, ARRAY[0]
)
"""

_ORDER_PAID = """
UPDATE orders.orders
SET status = 'paid', paid_at = %(at)s, captured_cents = total_cents, payment_reference = checkout_id,
    changed_xid = pg_current_xact_id()
WHERE order_id = %(id)s
"""

_ORDER_CANCELLED = (
    "UPDATE orders.orders SET status = 'cancelled', cancelled_at = %(at)s WHERE order_id = %(id)s"
)

_ORDER_REFUNDED = """
UPDATE orders.orders
SET status = 'refunded', refunded_at = %(at)s, refunded_cents = captured_cents, restocked_at = %(at)s,
    changed_xid = pg_current_xact_id()
WHERE order_id = %(id)s
"""

_ORDER_RETURN = """
WITH back AS (
    INSERT INTO orders.returns (
        return_id, order_id, status, location, business_date, returned_by, created_at, booked_at, completed_at,
        subtotal_cents, taxes, tax_cents, request, request_sha256
    ) VALUES (
        %(id)s, %(order)s, CASE WHEN %(complete)s THEN 'complete' ELSE 'pending' END, %(location)s, %(day)s, 'c', %(at)s,
        %(at)s, CASE WHEN %(complete)s THEN %(at)s END, %(subtotal)s, '[]', %(tax)s, %(id)s, ''
    )
    RETURNING return_id, order_id
), taken AS (
    UPDATE orders.order_lines
    SET returned_quantity = returned_quantity + %(quantity)s
    WHERE order_id = %(order)s AND line = %(line)s
)
INSERT INTO orders.return_lines (
    return_id, line, order_id, order_line, sku, name, category, restock, quantity, unit_price_cents, tax_parts_cents,
    tax_cents
)
SELECT
    return_id, 1, back.order_id, line, sku, name, category, true, %(quantity)s, unit_price_cents, ARRAY[%(tax)s], %(tax)s
FROM back
JOIN orders.order_lines ON order_lines.order_id = back.order_id AND line = %(line)s
"""
