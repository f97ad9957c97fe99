"""A cart is bought, or the customer is told why not; and what is told stays so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.support.functions import faulty_fields, problem
from tests.support.metrics import growth
from tests.support.postgres import PostgresServer
from tests.support.webshop import ADDRESS, WebShop, checkout_body, running_webshop

NOBODYS = "00000000-0000-4000-8000-000000000000"
STEPS = ["freeze", "price", "reserve", "order", "authorise", "commit", "capture", "mark_paid", "clear"]


@pytest.fixture(scope="module")
def shop_of_all(postgres_server: PostgresServer) -> Iterator[WebShop]:
    with running_webshop(postgres_server) as shop:
        yield shop


@pytest.fixture
def shop(shop_of_all: WebShop) -> Iterator[WebShop]:
    shop_of_all.renew()
    yield shop_of_all
    shop_of_all.check_books()


@pytest.fixture
def ada(shop: WebShop) -> dict[str, str]:
    who = shop.customer("ada")
    shop.fill(who, A=1, B=2)
    return who


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["code"]


def is_untouched(shop: WebShop, who: dict[str, str], **quantities: int) -> bool:
    """Whether the cart holds this and is free, all stock is there, and nothing is held on a card."""
    cart = shop.cart(who)
    free = shop.ask("cart", "PUT /items/C", who, {"quantity": 1}).status_code == 200
    return (
        free
        and {item["sku"]: item["quantity"] for item in cart["items"]} == quantities
        and all(shop.stock(sku, "W1") == 10_000 for sku in "ABC")
        and shop.execute("SELECT sum(reserved) FROM inventory.stock") == [(0,)]
    )


def test_a_cart_is_bought(shop: WebShop, ada: dict[str, str]) -> None:
    cart = shop.cart(ada)
    response = shop.check_out(ada, cart)
    order = response.get_json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/orders/{order['order_id']}"
    assert (order["status"], order["total_cents"]) == ("paid", cart["total_cents"])
    assert [(line["sku"], line["quantity"]) for line in order["lines"]] == [("A", 1), ("B", 2)]
    assert order["address"]["line1"] == ADDRESS["line1"]
    assert shop.cart(ada)["items"] == []
    assert (shop.stock("A", "W1"), shop.stock("B", "W1")) == (9_999, 9_998)
    charged = "SELECT kind, amount_cents FROM payments.ledger WHERE reference = %s ORDER BY entry_id"
    assert shop.execute(charged, (order["checkout_id"],)) == [
        ("authorised", cart["total_cents"]), ("captured", cart["total_cents"]),
    ]  # fmt: skip


def test_its_steps_are_shown_with_their_times_and_attempts(shop: WebShop, ada: dict[str, str]) -> None:
    order = shop.check_out(ada).get_json()
    shown = shop.ask("checkout", f"GET /{order['checkout_id']}", ada).get_json()
    assert (shown["state"], shown["order_id"], shown["order_number"]) == (
        "complete", order["order_id"], order["number"],
    )  # fmt: skip
    assert [step["step"] for step in shown["steps"]] == STEPS
    for step in shown["steps"]:
        assert (step["attempts"], step["undo_attempts"]) == (1, 0)
        begun, done, settled = (
            datetime.fromisoformat(text) for text in (step["begun_at"], step["done_at"], shown["settled_at"])
        )
        assert begun <= done <= settled
        assert step["milliseconds"] > 0


def test_the_same_key_gets_the_same_bytes_and_no_other_body(shop: WebShop, ada: dict[str, str]) -> None:
    body = checkout_body(shop.cart(ada))
    first, again = (shop.ask("checkout", "POST /", ada, body, "k") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    for header in ("Location", "Content-Type"):
        assert first.headers[header] == again.headers[header]
    other = shop.ask("checkout", "POST /", ada, {**body, "total_cents": 1}, "k")
    assert problem(other) == (422, "idempotency_key_reused")
    headers = {**ada, "Content-Type": "application/json"}
    client = shop.gateway.apps["checkout"].test_client()
    assert problem(client.post("/", data=json.dumps(body), headers=headers)) == (
        400, "idempotency_key_missing",
    )  # fmt: skip


def test_a_key_is_its_customers_own(shop: WebShop, ada: dict[str, str]) -> None:
    bob = shop.customer("bob")
    shop.fill(bob, C=1)
    orders = [shop.check_out(who, key="k").get_json() for who in (ada, bob)]
    assert orders[0]["order_id"] != orders[1]["order_id"]


def test_a_price_that_changed_is_told_and_not_charged(shop: WebShop, ada: dict[str, str]) -> None:
    seen = shop.cart(ada)
    shop.set_price("A", 1200)
    refused = shop.check_out(ada, seen, "k")
    told = refused.get_json()
    assert code_of(refused) == (409, "price_changed")
    assert told["lines"] == [
        {"sku": "A", "name": "Product A", "quantity": 1, "shown_price_cents": 1000, "unit_price_cents": 1200}
    ]
    assert (told["agreed_cents"], told["currency"]) == (seen["total_cents"], "CAD")
    assert shop.check_out(ada, seen, "k").data == refused.data
    again = shop.cart(ada)
    assert again["total_cents"] == told["total_cents"]
    assert shop.check_out(ada, again).status_code == 201


def test_a_total_nobody_was_shown_is_refused(shop: WebShop, ada: dict[str, str]) -> None:
    cart = shop.cart(ada)
    for total in (cart["total_cents"] - 1, cart["total_cents"] + 1, 0):
        refused = shop.check_out(ada, {**cart, "total_cents": total})
        assert code_of(refused) == (409, "price_changed")
        assert (refused.get_json()["lines"], refused.get_json()["total_cents"]) == ([], cart["total_cents"])
    assert is_untouched(shop, ada, A=1, B=2)


def test_what_is_no_longer_sold_is_named(shop: WebShop, ada: dict[str, str]) -> None:
    cart = shop.cart(ada)
    shop.execute("UPDATE products.products SET active = false, version = version + 1 WHERE sku = 'B'")
    refused = shop.check_out(ada, cart)
    assert code_of(refused) == (409, "product_unavailable")
    assert refused.get_json()["lines"] == [{"sku": "B", "name": "Product B"}]
    assert is_untouched(shop, ada, A=1, B=2)


def test_a_cart_that_costs_nothing_is_refused(shop: WebShop) -> None:
    shop.add_products(FREE=0)
    shop.put_in("W1", FREE=1)
    who = shop.customer("ada")
    assert code_of(shop.check_out(who, shop.fill(who, FREE=1))) == (409, "nothing_to_pay")


def test_lacking_stock_is_told_by_line(shop: WebShop, ada: dict[str, str]) -> None:
    shop.put_in("S2", A=5, B=1)
    refused = shop.check_out(ada, fulfilled_by="S2")
    assert code_of(refused) == (409, "insufficient_stock")
    assert refused.get_json()["lacking"] == [{"sku": "B", "requested": 2, "available": 1}]
    assert faulty_fields(refused) == ["lines.1.sku"]
    assert is_untouched(shop, ada, A=1, B=2)


@pytest.mark.parametrize(
    "card_token",
    ["tok_declined", "tok_insufficient_funds_1", "tok_expired", "tok_capture_refused"],
)
def test_a_card_that_is_refused_leaves_everything_as_it_was(
    shop: WebShop, ada: dict[str, str], card_token: str
) -> None:
    refused = shop.check_out(ada, key="k", card_token=card_token)
    assert code_of(refused) == (402, "card_declined")
    assert refused.get_json()["decline_code"]
    [(status,)] = shop.execute("SELECT status FROM orders.orders")
    assert status == "cancelled"
    assert is_untouched(shop, ada, A=1, B=2)
    shop.ask("cart", "DELETE /items/C", ada)
    assert shop.check_out(ada).status_code == 201


def test_an_unknown_card_token_is_a_fault_of_its_field(shop: WebShop, ada: dict[str, str]) -> None:
    refused = shop.check_out(ada, card_token="nothing")
    assert (refused.status_code, faulty_fields(refused)) == (422, ["payment.card_token"])
    assert is_untouched(shop, ada, A=1, B=2)


def test_the_card_token_is_kept_only_until_the_card_was_asked(shop: WebShop, ada: dict[str, str]) -> None:
    kept = "SELECT count(*) FROM checkout.checkouts WHERE card_token IS NOT NULL"
    cart = shop.cart(ada)
    shop.gateway.away = {"orders"}
    shop.check_out(ada, cart, "k")
    assert shop.execute(kept) == [(1,)]
    shop.gateway.away = {"inventory/reservations/*/commit"}
    shop.check_out(ada, cart, "k")
    assert shop.execute(kept) == [(0,)]
    shop.gateway.away = set()
    assert shop.recover() == 1
    shop.check_out(shop.customer("bob"), shop.fill(shop.customer("bob"), A=1), card_token="tok_declined")
    assert shop.execute(kept) == [(0,)]


def test_a_cart_that_is_not_what_was_shown_is_not_bought(shop: WebShop, ada: dict[str, str]) -> None:
    seen = shop.cart(ada)
    changed = shop.fill(ada, C=3)
    refused = shop.check_out(ada, seen)
    assert code_of(refused) == (409, "cart_changed")
    assert refused.get_json()["version"] == changed["version"]
    shop.ask("cart", "DELETE /", ada)
    assert code_of(shop.check_out(ada)) == (409, "cart_empty")
    nobody = {**seen, "version": 1}
    assert code_of(shop.check_out(shop.customer("nobody"), nobody)) == (409, "cart_empty")


def test_what_is_shown_as_not_to_be_had_stays_in_the_cart(shop: WebShop, ada: dict[str, str]) -> None:
    shop.execute("UPDATE products.products SET active = false, version = version + 1 WHERE sku = 'B'")
    shown = shop.cart(ada)
    order = shop.check_out(ada, shown).get_json()
    assert [line["sku"] for line in order["lines"]] == ["A"]
    assert order["total_cents"] == shown["total_cents"]
    assert [item["sku"] for item in shop.cart(ada)["items"]] == ["B"]
    assert code_of(shop.check_out(ada)) == (409, "cart_empty")


def test_a_cart_of_a_hundred_products_is_bought(shop: WebShop) -> None:
    skus = {f"SKU-{number:03}-{'x' * 50}": 7 for number in range(100)}
    shop.add_products(**dict.fromkeys(skus, 99_999))
    shop.put_in("W1", **skus)
    who = shop.customer("ada")
    shop.fill(who, A=1)
    shop.execute(
        "WITH gone AS (DELETE FROM cart.items RETURNING cart_id)"
        " INSERT INTO cart.items (cart_id, sku, quantity, product_id, product_version, name, unit_price_cents,"
        " available) SELECT cart_id, sku, 7, product_id, version, name, price_cents, true"
        " FROM gone, products.products WHERE sku LIKE 'SKU-%%'"
    )
    order = shop.check_out(who).get_json()
    assert {line["sku"]: line["quantity"] for line in order["lines"]} == skus
    assert shop.cart(who)["items"] == []


def change(path: str, value: Any) -> dict[str, Any]:
    """A good body with another value at a dotted path; without the field if the value is `...`."""
    body = json.loads(json.dumps(checkout_body({"version": 1, "total_cents": 100})))
    *parents, name = path.split(".")
    place = body
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return body


BAD_FIELDS: dict[str, tuple[Any, ...]] = {
    "cart_version": (..., None, 0, -1, "1", 1.5, True, 2**31, 10**400),
    "total_cents": (..., None, -1, "100", 1e300, 10**16, True),
    "address": (..., None, [], "here"),
    "address.name": (..., "", "  ", "x" * 201, "two\nlines", 7, None),
    "address.line2": ("", "x" * 201, "\u202e", []),
    "address.postal_code": (..., "", "x" * 21),
    "address.country": (..., "", "ca", "CAN", "C\u0041\u0301"),
    "address.phone": ("", "5" * 41),
    "address.planet": ("Earth",),
    "payment": (..., None, "tok_ok"),
    "payment.card_token": (..., "", "x" * 101, "tok ok", "tök", 4242424242424242, None),
    "payment.card_number": ("4242424242424242",),
    "fulfilled_by": ("", "x" * 11, 1, "\u0007"),
    "customer_id": ("bob",),
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a_bad_field_is_named(shop_of_all: WebShop, field: str) -> None:
    for value in BAD_FIELDS[field]:
        response = shop_of_all.ask("checkout", "POST /", shop_of_all.customer(), change(field, value))
        status = problem(response)[0]
        assert status in {400, 422}, (field, value)
        assert status == 400 or any(named.startswith(field) for named in faulty_fields(response)), (
            field,
            value,
        )


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'{"a":1,"a":2}', b'"\\ud800"', b"\xff", b"[" * 100_000]
)
def test_a_body_that_is_none_is_refused(shop_of_all: WebShop, raw: bytes) -> None:
    headers = {**shop_of_all.customer(), "Idempotency-Key": "k", "Content-Type": "application/json"}
    client = shop_of_all.gateway.apps["checkout"].test_client()
    assert problem(client.post("/", data=raw, headers=headers))[0] in {400, 422}


@pytest.mark.parametrize("key", ["x" * 201, "k\u00e9y"])
def test_a_key_that_cannot_be_kept_is_refused(shop_of_all: WebShop, key: str) -> None:
    body = checkout_body({"version": 1, "total_cents": 1})
    response = shop_of_all.ask("checkout", "POST /", shop_of_all.customer(), body, key)
    assert problem(response) == (400, "idempotency_key_malformed")


def test_anothers_checkout_is_not_told_of(shop: WebShop, ada: dict[str, str]) -> None:
    path = f"GET /{shop.check_out(ada).get_json()['checkout_id']}"
    mallory = shop.customer("mallory")
    assert problem(shop.ask("checkout", path, mallory)) == (404, "checkout_not_found")
    assert shop.ask("checkout", "GET /", mallory).get_json()["items"] == []
    assert problem(shop.ask("checkout", path, shop.staff("S1")))[0] == 403
    assert problem(shop.ask("checkout", f"GET /{NOBODYS}", ada))[0] == 404
    assert problem(shop.ask("checkout", "GET /seven", ada))[0] == 404
    for who in (ada, shop.hq, shop.service("orders")):
        assert shop.ask("checkout", path, who).status_code == 200


def test_ones_own_are_listed_in_pages_latest_first(shop: WebShop, ada: dict[str, str]) -> None:
    for _ in range(3):
        shop.check_out(ada, card_token="tok_declined")
    page = shop.ask("checkout", "GET /?limit=2", ada).get_json()
    rest = shop.ask("checkout", f"GET /?limit=2&after={page['next']}", ada).get_json()
    items = [*page["items"], *rest["items"]]
    assert (len(items), rest["next"]) == (3, None)
    assert [item["created_at"] for item in items] == sorted(
        (item["created_at"] for item in items), reverse=True
    )
    assert {(item["state"], item["code"]) for item in items} == {("refused", "card_declined")}
    for cursor in ("x", "WyJ4Il0", "WyIyMDI2IiwieCJd"):
        assert problem(shop.ask("checkout", f"GET /?after={cursor}", ada))[0] == 400


def test_one_cart_is_bought_once_however_often_it_is_tried_at_once(
    shop: WebShop, ada: dict[str, str]
) -> None:
    cart = shop.cart(ada)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: shop.check_out(ada, cart, f"try-{number}"), range(8)))
    codes = sorted((answer.status_code, answer.get_json().get("code", "")) for answer in answers)
    assert codes[0] == (201, "")
    assert set(codes[1:]) <= {(409, "cart_in_checkout"), (409, "cart_empty"), (409, "cart_changed")}


def test_one_request_sent_at_once_is_done_once_and_told_alike(shop: WebShop, ada: dict[str, str]) -> None:
    cart = shop.cart(ada)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shop.check_out(ada, cart, "k"), range(8)))
    told = {answer.data for answer in answers if answer.status_code == 201}
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert len(told) == 1
    assert {code_of(answer) for answer in waiting} <= {(409, "idempotency_key_in_flight")}
    assert shop.execute("SELECT count(*) FROM orders.orders") == [(1,)]
    assert shop.check_out(ada, cart, "k").data in told


def test_erasure_forgets_where_it_went_and_keeps_the_sums(shop: WebShop, ada: dict[str, str]) -> None:
    cart = shop.cart(ada)
    checkout_id = shop.check_out(ada, cart, "k").get_json()["checkout_id"]
    bob = shop.customer("bob")
    shop.bought(bob, C=1)
    for erased in (1, 0):
        response = shop.ask("checkout", "POST /erasures", shop.maintenance, {"customer_id": "ada"})
        assert response.get_json() == {"erased": erased, "open": 0}
    [(kept,)] = shop.execute(
        "SELECT to_jsonb(c)::text FROM checkout.checkouts AS c WHERE customer_id = 'ada'"
    )
    personal = [ADDRESS[name] for name in ("name", "line1", "city", "postal_code")]
    assert [text for text in (*personal, "tok_ok") if text in kept] == []
    assert code_of(shop.check_out(ada, cart, "k")) == (409, "checkout_erased")
    shown = shop.ask("checkout", f"GET /{checkout_id}", shop.hq).get_json()
    assert shown["total_cents"] == cart["total_cents"]
    assert shop.execute("SELECT count(*) FROM checkout.checkouts WHERE address IS NULL") == [(1,)]


def test_erasure_waits_for_what_is_not_settled(shop: WebShop, ada: dict[str, str]) -> None:
    shop.gateway.away = {"payments"}
    shop.check_out(ada)
    ask = ("checkout", "POST /erasures", shop.maintenance, {"customer_id": "ada"})
    assert shop.ask(*ask).get_json() == {"erased": 0, "open": 1}
    shop.gateway.away = set()
    assert shop.recover() == 1
    assert shop.ask(*ask).get_json() == {"erased": 1, "open": 0}


@pytest.mark.parametrize("path", ["/recover", "/erasures"])
def test_housekeeping_is_for_services(shop_of_all: WebShop, path: str) -> None:
    body = {"customer_id": "ada"} if path == "/erasures" else None
    for who in (shop_of_all.customer(), shop_of_all.hq, shop_of_all.staff("S1")):
        assert problem(shop_of_all.ask("checkout", f"POST {path}", who, body))[0] == 403


def test_a_checkout_is_counted_once_by_step_and_outcome(shop: WebShop, ada: dict[str, str]) -> None:
    step, labels = "checkout_steps_total", {"step": "authorise"}
    cart = shop.cart(ada)
    with growth("checkout_started_total") as started, growth(step, **labels, outcome="done") as done:
        declined = shop.check_out(ada, cart, card_token="tok_declined")
        assert declined.status_code == 402
        for _ in range(2):
            assert shop.check_out(ada, cart, key="k").status_code == 201
    assert (started.by, done.by) == (2, 1)


def test_a_refusal_is_counted_at_its_step_and_so_is_what_is_taken_back(
    shop: WebShop, ada: dict[str, str]
) -> None:
    step = "checkout_steps_total"
    with (
        growth(step, step="authorise", outcome="refused") as refused,
        growth(step, step="undo-reserve", outcome="done") as undone,
    ):
        assert shop.check_out(ada, card_token="tok_declined").status_code == 402
    assert (refused.by, undone.by) == (1, 1)
