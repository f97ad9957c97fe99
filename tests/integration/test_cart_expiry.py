"""Carts whose time has passed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.carts import Shop, add, expire, expire_all, lasting_shop, merge, quantities, running_shop
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


def test_expired_cart_is_gone_at_once(shop: Shop):
    token = add(shop.visitor(), "A").headers["X-Cart-Token"]
    add(shop.program(), "A", 5, **shop.customer())
    expire_all(shop)
    assert problem(shop.program().get("/", headers={"X-Cart-Token": token})) == (404, "cart_not_found")
    assert quantities(shop.program().get("/", headers=shop.customer())) == {}
    assert quantities(add(shop.program(), "A", 1, **shop.customer())) == {"A": 1}


def test_expired_cart_is_not_merged(shop: Shop):
    token = add(shop.visitor(), "A").headers["X-Cart-Token"]
    expire_all(shop)
    assert quantities(merge(shop, shop.program(), **{"X-Cart-Token": token})) == {}


def test_change_prolongs_the_life_of_a_cart_and_reading_does_not(shop: Shop):
    client = shop.visitor()
    first = add(client).get_json()["expires_at"]
    assert client.get("/").get_json()["expires_at"] == first
    assert add(client).get_json()["expires_at"] > first


def test_expiry_deletes_what_has_expired_and_nothing_else(shop: Shop):
    add(shop.visitor(), "A")
    add(shop.visitor(), "B")
    expire_all(shop)
    kept = add(shop.visitor(), "C").headers["X-Cart-Token"]
    assert expire(shop).get_json() == {"expired": 2, "more": False}
    assert (shop.count("carts"), shop.count("items")) == (1, 1)
    assert quantities(shop.program().get("/", headers={"X-Cart-Token": kept})) == {"C": 1}


def test_expiry_goes_in_batches(database: Database, tmp_path: Path):
    with running_shop(database, tmp_path, expiry_batch="2") as shop:
        for _ in range(3):
            add(shop.visitor(), "A")
        expire_all(shop)
        answers = [expire(shop).get_json() for _ in range(2)]
        assert answers == [{"expired": 2, "more": True}, {"expired": 1, "more": False}]


def test_expiries_at_once_share_the_work(database: Database, tmp_path: Path):
    with running_shop(database, tmp_path, expiry_batch="3") as shop:
        for _ in range(20):
            add(shop.visitor(), "A")
        expire_all(shop)
        with ThreadPoolExecutor(8) as pool:
            answers = [answer.get_json() for answer in pool.map(lambda _: expire(shop), range(16))]
        assert sum(answer["expired"] for answer in answers) == 20
        assert shop.count("carts") == 0


def test_expiry_waits_for_no_one(shop: Shop):
    add(shop.visitor(), "A")
    expire_all(shop)
    holder = shop.database.connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT FROM cart.carts FOR UPDATE")
        assert expire(shop).get_json() == {"expired": 0, "more": False}
    holder.rollback()
    holder.close()
    assert expire(shop).get_json()["expired"] == 1


@pytest.mark.parametrize("role", ["customer", "hq"])
def test_only_services_expire_carts(shop: Shop, role: str):
    assert problem(shop.program().post("/expire", headers=shop.secrets.bearer(role)))[0] == 403
    assert problem(shop.program().post("/expire"))[0] == 401
