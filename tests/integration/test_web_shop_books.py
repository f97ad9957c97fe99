"""The books that crashes, storms and replays are judged by notice what each of them is there to notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer
from tests.support.webshop import BOOKS, WebShop, running_webshop

SPOILT = {
    "stock is its ledger": "UPDATE inventory.stock SET on_hand = on_hand + 1 WHERE sku = 'A'",
    "what is reserved is promised to somebody": "UPDATE inventory.stock SET reserved = 1 WHERE sku = 'A'",
    "no reservation is left by a checkout that is settled": (
        "UPDATE inventory.reservations SET state = 'open', settled_at = NULL"
    ),
    "every order that was paid has its stock out, line by line, and nothing else has": (
        "UPDATE inventory.reservation_lines SET quantity = quantity + 1 WHERE sku = 'A'"
    ),
    "the provider has captured what was paid, and gives back what was refunded": (
        "INSERT INTO payments.ledger (reference, kind, amount_cents, refund_reference)"
        " SELECT reference, 'refunded', 1, 'r' FROM payments.authorisations WHERE state = 'captured' LIMIT 1"
    ),
    "what was cancelled or came back is back in stock": (
        "INSERT INTO inventory.ledger (location, sku, kind, quantity, on_hand, moved_by)"
        " VALUES ('W1', 'A', 'return', 1, 1, 'nobody')"
    ),
    "no money is held for a checkout that is settled": "DELETE FROM payments.ledger WHERE kind <> 'authorised'",
    "a complete checkout has one paid order, and a refused one has none": "DELETE FROM orders.orders",
    "what is charged is what was agreed": "UPDATE checkout.checkouts SET agreed_cents = agreed_cents - 1",
    "lines add up to orders": "UPDATE orders.order_lines SET tax_cents = tax_cents + 1",
}


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[WebShop]:
    with running_webshop(postgres_server) as shop:
        yield shop


def test_every_book_is_spoilt_here():
    assert set(SPOILT) == set(BOOKS)


@pytest.mark.parametrize("book", BOOKS)
def test_book_that_is_spoilt_says_so(shop: WebShop, book: str):
    shop.renew()
    for subject in ("ada", "eve"):
        shop.bought(shop.customer(subject), A=2, B=1)
    shop.check_books()
    shop.execute(f"BEGIN; SET LOCAL session_replication_role = replica; {SPOILT[book]}; COMMIT")
    assert book in shop.faults()
