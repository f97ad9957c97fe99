"""64 clients change one cart through three replicas: no change is lost, none is made twice.

Real processes of the cart on one PostgreSQL; only the catalogue is stood in for.
Everything that the clients are told of a cart must have an order (tests/support/histories.py).
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
from tests.support.histories import Counterexample, Recorder, refutations
from tests.support.models import Cart, CartModel
from tests.support.postgres import Database
from tests.support.recorded import request_of, shown
from tests.support.replicas import Replica, built, running_replicas

CLIENTS = 64
ROUNDS = int(os.environ.get("RACE_ROUNDS", "12"))
"""`make race-test` plays 204."""
MIXED = ROUNDS // 4
"""Rounds of each of the other kinds; the rest only adds."""
PLANTED_ROUNDS = 20
"""At most; one is nearly always enough to find the planted fault, though there is one replica only."""
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
    recorder: Recorder = field(default_factory=Recorder)
    cart_ids: set[str] = field(default_factory=set)
    """Of all carts that an answer showed."""

    def faults(self) -> list[Counterexample]:
        return refutations(CartModel(may_expire=True), self.recorder.operations)

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
        statement = "UPDATE cart.carts SET expires_at = now() WHERE customer_id = %s"
        with self.recorder.asking(customer_id, "expire") as asked:
            with closing(self.database.connect()) as connection, connection, connection.cursor() as cursor:
                cursor.execute(statement, (customer_id,))
            asked.answer = "expired"


@contextmanager
def running_fleet(
    database: Database, directory: Path, count: int = REPLICAS, layout: Path | None = None
) -> Iterator[Fleet]:
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
        with running_replicas("cart", count, directory, environ, layout) as replicas:
            fleet = Fleet(replicas, secrets, database)
            yield fleet
            for connection in fleet.connections:
                connection.close()


@dataclass(frozen=True)
class Holder:
    """Whose cart it is: the name of the object in the history, and what opens it."""

    name: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Client:
    """One of the 64: does one thing per round, to a replica that changes from round to round."""

    fleet: Fleet
    number: int
    round_: int
    holder: Holder

    @property
    def replica(self) -> int:
        return self.number + self.round_

    def change(self, kind: str, *arguments: Any) -> None:
        with self.fleet.recorder.asking(self.holder.name, kind, *arguments) as asked:
            asked.answer = self._shown(self._call(0, kind, arguments, self.holder.headers))

    def add_twice(self, sku: str, quantity: int) -> None:
        """The same request to two replicas at once, with one key: a retry that overtakes. It is one change."""
        headers = {**self.holder.headers, "Idempotency-Key": f"{self.round_}-{self.number}"}
        arguments = (sku, quantity)
        with (
            ThreadPoolExecutor(2) as pool,
            self.fleet.recorder.asking(self.holder.name, "add", *arguments) as asked,
        ):
            sent = [pool.submit(self._call, n, "add", arguments, headers) for n in (0, 1)]
            answers = [future.result() for future in sent]
            assert sorted(status for status, _ in answers) in ([200, 200], [200, 409]), answers
            [asked.answer] = {self._shown(answer) for answer in answers if answer[0] == 200}

    def merge(self, token: str, brought: dict[str, int]) -> None:
        """Merge a visitor's cart; it changes nothing when someone else was first."""
        headers = {**self.holder.headers, "X-Cart-Token": token}
        with self.fleet.recorder.asking(self.holder.name, "merge", tuple(brought.items())) as asked:
            status, body, _ = self.fleet.call(self.replica, "POST", "/merge", headers)
            assert body["merged"] in ([], list(brought)), body
            asked.answer = "merged" if body["merged"] else "nothing merged", self._shown((status, body))

    def _call(
        self, offset: int, kind: str, arguments: tuple[Any, ...], headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        method, path, body = request_of(kind, arguments)
        status, answer, _ = self.fleet.call(self.replica + offset, method, path, headers, body)
        return status, answer

    def _shown(self, answer: tuple[int, dict[str, Any]]) -> Cart:
        status, body = answer
        assert status == 200, body
        self.fleet.cart_ids.add(str(body["cart_id"]))
        return shown(body)


Act = Callable[[Client], None]


def run_round(pool: ThreadPoolExecutor, fleet: Fleet, round_: int, holder: Holder, act: Act) -> None:
    """All clients at once."""
    list(pool.map(act, [Client(fleet, number, round_, holder) for number in range(CLIENTS)]))


def add_only(client: Client) -> None:
    client.change("add", SKUS[client.number % 2], 1 + client.number % 3)


def add_set_and_remove(client: Client) -> None:
    choice = random.Random(client.round_ * CLIENTS + client.number)  # the same mixture in every run
    sku = choice.choice(SKUS)
    roll = choice.random()
    if roll < 0.55:
        client.change("add", sku, choice.randint(1, 3))
    elif roll < 0.70:
        client.add_twice(sku, 2)
    elif roll < 0.80:
        client.change("set", sku, choice.randint(1, 9))
    elif roll < 0.95:
        client.change("remove", sku)
    else:
        client.change("clear" if roll < 0.97 else "read")


def visitor_carts(fleet: Fleet, round_: int, count: int) -> list[tuple[Holder, dict[str, int]]]:
    """New visitors who hold a cart, and what is in each."""
    carts = []
    for number in range(count):
        name, sku, quantity = f"visitor {round_}-{number}", SKUS[number % 5], 1 + number % 4
        method, path, body = request_of("add", (sku, quantity))
        with fleet.recorder.asking(name, "add", sku, quantity) as asked:
            status, answer, response = fleet.call(round_ + number, method, path, {}, body)
            assert status == 200, answer
            asked.answer = shown(answer)
        token = {"X-Cart-Token": response.headers["X-Cart-Token"]}
        carts.append((Holder(name, token), {sku: quantity}))
    return carts


def merge_and_expire(carts: list[tuple[Holder, dict[str, int]]]) -> Act:
    """Each visitor's cart is merged by two clients at once, while others add and some delete expired carts."""

    def act(client: Client) -> None:
        place, kind = divmod(client.number, 4)
        if kind < 2 and place < len(carts):
            visitor, brought = carts[place]
            client.merge(visitor.headers["X-Cart-Token"], brought)
        elif client.number % 16 == 15:
            service = client.fleet.secrets.bearer("service", subject="maintenance")
            assert client.fleet.call(client.replica, "POST", "/expire", service)[0] == 200
        else:
            client.change("add", SKUS[client.number % 5], 1)

    return act


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def settle(fleet: Fleet, holder: Holder) -> None:
    """Read the cart after everyone has gone."""
    Client(fleet, 0, 0, holder).change("read")


def customer(fleet: Fleet, customer_id: str) -> Holder:
    return Holder(customer_id, fleet.secrets.bearer("customer", subject=customer_id))


@pytest.mark.timeout(400)  # 10 s on two free cores; a busy machine may take its time
def test_no_change_is_lost_and_none_is_doubled(database: Database, tmp_path: Path, pool: ThreadPoolExecutor):
    with running_fleet(database, tmp_path) as fleet:
        [(visitor, _)] = visitor_carts(fleet, 0, 1)
        for round_ in range(ROUNDS - 2 * MIXED):
            run_round(pool, fleet, round_, visitor, add_only)
        settle(fleet, visitor)

        mixed = customer(fleet, "c-mixed")
        for round_ in range(MIXED):
            run_round(pool, fleet, round_, mixed, add_set_and_remove)
        settle(fleet, mixed)

        for round_ in range(MIXED):
            merging = customer(fleet, f"c-{round_ % 4}")
            carts = visitor_carts(fleet, 1 + round_, 8)
            fleet.expire(merging.name)
            run_round(pool, fleet, round_, merging, merge_and_expire(carts))
            settle(fleet, merging)

    found = fleet.faults()
    assert not found, "\n\n".join(map(str, found))
    operations = fleet.recorder.operations
    merged = sum(one.kind == "merge" and one.answer[0] == "merged" for one in operations)
    assert merged == MIXED * 8, "each visitor's cart is merged once"
    assert len(fleet.cart_ids - {"None"}) == 2 + MIXED, "each round began with an expired cart"
    assert len(operations) >= ROUNDS * (CLIENTS - 4)


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

    with running_fleet(database, tmp_path, 1, layout) as fleet:
        for round_ in range(PLANTED_ROUNDS):
            run_round(pool, fleet, round_, customer(fleet, "c-1"), add_only)
            if fleet.faults():
                break
    [found] = fleet.faults()
    assert found.operations[-1].kind == "add"
