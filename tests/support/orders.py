"""Orders as checkout makes them, step by step, without checkout: inventory, payments and orders behind a hand-made gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from functions.shared.taxes import TaxRates, taxes_on
from tests.support.chain import Chain, running_functions
from tests.support.postgres import PostgresServer

FUNCTIONS = ("inventory", "payments", "orders")
RATES = TaxRates("TPS=5,TVQ=9.975")
PRICES = {"A": 1_000, "B": 250, "C": 1, "FREE": 0}
ADDRESS = {
    "name": "Ada Lovelace", "line1": "12 rue des Érables", "line2": None, "city": "Montréal", "province": "QC",
    "postal_code": "H2X 1Y4", "country": "CA", "phone": None,
}  # fmt: skip


class OrderDesk(Chain):
    """What checkout, customers and the store at W1 do with orders, and what a test looks at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.checkout = self.service("checkout")
        self.ada = self.customer("ada")
        self.clerk = self.staff("W1")

    def customer(self, subject: str) -> dict[str, str]:
        return self.secrets.bearer("customer", subject=subject)

    def post(self, path: str, body: Any = None, who: Mapping[str, str] | None = None, key: str = "") -> Any:
        return self.ask("orders", f"POST {path}", who or self.clerk, body, key)

    def get(self, path: str, who: Mapping[str, str] | None = None) -> Any:
        return self.ask("orders", f"GET {path}", who or self.clerk)

    def create(self, body: Mapping[str, Any]) -> Any:
        return self.post("/", body, self.checkout)

    def pending(self, customer: str = "ada", location: str = "W1", /, **quantities: int) -> dict[str, Any]:
        """An order whose stock is reserved and whose money is authorised."""
        body = new_order(customer, location, **quantities)
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        reservation = self.ask(
            "inventory", "POST /reservations", self.checkout, {"location": location, "lines": lines}
        )
        body["reservation_id"] = reservation.get_json()["reservation_id"]
        response = self.create(body)
        assert response.status_code == 201, response.get_json()
        if body["total_cents"]:
            payment = {
                "reference": body["checkout_id"], "amount_cents": body["total_cents"], "currency": "CAD",
                "card_token": "tok_ok",
            }  # fmt: skip
            assert self.ask("payments", "POST /authorisations", self.checkout, payment).status_code == 201
        order: dict[str, Any] = response.get_json()
        return order | {"reservation_id": body["reservation_id"]}

    def paid(self, customer: str = "ada", location: str = "W1", /, **quantities: int) -> dict[str, Any]:
        """An order that is paid, and whose stock has left the shelf."""
        order = self.pending(customer, location, **(quantities or {"A": 2, "B": 3}))
        reference = order["checkout_id"]
        commit = self.ask("inventory", f"POST /reservations/{order['reservation_id']}/commit", self.checkout)
        assert commit.status_code == 200, commit.get_json()
        if order["total_cents"]:
            capture = self.ask("payments", f"POST /authorisations/{reference}/capture", self.checkout)
            assert capture.status_code == 200, capture.get_json()
        response = self.pay(order)
        assert response.status_code == 200, response.get_json()
        paid: dict[str, Any] = response.get_json()
        return paid

    def pay(self, order: Mapping[str, Any], **changes: Any) -> Any:
        payment = {
            "payment_reference": order["checkout_id"],
            "captured_cents": order["total_cents"],
            **changes,
        }
        return self.post(f"/by-checkout/{order['checkout_id']}/paid", payment, self.checkout)

    def abandon(self, checkout_id: str, reason: str = "declined") -> Any:
        return self.post(f"/by-checkout/{checkout_id}/abandon", {"reason": reason}, self.checkout)

    def shipped(self, customer: str = "ada", location: str = "W1", /, **quantities: int) -> dict[str, Any]:
        order = self.paid(customer, location, **quantities)
        for path, body in (("pack", None), ("ship", {"carrier": "Postes", "tracking": "T1"})):
            response = self.post(f"/{order['order_id']}/{path}", body, self.hq)
            assert response.status_code == 200, response.get_json()
        shipped: dict[str, Any] = response.get_json()
        return shipped

    def cancel(self, order: Mapping[str, Any], who: Mapping[str, str] | None = None, key: str = "") -> Any:
        return self.post(f"/{order['order_id']}/cancel", {"reason": "changed my mind"}, who or self.ada, key)

    def take_back(
        self, order: Mapping[str, Any], *lines: tuple[int, int], key: str = "", restock: bool = True
    ) -> Any:
        """Return quantities of lines by number."""
        body = {
            "lines": [{"line": line, "quantity": quantity, "restock": restock} for line, quantity in lines],
            "reason": "did not fit",
        }
        return self.post(f"/{order['order_id']}/returns", body, self.hq, key)

    def order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """As it is now."""
        response = self.get(f"/{order['order_id']}", self.hq)
        assert response.status_code == 200, response.get_json()
        found: dict[str, Any] = response.get_json()
        return found

    def recover(self) -> Any:
        return self.ask("orders", "POST /recover", self.maintenance)

    def refunded(self, order: Mapping[str, Any]) -> int:
        """What the provider has given back of an order."""
        rows = self.execute(
            "SELECT coalesce(sum(amount_cents), 0)::bigint FROM payments.ledger"
            " WHERE kind = 'refunded' AND reference = %s",
            (order["checkout_id"],),
        )
        return int(rows[0][0])

    def renew(self) -> None:
        """As new: ten thousand of everything are in W1 and in S1."""
        self.empty()
        for location in ("W1", "S1"):
            self.put_in(location, **dict.fromkeys(PRICES, 10_000))

    def check_books(self) -> None:
        """What must hold whatever has happened: orders, inventory's ledger and the provider's say the same."""
        for name, statement in BOOKS.items():
            assert self.execute(statement) == [], name


def new_order(customer: str = "ada", location: str = "W1", /, **quantities: int) -> dict[str, Any]:
    """What checkout sends to have an order made."""
    quantities = quantities or {"A": 2, "B": 3}
    subtotal = sum(PRICES[sku] * quantity for sku, quantity in quantities.items())
    taxes = taxes_on(subtotal, RATES)
    tax_cents = sum(tax.amount_cents for tax in taxes)
    return {
        "checkout_id": str(uuid.uuid4()),
        "customer_id": customer,
        "location": location,
        "reservation_id": str(uuid.uuid4()),
        "currency": "CAD",
        "lines": [
            {
                "sku": sku, "name": f"Product {sku}", "category": "things", "quantity": quantity,
                "unit_price_cents": PRICES[sku],
            }
            for sku, quantity in quantities.items()
        ],
        "subtotal_cents": subtotal,
        "taxes": [
            {"name": tax.name, "percent": str(tax.percent), "amount_cents": tax.amount_cents} for tax in taxes
        ],
        "tax_cents": tax_cents,
        "total_cents": subtotal + tax_cents,
        "address": ADDRESS,
    }  # fmt: skip


BOOKS = {
    "lines add up to orders": """
        SELECT order_id FROM orders.orders JOIN orders.order_lines AS line USING (order_id)
        GROUP BY order_id, orders.subtotal_cents, orders.tax_cents
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (orders.subtotal_cents, orders.tax_cents)
    """,
    "lines add up to returns": """
        SELECT return_id FROM orders.returns JOIN orders.return_lines AS line USING (return_id)
        GROUP BY return_id, returns.subtotal_cents, returns.tax_cents
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (returns.subtotal_cents, returns.tax_cents)
    """,
    "what has come back is on the order's lines": """
        SELECT order_id, line, 'of', returned_quantity FROM orders.order_lines AS sold
        WHERE (returned_quantity, (SELECT sum(part) FROM unnest(returned_tax_parts_cents) AS part)) IS DISTINCT FROM (
            SELECT (coalesce(sum(quantity), 0)::integer, coalesce(sum(tax_cents), 0)) FROM orders.return_lines AS back
            WHERE (back.order_id, back.order_line) = (sold.order_id, sold.line)
        )
    """,
    "the provider has given back what orders say": """
        SELECT * FROM (
            SELECT payment_reference AS reference, refunded_cents FROM orders.orders WHERE refunded_cents > 0
        ) AS ours FULL JOIN (
            SELECT reference, sum(amount_cents) AS refunded_cents
            FROM payments.ledger WHERE kind = 'refunded' GROUP BY reference
        ) AS theirs USING (reference)
        WHERE ours.refunded_cents IS DISTINCT FROM theirs.refunded_cents
          AND NOT EXISTS (SELECT FROM orders.returns WHERE status = 'pending')
          AND NOT EXISTS (SELECT FROM orders.orders WHERE status = 'cancelled' AND paid_at IS NOT NULL)
    """,
    "an order has given back what its returns or its cancel did": """
        SELECT order_id FROM orders.orders
        WHERE refunded_cents <> CASE
            WHEN cancelled_at IS NOT NULL AND status = 'refunded' THEN total_cents
            ELSE (SELECT coalesce(sum(total_cents), 0) FROM orders.returns
                  WHERE returns.order_id = orders.order_id AND returns.status = 'complete')
        END
    """,
    "stock is its ledger": """
        SELECT location, sku FROM inventory.stock FULL JOIN (
            SELECT location, sku, sum(quantity) AS quantity FROM inventory.ledger GROUP BY location, sku
        ) AS ledger USING (location, sku)
        WHERE coalesce(stock.on_hand, 0) <> coalesce(ledger.quantity, 0)
    """,
    "what came back to stock is what orders took back": """
        SELECT * FROM (
            SELECT location, sku, sum(quantity) AS quantity FROM (
                SELECT orders.location, sku, quantity FROM orders.orders JOIN orders.order_lines USING (order_id)
                WHERE restocked_at IS NOT NULL
                UNION ALL
                SELECT returns.location, sku, quantity FROM orders.returns JOIN orders.return_lines USING (return_id)
                WHERE booked_at IS NOT NULL
            ) AS back GROUP BY location, sku
        ) AS ours FULL JOIN (
            SELECT location, sku, sum(quantity) AS quantity FROM inventory.ledger WHERE kind = 'return'
            GROUP BY location, sku
        ) AS theirs USING (location, sku)
        WHERE ours.quantity IS DISTINCT FROM theirs.quantity
          AND NOT EXISTS (SELECT FROM orders.returns WHERE status = 'pending')
          AND NOT EXISTS (SELECT FROM orders.orders WHERE status = 'cancelled' AND paid_at IS NOT NULL)
    """,
    "an order is where its history ends, and got there step by step": """
        SELECT order_id FROM orders.orders
        WHERE status <> (SELECT to_status FROM orders.history WHERE history.order_id = orders.order_id
                         ORDER BY entry_id DESC LIMIT 1)
           OR EXISTS (
               SELECT FROM (
                   SELECT from_status, lag(to_status) OVER (ORDER BY entry_id) AS came_from FROM orders.history
                   WHERE history.order_id = orders.order_id
               ) AS steps WHERE from_status IS DISTINCT FROM came_from
           )
    """,
}
"""Statements that find what is wrong: no rows when all is well."""


@contextmanager
def running_desk(server: PostgresServer, **settings: str) -> Iterator[OrderDesk]:
    """An order desk for all tests of one file; `renew` it before each. `settings` are of all functions."""
    with running_functions(server, FUNCTIONS, **settings) as parts:
        desk = OrderDesk(*parts)
        desk.find_fillable()
        yield desk
