"""Whose cart it is, and what is refused to whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.carts import Shop, add, lasting_shop, quantities
from tests.support.functions import Secrets, problem
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def open_shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    with lasting_shop(postgres_server) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    open_shop.empty()
    return open_shop


def test_customer_has_one_cart_wherever_signed_in(shop: Shop):
    add(shop.program(), "A", 1, **shop.customer())
    assert quantities(add(shop.program(), "A", 1, **shop.customer())) == {"A": 2}


def test_customers_do_not_see_each_other(shop: Shop):
    add(shop.program(), "A", 1, **shop.customer("c-1"))
    assert quantities(shop.program().get("/", headers=shop.customer("c-2"))) == {}


def test_customer_gets_no_token_and_no_cookie(shop: Shop):
    response = add(shop.visitor(), "A", 1, **shop.customer())
    assert "X-Cart-Token" not in response.headers
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("token", ["", "x", "x" * 32, "../../etc/passwd", "é" * 20, "x" * 5000])
@pytest.mark.parametrize(("method", "path"), [
    ("get", "/"), ("delete", "/"), ("delete", "/items/A"), ("put", "/items/A"), ("post", "/items"),
])  # fmt: skip
def test_token_that_opens_nothing_is_answered_404(shop: Shop, token: str, method: str, path: str):
    body = {"put": {"quantity": 1}, "post": {"sku": "A"}}.get(method)
    arguments = {"json": body} if body else {}
    response = getattr(shop.program(), method)(path, headers={"X-Cart-Token": token}, **arguments)
    assert problem(response) == (404, "cart_not_found")
    assert shop.count("carts") == 0


def test_stale_cookie_counts_as_no_cart_and_is_replaced(shop: Shop):
    client = shop.visitor()
    client.set_cookie("cart_token", "stale")
    assert quantities(client.get("/")) == {}
    assert quantities(client.delete("/items/A")) == {}
    token = add(client, "A", 1, **{"Idempotency-Key": "k"}).headers["X-Cart-Token"]
    assert client.get_cookie("cart_token").value == token
    assert quantities(client.get("/")) == {"A": 1}


def test_cookie_lives_as_long_as_the_cart(shop: Shop):
    client = shop.visitor()
    add(client)
    assert "Max-Age=1209600" in add(client).headers["Set-Cookie"]
    assert "Set-Cookie" not in client.get("/").headers


@pytest.mark.parametrize("role", ["staff", "hq"])
def test_only_customers_have_carts_of_their_own(shop: Shop, role: str):
    store = "S1" if role == "staff" else None
    headers = shop.secrets.bearer(role, store=store)
    assert problem(shop.program().get("/", headers=headers)) == (403, "forbidden")


def test_forged_token_is_refused(shop: Shop, tmp_path: Path):
    forger = Secrets.make(tmp_path / "forger")
    assert problem(shop.program().get("/", headers=forger.bearer("customer")))[0] == 401
