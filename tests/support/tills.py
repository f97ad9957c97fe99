"""A store with a till: sales in this process, and products and inventory behind a gateway made by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from functions.shared import FunctionApp
from tests.support.chain import Chain, running_functions
from tests.support.postgres import PostgresServer

Line = tuple[str, int]


class Till(Chain):
    """What a cashier of S1 at register R1 does, and what a test looks at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clerk = self.staff("S1")

    @property
    def app(self) -> FunctionApp:
        return self.gateway.apps["sales"]

    def post(self, path: str, body: Any = None, who: Mapping[str, str] | None = None, key: str = "") -> Any:
        return self.ask("sales", f"POST {path}", who or self.clerk, body, key)

    def get(self, path: str, who: Mapping[str, str] | None = None) -> Any:
        return self.ask("sales", f"GET {path}", who or self.clerk)

    def open(self, register: str = "R1", cash: int = 10_000, who: Mapping[str, str] | None = None) -> Any:
        response = self.post(f"/registers/{register}/open", {"opening_cash_cents": cash}, who)
        assert response.status_code == 201, response.get_json()
        return response.get_json()

    def close(self, register: str = "R1", counted: int = 10_000) -> Any:
        return self.post(f"/registers/{register}/close", {"counted_cash_cents": counted})

    def total(self, *lines: Line) -> int:
        response = self.post("/quote", {"lines": as_lines(lines)})
        assert response.status_code == 200, response.get_json()
        total: int = response.get_json()["total_cents"]
        return total

    def sell(self, *lines: Line, key: str = "", who: Mapping[str, str] | None = None, **more: Any) -> Any:
        """A sale of lines, paid by card unless `tenders` says otherwise."""
        if "tenders" not in more:
            more["tenders"] = [{"kind": "card", "amount_cents": self.total(*lines), "reference": "T1"}]
        body = {"register": "R1", "lines": as_lines(lines), **more}
        return self.post("/", body, who, key)

    def sold(self, *lines: Line, **more: Any) -> Any:
        response = self.sell(*lines, **more)
        assert response.status_code == 201, response.get_json()
        return response.get_json()

    def void(self, sale: Any, key: str = "", **more: Any) -> Any:
        body = {"register": "R1", "reason": "a mistake", **more}
        return self.post(f"/{sale['sale_id']}/void", body, key=key)

    def take_back(self, sale: Any, *lines: tuple[int, int], key: str = "", **more: Any) -> Any:
        """Return quantities of lines by number, back into stock and in cash unless `more` says otherwise."""
        restock = more.pop("restock", True)
        body = {
            "register": "R1",
            "reason": "did not fit",
            "lines": [{"line": line, "quantity": quantity, "restock": restock} for line, quantity in lines],
            "refund": {"kind": "cash"},
            **more,
        }
        return self.post(f"/{sale['sale_id']}/returns", body, key=key)

    def recover(self) -> Any:
        return self.app.test_client().post("/recover", headers=self.maintenance)

    def recovered(self) -> int:
        """Recover as maintenance does, again while what it needs is just coming back."""
        deadline = time.monotonic() + 30
        while True:
            response = self.recover()
            if response.status_code == 200:
                found: int = response.get_json()["recovered"]
                return found
            assert time.monotonic() < deadline, response.get_json()
            time.sleep(0.02)

    def renew(self) -> None:
        """As new: A (1000), B (250) and C (1) are sold, ten thousand of each are in S1, R1 is open with 10000 in cash."""
        self.empty()
        self.add_products(A=1000, B=250, C=1)
        self.put_in(A=10_000, B=10_000, C=10_000)
        self.open()

    def statuses(self) -> list[str]:
        """The status of every sale, in the order in which they were recorded."""
        return [row[0] for row in self.execute("SELECT status FROM sales.sales ORDER BY created_at")]

    def check_books(self) -> None:
        """What must hold whatever has happened: documents add up, and so do the ledgers."""
        for name, statement in BOOKS.items():
            assert self.execute(statement) == [], name


BOOKS = {
    "lines add up to sales": """
        SELECT sale_id FROM sales.sales JOIN sales.sale_lines AS line USING (sale_id)
        GROUP BY sale_id, sales.subtotal_cents, sales.tax_cents
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (sales.subtotal_cents, sales.tax_cents)
    """,
    "taxes add up": """
        SELECT sale_id FROM sales.sales
        WHERE tax_cents <> (SELECT coalesce(sum((tax->>'amount_cents')::bigint), 0) FROM jsonb_array_elements(taxes) AS tax)
    """,
    "tenders pay sales": """
        SELECT sale_id FROM sales.sales LEFT JOIN sales.tenders USING (sale_id)
        GROUP BY sale_id HAVING coalesce(sum(amount_cents), 0) <> total_cents
    """,
    "lines add up to returns": """
        SELECT return_id FROM sales.returns JOIN sales.return_lines AS line USING (return_id)
        GROUP BY return_id
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (returns.subtotal_cents, returns.tax_cents)
    """,
    "what has come back is on the sale's lines": """
        SELECT sale_id, line FROM sales.sale_lines AS sold
        WHERE returned_quantity <> (
            SELECT coalesce(sum(back.quantity), 0)
            FROM sales.return_lines AS back JOIN sales.returns USING (return_id)
            WHERE (back.sale_id, back.sale_line) = (sold.sale_id, sold.line) AND returns.status <> 'refused'
        )
    """,
    "tills give back no more than was paid": """
        SELECT sale_id FROM sales.sales JOIN sales.returns USING (sale_id)
        WHERE returns.origin = 'till' AND returns.status <> 'refused'
        GROUP BY sale_id, sales.total_cents HAVING sum(returns.total_cents) > sales.total_cents
    """,
    "gift cards are their entries": """
        SELECT gift_card_id FROM sales.gift_cards JOIN sales.gift_card_entries USING (gift_card_id)
        GROUP BY gift_card_id HAVING sum(amount_cents) <> balance_cents
    """,
    "receipt numbers have no gaps": """
        SELECT store, business_date FROM sales.sales WHERE receipt_number IS NOT NULL
        GROUP BY store, business_date HAVING (min(receipt_number), max(receipt_number)) <> (1, count(*))
    """,
    "numbers of returns have no gaps": """
        SELECT store, business_date FROM sales.returns WHERE receipt_number IS NOT NULL
        GROUP BY store, business_date HAVING (min(receipt_number), max(receipt_number)) <> (1, count(*))
    """,
    "stock is its ledger": """
        SELECT location, sku FROM inventory.stock FULL JOIN (
            SELECT location, sku, sum(quantity) AS quantity FROM inventory.ledger GROUP BY location, sku
        ) AS ledger USING (location, sku)
        WHERE coalesce(stock.on_hand, 0) <> coalesce(ledger.quantity, 0)
    """,
    "stock that was sold is on sales": """
        SELECT * FROM (
            SELECT sku, sum(quantity) AS quantity FROM sales.sales JOIN sales.sale_lines USING (sale_id)
            WHERE status IN ('complete', 'voiding') AND NOT charge GROUP BY sku
        ) AS sold FULL JOIN (
            SELECT sku, -sum(quantity) AS quantity FROM inventory.ledger WHERE kind IN ('sale', 'sale_undone')
            GROUP BY sku
        ) AS ledger USING (sku)
        WHERE coalesce(sold.quantity, 0) <> coalesce(ledger.quantity, 0)
          AND NOT EXISTS (SELECT FROM sales.sales WHERE status IN ('pending', 'undoing', 'voiding'))
    """,
}
"""Statements that find what is wrong: no rows when all is well."""


def as_lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in lines]


@contextmanager
def running_till(server: PostgresServer, **settings: str) -> Iterator[Till]:
    """A till for all tests of one file; `renew` it before each, which is faster than a database for each."""
    with running_functions(server, ("products", "inventory", "sales"), **settings) as parts:
        till = Till(*parts)
        till.find_fillable()
        yield till
