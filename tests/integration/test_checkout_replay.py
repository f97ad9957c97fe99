"""The same POST /checkout, however often, at once, through whichever replica, after whichever death: one effect, one answer.

Checkout is real processes; what it calls is in this one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.hand_made_gateway import Hold
from tests.support.postgres import PostgresServer
from tests.support.replicas import Replica, running_replicas
from tests.support.webshop import WebShop, checkout_body, running_webshop

IN_FLIGHT = "idempotency_key_in_flight"
ANSWER_SECONDS = 20
MOST = 10
LINES = {"A": 2, "B": 3, "C": 1}


@dataclass(frozen=True)
class Buyer:
    """A customer with a full cart, and the one request that buys it."""

    subject: str
    headers: Mapping[str, str]
    content: bytes

    def send(self, replica: Replica) -> requests.Response:
        return requests.post(replica.url, self.content, headers=self.headers, timeout=ANSWER_SECONDS)

    def insist(self, replicas: Sequence[Replica], number: int) -> requests.Response:
        """The final answer; asked for at one replica after another while the request is being worked on."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            response = self.send(replicas[number % len(replicas)])
            if not (response.status_code == 409 and response.json()["code"] == IN_FLIGHT):
                return response
            assert time.monotonic() < deadline, "is still being worked on"
            number += 1
            time.sleep(0.02)


@dataclass(frozen=True)
class Fleet:
    shop: WebShop
    replicas: list[Replica]

    def buyer(self, subject: str, card_token: str = "tok_ok") -> Buyer:
        who = self.shop.customer(subject)
        body = checkout_body(self.shop.fill(who, **LINES), card_token)
        headers = {**who, "Idempotency-Key": f"buy-{subject}", "Content-Type": "application/json"}
        return Buyer(subject, headers, json.dumps(body).encode())

    def insist_at_once(
        self, buyer: Buyer, times: int, replicas: Sequence[Replica] = ()
    ) -> list[requests.Response]:
        """The final answers of `times` clients that begin at the same moment, each at another replica."""
        start = threading.Barrier(times)

        def ask(number: int) -> requests.Response:
            start.wait(ANSWER_SECONDS)
            return buyer.insist(replicas or self.replicas, number)

        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(ask, range(times)))

    def effects(self, buyer: Buyer) -> dict[str, Any]:
        """What has come of all that the buyer sent."""
        shop = self.shop
        return {
            "checkouts": self._count("checkout.checkouts", buyer),
            "orders": self._count("orders.orders", buyer),
            "charges": [row[0] for row in shop.execute(_CHARGES, (buyer.subject,))],
            "stock": dict(shop.execute(_MOVED, (buyer.subject,))),
            "movements": shop.execute(_MOVEMENTS, (buyer.subject,))[0][0],
            "in the cart": len(shop.cart(shop.customer(buyer.subject))["items"]),
        }

    def _count(self, table: str, buyer: Buyer) -> int:
        statement = f"SELECT count(*) FROM {table} WHERE customer_id = %s"
        return int(self.shop.execute(statement, (buyer.subject,))[0][0])


_CHECKOUTS = "SELECT checkout_id::text FROM checkout.checkouts WHERE customer_id = %s"
_CHARGES = f"SELECT kind FROM payments.ledger WHERE reference IN ({_CHECKOUTS}) ORDER BY entry_id"
_MOVED = (
    f"SELECT sku, sum(quantity)::int FROM inventory.ledger WHERE reference IN ({_CHECKOUTS}) GROUP BY sku"
)
_MOVEMENTS = f"SELECT count(*) FROM inventory.ledger WHERE reference IN ({_CHECKOUTS})"

BOUGHT_ONCE = {
    "checkouts": 1,
    "orders": 1,
    "charges": ["authorised", "captured"],
    "stock": {sku: -quantity for sku, quantity in LINES.items()},
    "movements": len(LINES),
    "in the cart": 0,
}


@pytest.fixture(scope="module")
def fleet(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_webshop(postgres_server) as shop:
        shop.renew()
        with running_replicas("checkout", 3, tmp_path_factory.mktemp("fleet"), shop.environ) as replicas:
            yield Fleet(shop, replicas)


@pytest.fixture(autouse=True)
def books(fleet: Fleet) -> Iterator[None]:
    yield
    fleet.shop.gateway.mend()
    fleet.shop.check_books()


def told(responses: Sequence[requests.Response]) -> set[tuple[int, bytes]]:
    return {(response.status_code, response.content) for response in responses}


@pytest.mark.parametrize("times", range(1, MOST + 1))
def test_sent_many_times_at_once_it_is_bought_once_and_answered_alike(fleet: Fleet, times: int):
    buyer = fleet.buyer(f"at-once-{times}")
    answers = told(fleet.insist_at_once(buyer, times))
    [(status, content)] = answers
    assert status == 201
    assert told([buyer.send(replica) for replica in fleet.replicas]) == answers, "and so it is later"
    assert json.loads(content)["customer_id"] == buyer.subject
    assert fleet.effects(buyer) == BOUGHT_ONCE


def test_declined_card_is_declined_to_all_alike_and_leaves_nothing(fleet: Fleet):
    buyer = fleet.buyer("declined", "tok_declined")
    [(status, _)] = told(fleet.insist_at_once(buyer, MOST))
    assert status == 402
    found = fleet.effects(buyer)
    assert (found["charges"], found["stock"], found["in the cart"]) == (["declined"], {}, len(LINES))


def test_other_content_under_the_same_key_is_refused_at_every_replica(fleet: Fleet):
    buyer = fleet.buyer("two-bodies")
    assert buyer.insist(fleet.replicas, 0).status_code == 201
    other = Buyer(buyer.subject, buyer.headers, buyer.content + b" ")
    codes = [other.send(replica).json()["code"] for replica in fleet.replicas]
    assert codes == ["idempotency_key_reused"] * len(fleet.replicas)
    assert fleet.effects(buyer) == BOUGHT_ONCE


@pytest.mark.parametrize(
    ("path", "when"),
    [
        ("reservations", "after"),
        ("authorisations", "before"),
        ("authorisations/*/capture", "after"),
        ("checkouts/*/close", "before"),
    ],
)
def test_killed_with_the_request_in_hand_it_is_bought_once_by_those_who_ask_again(
    fleet: Fleet, tmp_path: Path, path: str, when: Any
):
    buyer = fleet.buyer(f"killed-{path}-{when}")
    hold = fleet.shop.gateway.hold = Hold(path, when)
    with running_replicas("checkout", 1, tmp_path, fleet.shop.environ) as [victim]:
        with ThreadPoolExecutor(1) as pool:
            lost = pool.submit(buyer.send, victim)
            assert hold.reached.wait(ANSWER_SECONDS)
            assert buyer.send(fleet.replicas[0]).json()["code"] == IN_FLIGHT
            victim.process.kill()
            victim.process.wait()
            with pytest.raises(requests.ConnectionError):
                lost.result()
        fleet.shop.gateway.hold = None
        answers = fleet.insist_at_once(buyer, MOST)
        hold.release.set()
        [(status, _)] = told(answers)
        assert status == 201
        assert fleet.effects(buyer) == BOUGHT_ONCE
