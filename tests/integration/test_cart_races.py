"""64 clients change one cart through three replicas: no change is lost, none is made twice.

Real processes of the cart on one PostgreSQL; only the catalogue is stood in for.
The same rounds are run against a cart with a planted read-modify-write, which they must find.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.functions import Secrets
from tests.support.hand_made_gateway import StandInCatalogue, running_gateway
from tests.support.histories import Answered, Kind, faults
from tests.support.postgres import Database
from tests.support.replicas import Replica, built, running_replicas

CLIENTS = 64
ROUNDS = int(os.environ.get("RACE_ROUNDS", "60"))
"""`make race-test` plays 200."""
MIXED = ROUNDS // 5
"""Rounds of each of the other kinds; the rest only adds."""
REPLICAS = 3
SKUS = ["A", "B", "C", "D", "E"]


IDLE_SECONDS = 20


@dataclass
class Fleet:
    """The replicas, and clients that each keep a connection to every one of them."""

    replicas: list[Replica]
    secrets: Secrets
    database: Database
    local: threading.local = field(default_factory=threading.local)
    connections: list[http.client.HTTPConnection] = field(default_factory=list)
    others: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(CLIENTS // 4))

    def call(
        self, replica: int, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> tuple[int, dict[str, Any], http.client.HTTPResponse]:
        connection = self._connection(replica % len(self.replicas))
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response

    def _connection(self, replica: int) -> http.client.HTTPConnection:
        """This thread's connection; one that was idle for long is opened anew, before the replica closes it."""
        known: dict[tuple[int, int], http.client.HTTPConnection]
        known = self.local.__dict__.setdefault("connections", {})
        used: dict[tuple[int, int], float] = self.local.__dict__.setdefault("used", {})
        key = (id(self), replica)
        if time.monotonic() - used.get(key, 0.0) > IDLE_SECONDS and key in known:
            known[key].close()
        used[key] = time.monotonic()
        if key not in known:
            known[key] = http.client.HTTPConnection(urlsplit(self.replicas[replica].url).netloc, timeout=30)
            self.connections.append(known[key])
        return known[key]

    def expire(self, customer_id: str) -> None:
        """Let the time of a customer's cart pass."""
        with closing(self.database.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE cart.carts SET expires_at = now() WHERE customer_id = %s", (customer_id,))


@contextmanager
def running_fleet(database: Database, directory: Path, layout: Path | None = None) -> Iterator[Fleet]:
    secrets = Secrets.make(
        directory / "secrets", services=("cart", "maintenance"), cart_db=database.url("cart")
    )
    catalogue = StandInCatalogue()
    for sku in SKUS:
        catalogue.sell(sku)
    with running_gateway() as gateway:
        gateway.stand_ins["products"] = catalogue
        environ = {
            **secrets.environ,
            "gateway_url": gateway.url,
            "max_quantity": "10000",
            "lock_timeout_ms": "8000",  # 64 wait for one lock here, on whatever machine this is
        }
        with running_replicas("cart", REPLICAS, directory, environ, layout) as replicas:
            fleet = Fleet(replicas, secrets, database)
            yield fleet
            fleet.others.shutdown()
            for connection in fleet.connections:
                connection.close()


@dataclass(frozen=True)
class Client:
    """One of the 64: does one thing per round, to a replica that changes from round to round."""

    fleet: Fleet
    number: int
    round_: int
    headers: dict[str, str]

    @property
    def replica(self) -> int:
        return self.number + self.round_

    def change(self, kind: Kind, sku: str = "A", quantity: int = 0) -> Answered:
        method, path, body = {
            "add": ("POST", "/items", {"sku": sku, "quantity": quantity}),
            "set": ("PUT", f"/items/{sku}", {"quantity": quantity}),
            "remove": ("DELETE", f"/items/{sku}", None),
            "clear": ("DELETE", "/", None),
            "read": ("GET", "/", None),
        }[kind]
        return self._answered(
            kind, self.fleet.call(self.replica, method, path, self.headers, body), sku, quantity
        )

    def add_twice(self, sku: str, quantity: int) -> list[Answered]:
        """The same request to two replicas at once, with one key: a retry that overtakes."""
        key = f"{self.round_}-{self.number}"
        headers = {**self.headers, "Idempotency-Key": key}
        body = {"sku": sku, "quantity": quantity}
        with ThreadPoolExecutor(2) as pool:
            sent = [
                pool.submit(self.fleet.call, self.replica + n, "POST", "/items", headers, body)
                for n in (0, 1)
            ]
        answers = [future.result() for future in sent]
        assert sorted(status for status, _, _ in answers) in ([200, 200], [200, 409]), answers
        return [self._answered("add", answer, sku, quantity, key) for answer in answers if answer[0] == 200]

    def merge(self, token: str, brought: dict[str, int]) -> Answered:
        """Merge a visitor's cart; a touch when someone else was first."""
        headers = {**self.headers, "X-Cart-Token": token}
        status, body, _ = self.fleet.call(self.replica, "POST", "/merge", headers)
        assert status == 200, body
        assert body["merged"] in ([], list(brought)), body
        return self._shown("merge", body, brought=brought) if body["merged"] else self._shown("touch", body)

    def _answered(
        self,
        kind: Kind,
        answer: tuple[int, dict[str, Any], Any],
        sku: str,
        quantity: int,
        key: str | None = None,
    ) -> Answered:
        status, body, _ = answer
        assert status == 200, body
        return self._shown(kind, body, sku=sku, quantity=quantity, key=key)

    @staticmethod
    def _shown(kind: Kind, body: dict[str, Any], **more: Any) -> Answered:
        after = {item["sku"]: item["quantity"] for item in body["items"]}
        if body["cart_id"] is None:  # a change to a cart that is not there changes nothing
            kind = "read"
        return Answered(kind, str(body["cart_id"]), body["version"], after, **more)


Act = Callable[[Client], "list[Answered]"]


def run_round(
    pool: ThreadPoolExecutor, fleet: Fleet, round_: int, headers: dict[str, str], act: Act
) -> list[Answered]:
    """All clients at once; everything they were answered."""
    clients = [Client(fleet, number, round_, headers) for number in range(CLIENTS)]
    return [answer for answers in pool.map(act, clients) for answer in answers]


def add_only(client: Client) -> list[Answered]:
    return [client.change("add", SKUS[client.number % 2], 1 + client.number % 3)]


def add_set_and_remove(client: Client) -> list[Answered]:
    choice = random.Random(client.round_ * CLIENTS + client.number)  # the same mixture in every run
    sku = choice.choice(SKUS)
    roll = choice.random()
    if roll < 0.55:
        return [client.change("add", sku, choice.randint(1, 3))]
    if roll < 0.70:
        return client.add_twice(sku, 2)
    if roll < 0.80:
        return [client.change("set", sku, choice.randint(1, 9))]
    if roll < 0.95:
        return [client.change("remove", sku)]
    return [client.change("clear" if roll < 0.97 else "read")]


def visitor_carts(fleet: Fleet, round_: int, count: int) -> list[tuple[str, dict[str, int]]]:
    """Tokens of new visitors' carts, and what each holds."""
    carts = []
    for number in range(count):
        brought = {SKUS[number % 5]: 1 + number % 4}
        [(sku, quantity)] = brought.items()
        body = {"sku": sku, "quantity": quantity}
        status, answer, response = fleet.call(round_ + number, "POST", "/items", {}, body)
        assert status == 200, answer
        carts.append((response.headers["X-Cart-Token"], brought))
    return carts


def merge_and_expire(carts: list[tuple[str, dict[str, int]]]) -> Act:
    """Each visitor's cart is merged by two clients at once, while others add and some delete expired carts."""

    def act(client: Client) -> list[Answered]:
        place, kind = divmod(client.number, 4)
        if kind < 2 and place < len(carts):
            return [client.merge(*carts[place])]
        if client.number % 16 == 15:
            service = client.fleet.secrets.bearer("service", subject="maintenance")
            assert client.fleet.call(client.replica, "POST", "/expire", service)[0] == 200
            return []
        return [client.change("add", SKUS[client.number % 5], 1)]

    return act


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def settled(fleet: Fleet, headers: dict[str, str]) -> Answered:
    """The cart as it is read after everyone has gone."""
    return Client(fleet, 0, 0, headers).change("read")


@pytest.mark.timeout(400)  # 30 s on two free cores; a busy machine may take its time
def test_no_change_is_lost_and_none_is_doubled(database: Database, tmp_path: Path, pool: ThreadPoolExecutor):
    answers: list[Answered] = []
    with running_fleet(database, tmp_path) as fleet:
        [(token, held)] = visitor_carts(fleet, 0, 1)
        visitor = {"X-Cart-Token": token}
        first = settled(fleet, visitor)
        answers.append(Answered("set", first.cart_id, 1, first.after, "A", held["A"]))
        for round_ in range(ROUNDS - 2 * MIXED):
            answers += run_round(pool, fleet, round_, visitor, add_only)
        answers.append(settled(fleet, visitor))

        customer = fleet.secrets.bearer("customer", subject="c-mixed")
        for round_ in range(MIXED):
            answers += run_round(pool, fleet, round_, customer, add_set_and_remove)
        answers.append(settled(fleet, customer))

        for round_ in range(MIXED):
            customer_id = f"c-{round_ % 4}"
            customer = fleet.secrets.bearer("customer", subject=customer_id)
            carts = visitor_carts(fleet, round_, 8)
            fleet.expire(customer_id)
            answers += run_round(pool, fleet, round_, customer, merge_and_expire(carts))
            answers.append(settled(fleet, customer))

    assert faults(answers) == []
    assert sum(answer.kind == "merge" for answer in answers) == MIXED * 8, (
        "each visitor's cart is merged once"
    )
    assert len({answer.cart_id for answer in answers} - {"None"}) == 2 + MIXED, (
        "each round began with an expired cart"
    )
    assert len(answers) >= ROUNDS * (CLIENTS - 4)


PLANTED = {
    "        quantity = store.add_quantity(connection, cart_id, item)\n": (
        "        known = cart.items if cart else ()\n"
        "        quantity = item.quantity + sum(held.quantity for held in known if held.sku == item.sku)\n"
        "        store.set_quantity(connection, cart_id, replace(item, quantity=quantity))\n"
    ),
}


def test_planted_read_modify_write_is_found(database: Database, tmp_path: Path, pool: ThreadPoolExecutor):
    """The quantity is read before the cart is locked, and written back changed: the classic lost update."""
    layout = tmp_path / "planted"
    shutil.copytree(built("cart", tmp_path / "build")[0], layout)
    handler = layout / "function" / "handler.py"
    text = handler.read_text()
    for right, wrong in PLANTED.items():
        assert text.count(right) == 1, "the planted fault no longer fits the code"
        text = text.replace(right, wrong)
    handler.write_text(text)

    answers: list[Answered] = []
    with running_fleet(database, tmp_path, layout) as fleet:
        customer = fleet.secrets.bearer("customer", subject="c-1")
        for round_ in range(5):
            answers += run_round(pool, fleet, round_, customer, add_only)
    assert any("add made" in fault for fault in faults(answers))
