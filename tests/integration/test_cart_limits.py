"""Limits of a cart, and values that no shop would send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.carts import Shop, add, lasting_shop, quantities, running_shop
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import Database, PostgresServer

HOSTILE_SKUS = [
    "",
    " ",
    "x" * 65,
    "x" * 5000,
    "a\x00b",
    "'; DROP TABLE carts; --",
    "\u202eevil",
    "\ud800",
    "💥",
    "a/b",
]


@pytest.fixture(scope="module")
def open_shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    with lasting_shop(postgres_server) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    open_shop.empty()
    return open_shop


@pytest.mark.parametrize("quantity", [-1, 10_001, 2**31, 2**63, 10**400, 1.5, "1", True, None, [], {}])
@pytest.mark.parametrize("method", ["post", "put"])
def test_quantity_that_is_none_is_refused_by_its_field(shop: Shop, quantity, method: str):
    client = shop.visitor()
    if method == "post":
        response = client.post("/items", json={"sku": "A", "quantity": quantity})
    else:
        response = client.put("/items/A", json={"quantity": quantity})
    assert response.status_code in {400, 422}
    assert response.status_code == 400 or faulty_fields(response) == ["quantity"]
    assert shop.count("carts") == 0


def test_adding_nothing_is_refused(shop: Shop):
    assert faulty_fields(add(shop.visitor(), "A", 0)) == ["quantity"]


@pytest.mark.parametrize("sku", HOSTILE_SKUS)
def test_sku_that_is_none_is_refused(shop: Shop, sku: str):
    client = shop.visitor()
    added = client.post("/items", json={"sku": sku})
    assert added.status_code in {400, 422}
    assert added.status_code == 400 or faulty_fields(added) == ["sku"]
    path = "/items/" + sku.encode("utf-8", "surrogatepass").decode("latin-1")
    assert client.put(path, json={"quantity": 1}).status_code in {400, 404, 405, 422}
    assert client.delete(path).status_code in {200, 404, 405}
    assert shop.count("carts") == 0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"sku": "A", "price_cents": 1}', b'{"sku": NaN}', b"\xff"]
)
def test_body_that_is_none_is_refused(shop: Shop, body: bytes):
    response = shop.visitor().post("/items", data=body, content_type="application/json")
    assert problem(response)[0] in {400, 422}


@pytest.mark.parametrize(("change", "code"), [
    ({"active": False}, "inactive_product"), ({"currency": "USD"}, "other_currency"),
])  # fmt: skip
def test_product_that_cannot_be_sold_is_refused(shop: Shop, change: dict, code: str):
    shop.catalogue.sell("A", 1000, **change)
    response = add(shop.visitor(), "A")
    assert problem(response) == (422, code)
    assert faulty_fields(response) == ["sku"]


def test_quantity_above_the_limit_is_refused_and_changes_nothing(shop: Shop):
    client = shop.visitor()
    add(client, "A", 998)
    assert problem(add(client, "A", 2)) == (422, "quantity_limit")
    assert problem(add(client, "A", 10_000)) == (422, "quantity_limit")
    assert problem(client.put("/items/A", json={"quantity": 1000})) == (422, "quantity_limit")
    body = client.get("/").get_json()
    assert (body["item_count"], body["version"]) == (998, 1)
    assert quantities(add(client, "A", 1)) == {"A": 999}


def test_cart_holds_so_many_products_and_no_more(database: Database, tmp_path: Path):
    with running_shop(database, tmp_path, max_items="2") as shop:
        client = shop.visitor()
        add(client, "A")
        add(client, "B")
        assert problem(add(client, "C")) == (409, "cart_full")
        assert problem(client.put("/items/C", json={"quantity": 1})) == (409, "cart_full")
        assert quantities(add(client, "B")) == {"A": 1, "B": 2}
