"""A whole web shop for tests: its functions in this process behind a gateway made by hand, on one database.

Checkout is in this process too, unless a test starts real replicas of it with `shop.environ`, which then call the
others here: `with running_replicas("checkout", 2, directory, shop.environ) as replicas`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.support.chain import Chain, running_functions
from tests.support.postgres import PostgresServer

FUNCTIONS = ("products", "inventory", "cart", "customers", "orders", "payments", "checkout")
WAREHOUSE = "W1"
ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 rue des Érables",
    "city": "Montréal",
    "province": "QC",
    "postal_code": "H2X 1Y4",
    "country": "CA",
}


class WebShop(Chain):
    """What customers, staff and maintenance do, and what a test looks at."""

    def customer(self, subject: str = "ada") -> dict[str, str]:
        return self.secrets.bearer("customer", subject=subject)

    def fill(self, who: Mapping[str, str], /, **quantities: int) -> dict[str, Any]:
        """Have these quantities in the cart of a customer; the cart as it is shown."""
        for sku, quantity in quantities.items():
            response = self.ask("cart", f"PUT /items/{sku}", who, {"quantity": quantity})
            assert response.status_code == 200, response.get_json()
        return self.cart(who)

    def cart(self, who: Mapping[str, str]) -> dict[str, Any]:
        shown: dict[str, Any] = self.ask("cart", "GET /", who).get_json()
        return shown

    def check_out(
        self, who: Mapping[str, str], cart: Mapping[str, Any] | None = None, key: str = "", **more: Any
    ) -> Any:
        """Check a cart out as it was shown (now, if `cart` is not given); `more` as for `checkout_body`."""
        return self.ask("checkout", "POST /", who, checkout_body(cart or self.cart(who), **more), key)

    def bought(self, who: Mapping[str, str], /, **quantities: int) -> dict[str, Any]:
        """The order of a customer who puts this into the cart and checks out."""
        response = self.check_out(who, self.fill(who, **quantities))
        assert response.status_code == 201, response.get_json()
        order: dict[str, Any] = response.get_json()
        return order

    def recover(self, function: str = "checkout") -> int:
        """Recover as maintenance does, until nothing is left or 30 s have passed."""
        deadline = time.monotonic() + 30
        recovered: int = 0
        while True:
            response = self.ask(function, "POST /recover", self.maintenance)
            if response.status_code == 200:
                recovered += int(response.get_json()["recovered"])
                if not response.get_json()["more"]:
                    return recovered
            assert time.monotonic() < deadline, response.get_json()
            time.sleep(0.02)

    def renew(self) -> None:
        """As new: A (1000), B (250) and C (1) are sold, ten thousand of each are in the warehouse and in S1."""
        self.empty()
        self.add_products(A=1000, B=250, C=1)
        for location in (WAREHOUSE, "S1"):
            self.put_in(location, A=10_000, B=10_000, C=10_000)

    def faults(self) -> dict[str, list[tuple[Any, ...]]]:
        """What is wrong in the books, by the name of what must hold: nothing, whatever has happened."""
        found = {name: self.execute(statement) for name, statement in BOOKS.items()}
        return {name: rows for name, rows in found.items() if rows}

    def check_books(self) -> None:
        assert self.faults() == {}


def checkout_body(cart: Mapping[str, Any], card_token: str = "tok_ok", **more: Any) -> dict[str, Any]:
    """What a customer sends who has seen this cart and pays with this card."""
    return {
        "cart_version": cart["version"],
        "total_cents": cart["total_cents"],
        "address": ADDRESS,
        "payment": {"card_token": card_token},
        **more,
    }


BOOKS = {
    "stock is its ledger": """
        SELECT location, sku FROM inventory.stock FULL JOIN (
            SELECT location, sku, sum(quantity) AS quantity FROM inventory.ledger GROUP BY location, sku
        ) AS ledger USING (location, sku)
        WHERE coalesce(stock.on_hand, 0) <> coalesce(ledger.quantity, 0)
    """,
    "what is reserved is promised to somebody": """
        SELECT location, sku FROM inventory.stock FULL JOIN (
            SELECT location, sku, sum(quantity) AS quantity
            FROM inventory.reservations JOIN inventory.reservation_lines USING (reservation_id)
            WHERE state = 'open' GROUP BY location, sku
        ) AS promised USING (location, sku)
        WHERE coalesce(stock.reserved, 0) <> coalesce(promised.quantity, 0)
    """,
    "no reservation is left by a checkout that is settled": """
        SELECT reservation_id FROM inventory.reservations JOIN checkout.checkouts ON checkout_id = reservation_id
        WHERE reservations.state = 'open' AND checkouts.state IN ('complete', 'refused')
    """,
    "every order that was paid has its stock out, line by line, and nothing else has": """
        SELECT * FROM (
            SELECT reservation_id AS reference, sku, sum(quantity) AS quantity
            FROM orders.orders JOIN orders.order_lines USING (order_id)
            WHERE paid_at IS NOT NULL GROUP BY reservation_id, sku
        ) AS sold FULL JOIN (
            SELECT reservation_id AS reference, sku, sum(quantity) AS quantity
            FROM inventory.reservations JOIN inventory.reservation_lines USING (reservation_id)
            WHERE state = 'committed'
              AND NOT EXISTS (SELECT FROM inventory.goods_returns WHERE reference = reservation_id::text)
            GROUP BY reservation_id, sku
        ) AS gone USING (reference, sku)
        WHERE sold.quantity IS DISTINCT FROM gone.quantity
    """,
    "the provider has captured what was paid, and gives back what was refunded": """
        SELECT * FROM (
            SELECT checkout_id::text AS reference, captured_cents, refunded_cents
            FROM orders.orders WHERE paid_at IS NOT NULL
        ) AS ours FULL JOIN (
            SELECT reference, sum(amount_cents) FILTER (WHERE kind = 'captured') AS captured_cents,
                coalesce(sum(amount_cents) FILTER (WHERE kind = 'refunded'), 0) AS refunded_cents
            FROM payments.ledger GROUP BY reference HAVING bool_or(kind = 'captured')
        ) AS theirs USING (reference)
        WHERE (ours.captured_cents, ours.refunded_cents) IS DISTINCT FROM (theirs.captured_cents, theirs.refunded_cents)
    """,
    "what was cancelled or came back is back in stock": """
        SELECT * FROM (
            SELECT sku, sum(quantity) AS quantity FROM (
                SELECT sku, quantity FROM orders.orders JOIN orders.order_lines USING (order_id)
                WHERE cancelled_at IS NOT NULL AND paid_at IS NOT NULL
                UNION ALL
                SELECT sku, quantity FROM orders.returns JOIN orders.return_lines USING (return_id)
            ) AS lines GROUP BY sku
        ) AS theirs FULL JOIN (
            SELECT sku, sum(quantity) AS quantity FROM inventory.ledger
            WHERE kind = 'return' AND NOT EXISTS (SELECT FROM checkout.checkouts WHERE checkout_id::text = reference)
            GROUP BY sku
        ) AS ours USING (sku)
        WHERE theirs.quantity IS DISTINCT FROM ours.quantity
          AND NOT EXISTS (SELECT FROM orders.orders WHERE status = 'cancelled' AND paid_at IS NOT NULL)
          AND NOT EXISTS (SELECT FROM orders.returns WHERE status = 'pending')
    """,
    "no money is held for a checkout that is settled": """
        SELECT reference FROM payments.ledger JOIN checkout.checkouts ON checkout_id::text = reference
        WHERE checkouts.state IN ('complete', 'refused')
        GROUP BY reference
        HAVING bool_or(kind = 'authorised') AND NOT bool_or(kind IN ('captured', 'voided'))
    """,
    "a complete checkout has one paid order, and a refused one has none": """
        SELECT checkout_id, checkouts.state, orders.status
        FROM checkout.checkouts LEFT JOIN orders.orders USING (checkout_id)
        WHERE (checkouts.state = 'complete' AND paid_at IS NULL)
           OR (checkouts.state = 'refused' AND (paid_at IS NOT NULL OR status = 'pending'))
    """,
    "what is charged is what was agreed": """
        SELECT checkout_id FROM checkout.checkouts JOIN orders.orders USING (checkout_id)
        WHERE agreed_cents <> orders.total_cents
    """,
    "lines add up to orders": """
        SELECT order_id FROM orders.orders JOIN orders.order_lines AS line USING (order_id)
        GROUP BY order_id, orders.subtotal_cents, orders.tax_cents
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (orders.subtotal_cents, orders.tax_cents)
    """,
}
"""Statements that find what is wrong: no rows when all is well."""


@contextmanager
def running_webshop(server: PostgresServer, **settings: str) -> Iterator[WebShop]:
    """A web shop for all tests of one file; `renew` it before each, which is faster than a database for each.

    `settings` are environment variables of all functions.
    """
    with running_functions(server, FUNCTIONS, **settings) as parts:
        shop = WebShop(*parts)
        shop.find_fillable()
        yield shop
