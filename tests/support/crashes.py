"""Checkouts whose replica is killed at a point of its own, and what is left of them afterwards."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import requests

from functions.shared import crash
from tests.support.postgres import PostgresServer
from tests.support.webshop import WebShop, checkout_body, running_webshop
from tests.support.zygote import Fork, Zygote, running_zygote

RECOVERY_SECONDS = 5.0
"""From the last death on: a replica is there, and so is all that it needs."""
CART = {"A": 1, "B": 2, "C": 3}

By = Literal["client", "maintenance"]
Refusal = Literal["capture refused", "stock gone", "card declined"]
TOLD: dict[Refusal, tuple[int, str]] = {
    "capture refused": (402, "card_declined"),
    "stock gone": (409, "insufficient_stock"),
    "card declined": (402, "card_declined"),
}
CARDS: dict[Refusal, str] = {"capture refused": "tok_capture_refused", "card declined": "tok_declined"}
COMMIT = "inventory/reservations/*/commit"
STOCK_GONE = {
    "code": "reservation_expired",
    "detail": "The reservation has expired, and there is not enough stock to take it anew.",
    "lacking": [{"location": "W1", "sku": "B", "requested": 2, "available": 0}],
}


@dataclass
class Bought:
    """One customer's checkout: what is sent, and what came of it."""

    subject: str
    who: dict[str, str]
    body: dict[str, Any]
    key: str
    answer: requests.Response | None = None


@dataclass
class CrashLab:
    """A web shop whose checkout is a real process; another one takes its place when it dies."""

    shop: WebShop
    zygote: Zygote
    plan: Path
    settings: dict[str, str] = field(default_factory=dict)
    spare: Fork | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.replica = self.start()

    def start(self, **patches: float) -> Fork:
        environ = {
            **self.shop.environ, "threads": "2", "crash_plan": str(self.plan), "testing": "true", **self.settings,
        }  # fmt: skip
        return self.zygote.fork(environ, **patches)

    def replaced(self) -> None:
        """The replica has died: the spare one takes its place."""
        self.replica.kill()
        self.replica = self.spare or self.start()
        self.spare = None

    def customer(self, card_token: str = "tok_ok") -> Bought:
        """A customer with a cart, who is about to buy it."""
        subject = f"customer-{next(self.numbers)}"
        who = self.shop.customer(subject)
        cart = self.shop.fill(who, **CART)
        return Bought(subject, who, checkout_body(cart, card_token), f"key-{subject}")

    def ask(self, bought: Bought, replica: Fork | None = None, timeout: float = 20) -> requests.Response:
        """The checkout's request, as its customer sends it."""
        url = f"{(replica or self.replica).wait_until_it_listens().url}/"
        headers = {**bought.who, "Idempotency-Key": bought.key, "Content-Type": "application/json"}
        return requests.post(url, json.dumps(bought.body), headers=headers, timeout=timeout)

    @contextmanager
    def refusing(self, refusal: Refusal) -> Iterator[Bought]:
        """A customer whose checkout is refused late: when the money is taken, or the stock, or by the card."""
        if refusal == "stock gone":
            self.shop.gateway.answers = {COMMIT: (409, json.dumps(STOCK_GONE).encode())}
        yield self.customer(CARDS.get(refusal, "tok_ok"))
        self.shop.gateway.answers = {}

    def killed(self, bought: Bought, point: str, times: int) -> None:
        """The request is sent, and the replica dies of the plan before it answers."""
        crash.write(self.plan, {point: times})
        self.spare = self.start()
        try:
            response = self.ask(bought)
        except requests.ConnectionError:
            self.replaced()
            return
        raise AssertionError(f"{point} was not passed: {response.status_code} {response.text}")

    def settle(self, bought: Bought, by: By) -> requests.Response:
        """Until the checkout is settled, the customer asks again, or maintenance does; the final answer."""
        if by == "maintenance":
            self._surviving(self._recovered)
        return self._surviving(lambda: self._final(bought))

    def _surviving(self, attempt: Callable[[], Any]) -> Any:
        """The first result of an attempt, which other replicas go on with when one dies of it."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                found = attempt()
            except requests.ConnectionError:
                self.replaced()
                deadline = time.monotonic() + RECOVERY_SECONDS
                continue
            if found is not None:
                return found
            assert time.monotonic() < deadline, self.replica.log.read_text()[-3000:]
            time.sleep(0.005)

    def _recovered(self) -> Literal[True] | None:
        url = f"{self.replica.wait_until_it_listens().url}/recover"
        requests.post(url, headers=self.shop.maintenance, timeout=20)
        unsettled = "SELECT count(*) FROM checkout.checkouts WHERE settled_at IS NULL"
        return True if self.shop.execute(unsettled) == [(0,)] else None

    def _final(self, bought: Bought) -> requests.Response | None:
        response = self.ask(bought)
        waiting = response.status_code == 503 or response.json().get("code") == "idempotency_key_in_flight"
        return None if waiting else response

    def check_bought(self, bought: Bought, answer: requests.Response) -> None:
        """Paid once, the stock out once, the cart empty, and the same answer for ever."""
        assert answer.status_code == 201, answer.text
        order = answer.json()
        assert [(order["order_id"], order["checkout_id"], "paid")] == self.shop.execute(
            "SELECT order_id::text, checkout_id::text, status FROM orders.orders WHERE customer_id = %s",
            (bought.subject,),
        )
        self._check_cart(bought, {})
        self._check_same(bought, answer)

    def check_refused(self, bought: Bought, answer: requests.Response, refusal: Refusal) -> None:
        """Nothing is charged, ordered or out of stock, the cart is as it was, and the same answer for ever."""
        assert (answer.status_code, answer.json()["code"]) == TOLD[refusal]
        orders = "SELECT DISTINCT status FROM orders.orders WHERE customer_id = %s"
        assert self.shop.execute(orders, (bought.subject,)) in ([], [("cancelled",)])
        self._check_cart(bought, CART)
        self._check_same(bought, answer)

    def _check_cart(self, bought: Bought, items: dict[str, int]) -> None:
        cart = self.shop.cart(bought.who)
        assert {item["sku"]: item["quantity"] for item in cart["items"]} == items
        assert not cart.get("in_checkout")

    def _check_same(self, bought: Bought, answer: requests.Response) -> None:
        again = self.ask(bought)
        assert (again.status_code, again.content) == (answer.status_code, answer.content)
        assert crash.left(self.plan) == dict.fromkeys(crash.left(self.plan), 0)
        self.shop.check_books()


@contextmanager
def running_crash_lab(server: PostgresServer, directory: Path, **settings: str) -> Iterator[CrashLab]:
    """A CrashLab for all tests of one file; its `settings` are those of the killed replicas."""
    plan = directory / "plan"
    crash.write(plan, {})
    with running_webshop(server) as shop, running_zygote("checkout", directory) as zygote:
        shop.renew()
        yield CrashLab(shop, zygote, plan, settings)
