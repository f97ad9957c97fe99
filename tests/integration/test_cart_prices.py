"""Prices in a cart: looked up, remembered, changed, not to be had."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.carts import Shop, add, quantities, running_shop
from tests.support.functions import problem
from tests.support.hand_made_gateway import Hold
from tests.support.postgres import TEMPLATE, Database, PostgresServer
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """One for all tests of this file; `shop` empties it."""
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Iterator[Shop]:
    """A cart that has just started: nothing is remembered of whom it could not reach."""
    with running_shop(database, tmp_path) as shop:
        shop.empty()
        yield shop


def test_changed_price_is_shown_with_the_one_before_until_the_quantity_is_changed(shop: Shop):
    client = shop.visitor()
    add(client, "A", 2)
    shop.catalogue.sell("A", 1200)
    for _ in range(2):
        item = client.get("/").get_json()["items"][0]
        assert (item["unit_price_cents"], item["previous_price_cents"]) == (1200, 1000)
        assert item["price_changed_at"]
    item = add(client, "A", 1).get_json()["items"][0]
    assert (item["unit_price_cents"], item["previous_price_cents"], item["total_cents"]) == (1200, None, 3600)


def test_price_that_changes_with_the_add_itself_is_told(shop: Shop):
    client = shop.visitor()
    add(client, "A", 1)
    shop.catalogue.sell("A", 1100)
    item = add(client, "A", 1).get_json()["items"][0]
    assert (item["unit_price_cents"], item["previous_price_cents"]) == (1100, 1000)


def test_new_price_is_a_new_version_of_the_cart(shop: Shop):
    client = shop.visitor()
    seen = add(client).headers["ETag"]
    shop.catalogue.sell("A", 1100)
    assert client.get("/").headers["ETag"] != seen


def test_product_taken_off_sale_stays_but_is_not_charged(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    add(client, "B")
    shop.catalogue.sell("A", 1000, active=False)
    body = client.get("/").get_json()
    assert [item["available"] for item in body["items"]] == [False, True]
    assert body["subtotal_cents"] == 250
    shop.catalogue.sell("A", 1000, active=True)
    assert client.get("/").get_json()["subtotal_cents"] == 1250


def test_cart_is_shown_with_remembered_prices_while_products_is_away(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    add(client, "B")
    shop.gateway.away.add("*")
    body = client.get("/").get_json()
    assert (body["prices_checked"], body["subtotal_cents"]) == (False, 1250)
    assert quantities(client.delete("/items/B")) == {"A": 1}
    assert quantities(client.put("/items/A", json={"quantity": 3})) == {"A": 3}


def test_adding_while_products_is_away_is_refused_and_says_when_to_try_again(shop: Shop):
    shop.gateway.away.add("*")
    response = add(shop.visitor(), "A")
    assert problem(response) == (503, "prices_unavailable")
    assert response.headers["Retry-After"]
    assert shop.count("carts") == 0


def test_reading_does_not_ask_again_and_again_while_products_is_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("functions.cart.catalogue.COOL_DOWN_SECONDS", 60.0)
    client = shop.visitor()
    add(client, "A")
    shop.gateway.away.add("*")
    client.get("/")
    asked = len(shop.gateway.requests)
    for _ in range(5):
        assert client.get("/").get_json()["prices_checked"] is False
    assert len(shop.gateway.requests) == asked


def test_prices_are_checked_again_once_products_is_back(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    shop.gateway.away.add("*")
    client.get("/")
    shop.gateway.away.clear()
    wait_for(lambda: client.get("/").get_json()["prices_checked"], what="a look-up of prices")


def test_cart_is_shown_soon_while_products_hangs(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    shop.gateway.hold = Hold("prices", "before")
    started = time.monotonic()
    assert client.get("/").get_json()["prices_checked"] is False
    assert time.monotonic() - started < 5, "half of the function's own time"


@pytest.mark.parametrize("garbage", [b"", b"null", b"[]", b'{"items": [{}]}', b'{"items": null}', b"<html>"])
def test_answer_of_products_that_is_none_counts_as_away(shop: Shop, garbage: bytes):
    client = shop.visitor()
    add(client, "A")
    shop.gateway.answers["products"] = (200, garbage)
    assert client.get("/").get_json()["prices_checked"] is False
    assert problem(add(client, "B")) == (503, "prices_unavailable")


def test_empty_cart_asks_no_one_for_prices(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    client.delete("/")
    before = len(shop.gateway.requests)
    assert client.get("/").get_json()["prices_checked"] is True
    assert len(shop.gateway.requests) == before
