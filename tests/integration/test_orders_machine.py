"""Whatever becomes of orders in whatever order, and whatever is lost on the way, they are what a small model says.

Some steps are asked for while inventory or the payment provider is away, or loses its answer: the order is then half-way,
and maintenance finishes it once both are back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from functions.orders import cancelling, return_store
from tests.support.machines import find_fault, long_if_verified, only_verified, run_machine, told
from tests.support.orders import OrderDesk, new_order, running_desk
from tests.support.postgres import PostgresServer

FULL = 10_000
SKUS = st.sampled_from(["A", "C", "FREE"])
QUANTITIES = st.dictionaries(SKUS, st.integers(1, 3), min_size=1)
TROUBLES = st.sampled_from(["", "", "inventory away", "inventory lost", "payments away", "payments lost"])
"""Who is away, or loses its answers, while something is asked for."""
PIECES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans())
"""Of which line how much comes back, and whether into stock."""

STEPS = {"pack": ("paid", "packed"), "ship": ("packed", "shipped"), "deliver": ("shipped", "delivered")}
RETURNABLE = ("shipped", "delivered")


@dataclass
class Goods:
    """What is to come back into stock, how far it is: `asked` of inventory, `booked` as far as orders knows."""

    quantities: Mapping[str, int]
    costs: bool
    """Whether money is to be paid back for it."""
    asked: bool = False
    booked: bool = False


@dataclass
class Order:
    """What the model knows of an order; its sums are the function's own, and the books hold them together."""

    quantities: Mapping[str, int]
    made: Mapping[str, Any]
    status: str = "pending"
    paid: bool = False
    cancel: Goods | None = None
    returned: Counter[int] = field(default_factory=Counter)
    """By line, whether it is finished or not."""
    unfinished: list[Goods] = field(default_factory=list)
    """Returns that are half-way."""

    @property
    def lines(self) -> dict[int, tuple[str, int]]:
        return dict(enumerate(self.quantities.items(), 1))

    @property
    def all_is_booked(self) -> bool:
        back = all(self.returned[line] == quantity for line, (_, quantity) in self.lines.items())
        return back and all(goods.booked for goods in self.unfinished)

    @property
    def half_way(self) -> int:
        """How much of it maintenance will find."""
        return len(self.unfinished) + int(self.status == "cancelled" and self.paid)


@dataclass(frozen=True)
class Trouble:
    """One function is away, or does what it is asked and its answer is lost."""

    who: str = ""
    lost: bool = False

    def during(self, desk: OrderDesk, request: Callable[[], Any]) -> Any:
        if self.who:
            (desk.gateway.lost if self.lost else desk.gateway.away).add(self.who)
        try:
            return request()
        finally:
            desk.gateway.mend()

    def did(self, function: str) -> bool:
        """Whether it did what it was asked."""
        return function != self.who or self.lost

    def said(self, function: str) -> bool:
        """Whether it was heard to have done it."""
        return function != self.who


def trouble_of(words: str) -> Trouble:
    who, _, how = words.partition(" ")
    return Trouble(who, how == "lost")


class OrderMachine(RuleBasedStateMachine):
    """Asks the functions and the model the same, one thing after the other."""

    orders: Bundle[str] = Bundle("orders")

    def __init__(self, desk: OrderDesk) -> None:
        super().__init__()
        desk.renew()
        self.desk = desk
        self.stock = Counter(dict.fromkeys(("A", "C", "FREE"), FULL))
        self.known: dict[str, Order] = {}
        self.touched: str | None = None

    def order(self, name: str) -> Order:
        self.touched = name
        return self.known[name]

    @rule(target=orders, quantities=QUANTITIES, steps=st.integers(0, 4))
    def make(self, quantities: Mapping[str, int], steps: int) -> str:
        """An order that has made so many of the steps on its way already."""
        made = self.desk.pending(**quantities)
        name = str(made["order_id"])
        self.known[name] = Order(quantities, made)
        if steps:
            self.pay(name, True)
        for step in list(STEPS)[: max(0, steps - 1)]:
            self.step(name, step)
        return name

    @rule(name=orders, right=st.booleans())
    def pay(self, name: str, right: bool) -> None:
        order = self.order(name)
        if right and order.status == "pending":
            self.commit_and_capture(order)
        captured = order.made["total_cents"] + (0 if right else 1)
        response = self.desk.pay(order.made, captured_cents=captured)
        if order.status == "cancelled" and not order.paid:
            assert told(response) == "order_abandoned"
        elif not right:
            assert told(response) == "wrong_amount"
        else:
            assert told(response) == "done"
            order.status, order.paid = "paid" if order.status == "pending" else order.status, True

    def commit_and_capture(self, order: Order) -> None:
        """What checkout does before it tells that an order is paid."""
        made, ask = order.made, self.desk.ask
        commit = ask("inventory", f"POST /reservations/{made['reservation_id']}/commit", self.desk.checkout)
        assert told(commit) == "done"
        if made["total_cents"]:
            path = f"POST /authorisations/{made['checkout_id']}/capture"
            assert told(ask("payments", path, self.desk.checkout)) == "done"
        self.stock.subtract(order.quantities)

    @rule(name=orders)
    def abandon(self, name: str) -> None:
        order = self.order(name)
        response = self.desk.abandon(order.made["checkout_id"])
        if order.paid:
            assert told(response) == "order_paid"
        else:
            assert told(response) == "done"
            order.status = "cancelled"

    @rule()
    def abandon_before_it_is_made(self) -> None:
        body = new_order(A=1)
        assert told(self.desk.abandon(body["checkout_id"])) == "done"
        assert told(self.desk.create(body)) == "order_abandoned"

    @rule(name=orders, step=st.sampled_from(sorted(STEPS)))
    def step(self, name: str, step: str) -> None:
        order, (before, after) = self.order(name), STEPS[step]
        body = {"carrier": "Postes"} if step == "ship" else None
        response = self.desk.post(f"/{name}/{step}", body, self.desk.hq)
        assert told(response) == ("done" if order.status == before else "wrong_status")
        if order.status == before:
            order.status = after

    @rule(name=orders, trouble=TROUBLES.map(trouble_of))
    def cancel(self, name: str, trouble: Trouble) -> None:
        order = self.order(name)
        response = trouble.during(self.desk, lambda: self.desk.cancel(order.made))
        if order.status == "pending":
            assert told(response) == "order_in_checkout"
        elif order.cancel is None and order.status != "paid":
            assert told(response) == "wrong_status"
        else:
            order.cancel = order.cancel or Goods(order.quantities, order.made["total_cents"] > 0)
            if order.status == "paid":
                order.status = "cancelled"
            done = order.status == "refunded" or self.finish_cancel(order, order.cancel, trouble)
            assert told(response) == ("done" if done else "cancel_unfinished")

    def finish_cancel(self, order: Order, goods: Goods, trouble: Trouble) -> bool:
        """As far as it can be; whether it is finished."""
        if not self.bring_back(goods, trouble) or not (trouble.said("payments") or not goods.costs):
            return False
        order.status = "refunded"
        return True

    def bring_back(self, goods: Goods, trouble: Trouble) -> bool:
        """Have goods booked in, once, however often inventory is asked; whether that is known."""
        if not goods.booked:
            if trouble.did("inventory") and not goods.asked:
                self.stock.update(goods.quantities)
                goods.asked = True
            goods.booked = trouble.said("inventory")
        return goods.booked

    @rule(name=orders, piece=PIECES, trouble=TROUBLES.map(trouble_of))
    def take_back(self, name: str, piece: tuple[int, int, bool], trouble: Trouble) -> None:
        order, (line, quantity, restock) = self.order(name), piece
        response = trouble.during(
            self.desk, lambda: self.desk.take_back(order.made, (line, quantity), restock=restock)
        )
        sku, bought = order.lines.get(line, ("", 0))
        if order.status not in RETURNABLE:
            assert told(response) == "wrong_status"
        elif order.returned[line] + quantity > bought:
            assert response.status_code == (409 if bought else 422), response.get_json()
        else:
            order.returned[line] += quantity
            goods = Goods({sku: quantity} if restock else {}, sku != "FREE")
            order.unfinished.append(goods)
            done = self.finish_return(order, goods, trouble)
            assert told(response) == ("done" if done else "return_unfinished")

    def finish_return(self, order: Order, goods: Goods, trouble: Trouble) -> bool:
        if not self.bring_back(goods, trouble):
            return False
        if order.status in RETURNABLE and order.all_is_booked:
            order.status = "returned"
        if goods.costs and not trouble.said("payments"):
            return False
        order.unfinished = [other for other in order.unfinished if other is not goods]
        if order.status == "returned" and not order.unfinished:
            order.status = "refunded"
        return True

    @rule()
    def recover(self) -> None:
        """Both are there again, and maintenance comes by."""
        half_way = sum(order.half_way for order in self.known.values())
        assert self.desk.recover().get_json() == {"recovered": half_way, "more": False}
        for order in self.known.values():
            for goods in order.unfinished:
                self.finish_return(order, goods, Trouble())
            if order.half_way and order.cancel is not None:
                self.finish_cancel(order, order.cancel, Trouble())

    @invariant()
    def what_was_touched_is_what_the_model_says(self) -> None:
        if self.touched is None:
            return
        order, shown = self.known[self.touched], self.desk.order({"order_id": self.touched})
        assert shown["status"] == order.status
        assert {line["line"]: line["returned"] for line in shown["lines"]} == {
            line: order.returned[line] for line in order.lines
        }
        assert [entry["to"] for entry in shown["history"]][-1] == order.status
        self.touched = None

    @invariant()
    def stock_is_what_the_model_says(self) -> None:
        assert {sku: self.desk.stock(sku, "W1") for sku in self.stock} == dict(self.stock)

    def teardown(self) -> None:
        """Once all is finished, the three books say the same."""
        self.desk.gateway.mend()
        self.recover()
        assert not any(order.half_way for order in self.known.values())
        for name, order in self.known.items():
            shown = self.desk.order({"order_id": name})
            assert shown["status"] == order.status
            assert shown["refunded_cents"] == self.desk.refunded(order.made)
            if order.status == "refunded":
                assert shown["refunded_cents"] == shown["total_cents"]
        self.desk.check_books()


@pytest.fixture(scope="module")
def desk(postgres_server: PostgresServer) -> Iterator[OrderDesk]:
    with running_desk(postgres_server) as desk:
        yield desk


@long_if_verified
def test_orders_are_what_the_model_says_after_every_step(desk: OrderDesk):
    run_machine(partial(OrderMachine, desk), runs=8, steps=25)


def test_a_cancel_that_forgets_the_goods_is_found(desk: OrderDesk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cancelling, "book_in", lambda *_, **__: None)
    find_fault(partial(OrderMachine, desk))


@only_verified
def test_a_line_that_comes_back_again_and_again_is_found(desk: OrderDesk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(return_store, "take_from_order", lambda *_: None)
    find_fault(partial(OrderMachine, desk))
