"""The web shop from outside, through the edge: one customer's whole story, and sixty-four after the same few units."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.platform import Platform
from tests.support.shoppers import Person, Street, check_out
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

STORE = "S1"
BUYERS, TILLS, UNITS = 64, 16, 24
PRICE_CENTS = 1_250
FRESH_SECONDS = 30


@pytest.fixture
def street(shop: Platform) -> Street:
    return Street(shop)


def quantities(cart: dict[str, Any]) -> dict[str, int]:
    return {item["sku"]: item["quantity"] for item in cart["items"]}


def on_hand(person: Person, sku: str, location: str = STORE) -> tuple[int, int]:
    """What is there, and what of it is promised."""
    rows = person.done("GET", f"/inventory/stock/{sku}")["locations"]
    return next((row["on_hand"], row["reserved"]) for row in rows if row["location"] == location)


def moved(person: Person, sku: str) -> int:
    """The sum of a product's ledger."""
    items = person.done("GET", f"/inventory/movements?sku={sku}&limit=200")["items"]
    return sum(movement["quantity"] for movement in items)


def reported(person: Person, sku: str) -> dict[str, Any] | None:
    """What reports say the web shop sold of a product, once they say something."""
    items = person.done("GET", f"/reports/sales?by=product&channel=web&store={STORE}&sku={sku}&compare=none")
    return next(iter(items["items"]), None)


def test_story_of_an_order_from_a_visitors_cart_to_a_line_that_comes_back(street: Street):
    cup, pot = (street.new_product(price, STORE, 10) for price in (1_999, 3_495))
    head, ada, elsewhere = street.head_office(), street.visitor(), street.visitor()

    ada.done("POST", "/cart/items", {"sku": cup, "quantity": 2})
    assert quantities(ada.done("POST", "/cart/items", {"sku": pot})) == {cup: 2, pot: 1}

    email = elsewhere.register("Ada Lovelace")
    elsewhere.done("POST", "/cart/items", {"sku": cup})
    ada.sign_in(email)
    ada.done("POST", "/cart/merge")
    cart = ada.done("GET", "/cart")
    assert quantities(cart) == {cup: 3, pot: 1}, "her two carts are one"

    answer = check_out(ada, cart, fulfilled_by=STORE)
    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert (order["status"], order["total_cents"]) == ("paid", cart["total_cents"])
    assert ada.done("GET", "/cart")["items"] == []
    assert [one["number"] for one in ada.done("GET", "/orders")["items"]] == [order["number"]]
    stranger = street.visitor()
    stranger.register("Eve Onlooker")
    assert stranger.ask("GET", f"/orders/{order['number']}").status_code == 404
    assert [on_hand(head, sku) for sku in (cup, pot)] == [(7, 0), (9, 0)]

    store, other_store = street.staff(STORE), street.staff("S2")
    assert other_store.ask("POST", f"/orders/{order['order_id']}/pack").status_code == 403
    store.done("POST", f"/orders/{order['order_id']}/pack")
    assert ada.ask("POST", f"/orders/{order['order_id']}/cancel", {"reason": "too late"}).status_code == 409
    store.done("POST", f"/orders/{order['order_id']}/ship", {"carrier": "Postes", "tracking": "PX1"})
    assert ada.done("GET", f"/orders/{order['number']}")["tracking"] == "PX1"
    line = next(one["line"] for one in order["lines"] if one["sku"] == cup)
    lines = [{"line": line, "quantity": 2, "restock": True}]
    back = store.done("POST", f"/orders/{order['order_id']}/returns", {"reason": "chipped", "lines": lines})

    order = ada.done("GET", f"/orders/{order['number']}")
    assert order["refunded_cents"] == back["total_cents"] > 2 * 1_999
    assert [step["to"] for step in order["history"]] == ["pending", "paid", "packed", "shipped"]
    assert street.ledger(order["checkout_id"]) == {
        "authorised": order["total_cents"],
        "captured": order["total_cents"],
        "refunded": order["refunded_cents"],
    }
    assert [(on_hand(head, sku), moved(head, sku)) for sku in (cup, pot)] == [((9, 0), 9), ((9, 0), 9)]
    rows = {sku: report_of(head, sku, units_back) for sku, units_back in ((cup, 2), (pot, 0))}
    assert (rows[cup]["units_sold"], rows[cup]["net_cents"]) == (3, 1_999)
    assert (rows[pot]["units_sold"], rows[pot]["net_cents"]) == (1, 3_495)
    kept = order["total_cents"] - order["refunded_cents"]
    assert sum(row["total_cents"] for row in rows.values()) == kept, "reports, order and provider agree"
    assert head.done("GET", "/inventory/invariants")["holds"]
    for person in (ada, elsewhere, stranger, store, other_store, head):
        person.leave()


def report_of(person: Person, sku: str, units_back: int) -> dict[str, Any]:
    """What reports say of a product once they know what came back."""

    def known() -> dict[str, Any] | None:
        row = reported(person, sku)
        return row if row and row["units_returned"] == units_back else None

    found: dict[str, Any] = wait_for(known, FRESH_SECONDS, f"reports of {sku}")
    return found


@pytest.fixture
def crowd(street: Street) -> Iterator[list[Person]]:
    people = [street.customer() for _ in range(BUYERS)] + [street.staff(STORE) for _ in range(TILLS)]
    yield people
    for person in people:
        person.leave()


def test_sixty_four_customers_and_sixteen_tills_after_the_same_few_units_get_just_those(
    street: Street, crowd: list[Person]
):
    sku, head = street.new_product(PRICE_CENTS, STORE, UNITS), street.head_office()
    register = f"R{sku[-6:]}"
    crowd[-1].done("POST", f"/sales/registers/{register}/open", {"opening_cash_cents": 0})
    start = threading.Barrier(BUYERS + TILLS)

    def buy(person: Person) -> tuple[str, Any]:
        cart = person.done("PUT", f"/cart/items/{sku}", {"quantity": 1})
        start.wait(FRESH_SECONDS)
        answer = check_out(person, cart, fulfilled_by=STORE)
        return outcome("web", answer), answer.json()

    def sell(person: Person) -> tuple[str, Any]:
        lines = [{"sku": sku, "quantity": 1}]
        total = person.done("POST", "/sales/quote", {"lines": lines})["total_cents"]
        start.wait(FRESH_SECONDS)
        tender = {"kind": "card", "amount_cents": total, "reference": "T1"}
        answer = person.insist("/sales", {"register": register, "lines": lines, "tenders": [tender]})
        return outcome("till", answer), answer.json()

    with ThreadPoolExecutor(BUYERS + TILLS) as pool:
        told = [
            future.result()
            for future in [
                pool.submit(buy if place < BUYERS else sell, who) for place, who in enumerate(crowd)
            ]
        ]
    counts = Counter(what for what, _ in told)
    assert set(counts) <= {"web 201", "till 201", "web insufficient_stock", "till insufficient_stock"}, counts
    assert counts["web 201"] + counts["till 201"] == UNITS, counts
    assert on_hand(head, sku) == (0, 0)
    assert moved(head, sku) == 0
    orders = [body for what, body in told if what == "web 201"]
    listed = head.done("GET", f"/orders?sku={sku}&status=paid&limit=200")["items"]
    assert sorted(one["number"] for one in listed) == sorted(one["number"] for one in orders)
    for order in orders:
        total = order["total_cents"]
        assert street.ledger(order["checkout_id"]) == {"authorised": total, "captured": total}
    assert len(head.done("GET", f"/sales?sku={sku}&limit=200")["items"]) == counts["till 201"]
    assert head.done("GET", "/inventory/invariants")["holds"]
    head.leave()


def outcome(where: str, answer: Any) -> str:
    return f"{where} {201 if answer.status_code == 201 else answer.json().get('code')}"
