"""A visitor's cart becomes a customer's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.carts import Shop, add, lasting_shop, merge, quantities, running_shop
from tests.support.functions import problem
from tests.support.postgres import Database, PostgresServer


@pytest.fixture(scope="module")
def open_shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    with lasting_shop(postgres_server) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    open_shop.empty()
    return open_shop


def test_merge_adds_the_visitors_cart_to_the_customers(shop: Shop):
    add(shop.program(), "A", 1, **shop.customer())
    visitor = shop.visitor()
    add(visitor, "A", 2)
    add(visitor, "B", 1)
    response = merge(shop, visitor)
    assert quantities(response) == {"A": 3, "B": 1}
    assert response.get_json()["merged"] == ["A", "B"]
    assert shop.count("carts") == 1
    assert visitor.get_cookie("cart_token") is None


def test_merge_sent_twice_changes_nothing_more(shop: Shop):
    token = add(shop.visitor(), "A", 2).headers["X-Cart-Token"]
    for merged in (["A"], []):
        response = merge(shop, shop.program(), **{"X-Cart-Token": token})
        assert quantities(response) == {"A": 2}
        assert response.get_json()["merged"] == merged


def test_merge_with_a_key_repeats_its_answer(shop: Shop):
    token = add(shop.visitor(), "A", 2).headers["X-Cart-Token"]
    headers = {"X-Cart-Token": token, "Idempotency-Key": "m"}
    first, again = (merge(shop, shop.program(), **headers) for _ in range(2))
    assert again.get_json() == first.get_json()
    assert again.get_json()["merged"] == ["A"]


def test_merge_tells_what_did_not_fit(database: Database, tmp_path: Path):
    with running_shop(database, tmp_path, max_items="2", max_quantity="5") as shop:
        add(shop.program(), "A", 4, **shop.customer())
        visitor = shop.visitor()
        add(visitor, "B", 1)
        add(visitor, "A", 3)
        body = merge(shop, visitor).get_json()
        assert body["limited"] == [{"sku": "A", "quantity": 2}]
        visitor = shop.visitor()
        add(visitor, "C", 1)
        assert merge(shop, visitor).get_json()["left_out"] == ["C"]


def test_merge_without_a_visitors_cart_makes_nothing(shop: Shop):
    assert quantities(merge(shop, shop.visitor())) == {}
    assert shop.count("carts") == 0


def test_merge_needs_a_customer(shop: Shop):
    assert problem(shop.visitor().post("/merge"))[0] == 401
    assert problem(shop.visitor().post("/merge", headers=shop.secrets.bearer("hq")))[0] == 403


def test_merged_cart_no_longer_opens(shop: Shop):
    token = add(shop.visitor(), "A", 2).headers["X-Cart-Token"]
    merge(shop, shop.program(), **{"X-Cart-Token": token})
    assert problem(shop.program().get("/", headers={"X-Cart-Token": token})) == (404, "cart_not_found")


def test_two_customers_claiming_one_cart_get_it_once(shop: Shop):
    token = add(shop.visitor(), "A", 2).headers["X-Cart-Token"]

    def claim(subject: str) -> int:
        return sum(quantities(merge(shop, shop.program(), subject, **{"X-Cart-Token": token})).values())

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, [f"c-{number}" for number in range(8)]))
    assert sorted(claimed) == [0] * 7 + [2]


def test_merges_that_cross_do_not_block_each_other(shop: Shop):
    tokens = [add(shop.visitor(), "A", 1).headers["X-Cart-Token"] for _ in range(24)]

    def claim(number: int) -> int:
        return merge(shop, shop.program(), f"c-{number % 3}", **{"X-Cart-Token": tokens[number]}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(claim, range(24))) == {200}
    held = [quantities(shop.program().get("/", headers=shop.customer(f"c-{n}")))["A"] for n in range(3)]
    assert held == [8, 8, 8]
