"""An order's life: made once by its checkout, paid, packed, shipped and delivered; each step by who may, and written down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.functions import faulty_fields, problem
from tests.support.orders import OrderDesk, new_order, running_desk
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def open_desk(postgres_server: PostgresServer) -> Iterator[OrderDesk]:
    with running_desk(postgres_server) as desk:
        yield desk


@pytest.fixture
def desk(open_desk: OrderDesk) -> Iterator[OrderDesk]:
    open_desk.renew()
    yield open_desk
    open_desk.check_books()


def test_checkout_makes_an_order_that_says_what_was_bought(desk: OrderDesk):
    body = new_order(A=2, B=3)
    response = desk.create(body)
    order = response.get_json()
    assert (response.status_code, response.headers["Location"]) == (201, f"/api/orders/{order['order_id']}")
    for name in (
        "checkout_id",
        "customer_id",
        "location",
        "currency",
        "taxes",
        "tax_cents",
        "total_cents",
        "address",
    ):
        assert order[name] == body[name], name
    assert (order["status"], order["refunded_cents"], order["returns"]) == ("pending", 0, [])
    assert [(line["line"], line["sku"], line["returned"]) for line in order["lines"]] == [
        (1, "A", 0),
        (2, "B", 0),
    ]
    assert sum(line["tax_cents"] for line in order["lines"]) == body["tax_cents"]
    (entry,) = order["history"]
    assert (entry["who"], entry["from"], entry["to"]) == ("checkout", None, "pending")


def test_full_life(desk: OrderDesk):
    order = desk.shipped()
    order = desk.post(f"/{order['number']}/deliver").get_json()
    assert [entry["to"] for entry in order["history"]] == [
        "pending",
        "paid",
        "packed",
        "shipped",
        "delivered",
    ]
    print(order)
