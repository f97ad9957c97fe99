"""Reading and changing a cart, and doing so again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.carts import Shop, add, lasting_shop, quantities
from tests.support.functions import problem
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def open_shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    with lasting_shop(postgres_server) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    open_shop.empty()
    return open_shop


def test_cart_of_a_newcomer_is_empty_and_leaves_no_trace(shop: Shop):
    response = shop.visitor().get("/")
    assert response.status_code == 200
    body = response.get_json()
    assert (body["items"], body["total_cents"], body["cart_id"], body["version"]) == ([], 0, None, 0)
    assert "Set-Cookie" not in response.headers
    assert shop.count("carts") == 0


def test_first_item_makes_a_cart_with_a_token_in_header_and_cookie(shop: Shop):
    response = add(shop.visitor(), "A", 2)
    token = response.headers["X-Cart-Token"]
    cookie = response.headers["Set-Cookie"]
    assert len(token) == 32
    assert f"cart_token={token}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert quantities(shop.program().get("/", headers={"X-Cart-Token": token})) == {"A": 2}


def test_cookie_is_secure_behind_https(shop: Shop):
    response = add(shop.program(), **{"X-Forwarded-Proto": "https"})
    assert "Secure" in response.headers["Set-Cookie"]


def test_token_is_not_in_the_database(shop: Shop):
    token = add(shop.visitor(), "A", 1, **{"Idempotency-Key": "k1"}).headers["X-Cart-Token"]
    connection = shop.database.connect()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT carts::text FROM cart.carts UNION ALL SELECT k::text FROM cart.idempotency_keys k"
        )
        rows = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT convert_from(body, 'UTF8') FROM cart.idempotency_keys")
        rows += [row[0] for row in cursor.fetchall()]
    connection.close()
    assert rows
    assert not any(token in row for row in rows)


def test_totals_carry_both_taxes(shop: Shop):
    client = shop.visitor()
    add(client, "A", 2)
    body = add(client, "B", 1).get_json()
    assert body["subtotal_cents"] == 2250
    assert [(tax["name"], tax["amount_cents"]) for tax in body["taxes"]] == [("TPS", 113), ("TVQ", 224)]
    assert (body["total_cents"], body["item_count"], body["currency"]) == (2587, 3, "CAD")


def test_adding_again_adds_up(shop: Shop):
    client = shop.visitor()
    add(client, "A", 2)
    assert quantities(add(client, "A", 3)) == {"A": 5}


def test_every_change_counts_in_version_and_etag(shop: Shop):
    client = shop.visitor()
    tags = [add(client).headers["ETag"], add(client).headers["ETag"]]
    tags.append(client.delete("/items/A").headers["ETag"])
    assert tags == ['"1"', '"2"', '"3"']
    assert client.get("/").headers["ETag"] == '"3"'


def test_items_keep_the_order_in_which_they_were_added(shop: Shop):
    client = shop.visitor()
    for sku in "CABA":
        response = add(client, sku)
    assert list(quantities(response)) == ["C", "A", "B"]


def test_add_sent_twice_with_a_key_adds_once(shop: Shop):
    client = shop.visitor()
    add(client, "B")
    first = add(client, "A", 2, **{"Idempotency-Key": "k"})
    again = add(client, "A", 2, **{"Idempotency-Key": "k"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json() == first.get_json()
    assert quantities(client.get("/"))["A"] == 2


def test_key_of_another_body_is_refused(shop: Shop):
    client = shop.visitor()
    add(client, "B")
    add(client, "A", 2, **{"Idempotency-Key": "k"})
    assert problem(add(client, "A", 3, **{"Idempotency-Key": "k"})) == (422, "idempotency_key_reused")


def test_newcomers_with_the_same_key_never_meet(shop: Shop):
    first = add(shop.visitor(), "A", 2, **{"Idempotency-Key": "1"})
    second = add(shop.visitor(), "A", 2, **{"Idempotency-Key": "1"})
    assert first.headers["X-Cart-Token"] != second.headers["X-Cart-Token"]
    assert first.get_json()["cart_id"] != second.get_json()["cart_id"]


def test_refused_add_can_be_repeated_with_its_key(shop: Shop):
    client = shop.visitor()
    add(client, "B")
    shop.gateway.away.add("*")
    assert add(client, "A", 1, **{"Idempotency-Key": "k"}).status_code == 503
    shop.gateway.away.clear()
    assert quantities(add(client, "A", 1, **{"Idempotency-Key": "k"})) == {"B": 1, "A": 1}


@pytest.mark.parametrize("times", [1, 2])
def test_set_remove_and_clear_do_the_same_when_sent_twice(shop: Shop, times: int):
    client = shop.visitor()
    add(client, "A", 5)
    add(client, "B")
    for _ in range(times):
        response = client.put("/items/A", json={"quantity": 3})
    assert quantities(response) == {"A": 3, "B": 1}
    for _ in range(times):
        response = client.delete("/items/A")
    assert quantities(response) == {"B": 1}
    for _ in range(times):
        response = client.delete("/")
    assert quantities(response) == {}
    assert response.get_json()["total_cents"] == 0


def test_setting_zero_removes(shop: Shop):
    client = shop.visitor()
    add(client, "A", 5)
    assert quantities(client.put("/items/A", json={"quantity": 0})) == {}


def test_put_makes_a_cart_for_a_newcomer(shop: Shop):
    response = shop.visitor().put("/items/B", json={"quantity": 4})
    assert quantities(response) == {"B": 4}
    assert response.headers["X-Cart-Token"]


@pytest.mark.parametrize("method", ["put", "delete"])
def test_change_of_a_version_not_seen_is_refused(shop: Shop, method: str):
    client = shop.visitor()
    seen = add(client, "A", 1).headers["ETag"]
    add(client, "A", 1)
    body = {"json": {"quantity": 9}} if method == "put" else {}
    refused = getattr(client, method)("/items/A", headers={"If-Match": seen}, **body)
    assert problem(refused) == (412, "stale")
    assert quantities(client.get("/")) == {"A": 2}
    assert client.get("/").get_json()["version"] == 2
