"""What many clients of stock and carts are answered at once, while connections to PostgreSQL are cut, has an order.

Each fault that the check is there to find is planted once, in the real functions on the real database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from functions.cart import handler as cart_handler
from functions.cart import store as cart_store
from functions.cart.domain import Cart as StoredCart
from functions.inventory import store, store_reservations
from functions.inventory.domain import Change, Lack, Line
from functions.shared import Connection, Row, execute, fetch_all, fetch_one
from functions.shared.idempotency import Attempt
from tests.support.carts import Shop, running_shop
from tests.support.cutting import Cutter, running_cutter
from tests.support.histories import UNKNOWN, Counterexample, refutation, refutations
from tests.support.models import CartModel, Stock, StockModel
from tests.support.postgres import Database
from tests.support.recorded import MOST_TRIES, CartClients, StockClients, together
from tests.support.stockroom import Stockroom, make_stockroom

ROUNDS = max(1, int(os.environ.get("RACE_ROUNDS", "12")) // 4)
"""`make race-test` plays 51."""
CLIENTS = 6
EACH = 60
OPENING = 5
"""Units of each SKU at first: few, so that clients are refused, too."""


@pytest.fixture
def cutter(database: Database) -> Iterator[Cutter]:
    with running_cutter(database) as cutter:
        yield cutter


@pytest.fixture
def room(cutter: Cutter, tmp_path: Path) -> Iterator[Stockroom]:
    """Inventory, connected through the cutter."""
    room = make_stockroom(cutter.database, tmp_path)
    yield room
    room.app.service.database.close()


@pytest.fixture
def shop(cutter: Cutter, tmp_path: Path) -> Iterator[Shop]:
    """The cart, connected through the cutter."""
    with running_shop(cutter.database, tmp_path) as shop:
        yield shop


def stock_clients(room: Stockroom, *skus: str) -> StockClients:
    room.receive("W1", **dict.fromkeys(skus, OPENING))
    return StockClients(room, list(skus))


def stock_faults(clients: StockClients) -> list[Counterexample]:
    return refutations(StockModel(Stock(OPENING)), clients.recorder.operations)


def told(found: list[Counterexample]) -> str:
    return "\n\n".join(map(str, found))


def test_all_that_clients_are_told_of_stock_has_an_order(room: Stockroom, cutter: Cutter) -> None:
    clients = stock_clients(room, *(f"sku-{number}" for number in range(2 * ROUNDS)))
    skus = clients.targets
    for round_ in range(ROUNDS):
        clients.targets = skus[2 * round_ : 2 * round_ + 2]
        with cutter.cutting():
            clients.play(CLIENTS, EACH, seed=round_)
        for sku in clients.targets:
            clients.ask(sku, "read")
    found = stock_faults(clients)
    assert not found, told(found)
    assert room.differences() == []
    assert set(cutter.cuts) == {"before the commit", "after the commit", "between"}
    answers = {(one.kind, str(one.answer)) for one in clients.recorder.operations}
    assert ("reserve", str(UNKNOWN)) in answers
    assert {answer for kind, answer in answers if kind == "reserve"} >= {"open", "insufficient_stock"}


def test_all_that_clients_are_told_of_carts_has_an_order(shop: Shop, cutter: Cutter) -> None:
    clients = CartClients(shop, [])
    for round_ in range(ROUNDS):
        clients.targets = [f"c-{round_}-0", f"c-{round_}-1"]
        with cutter.cutting():
            clients.play(CLIENTS, EACH, seed=round_)
        for customer_id in clients.targets:
            clients.ask(customer_id, "read")
    found = refutations(CartModel(), clients.recorder.operations)
    assert not found, told(found)
    assert set(cutter.cuts) == {"before the commit", "after the commit", "between"}
    unknown = {one.kind for one in clients.recorder.operations if one.answer is UNKNOWN}
    assert unknown >= {"add", "set"}


@pytest.mark.parametrize("fate", ["before the commit", "after the commit"])
def test_what_is_asked_again_with_its_key_is_done_once(room: Stockroom, cutter: Cutter, fate: Any) -> None:
    clients = stock_clients(room, "A")
    cutter.planned.append(fate)
    clients.ask("A", "receive", 2, tries=MOST_TRIES)
    cutter.planned.append(fate)
    clients.ask("A", "reserve", "r", 3, tries=MOST_TRIES)
    clients.ask("A", "read")
    assert cutter.cuts[fate] == 2
    assert [one.answer for one in clients.recorder.operations] == [7, "open", (7, 3)]
    assert stock_faults(clients) == []


@dataclass
class Meeting:
    """The first two who come wait for each other, so that both have looked before either acts."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))
    seats: Any = field(default_factory=lambda: iter([True, True]))

    def wait(self) -> None:
        if next(self.seats, False):
            self.barrier.wait(20)


@contextmanager
def refused(stock: StockClients) -> Iterator[list[Counterexample]]:
    """The block asks; what is found afterwards is one counterexample, and it is in the list that was given."""
    found: list[Counterexample] = []
    yield found
    found += stock_faults(stock)
    assert len(found) == 1, found


def test_a_planted_lost_update_of_stock_is_found(room: Stockroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock is read, changed in the function, and written back."""
    meeting = Meeting()

    def careless(connection: Connection, changes: list[Change], note: store.Note) -> store.Outcome:
        [change] = changes
        row = fetch_one(connection, _LOOK, {"sku": change.sku})
        assert row is not None
        meeting.wait()
        written = {
            "sku": change.sku, "on_hand": row["on_hand"] + change.on_hand, "reserved": row["reserved"],
            "quantity": change.on_hand, "kind": change.kind, "moved_by": note.moved_by,
        }  # fmt: skip
        execute(connection, _WRITE, written)
        return store.Outcome(fetch_all(connection, _LOG, written), [])

    clients = stock_clients(room, "A")
    monkeypatch.setattr(store, "change_stock", careless)
    with refused(clients) as found:
        together(lambda: clients.ask("A", "receive", 2), lambda: clients.ask("A", "receive", 3))
        clients.ask("A", "read")
    assert {one.kind for one in [*found[0].operations, *found[0].beside]} >= {"receive"}
    assert len(found[0].operations) <= 2


def test_a_planted_double_reservation_is_found(room: Stockroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is enough is looked up first; the last units are promised to two."""
    meeting = Meeting()

    def careless(
        connection: Connection, lines: list[Line], *, reservation_id: UUID, **more: Any
    ) -> tuple[Row, list[Lack]]:
        [line] = lines
        row = fetch_one(connection, _LOOK, {"sku": line.sku})
        assert row is not None
        meeting.wait()
        available = row["on_hand"] - row["reserved"]
        if available < line.quantity:
            return {}, [Lack("W1", line.sku, line.quantity, available)]
        reserved = row["reserved"] + line.quantity
        execute(connection, _WRITE, {"sku": line.sku, "on_hand": row["on_hand"], "reserved": reserved})
        named = {"id": str(reservation_id), "sku": line.sku, "quantity": line.quantity}
        made = fetch_one(connection, _MAKE, named)
        assert made is not None
        return made, []

    clients = stock_clients(room, "A")
    monkeypatch.setattr(store_reservations, "promise_stock", careless)
    with refused(clients) as found:
        together(lambda: clients.ask("A", "reserve", "r1", 3), lambda: clients.ask("A", "reserve", "r2", 3))
    text = str(found[0])
    assert "is answered insufficient_stock, and was answered open" in text, text
    assert "r1" in text
    assert "r2" in text


def test_a_planted_stale_read_is_found(room: Stockroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read once is shown for ever."""
    seen: dict[str, list[Row]] = {}
    stock_of = store.stock_of
    monkeypatch.setattr(
        store, "stock_of", lambda connection, sku: seen.setdefault(sku, stock_of(connection, sku))
    )
    clients = stock_clients(room, "A")
    with refused(clients) as found:
        clients.ask("A", "read")
        clients.ask("A", "receive", 2)
        clients.ask("A", "read")
    assert [str(one) for one in found[0].operations] == ["receive 2", "read"]
    assert "read is answered (7, 0), and was answered (5, 0)" in str(found[0])


def test_a_planted_forgotten_key_is_found(
    room: Stockroom, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is not kept, the connection is lost after the commit, and the request is sent again."""
    monkeypatch.setattr(Attempt, "store", lambda *_: None)
    clients = stock_clients(room, "A")
    cutter.planned.append("after the commit")
    with refused(clients) as found:
        clients.ask("A", "receive", 2, tries=MOST_TRIES)
    assert "receive 2 is answered 7, and was answered 9" in str(found[0])


def test_a_planted_lost_update_of_a_cart_is_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quantity is read before the cart is locked, and written back changed."""
    meeting, looked, find = Meeting(), threading.local(), cart_handler.find

    def look(*arguments: Any) -> StoredCart | None:
        looked.cart = find(*arguments)
        meeting.wait()
        return looked.cart

    def careless(connection: Connection, cart_id: UUID, item: Any) -> int:
        held = sum(one.quantity for one in looked.cart.items if one.sku == item.sku)
        cart_store.set_quantity(connection, cart_id, replace(item, quantity=held + item.quantity))
        return int(held + item.quantity)

    clients = CartClients(shop, ["c-1"])
    clients.ask("c-1", "set", "A", 1)
    monkeypatch.setattr(cart_handler, "find", look)
    monkeypatch.setattr(cart_store, "add_quantity", careless)
    together(lambda: clients.ask("c-1", "add", "A", 2), lambda: clients.ask("c-1", "add", "A", 3))
    found = refutation(CartModel(), clients.recorder.operations)
    assert found is not None
    assert "is answered version 3 with 6 A, and was answered version 3 with" in str(found)


def test_an_unknown_outcome_explains_what_it_may_have_done_and_no_more(
    room: Stockroom, cutter: Cutter
) -> None:
    clients = stock_clients(room, "A")
    cutter.planned.append("after the commit")
    clients.ask("A", "receive", 2)
    clients.ask("A", "read")
    assert [one.answer for one in clients.recorder.operations] == [UNKNOWN, (7, 0)]
    assert stock_faults(clients) == []
    room.receive("W1", A=1)  # by nobody whose operations are recorded
    with refused(clients):
        clients.ask("A", "read")


_LOOK = "SELECT on_hand, reserved FROM stock WHERE location = 'W1' AND sku = %(sku)s"
_WRITE = """
UPDATE stock SET on_hand = %(on_hand)s, reserved = %(reserved)s WHERE location = 'W1' AND sku = %(sku)s
"""
_LOG = """
INSERT INTO ledger (location, sku, quantity, on_hand, kind, moved_by)
VALUES ('W1', %(sku)s, %(quantity)s, %(on_hand)s, %(kind)s, %(moved_by)s)
RETURNING movement_id, moved_at, location, sku, quantity, on_hand, kind, reason, reference, moved_by
"""
_MAKE = """
WITH line AS (
    INSERT INTO reservation_lines (reservation_id, sku, quantity) VALUES (%(id)s::uuid, %(sku)s, %(quantity)s)
)
INSERT INTO reservations (reservation_id, location, expires_at)
VALUES (%(id)s::uuid, 'W1', now() + interval '1 hour')
RETURNING reservation_id::text AS reservation_id, state, location, reference, created_at, expires_at, settled_at
"""
