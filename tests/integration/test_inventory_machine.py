"""Whatever is asked of inventory in whatever order, stock is what a model of a few lines says, and the books agree."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from functions.inventory import store_issues, store_reservations
from functions.shared import Connection
from tests.support.machines import find_fault, long_if_verified, only_verified, run_machine, told
from tests.support.postgres import PostgresServer
from tests.support.stockroom import Stockroom, lines, stockroom

SHORT = "insufficient_stock"
PLACES = st.sampled_from(["S1", "W1"])
SKUS = st.sampled_from("AB")
QUANTITIES = st.dictionaries(SKUS, st.integers(1, 4), min_size=1)
SIGNED = st.dictionaries(SKUS, st.integers(-4, 4).filter(bool), min_size=1)

Quantities = Mapping[str, int]


@dataclass
class Promise:
    """A reservation under an id of the caller's; `state` is empty until it is made."""

    place: str
    quantities: Quantities
    state: str = ""


@dataclass
class Issue:
    quantities: Quantities
    state: str = ""


@dataclass
class Model:
    """On hand and reserved by place and SKU, and what became of each reference."""

    on_hand: Counter[tuple[str, str]] = field(default_factory=Counter)
    reserved: Counter[tuple[str, str]] = field(default_factory=Counter)
    issues: dict[str, Issue] = field(default_factory=dict)
    promises: dict[str, Promise] = field(default_factory=dict)
    requests: dict[int, Quantities] = field(default_factory=dict)
    """Open requests of S1 for replenishment."""

    def change(self, place: str, quantities: Quantities, on_hand: int, reserved: int = 0) -> bool:
        """Add multiples of quantities if that leaves enough; whether it did."""
        after = {
            sku: (
                self.on_hand[place, sku] + on_hand * quantity,
                self.reserved[place, sku] + reserved * quantity,
            )
            for sku, quantity in quantities.items()
        }
        if any(there < promised for there, promised in after.values()):
            return False
        for sku, (there, promised) in after.items():
            self.on_hand[place, sku], self.reserved[place, sku] = there, promised
        return True

    def move(self, quantities: Quantities, origin: str, target: str) -> bool:
        return self.change(origin, quantities, -1) and self.change(target, quantities, 1)

    def issue(self, reference: str) -> str:
        issue = self.issues[reference]
        if issue.state == "undone":
            return "issue_undone"
        if issue.state == "" and not self.change("S1", issue.quantities, -1):
            return SHORT
        issue.state = "issued"
        return "done"

    def undo(self, reference: str) -> None:
        issue = self.issues[reference]
        if issue.state == "issued":
            self.change("S1", issue.quantities, 1)
        issue.state = "undone"

    def reserve(self, name: str) -> str:
        promise = self.promises[name]
        if promise.state == "released":
            return "reservation_released"
        if promise.state == "" and not self.change(promise.place, promise.quantities, 0, 1):
            return SHORT
        promise.state = promise.state or "open"
        return "done"

    def commit(self, name: str) -> str:
        promise = self.promises[name]
        if promise.state in {"", "released"}:
            return "reservation_released" if promise.state else "reservation_not_found"
        if promise.state == "open":
            self.change(promise.place, promise.quantities, -1, -1)
        elif promise.state == "expired" and not self.change(promise.place, promise.quantities, -1):
            return "reservation_expired"
        promise.state = "committed"
        return "done"

    def release(self, name: str) -> str:
        promise = self.promises[name]
        if promise.state == "committed":
            return "reservation_committed"
        if promise.state == "open":
            self.change(promise.place, promise.quantities, 0, -1)
        promise.state = "released"
        return "done"

    def expire(self) -> int:
        """Let the time of all pass; how many expired."""
        due = [promise for promise in self.promises.values() if promise.state == "open"]
        for promise in due:
            self.change(promise.place, promise.quantities, 0, -1)
            promise.state = "expired"
        return len(due)


class StockMachine(RuleBasedStateMachine):
    """Asks the function and the model the same, one thing after the other."""

    references: Bundle[str] = Bundle("references")
    promises: Bundle[str] = Bundle("promises")

    def __init__(self, room: Stockroom) -> None:
        super().__init__()
        room.empty()
        self.room = room
        self.model = Model()
        self.names = 0
        self.last: tuple[str, Any, dict[str, str], str, bytes] | None = None
        for place in ("S1", "W1"):
            self.receive(place, {"A": 6, "B": 6})

    def post(self, path: str, body: Any = None, who: dict[str, str] | None = None) -> Any:
        """POST, and remember it with its answer if it was done."""
        who, key = who or self.room.hq, f"key-{next(self.room.keys)}"
        response = self.room.post(path, body, who, key)
        if response.status_code < 300:
            self.last = (path, body, who, key, response.data)
        return response

    def new_name(self) -> str:
        self.names += 1
        return f"name-{self.names}"

    @rule(
        book=st.sampled_from(["receive", "write_off", "transfer", "restock", "scrap"]), place=PLACES,
        quantities=QUANTITIES,
    )  # fmt: skip
    def move(self, book: str, place: str, quantities: Quantities) -> None:
        getattr(self, book)(place, quantities)

    def receive(self, place: str, quantities: Quantities) -> None:
        response = self.post("/receipts", {"location": place, "lines": lines(**quantities)})
        assert self.model.change(place, quantities, 1)
        assert told(response) == "done"

    def write_off(self, place: str, quantities: Quantities) -> None:
        body = {"location": place, "lines": lines(**quantities), "reason": "broken"}
        expected = "done" if self.model.change(place, quantities, -1) else SHORT
        assert told(self.post("/write-offs", body)) == expected

    def transfer(self, place: str, quantities: Quantities) -> None:
        other = "W1" if place == "S1" else "S1"
        body = {"from_location": place, "to_location": other, "lines": lines(**quantities)}
        expected = "done" if self.model.move(quantities, place, other) else SHORT
        assert told(self.post("/transfers", body)) == expected

    def restock(self, place: str, quantities: Quantities) -> None:
        self.take_back(place, quantities, restock=True)

    def scrap(self, place: str, quantities: Quantities) -> None:
        self.take_back(place, quantities, restock=False)

    def take_back(self, place: str, quantities: Quantities, *, restock: bool) -> None:
        body = {
            "location": place, "lines": lines(**quantities), "reference": self.new_name(), "restock": restock,
        }  # fmt: skip
        self.model.change(place, quantities, int(restock))
        assert told(self.post("/returns", body, self.room.sales)) == "done"

    @rule(place=PLACES, quantities=SIGNED)
    def adjust(self, place: str, quantities: Quantities) -> None:
        body = {"location": place, "lines": lines(**quantities), "reason": "count"}
        expected = "done" if self.model.change(place, quantities, 1) else SHORT
        assert told(self.post("/adjustments", body)) == expected

    @rule(quantities=QUANTITIES)
    def ask_for_stock(self, quantities: Quantities) -> None:
        response = self.post("/replenishments", {"location": "S1", "lines": lines(**quantities)})
        assert told(response) == "done"
        self.model.requests[response.get_json()["replenishment_id"]] = quantities

    @precondition(lambda self: self.model.requests)
    @rule(approve=st.booleans())
    def decide(self, approve: bool) -> None:
        number, quantities = max(self.model.requests.items())
        if approve:
            response = self.post(f"/replenishments/{number}/approve", {})
            expected = "done" if self.model.move(quantities, "W1", "S1") else SHORT
        else:
            response, expected = self.post(f"/replenishments/{number}/refuse", {"reason": "no"}), "done"
        assert told(response) == expected
        if expected == "done":
            del self.model.requests[number]

    @rule(target=references, quantities=QUANTITIES)
    def issue_new(self, quantities: Quantities) -> str:
        reference = self.new_name()
        self.model.issues[reference] = Issue(quantities)
        self.issue(reference)
        return reference

    @rule(reference=references)
    def issue(self, reference: str) -> None:
        quantities = self.model.issues[reference].quantities
        body = {"location": "S1", "reference": reference, "lines": lines(**quantities)}
        assert told(self.post("/issues", body, self.room.sales)) == self.model.issue(reference)

    @rule(target=references, quantities=QUANTITIES)
    def undo_new(self, quantities: Quantities) -> str:
        """Undone before it was ever issued."""
        reference = self.new_name()
        self.model.issues[reference] = Issue(quantities)
        self.undo(reference)
        return reference

    @rule(reference=references)
    def undo(self, reference: str) -> None:
        assert told(self.post(f"/issues/{reference}/undo", None, self.room.sales)) == "done"
        self.model.undo(reference)

    @rule(
        target=promises,
        place=PLACES,
        quantities=QUANTITIES,
        act=st.sampled_from(["reserve"] * 3 + ["release"]),
    )
    def promise_new(self, place: str, quantities: Quantities, act: str) -> str:
        name = str(uuid.UUID(int=len(self.model.promises) + 1))
        self.model.promises[name] = Promise(place, quantities)
        getattr(self, act)(name)
        return name

    @rule(name=promises)
    def reserve(self, name: str) -> None:
        promise = self.model.promises[name]
        body = {"reservation_id": name, "location": promise.place, "lines": lines(**promise.quantities)}
        assert told(self.post("/reservations", body, self.room.sales)) == self.model.reserve(name)

    @rule(name=promises)
    def commit(self, name: str) -> None:
        response = self.post(f"/reservations/{name}/commit", None, self.room.sales)
        assert told(response) == self.model.commit(name)

    @rule(name=promises)
    def release(self, name: str) -> None:
        response = self.post(f"/reservations/{name}/release", None, self.room.sales)
        assert told(response) == self.model.release(name)

    @rule()
    def expire(self) -> None:
        self.room.let_time_pass()
        assert self.room.expire()["expired"] == self.model.expire()

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """The same request with its key: the same bytes, and nothing is done twice."""
        assert self.last is not None
        path, body, who, key, answer = self.last
        assert self.room.post(path, body, who, key).data == answer

    @invariant()
    def stock_is_what_the_model_says(self) -> None:
        shown = self.room.get("/stock?limit=200").get_json()["items"]
        found = {(row["location"], row["sku"]): (row["on_hand"], row["reserved"]) for row in shown}
        keys = {*found, *self.model.on_hand, *self.model.reserved}
        expected = {key: (self.model.on_hand[key], self.model.reserved[key]) for key in keys}
        assert {key: found.get(key, (0, 0)) for key in keys} == expected

    def teardown(self) -> None:
        assert self.room.differences() == []


@pytest.fixture(scope="module")
def room(postgres_server: PostgresServer) -> Iterator[Stockroom]:
    with stockroom(postgres_server) as room:
        yield room


@long_if_verified
def test_stock_is_what_the_model_says_after_every_step(room: Stockroom):
    run_machine(partial(StockMachine, room), runs=10, steps=25)


@only_verified
def test_stock_that_is_put_back_twice_is_found(room: Stockroom, monkeypatch: pytest.MonkeyPatch):
    def undo_again(connection: Connection, reference: str) -> bool:
        undo_issue(connection, reference)
        found = store_issues.find_issue(connection, reference)
        return found is not None and found["lines"] is not None

    undo_issue = store_issues.undo_issue
    monkeypatch.setattr(store_issues, "undo_issue", undo_again)
    find_fault(partial(StockMachine, room))


def test_a_promise_that_outlives_its_release_is_found(room: Stockroom, monkeypatch: pytest.MonkeyPatch):
    settle = store_reservations.settle_reservation

    def keep_it(connection: Connection, reservation_id: uuid.UUID, state: str) -> None:
        settle(connection, reservation_id, "expired" if state == "released" else state)

    monkeypatch.setattr(store_reservations, "settle_reservation", keep_it)
    find_fault(partial(StockMachine, room))
