"""Customers check out, cancel and send back while two calls in five are lost or find nobody; then the weather clears.

Whatever was answered meanwhile, everything is finished or undone, all books agree, and each key has one final answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from tests.support.hand_made_gateway import Call
from tests.support.postgres import PostgresServer
from tests.support.webshop import WAREHOUSE, WebShop, checkout_body, running_webshop

CUSTOMERS, AT_ONCE, SCARCE = 48, 12, 12
CARDS = (
    "tok_ok", "tok_ok", "tok_ok", "tok_ok", "tok_ok", "tok_declined", "tok_capture_refused",
    "tok_unavailable_once", "tok_lost_answer", "tok_lost_capture",
)  # fmt: skip
OPEN = {"checkout_unfinished", "idempotency_key_in_flight"}
SETTINGS = {"hang_seconds": "1.2", "payment_timeout_seconds": "0.8", "late_seconds": "0.1"}


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[WebShop]:
    with running_webshop(postgres_server, **SETTINGS) as shop:
        yield shop


@dataclass
class Weather:
    """Of five calls one finds no replica, and one loses its answer; each is made up to three times."""

    chance: random.Random

    def __call__(self, _: Call) -> Literal["away", "lost"] | None:
        return {0: "away", 1: "lost"}.get(int(self.chance.random() * 5))  # type: ignore[return-value]


@dataclass
class Customer:
    """One customer's checkout, and all that was told of it."""

    who: Mapping[str, str]
    key: str
    body: dict[str, Any]
    afterwards: str
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    def check_out(self, shop: WebShop) -> Any:
        response = shop.ask("checkout", "POST /", self.who, self.body, self.key)
        if response.status_code < 500 and response.get_json().get("code") not in OPEN:
            self.answers.append((response.status_code, response.data))
        return response

    def act(self, shop: WebShop) -> None:
        """Check out, again if it was not finished, and then change one's mind, or not."""
        response = self.check_out(shop)
        if response.status_code == 503:
            response = self.check_out(shop)
        if response.status_code == 201:
            _AFTERWARDS[self.afterwards](shop, response.get_json()["order_id"], self.who)


def keep(_shop: WebShop, _order_id: str, _who: Mapping[str, str]) -> None:
    """Nothing comes afterwards."""


def cancel(shop: WebShop, order_id: str, who: Mapping[str, str]) -> None:
    shop.ask("orders", f"POST /{order_id}/cancel", who, {"reason": "rain"})


def send_back(shop: WebShop, order_id: str, _: Mapping[str, str]) -> None:
    lines = [{"line": 1, "quantity": 1, "restock": True}]
    for step, body in (
        ("pack", None),
        ("ship", {"carrier": "Poste"}),
        ("returns", {"reason": "wet", "lines": lines}),
    ):
        shop.ask("orders", f"POST /{order_id}/{step}", shop.hq, body)


_AFTERWARDS = {"keep": keep, "cancel": cancel, "send back": send_back}


def customers(shop: WebShop, chance: random.Random) -> list[Customer]:
    """Carts that were filled while the sun shone; D is scarce."""
    found = []
    for number in range(CUSTOMERS):
        who = shop.customer(f"storm-{number}")
        wanted = {sku: chance.randint(1, 3) for sku in chance.sample("ABCD", chance.randint(1, 3))}
        body = checkout_body(shop.fill(who, **wanted), chance.choice(CARDS))
        found.append(Customer(who, f"key-of-{number}", body, chance.choice(list(_AFTERWARDS))))
    return found


def test_after_a_storm_all_is_finished_or_undone_and_every_book_agrees(shop: WebShop):
    chance = random.Random(20_261_122)
    shop.renew()
    shop.add_products(D=777)
    shop.put_in(WAREHOUSE, D=SCARCE)
    crowd = customers(shop, chance)
    shop.gateway.mischief = Weather(chance)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda customer: customer.act(shop), crowd))
    shop.gateway.mend()
    in_the_rain = Counter(state for (state,) in shop.execute("SELECT state FROM checkout.checkouts"))
    assert in_the_rain["open"] + in_the_rain["undoing"] > 0, "the storm interrupted nobody"

    shop.recover("checkout")
    shop.recover("orders")
    for customer in crowd:
        customer.check_out(shop)
    assert [len(set(customer.answers)) for customer in crowd] == [1] * CUSTOMERS, "one final answer a key"
    told = Counter(customer.answers[-1][0] for customer in crowd)
    assert set(told) == {201, 402, 409}, told
    assert shop.execute("SELECT count(*) FROM checkout.checkouts WHERE state IN ('open', 'undoing')") == [
        (0,)
    ]
    assert shop.execute("SELECT count(*) FROM orders.orders WHERE status = 'pending'") == [(0,)]
    assert shop.execute("SELECT count(*) FROM orders.returns WHERE status = 'pending'") == [(0,)]
    assert shop.execute("SELECT count(*) FROM orders.orders WHERE paid_at IS NOT NULL") == [(told[201],)]
    assert not any(shop.cart(customer.who).get("in_checkout") for customer in crowd)
    shop.check_books()
