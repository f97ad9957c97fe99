"""What Prometheus is told of the shop is what is in the tables: nothing of an empty shop, and each fault that is planted."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2.extensions
import pytest

from tests.support.postgres import Database

NOW, EARLIER, LATER = "now()", "now() - interval '2 minutes'", "now() + interval '10 minutes'"


class Shop:
    """Rows written as the superuser, who is held to no trigger, and views read as the exporter does."""

    def __init__(self, database: Database) -> None:
        self._writer, self._reader = database.connect(), database.connect("monitoring")
        self._writer.autocommit = self._reader.autocommit = True
        self.write("SET session_replication_role = replica")

    def write(self, statement: str) -> None:
        with self._writer.cursor() as cursor:
            cursor.execute(statement)

    def read(self, view: str) -> list[tuple[object, ...]]:
        with self._reader.cursor() as cursor:
            cursor.execute(f"SELECT * FROM monitoring.{view}")
            return sorted(cursor.fetchall())

    def close(self) -> None:
        connections: tuple[psycopg2.extensions.connection, ...] = (self._writer, self._reader)
        for connection in connections:
            connection.close()


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    shop = Shop(database)
    yield shop
    shop.close()


def reserve(shop: Shop, expires_at: str, quantity: int, state: str = "open") -> None:
    settled = "NULL" if state == "open" else NOW
    shop.write(
        "WITH made AS (INSERT INTO inventory.reservations (reservation_id, state, location, expires_at, settled_at)"
        f" VALUES (gen_random_uuid(), '{state}', 'S1', {expires_at}, {settled}) RETURNING reservation_id)"
        f" INSERT INTO inventory.reservation_lines SELECT reservation_id, 'A', {quantity} FROM made"
    )


def test_empty_shop_tells_zeros_and_no_gaps(shop: Shop) -> None:
    assert shop.read("reservations") == [("open", 0), ("overdue", 0)]
    assert shop.read("stockouts") == [(place, 0) for place in ("S1", "S2", "S3", "S4", "S5", "W1")]
    assert shop.read("carts") == [("open", 0)]
    assert len(shop.read("checkouts")) == 18
    assert {row[2] for row in shop.read("checkouts")} == {0}
    assert len(shop.read("orders")) == 8
    for view in ("stock_mismatches", "reserved_mismatches", "checkouts_oldest", "sales_unsettled"):
        assert shop.read(view) == [(0,)], view


def test_stock_that_is_its_ledger_is_no_mismatch_and_any_other_is(shop: Shop) -> None:
    shop.write("INSERT INTO inventory.stock (location, sku, on_hand) VALUES ('S1', 'A', 5), ('S1', 'B', 0)")
    shop.write(
        "INSERT INTO inventory.ledger (location, sku, quantity, on_hand, kind, moved_by)"
        " VALUES ('S1', 'A', 7, 7, 'receipt', 'x'), ('S1', 'A', -2, 5, 'sale', 'x')"
    )
    assert shop.read("stock_mismatches") == [(0,)]
    shop.write("UPDATE inventory.stock SET on_hand = 6 WHERE sku = 'A'")
    assert shop.read("stock_mismatches") == [(1,)]
    shop.write("DELETE FROM inventory.stock WHERE sku = 'A'")
    assert shop.read("stock_mismatches") == [(1,)], "moved, and no row"
    shop.write("INSERT INTO inventory.stock (location, sku, on_hand) VALUES ('S2', 'A', 1)")
    assert shop.read("stock_mismatches") == [(2,)], "a row, and never moved"


def test_reservations_are_open_or_overdue_and_add_up_to_what_is_reserved(shop: Shop) -> None:
    shop.write("INSERT INTO inventory.stock (location, sku, on_hand, reserved) VALUES ('S1', 'A', 9, 5)")
    reserve(shop, LATER, 3)
    reserve(shop, EARLIER, 2)
    reserve(shop, EARLIER, 4, state="committed")
    assert shop.read("reservations") == [("open", 1), ("overdue", 1)]
    assert shop.read("reserved_mismatches") == [(0,)]
    shop.write("UPDATE inventory.stock SET reserved = 6")
    assert shop.read("reserved_mismatches") == [(1,)]
    shop.write("UPDATE inventory.stock SET reserved = 0")
    assert shop.read("reserved_mismatches") == [(1,)], "promised, and nothing held back"


def test_stockout_is_nothing_left_to_sell(shop: Shop) -> None:
    shop.write(
        "INSERT INTO inventory.stock (location, sku, on_hand, reserved)"
        " VALUES ('S1', 'A', 0, 0), ('S1', 'B', 2, 2), ('S1', 'C', 2, 1), ('W1', 'A', 1, 0)"
    )
    assert dict(shop.read("stockouts")) == {"S1": 2, "S2": 0, "S3": 0, "S4": 0, "S5": 0, "W1": 0}


def test_carts_whose_time_has_passed_are_not_open(shop: Shop) -> None:
    for expires_at in (LATER, EARLIER):
        shop.write(
            f"INSERT INTO cart.carts (customer_id, expires_at) VALUES ('{expires_at[:5]}' || random(), {expires_at})"
        )
    assert shop.read("carts") == [("open", 1)]


def test_checkouts_are_told_by_step_with_the_age_of_the_oldest(shop: Shop) -> None:
    for state, step, code, created_at, settled_at in (
        ("open", "capture", "NULL", EARLIER, "NULL"),
        ("undoing", "reserve", "'out_of_stock'", NOW, "NULL"),
        ("refused", "reserve", "'out_of_stock'", "now() - interval '1 day'", NOW),
    ):
        shop.write(
            "INSERT INTO checkout.checkouts (checkout_id, customer_id, request_key, body_sha256, request_id, state, step,"
            " cart_version, agreed_cents, location, code, answer_status, created_at, give_up_at, settled_at) VALUES ("
            f"gen_random_uuid(), 'ada', gen_random_uuid(), sha256(''), 'r', '{state}', '{step}', 1, 1, 'W1', {code},"
            f" CASE WHEN '{state}' <> 'open' THEN 409 END, {created_at}, now(), {settled_at})"
        )
    assert [row for row in shop.read("checkouts") if row[2]] == [
        ("open", "capture", 1),
        ("undoing", "reserve", 1),
    ]
    ((seconds,),) = shop.read("checkouts_oldest")
    assert isinstance(seconds, float)
    assert 120 <= seconds < 180


def test_sales_are_left_half_way_once_nobody_can_be_working_on_them(shop: Shop) -> None:
    for status, created_at in (
        ("pending", EARLIER),
        ("pending", NOW),
        ("undoing", EARLIER),
        ("refused", EARLIER),
    ):
        shop.write(
            "INSERT INTO sales.sales (sale_id, status, origin, store, cashier, business_date, sold_at, created_at, currency,"
            " subtotal_cents, taxes, tax_cents, document) VALUES (gen_random_uuid(), "
            f"'{status}', 'import', 'S1', 'c', current_date, now(), {created_at}, 'CAD', 1, '[]', 0, gen_random_uuid())"
        )
    assert shop.read("sales_unsettled") == [(2,)]


def test_orders_are_counted_by_state(shop: Shop) -> None:
    shop.write(
        "INSERT INTO orders.orders (order_id, number, checkout_id, customer_id, location, time_zone, reservation_id,"
        " currency, subtotal_cents, taxes, tax_cents, address, content_sha256, changed_by) VALUES (gen_random_uuid(),"
        " '123456789', gen_random_uuid(), 'ada', 'W1', 'America/Toronto', gen_random_uuid(), 'CAD', 1, '[]', 0, '{}',"
        " '', 'x')"
    )
    assert {state: count for state, count in shop.read("orders") if count} == {"pending": 1}
