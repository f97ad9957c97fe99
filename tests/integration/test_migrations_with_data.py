"""A database of any age comes to the newest migration with all its rows, and the functions go on with them.

What a database of a migration held is in earlier_rows/: one file for each migration that made a table, or let in rows
that there could not be before. Together they are one story, so that the books of the shop can be asked at every age.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import errors

from tests.conftest import running_server
from tests.support import orders, webshop
from tests.support.chain import DATABASES, Chain, running_functions_on
from tests.support.migrations import FILES, NEWEST, down, lost, migrate_first, rows, up
from tests.support.postgres import PROJECT, Database, PostgresServer

EARLIER = Path(__file__).parent / "earlier_rows"
LEFT_OVER = (EARLIER / "left_over.sql").read_text()
REPORTS = 6
"""The migration from which on maintenance brings the reports up to date, as it does all the time."""

FORGOTTEN = {13: {"inventory.reservations": 1}}
"""Rows that a migration taken back cannot keep, though their table stays; db/README.md says so."""

STORE_BOOKS = {
    "a gift card has what its entries add up to": """
        SELECT gift_card_id FROM sales.gift_cards JOIN sales.gift_card_entries USING (gift_card_id)
        GROUP BY gift_card_id, balance_cents HAVING sum(amount_cents) <> balance_cents
    """,
    "a counted register was expected to hold what its movements say": """
        SELECT session_id FROM sales.register_sessions JOIN sales.cash_movements USING (session_id)
        WHERE closed_at IS NOT NULL
        GROUP BY session_id, opening_cash_cents, expected_cash_cents
        HAVING opening_cash_cents + sum(amount_cents) <> expected_cash_cents
    """,
    "receipts are numbered without a gap": """
        SELECT store, business_date FROM sales.sales
        JOIN sales.receipt_counters USING (store, business_date)
        WHERE series = 'sale' AND receipt_number IS NOT NULL
        GROUP BY store, business_date, last_number
        HAVING (count(*), max(receipt_number)) <> (last_number, last_number)
    """,
    "lines add up to sales": """
        SELECT sale_id FROM sales.sales JOIN sales.sale_lines AS line USING (sale_id)
        GROUP BY sale_id, sales.subtotal_cents, sales.tax_cents
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (sales.subtotal_cents, sales.tax_cents)
    """,
    "a product costs what its history says last": """
        SELECT product_id FROM products.products
        WHERE price_cents <> (
            SELECT price_cents FROM products.prices WHERE prices.product_id = products.product_id
            ORDER BY price_id DESC LIMIT 1
        )
    """,
}
BOOKS = {**orders.BOOKS, **webshop.BOOKS, **STORE_BOOKS}
"""Statements that find what is wrong: no rows when all is well."""

REPORTS_ARE_DOCUMENTS = """
SELECT * FROM (
    SELECT
        store, business_date, channel,
        coalesce(sum(subtotal_cents) FILTER (WHERE kind = 'sale' AND counts), 0) AS sold_cents,
        coalesce(sum(subtotal_cents) FILTER (WHERE kind = 'return'), 0) AS returned_cents
    FROM (SELECT * FROM sales.report_documents UNION ALL SELECT * FROM orders.report_documents) AS documents
    GROUP BY store, business_date, channel
) AS documents FULL JOIN reports.day_sales AS facts USING (store, business_date, channel)
WHERE (documents.sold_cents, documents.returned_cents) IS DISTINCT FROM (facts.sold_cents, facts.returned_cents)
"""

ADA = "ada00000-0000-4000-8000-000000000001"
READINGS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "products": (2, "GET /sku/A", {"name": "Café Crème", "price_cents": 1000, "version": 2}),
    "cart": (3, "GET /", {"item_count": 3, "subtotal_cents": 3000, "version": 3}),
    "inventory": (4, "GET /stock/A", {"on_hand": 98, "reserved": 3}),
    "sales": (
        5, "GET /5a000000-0000-4000-8000-000000000001",
        {"status": "complete", "total_cents": 1725, "receipt": "S1-20260105-1"},
    ),
    "reports": (6, "GET /stores/S1?from=2026-01-05&to=2026-01-05", {"kind": "store", "time_zone": "America/Toronto"}),
    "customers": (7, f"GET /{ADA}", {"email": "Ada@Example.com", "name": "Ada Lovelace"}),
    "payments": (
        8, "GET /authorisations/c0000000-0000-4000-8000-000000000001",
        {"state": "captured", "captured_cents": 2587, "refunded_cents": 1149},
    ),
    "orders": (
        9, "GET /0d000000-0000-4000-8000-000000000001",
        {"status": "shipped", "total_cents": 2587, "refunded_cents": 1149},
    ),
    "checkout": (
        10, "GET /c0000000-0000-4000-8000-000000000002",
        {"state": "open", "step": "commit", "total_cents": 3449},
    ),
}  # fmt: skip
"""For each function: since which migration there are rows, what it is asked, and some of what it has to answer."""

SPOILT = {
    "DELETE FROM cart.items WHERE sku = 'B'": "cart.items",
    "UPDATE inventory.stock SET on_hand = on_hand + 1 WHERE sku = 'A'": "inventory.stock",
    "ALTER TABLE sales.tenders DROP COLUMN given_cents": "sales.tenders",
}
"""What a careless migration might do, and the table that it would be found in."""


@dataclass(frozen=True)
class History:
    """Databases of every age: `at[n]` has the first n migrations, and rows in every table that these made.

    A test that changes one takes it for itself; of the newest there are copies.
    """

    server: PostgresServer
    at: Mapping[int, Database]

    @contextmanager
    def copy_of_newest(self) -> Iterator[Database]:
        database = self.server.create_database(self.at[NEWEST].name)
        yield database
        database.drop()


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    with running_server() as server:
        growing = server.create_database()
        at = {}
        for number in range(1, NEWEST + 1):
            migrate_first(growing, number)
            fill(growing, number)
            at[number] = server.create_database(growing.name) if number < NEWEST else growing
        server.set_passwords()
        yield History(server, at)


def fill(database: Database, number: int) -> None:
    """Add what came with this migration."""
    with closing(database.connect()) as connection:
        for path in EARLIER.glob(f"{number:04}_*.sql"):
            _run(connection, path.read_text())
        if number >= REPORTS:
            connection.set_session(isolation_level="REPEATABLE READ")
            while _run(connection, "SELECT more FROM reports.refresh(1000)") == [(True,)]:
                pass
            _run(connection, LEFT_OVER)


def _run(connection: psycopg2.extensions.connection, statement: str) -> list[tuple[Any, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def asked(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """What each book has to say that can be asked: one whose tables are not all there cannot."""
    found = {}
    with closing(database.connect()) as connection:
        for name, statement in BOOKS.items():
            try:
                found[name] = _run(connection, statement)
            except (errors.UndefinedTable, errors.UndefinedColumn):
                continue
    return found


def test_every_earlier_row_belongs_to_a_migration():
    numbers = {path.name.partition("_")[0] for path in FILES}
    names = {path.name for path in EARLIER.iterdir()} - {"left_over.sql"}
    assert {name.partition("_")[0] for name in names} <= numbers


@pytest.mark.parametrize("number", range(1, NEWEST + 1))
def test_a_database_of_any_age_keeps_its_rows_and_its_books_and_is_read(history: History, number: int):
    database = history.at[number]
    before, books = rows(database), asked(database)
    assert [name for name, found in before.items() if not found] == [], "tables without a row here"
    assert {name: fault for name, fault in books.items() if fault} == {}, "the rows here are not right"
    up(database)
    assert lost(before, rows(database)) == {}
    after = asked(database)
    assert set(after) == set(BOOKS)
    assert {name: after[name] for name in books if after[name]} == {}
    check_readings(database, number)


def check_readings(database: Database, number: int) -> None:
    """Every function starts, is ready, and shows what was there; the reports add up to what was sold."""
    with running_functions_on(database, DATABASES, threads="2", log_level="ERROR") as parts:
        chain = Chain(*parts)
        refresh(chain)
        assert chain.execute(REPORTS_ARE_DOCUMENTS) == []
        for function, (since, request, expected) in READINGS.items():
            assert chain.gateway.apps[function].ready() is None, function
            answer = chain.ask(function, request, who(chain, function))
            body = answer.get_json()
            assert number < since or (answer.status_code, body | expected) == (200, body), (function, body)
            assert answer.status_code in ({200} if number >= since else {200, 404}), (function, body)
        if number >= READINGS["customers"][0]:
            check_that_ada_signs_in(chain)
        chain.connection.close()


def who(chain: Chain, function: str) -> dict[str, str]:
    if function == "cart":
        return chain.secrets.bearer("customer", subject=ADA)
    return chain.service("checkout") if function == "payments" else chain.hq


def refresh(chain: Chain) -> None:
    more = True
    while more:
        response = chain.ask("reports", "POST /refresh", chain.maintenance)
        assert response.status_code == 200, response.get_json()
        more = response.get_json()["more"]


def check_that_ada_signs_in(chain: Chain) -> None:
    credentials = {"email": "ada@example.com", "password": "a long walk by the sea"}
    response = chain.ask("customers", "POST /sessions", {}, credentials)
    assert (response.status_code, response.get_json().get("customer_id")) == (201, ADA), response.get_json()


@pytest.mark.parametrize("statement", SPOILT)
def test_a_migration_that_loses_something_is_found(history: History, statement: str):
    with history.copy_of_newest() as database:
        before = rows(database)
        migrate_first(database, NEWEST, {"9999_spoils.sql": statement})
        assert set(lost(before, rows(database))) == {SPOILT[statement]}
        faults = [name for name, fault in asked(database).items() if fault]
        assert faults == (["stock is its ledger"] if "stock" in statement else [])


def test_a_migration_after_which_a_function_cannot_read_is_found(history: History):
    with history.copy_of_newest() as database:
        migrate_first(database, NEWEST, {"9999_spoils.sql": "REVOKE SELECT ON cart.items FROM cart"})
        with pytest.raises(AssertionError, match="cart"):
            check_readings(database, NEWEST)


def test_reports_that_missed_what_was_sold_are_found(history: History):
    with history.copy_of_newest() as database:
        forget = "DELETE FROM reports.stale_days; UPDATE reports.day_sales SET sold_cents = sold_cents - 1"
        migrate_first(database, NEWEST, {"9999_spoils.sql": forget})
        with pytest.raises(AssertionError):
            check_readings(database, NEWEST)


def test_migrations_taken_back_keep_every_row_that_still_has_a_place(history: History):
    with history.copy_of_newest() as database:
        for number in range(NEWEST, 0, -1):
            before = rows(database)
            down(database)
            assert lost(before, rows(database), narrowed=True) == FORGOTTEN.get(number, {}), number
            if number in FORGOTTEN:
                migrate_first(database, number)
                assert lost(before, rows(database)) == FORGOTTEN[number], "that, and nothing else"
                down(database)
        assert rows(database) == {}
        up(database)
        check_readings(database, 1)


def test_what_cannot_be_kept_is_said():
    said = (PROJECT / "db" / "README.md").read_text()
    for number in FORGOTTEN:
        assert f"`{number:04}`" in said
