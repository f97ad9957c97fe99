"""What checkout was told is in the cart is what stays in it, until checkout closes or releases it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest

from functions.cart.handler import create_app
from functions.shared import FunctionApp
from tests.support.carts import Shop, add, expire, merge, quantities, running_shop
from tests.support.chain import shut
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import TEMPLATE, PostgresServer

CHANGES_AT_ONCE = 64
EXPIRED = "UPDATE cart.carts SET expires_at = now() - interval '1 second' WHERE customer_id = '{}'"


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    """One for the whole file: every test has customers of its own."""
    database = postgres_server.create_database(TEMPLATE)
    with (
        tempfile.TemporaryDirectory() as directory,
        running_shop(database, Path(directory), threads="16") as shop,
    ):
        yield shop
    database.drop()


@pytest.fixture(scope="module")
def replicas(shop: Shop) -> Iterator[tuple[FunctionApp, FunctionApp]]:
    """Two of the cart, on one database."""
    other = create_app({**shop.secrets.environ, "gateway_url": shop.gateway.url, "threads": "16"})
    yield shop.app, other
    shut(other)


@pytest.fixture
def customer() -> str:
    return f"c-{uuid4()}"


def as_checkout(shop: Shop, path: str, body: Any = None, app: FunctionApp | None = None) -> Any:
    client = (app or shop.app).test_client(use_cookies=False)
    content = {} if body is None else {"json": body}
    return client.post(path, headers=shop.secrets.bearer("service", subject="checkout"), **content)


def fill(shop: Shop, customer: str, **lines: int) -> int:
    """The version of the customer's cart with these lines put into it."""
    for sku, quantity in lines.items():
        response = add(shop.program(), sku, quantity, **shop.customer(customer))
    return int(response.get_json()["version"])


def freeze(
    shop: Shop, customer: str, version: int, checkout_id: str = "", app: FunctionApp | None = None
) -> Any:
    body = {"checkout_id": checkout_id or str(uuid4()), "customer_id": customer, "version": version}
    return as_checkout(shop, "/checkouts", body, app)


def frozen(shop: Shop, customer: str, **lines: int) -> dict[str, Any]:
    """What a checkout is told of a cart with these lines."""
    response = freeze(shop, customer, fill(shop, customer, **lines))
    assert response.status_code == 200, response.get_json()
    answer: dict[str, Any] = response.get_json()
    return answer


def close(shop: Shop, checkout_id: str) -> Any:
    return as_checkout(shop, f"/checkouts/{checkout_id}/close")


def release(shop: Shop, checkout_id: str, app: FunctionApp | None = None) -> Any:
    return as_checkout(shop, f"/checkouts/{checkout_id}/release", None, app)


def read(shop: Shop, customer: str) -> Any:
    return shop.program().get("/", headers=shop.customer(customer))


def refusal(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["code"]


def together(*calls: Any) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_checkout_is_told_what_is_in_the_cart_at_the_prices_that_were_shown(
    shop: Shop, customer: str
) -> None:
    version = fill(shop, customer, A=2, B=1)
    price = shop.catalogue.products["A"]["price_cents"]
    shop.catalogue.sell("A", price + 1)
    checkout_id = str(uuid4())
    answer = freeze(shop, customer, version, checkout_id).get_json()
    assert answer == {
        "checkout_id": checkout_id, "state": "frozen", "version": version, "currency": "CAD",
        "cart_id": read(shop, customer).get_json()["cart_id"],
        "items": [
            {
                "sku": "A", "product_id": 1, "product_version": shop.catalogue.products["A"]["version"] - 1,
                "name": "Product A", "quantity": 2, "unit_price_cents": price, "available": True,
            },
            {
                "sku": "B", "product_id": 2, "product_version": 1, "name": "Product B", "quantity": 1,
                "unit_price_cents": 250, "available": True,
            },
        ],
    }  # fmt: skip


def test_a_frozen_cart_is_shown_as_it_was_and_says_so(shop: Shop, customer: str) -> None:
    told = frozen(shop, customer, C=2)
    shop.catalogue.sell("C", shop.catalogue.products["C"]["price_cents"] + 1)
    shop.gateway.requests.clear()
    cart = read(shop, customer).get_json()
    assert (cart["in_checkout"], cart["prices_checked"], cart["version"]) == (True, False, told["version"])
    assert cart["items"][0]["unit_price_cents"] == told["items"][0]["unit_price_cents"]
    assert shop.gateway.requests == []
    release(shop, told["checkout_id"])
    cart = read(shop, customer).get_json()
    assert (cart["in_checkout"], cart["prices_checked"], cart["version"]) == (
        False, True, told["version"] + 1,
    )  # fmt: skip
    assert cart["items"][0]["previous_price_cents"] == told["items"][0]["unit_price_cents"]


def test_a_frozen_cart_refuses_every_change(shop: Shop, customer: str) -> None:
    told = frozen(shop, customer, A=2)
    holder = shop.customer(customer)
    visitor = shop.visitor()
    add(visitor, "B", 1)
    changes = (
        add(shop.program(), "A", 1, **holder),
        add(shop.program(), "B", 1, **holder, **{"Idempotency-Key": "k"}),
        shop.program().put("/items/A", json={"quantity": 5}, headers=holder),
        shop.program().put("/items/A", json={"quantity": 0}, headers=holder),
        shop.program().delete("/items/A", headers=holder),
        shop.program().delete("/items/B", headers=holder),
        shop.program().delete("/", headers=holder),
        merge(shop, visitor, customer),
    )
    assert {problem(response) for response in changes} == {(409, "cart_in_checkout")}
    cart = read(shop, customer)
    assert quantities(cart) == {"A": 2}
    assert cart.get_json()["version"] == told["version"]
    assert quantities(visitor.get("/")) == {"B": 1}, "the visitor's cart is kept"
    release(shop, told["checkout_id"])
    again = add(shop.program(), "B", 1, **holder, **{"Idempotency-Key": "k"})
    assert quantities(again) == {"A": 2, "B": 1}, "the refusal was not stored"
    assert quantities(merge(shop, visitor, customer)) == {"A": 2, "B": 2}


def test_the_same_question_gets_the_same_answer(shop: Shop, customer: str) -> None:
    version = fill(shop, customer, A=1)
    checkout_id = str(uuid4())
    first, again = (freeze(shop, customer, version, checkout_id) for _ in range(2))
    assert first.status_code == 200
    assert again.data == first.data
    assert refusal(freeze(shop, customer, version + 1, checkout_id)) == (409, "checkout_taken")
    assert refusal(freeze(shop, "someone else", version, checkout_id)) == (409, "checkout_taken")


def test_a_cart_that_is_not_what_the_customer_saw_is_refused(shop: Shop, customer: str) -> None:
    assert refusal(freeze(shop, customer, 0)) == (409, "cart_empty")
    version = fill(shop, customer, A=1, B=1)
    stale = freeze(shop, customer, version - 1)
    assert refusal(stale) == (409, "cart_changed")
    assert stale.get_json()["version"] == version
    frozen_first = freeze(shop, customer, version)
    assert frozen_first.status_code == 200
    assert refusal(freeze(shop, customer, version)) == (409, "cart_in_checkout")
    release(shop, frozen_first.get_json()["checkout_id"])
    assert freeze(shop, customer, version).status_code == 200, "released, it is what it was"


def test_an_emptied_or_expired_cart_is_empty(shop: Shop, customer: str) -> None:
    fill(shop, customer, A=1)
    emptied = shop.program().delete("/items/A", headers=shop.customer(customer)).get_json()
    assert refusal(freeze(shop, customer, emptied["version"])) == (409, "cart_empty")
    version = fill(shop, customer, A=1)
    shop.execute(EXPIRED.format(customer))
    assert refusal(freeze(shop, customer, version)) == (409, "cart_empty")


def test_closing_takes_out_what_was_bought(shop: Shop, customer: str) -> None:
    told = frozen(shop, customer, A=2, B=1)
    first, again = (close(shop, told["checkout_id"]) for _ in range(2))
    assert (first.status_code, first.data) == (200, again.data)
    assert first.get_json() == {"checkout_id": told["checkout_id"], "state": "closed"}
    cart = read(shop, customer).get_json()
    assert (cart["items"], cart["in_checkout"]) == ([], False)
    assert cart["version"] == told["version"] + 1
    assert quantities(add(shop.program(), "C", 1, **shop.customer(customer))) == {"C": 1}
    close(shop, told["checkout_id"])
    assert quantities(read(shop, customer)) == {"C": 1}, "closed again, it takes out nothing more"


def test_closing_leaves_what_could_not_be_bought(shop: Shop, customer: str) -> None:
    fill(shop, customer, B=1, A=1)
    shop.execute(
        "UPDATE cart.items SET available = false WHERE sku = 'B'"
        f" AND cart_id = (SELECT cart_id FROM cart.carts WHERE customer_id = '{customer}')"
    )
    version = fill(shop, customer, C=1)
    told = freeze(shop, customer, version).get_json()
    assert [(item["sku"], item["available"]) for item in told["items"]] == [
        ("B", False), ("A", True), ("C", True),
    ]  # fmt: skip
    close(shop, told["checkout_id"])
    assert quantities(read(shop, customer)) == {"B": 1}


def test_a_checkout_is_settled_once_and_for_all(shop: Shop, customer: str) -> None:
    closed = frozen(shop, customer, A=1)["checkout_id"]
    close(shop, closed)
    assert problem(release(shop, closed)) == (409, "checkout_settled")
    told = frozen(shop, customer, A=1)
    first, again = (release(shop, told["checkout_id"]) for _ in range(2))
    assert (first.status_code, first.data) == (200, again.data)
    assert problem(close(shop, told["checkout_id"])) == (409, "checkout_settled")
    for checkout_id in (closed, told["checkout_id"]):
        assert problem(freeze(shop, customer, told["version"], checkout_id)) == (409, "checkout_settled")
    assert quantities(read(shop, customer)) == {"A": 1}


def test_a_checkout_released_before_it_was_seen_never_holds_a_cart(shop: Shop, customer: str) -> None:
    version = fill(shop, customer, A=1)
    checkout_id = str(uuid4())
    assert problem(close(shop, checkout_id)) == (404, "checkout_not_found")
    assert release(shop, checkout_id).get_json() == {"checkout_id": checkout_id, "state": "released"}
    assert problem(freeze(shop, customer, version, checkout_id)) == (409, "checkout_settled")
    assert quantities(add(shop.program(), "A", 1, **shop.customer(customer))) == {"A": 2}


def test_nothing_of_a_settled_checkout_is_kept(shop: Shop, customer: str) -> None:
    told = frozen(shop, customer, A=1)
    release(shop, told["checkout_id"])
    with closing(shop.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT state, customer_id, content FROM cart.checkouts WHERE checkout_id = %s",
            (told["checkout_id"],),
        )
        assert cursor.fetchall() == [("released", None, None)]


def test_a_frozen_cart_does_not_expire(shop: Shop, customer: str) -> None:
    told = frozen(shop, customer, A=1)
    expire(shop)
    shop.execute(EXPIRED.format(customer))
    assert expire(shop).get_json()["expired"] == 0
    assert quantities(read(shop, customer)) == {"A": 1}
    assert problem(add(shop.program(), "B", 1, **shop.customer(customer))) == (409, "cart_in_checkout")
    release(shop, told["checkout_id"])
    assert expire(shop).get_json()["expired"] == 0
    assert quantities(read(shop, customer)) == {"A": 1}


def test_erasure_deletes_a_customers_cart_once_it_is_free(shop: Shop, customer: str) -> None:
    told = frozen(shop, customer, A=1)
    other = f"{customer}-2"
    fill(shop, other, A=1)

    def erase() -> Any:
        return as_checkout(shop, "/erasures", {"customer_id": customer}).get_json()

    assert erase() == {"erased": 0, "open": 1}
    release(shop, told["checkout_id"])
    add(shop.program(), "A", 1, **shop.customer(customer), **{"Idempotency-Key": "k"})
    assert erase() == {"erased": 1, "open": 0}
    assert erase() == {"erased": 0, "open": 0}
    with closing(shop.database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM cart.idempotency_keys WHERE principal = %s", (f"customer:{customer}",))
        assert cursor.rowcount == 0
    assert quantities(read(shop, customer)) == {}
    assert quantities(read(shop, other)) == {"A": 1}


@pytest.mark.parametrize("round_", range(3))
def test_no_change_slips_into_a_frozen_cart(
    shop: Shop, replicas: tuple[FunctionApp, ...], customer: str, round_: int
) -> None:
    """64 changes race with one checkout, which asks again until it has seen the cart as it is."""
    version = fill(shop, customer, A=1)
    checkout_id = str(uuid4())

    def change(place: int) -> Any:
        client = replicas[place % 2].test_client(use_cookies=False)
        if place % 4 == 3:
            return client.delete("/items/C", headers=shop.customer(customer))
        return add(client, "ABC"[place % 3], 1, **shop.customer(customer))

    def check_out() -> Any:
        seen = version
        while True:
            answer = freeze(shop, customer, seen, checkout_id, replicas[round_ % 2])
            if answer.status_code == 200 or refusal(answer) != (409, "cart_changed"):
                return answer
            seen = answer.get_json()["version"]

    told, *changes = together(check_out, *(partial(change, place) for place in range(CHANGES_AT_ONCE)))
    assert told.status_code == 200, told.get_json()
    assert {refusal(answer) for answer in changes if answer.status_code != 200} <= {(409, "cart_in_checkout")}
    done = [answer.get_json()["version"] for answer in changes if answer.status_code == 200]
    assert sorted(done) == list(range(version + 1, version + 1 + len(done)))
    assert told.get_json()["version"] == version + len(done), "no change was made after checkout was told"
    cart = read(shop, customer)
    assert quantities(cart) == {item["sku"]: item["quantity"] for item in told.get_json()["items"]}
    assert cart.get_json()["version"] == told.get_json()["version"]


def test_of_two_checkouts_at_once_one_holds_the_cart(
    shop: Shop, replicas: tuple[FunctionApp, ...], customer: str
) -> None:
    version = fill(shop, customer, A=1)
    answers = together(*(partial(freeze, shop, customer, version, "", replicas[n % 2]) for n in range(8)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 7}
    assert {refusal(answer) for answer in answers if answer.status_code == 409} == {(409, "cart_in_checkout")}


def test_one_checkout_asking_many_times_at_once_is_told_the_same(
    shop: Shop, replicas: tuple[FunctionApp, ...], customer: str
) -> None:
    version, checkout_id = fill(shop, customer, A=1), str(uuid4())
    answers = together(
        *(partial(freeze, shop, customer, version, checkout_id, replicas[n % 2]) for n in range(8))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.data for answer in answers}) == 1


def test_of_freeze_and_merge_at_once_each_is_whole(
    shop: Shop, replicas: tuple[FunctionApp, ...], customer: str
) -> None:
    for place in range(6):
        holder = f"{customer}-{place}"
        version = fill(shop, holder, A=1)
        visitor = replicas[place % 2].test_client()
        add(visitor, "B", 1)
        told, merged = together(partial(freeze, shop, holder, version), partial(merge, shop, visitor, holder))
        if told.status_code == 200:
            assert problem(merged) == (409, "cart_in_checkout")
            assert quantities(read(shop, holder)) == {"A": 1}
            assert quantities(visitor.get("/")) == {"B": 1}
        else:
            assert refusal(told) == (409, "cart_changed")
            assert quantities(merged) == {"A": 1, "B": 1}


def test_of_freeze_and_release_at_once_the_release_holds(
    shop: Shop, replicas: tuple[FunctionApp, ...], customer: str
) -> None:
    version = fill(shop, customer, A=1)
    for _ in range(6):
        checkout_id = str(uuid4())
        calls = [
            call
            for app in replicas * 2
            for call in (
                partial(freeze, shop, customer, version, checkout_id, app),
                partial(release, shop, checkout_id, app),
            )
        ]
        released = together(*calls)[1::2]
        assert {answer.status_code for answer in released} == {200}
        assert read(shop, customer).get_json()["in_checkout"] is False
        assert problem(freeze(shop, customer, version, checkout_id)) == (409, "checkout_settled")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET quantity = quantity + 1",
        "UPDATE items SET unit_price_cents = 1",
        "DELETE FROM items",
        "INSERT INTO items (cart_id, sku, quantity, product_id, product_version, name, unit_price_cents, available)"
        " SELECT cart_id, 'Z', 1, 9, 1, 'Z', 1, true FROM carts",
        "DELETE FROM carts",
    ],
)
def test_the_database_itself_refuses_to_change_a_frozen_cart(
    shop: Shop, customer: str, statement: str
) -> None:
    told = frozen(shop, customer, A=1)
    where = f" WHERE cart_id = '{told['cart_id']}'"
    with (
        closing(shop.database.connect("cart")) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.CheckViolation, match="being checked out"),
    ):
        cursor.execute(statement + where)


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/checkouts", {"checkout_id": "x"}, "checkout_id"),
        ("/checkouts", {"customer_id": ""}, "customer_id"),
        ("/checkouts", {"customer_id": "x" * 201}, "customer_id"),
        ("/checkouts", {"version": -1}, "version"),
        ("/checkouts", {"version": 2**31}, "version"),
        ("/checkouts", {"version": "1"}, "version"),
        ("/checkouts", {"more": 1}, "more"),
        ("/erasures", {"customer_id": ""}, "customer_id"),
        ("/erasures", {"customer_id": None}, "customer_id"),
    ],
)
def test_what_is_malformed_is_told_by_its_field(
    shop: Shop, path: str, change: dict[str, Any], field: str
) -> None:
    body: dict[str, Any] = {"customer_id": "c"}
    if path == "/checkouts":
        body |= {"checkout_id": str(uuid4()), "version": 1}
    response = as_checkout(shop, path, {**body, **change})
    assert problem(response) == (422, "invalid")
    assert faulty_fields(response) == [field]


@pytest.mark.parametrize(
    "path",
    ["/checkouts", f"/checkouts/{UUID(int=1)}/close", f"/checkouts/{UUID(int=2)}/release", "/erasures"],
)
def test_only_functions_may_freeze_and_erase(shop: Shop, path: str) -> None:
    assert problem(shop.program().post(path, json={})) == (401, "unauthorized")
    assert problem(shop.program().post(path, json={}, headers=shop.customer())) == (403, "forbidden")
