"""Whatever is done in whatever order, stock is what a model of a few lines says, and the books agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.postgres import PostgresServer
from tests.support.stockroom import Stockroom, lines, stockroom

PLACES, SKUS = ("S1", "W1"), "AB"
QUANTITIES = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 4), min_size=1)
ACTIONS = (
    "receive", "adjust", "write off", "transfer", "issue", "undo", "return", "scrap", "reserve", "commit", "release",
    "expire",
)  # fmt: skip

PLAIN: dict[str, tuple[str, int, dict[str, str]]] = {
    "receive": ("/receipts", 1, {}),
    "adjust": ("/adjustments", -1, {"reason": "count"}),
    "write off": ("/write-offs", 1, {"reason": "broken"}),
}
"""Path, sign of the quantities in the request, and what else is in it."""


@dataclass(frozen=True)
class Step:
    action: str
    quantities: dict[str, int]
    choice: int

    @property
    def place(self) -> str:
        return PLACES[self.choice % 2]


STEPS = st.lists(
    st.builds(Step, st.sampled_from(ACTIONS), QUANTITIES, st.integers(0, 9)), min_size=4, max_size=14
)


@dataclass
class Model:
    """On hand and reserved by place and SKU, and what is open."""

    on_hand: Counter[tuple[str, str]] = field(default_factory=Counter)
    reserved: Counter[tuple[str, str]] = field(default_factory=Counter)
    issues: dict[str, dict[str, int]] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    reservations: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)

    def change(self, place: str, quantities: dict[str, int], on_hand: int, reserved: int = 0) -> bool:
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


@pytest.fixture(scope="module")
def room(postgres_server: PostgresServer) -> Iterator[Stockroom]:
    with stockroom(postgres_server) as room:
        yield room


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_stock_is_what_the_model_says_after_every_step(room: Stockroom, steps: list[Step]) -> None:
    room.empty()
    model = Model()
    for number, step in enumerate(steps):
        assert act(room, model, f"{number}", step), step
    shown = room.get("/stock?limit=200").get_json()["items"]
    for row in shown:
        key = (row["location"], row["sku"])
        assert (row["on_hand"], row["reserved"]) == (model.on_hand[key], model.reserved[key]), key
    assert sum(row["on_hand"] for row in shown) == sum(model.on_hand.values())
    assert sum(row["reserved"] for row in shown) == sum(model.reserved.values())
    assert room.differences() == []


def act(room: Stockroom, model: Model, reference: str, step: Step) -> bool:
    """Do it in both; whether they agree on its being possible."""
    place, quantities = step.place, step.quantities
    body: dict[str, Any] = {"location": place, "lines": lines(**quantities)}
    if step.action in PLAIN:
        path, sign, more = PLAIN[step.action]
        body |= {"lines": lines(**{sku: sign * quantity for sku, quantity in quantities.items()}), **more}
        change = 1 if step.action == "receive" else -1
        return status(room.post(path, body)) == model.change(place, quantities, change)
    if step.action == "transfer":
        other = PLACES[1 - step.choice % 2]
        body = {"from_location": place, "to_location": other, "lines": body["lines"]}
        possible = model.change(place, quantities, -1) and model.change(other, quantities, 1)
        return status(room.post("/transfers", body)) == possible
    if step.action in {"return", "scrap"}:
        body |= {"reference": reference, "restock": step.action == "return"}
        return status(room.post("/returns", body, room.sales)) == model.change(
            place, quantities, int(body["restock"])
        )
    if step.action in {"issue", "undo"}:
        return _act_on_issues(room, model, reference, step)
    return _act_on_reservations(room, model, step)


def _act_on_issues(room: Stockroom, model: Model, reference: str, step: Step) -> bool:
    if step.action == "issue":
        done = status(room.issue(reference, **step.quantities))
        possible = reference not in model.undone and model.change("S1", step.quantities, -1)
        if possible:
            model.issues[reference] = step.quantities
        return done == possible
    undone = str(step.choice)
    model.undone.add(undone)
    done = status(room.post(f"/issues/{undone}/undo", None, room.sales))
    return done == model.change("S1", model.issues.pop(undone, {}), 1)


def _act_on_reservations(room: Stockroom, model: Model, step: Step) -> bool:
    if step.action == "reserve":
        response = room.reserve(step.place, **step.quantities)
        if response.status_code == 201:
            reservation_id = response.get_json()["reservation_id"]
            model.reservations[reservation_id] = (step.place, step.quantities)
        return status(response) == model.change(step.place, step.quantities, 0, 1)
    if step.action == "expire":
        room.let_time_pass()
        expected = len(model.reservations)
        for place, promised in model.reservations.values():
            model.change(place, promised, 0, -1)
        model.reservations.clear()
        return bool(room.expire()["expired"] == expected)
    if not model.reservations:
        return True
    reservation_id, (place, promised) = model.reservations.popitem()
    done = status(room.post(f"/reservations/{reservation_id}/{step.action}", None, room.sales))
    return done == model.change(place, promised, -1 if step.action == "commit" else 0, -1)


def status(response: Any) -> bool:
    """Whether it was done; anything but that and a refusal for lack of stock is a fault."""
    answer = response.get_json()
    assert response.status_code in {200, 201} or answer["code"] in {"insufficient_stock", "issue_undone"}, (
        answer
    )
    return bool(response.status_code < 300)
