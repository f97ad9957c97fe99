"""Cancels and returns: whatever is lost on the way, goods and money come back once, and all books say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.chain import make_app
from tests.support.functions import faulty_fields, problem
from tests.support.hand_made_gateway import Hold
from tests.support.metrics import growth
from tests.support.orders import OrderDesk, running_desk
from tests.support.postgres import PostgresServer
from tests.support.replicas import running_replicas
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def open_desk(postgres_server: PostgresServer) -> Iterator[OrderDesk]:
    with running_desk(postgres_server) as desk:
        yield desk


@pytest.fixture
def desk(open_desk: OrderDesk) -> Iterator[OrderDesk]:
    open_desk.renew()
    yield open_desk
    open_desk.gateway.mend()
    open_desk.check_books()


def test_a_cancelled_order_gives_back_its_goods_and_its_money(desk: OrderDesk):
    order = desk.paid(A=2, B=3)
    assert (desk.stock("A", "W1"), desk.stock("B", "W1")) == (9_998, 9_997)
    answer = desk.cancel(order, key="k")
    cancelled = answer.get_json()
    assert (answer.status_code, cancelled["status"], cancelled["refunded_cents"]) == (
        200, "refunded", order["total_cents"],
    )  # fmt: skip
    assert [(entry["who"], entry["to"], entry["note"]) for entry in cancelled["history"][2:]] == [
        ("ada", "cancelled", "changed my mind"), ("ada", "refunded", None),
    ]  # fmt: skip
    assert (desk.stock("A", "W1"), desk.stock("B", "W1")) == (10_000, 10_000)
    assert desk.refunded(order) == order["total_cents"]
    assert desk.cancel(order, key="k").data == answer.data
    assert desk.cancel(order).get_json() == cancelled, "another request finds it cancelled"


def test_an_order_is_cancelled_before_packing_only(desk: OrderDesk):
    pending, packed, abandoned = desk.pending(A=1), desk.paid(A=1), desk.pending(A=1)
    desk.post(f"/{packed['order_id']}/pack")
    desk.abandon(abandoned["checkout_id"])
    assert problem(desk.cancel(pending)) == (409, "order_in_checkout")
    assert problem(desk.cancel(packed)) == (409, "wrong_status")
    assert problem(desk.cancel(abandoned)) == (409, "wrong_status")
    assert desk.stock("A", "W1") == 9_999


def test_an_order_that_cost_nothing_is_cancelled_without_the_provider(desk: OrderDesk):
    order = desk.paid(FREE=2)
    desk.gateway.away.add("payments")
    assert desk.cancel(order).get_json()["status"] == "refunded"


def test_cancel_against_pack_has_one_winner(desk: OrderDesk):
    for _ in range(6):
        order = desk.paid(A=1)
        with ThreadPoolExecutor(8) as pool:
            cancels = [pool.submit(desk.cancel, order) for _ in range(4)]
            packs = [pool.submit(desk.post, f"/{order['order_id']}/pack") for _ in range(4)]
        cancelled = {future.result().status_code for future in cancels}
        packed = sorted(future.result().status_code for future in packs)
        status = desk.order(order)["status"]
        if status == "packed":
            assert (cancelled, packed) == ({409}, [200, 409, 409, 409])
        else:
            assert status == "refunded"
            assert cancelled <= {200, 409}
            assert packed == [409] * 4
        assert desk.refunded(order) == (0 if status == "packed" else order["total_cents"])


def test_many_cancels_at_once_are_one(desk: OrderDesk):
    order = desk.paid(A=2)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: desk.cancel(order), range(64)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {problem(answer)[1] for answer in answers if answer.status_code == 409} <= {"order_in_flight"}
    assert (desk.order(order)["status"], desk.stock("A", "W1")) == ("refunded", 10_000)
    assert len(desk.order(order)["history"]) == 4


def test_returned_in_parts_an_order_keeps_its_status_until_all_is_back(desk: OrderDesk):
    order = desk.shipped(A=2, B=3)
    first = desk.take_back(order, (1, 1), (2, 2))
    back = first.get_json()
    assert (first.status_code, back["status"], back["returned_by"]) == (201, "complete", "head")
    assert [(line["line"], line["quantity"], line["restock"]) for line in back["lines"]] == [
        (1, 1, True), (2, 2, True),
    ]  # fmt: skip
    after = desk.order(order)
    assert (after["status"], after["refunded_cents"]) == ("shipped", back["total_cents"])
    assert [line["returned"] for line in after["lines"]] == [1, 2]
    assert after["returns"] == [back]
    desk.post(f"/{order['order_id']}/deliver")
    rest = desk.take_back(order, (1, 1), (2, 1)).get_json()
    after = desk.order(order)
    assert back["total_cents"] + rest["total_cents"] == order["total_cents"] == after["refunded_cents"]
    assert (after["status"], [entry["to"] for entry in after["history"][-3:]]) == (
        "refunded", ["delivered", "returned", "refunded"],
    )  # fmt: skip
    assert (desk.stock("A", "W1"), desk.stock("B", "W1")) == (10_000, 10_000)
    assert problem(desk.take_back(order, (1, 1))) == (409, "wrong_status")


def test_what_is_not_put_back_is_written_off(desk: OrderDesk):
    order = desk.shipped(A=3)
    body = {
        "lines": [{"line": 1, "quantity": 1, "restock": True}, {"line": 1, "quantity": 2, "restock": False}],
        "reason": "two of them broken",
    }
    assert desk.post(f"/{order['order_id']}/returns", body).status_code == 201
    assert desk.stock("A", "W1") == 9_998
    assert desk.refunded(order) == order["total_cents"]


@pytest.mark.parametrize(
    ("lines", "status", "fields"),
    [
        ([(3, 1)], 422, ["lines.0.line"]), ([(1, 1), (9, 1)], 422, ["lines.1.line"]), ([(1, 3)], 409, ["lines.0.quantity"]),
        ([(1, 1), (1, 1), (1, 1)], 409, ["lines.2.quantity"]), ([(1, 0)], 422, ["lines.0.quantity"]),
        ([(0, 1)], 422, ["lines.0.line"]), ([], 422, ["lines"]), ([(1, 10**9)], 422, ["lines.0.quantity"]),
    ],
)  # fmt: skip
def test_more_than_was_ordered_never_comes_back(
    desk: OrderDesk, lines: list[tuple[int, int]], status: int, fields: list[str]
):
    order = desk.shipped(A=2, B=3)
    response = desk.take_back(order, *lines)
    assert (response.status_code, faulty_fields(response)) == (status, fields)
    assert desk.order(order)["returns"] == []


@pytest.mark.parametrize("step", [None, "pack"])
def test_nothing_comes_back_that_has_not_left(desk: OrderDesk, step: str | None):
    order = desk.paid(A=1)
    if step:
        desk.post(f"/{order['order_id']}/{step}")
    assert problem(desk.take_back(order, (1, 1))) == (409, "wrong_status")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from("ABC"), st.integers(1, 7), min_size=1),
    st.randoms(use_true_random=False),
)
def test_an_order_returned_in_any_pieces_gives_back_exactly_its_total(
    desk: OrderDesk, quantities: dict[str, int], chance: Any
):
    order = desk.shipped(**quantities)
    left = {line["line"]: line["quantity"] for line in order["lines"]}
    given_back = 0
    while left:
        lines = [
            (number, chance.randint(1, left[number])) for number in left if chance.random() < 0.7
        ] or list(left.items())
        back = desk.take_back(order, *lines).get_json()
        given_back += back["total_cents"]
        assert given_back <= order["total_cents"]
        left = {
            number: rest
            for number, quantity in left.items()
            if (rest := quantity - dict(lines).get(number, 0))
        }
    assert given_back == order["total_cents"] == desk.refunded(order)
    assert desk.order(order)["status"] == "refunded"


def test_many_returns_of_one_line_take_back_no_more_than_it_had(desk: OrderDesk):
    order = desk.shipped(A=5, B=1)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: desk.take_back(order, (1, 1)), range(64)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 59
    assert desk.stock("A", "W1") == 10_000
    assert desk.order(order)["refunded_cents"] == sum(
        answer.get_json()["total_cents"] for answer in answers if answer.status_code == 201
    )


def test_the_last_pieces_returned_at_once_close_the_order(desk: OrderDesk):
    order = desk.shipped(A=8)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: desk.take_back(order, (1, 1)), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    after = desk.order(order)
    assert (after["status"], after["refunded_cents"]) == ("refunded", order["total_cents"])


def test_one_request_is_one_return(desk: OrderDesk):
    order = desk.shipped(A=5)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: desk.take_back(order, (1, 1), key="k"), range(16)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert {answer.data for answer in done} == {done[0].data}
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert desk.order(order)["lines"][0]["returned"] == 1
    assert problem(desk.take_back(order, (1, 2), key="k")) == (422, "idempotency_key_reused")


def cancel(desk: OrderDesk, key: str) -> tuple[Any, Callable[[], Any]]:
    order = desk.paid(A=2, B=3)
    return order, lambda: desk.cancel(order, key=key)


def take_all_back(desk: OrderDesk, key: str) -> tuple[Any, Callable[[], Any]]:
    order = desk.shipped(A=2, B=3)
    body = {
        "lines": [
            {"line": 1, "quantity": 2, "restock": True},
            {"line": 2, "quantity": 1, "restock": True},
            {"line": 2, "quantity": 2, "restock": False},
        ],
        "reason": "did not fit",
    }
    return order, lambda: desk.post(f"/{order['order_id']}/returns", body, desk.hq, key)


@pytest.mark.parametrize("asked_again", [True, False])
@pytest.mark.parametrize("fault", ["away", "lost"])
@pytest.mark.parametrize("whose", ["inventory", "payments"])
@pytest.mark.parametrize("begin", [cancel, take_all_back])
def test_what_a_fault_leaves_half_way_is_finished_once(
    desk: OrderDesk, begin: Any, whose: str, fault: str, asked_again: bool
):
    """By the same request with its key, or by maintenance."""
    order, ask = begin(desk, "k")
    getattr(desk.gateway, fault).add(whose)
    code = "cancel_unfinished" if begin is cancel else "return_unfinished"
    assert problem(ask()) == (503, code)
    assert problem(desk.recover()) == (503, "recovery_unfinished")
    halfway = desk.order(order)
    assert halfway["status"] != "refunded"
    assert halfway["refunded_cents"] == 0
    desk.gateway.mend()
    if asked_again:
        assert ask().status_code in {200, 201}
        assert desk.recover().get_json() == {"recovered": 0, "more": False}
    else:
        assert desk.recover().get_json() == {"recovered": 1, "more": False}
        assert ask().status_code in {200, 201}
    after = desk.order(order)
    assert (after["status"], after["refunded_cents"], desk.refunded(order)) == (
        "refunded", order["total_cents"], order["total_cents"],
    )  # fmt: skip
    assert (desk.stock("A", "W1"), desk.stock("B", "W1")) == (10_000, 10_000 if begin is cancel else 9_998)


NO_ANSWERS = ((200, b"garbage"), (200, b"[]"), (500, b"{}"), (404, b"<html>"))


@pytest.mark.parametrize("answer", NO_ANSWERS)
@pytest.mark.parametrize("whose", ["inventory", "payments"])
def test_an_answer_that_is_none_is_no_outcome(desk: OrderDesk, whose: str, answer: tuple[int, bytes]):
    order = desk.paid(A=1)
    desk.gateway.answers[whose] = answer
    assert problem(desk.cancel(order)) == (503, "cancel_unfinished")
    desk.gateway.mend()
    assert desk.recover().get_json()["recovered"] == 1
    assert desk.order(order)["status"] == "refunded"


def test_what_the_provider_refuses_stays_unsettled_and_says_why(desk: OrderDesk):
    """It never should: here its ledger has been told to give the money back before."""
    refused, other = desk.paid(A=1), desk.paid(A=1)
    body = {"refund_reference": "by-hand", "amount_cents": 1}
    by_hand = desk.ask(
        "payments", f"POST /authorisations/{refused['checkout_id']}/refunds", desk.checkout, body
    )
    assert by_hand.status_code == 201
    assert problem(desk.cancel(refused)) == (503, "cancel_unfinished")
    desk.gateway.away.add("payments")
    desk.cancel(other)
    desk.gateway.mend()
    assert problem(desk.recover()) == (503, "recovery_unfinished")
    assert [desk.order(order)["status"] for order in (refused, other)] == ["cancelled", "refunded"]
    (trouble,) = desk.execute("SELECT trouble FROM orders.orders WHERE trouble IS NOT NULL")
    assert "At most 1149 cents can be given back" in trouble[0]


def test_many_recoveries_share_the_work(desk: OrderDesk):
    orders = [desk.paid(A=1) for _ in range(3)] + [desk.shipped(A=1) for _ in range(3)]
    desk.gateway.lost.add("payments")
    for order in orders:
        answer = desk.cancel(order) if order["status"] == "paid" else desk.take_back(order, (1, 1))
        assert answer.status_code == 503
    desk.gateway.mend()
    with ThreadPoolExecutor(4) as pool:
        counts = [answer.get_json()["recovered"] for answer in pool.map(lambda _: desk.recover(), range(8))]
    assert sum(counts) == 6
    assert {desk.order(order)["status"] for order in orders} == {"refunded"}


def test_maintenance_finishes_what_is_left_of_orders(desk: OrderDesk):
    order = desk.paid(A=1)
    desk.gateway.lost.add("payments")
    assert desk.cancel(order).status_code == 503
    desk.gateway.mend()
    tasks = make_app("maintenance", desk.environ).test_client().post("/").get_json()["tasks"]
    assert {"task": "recover_orders", "outcome": "done", "handled": 1} in tasks
    assert desk.order(order)["status"] == "refunded"


def test_maintenance_waits_for_a_provider_that_takes_its_time_though_others_hang(desk: OrderDesk):
    order = desk.paid(A=1)
    desk.gateway.lost.add("payments")
    assert desk.cancel(order).status_code == 503
    desk.gateway.mend()
    over = Event()
    slow = {"payments": 2, "checkout": 30}
    desk.gateway.mischief = lambda call: over.wait(slow.get(call.function, 0)) and None
    tasks = make_app("maintenance", desk.environ).test_client().post("/").get_json()["tasks"]
    over.set()
    outcomes = {task["task"]: task["outcome"] for task in tasks}
    assert (outcomes["recover_checkouts"], outcomes["recover_orders"]) == ("unfinished", "done")
    assert desk.order(order)["status"] == "refunded"


@pytest.mark.parametrize(
    ("begin", "path"), [(cancel, "returns"), (take_all_back, "authorisations/*/refunds")]
)
def test_killed_between_two_steps_it_is_finished_once(desk: OrderDesk, begin: Any, path: str, tmp_path: Path):
    """kill -9 of the replica while the call whose effect is done is held; then maintenance comes by."""
    order, ask = begin(desk, "k")
    hold = Hold(path, "after")
    desk.gateway.hold = hold
    app = desk.gateway.apps["orders"]
    with running_replicas("orders", 1, tmp_path, {**desk.environ, "threads": "2"}) as [replica]:
        desk.gateway.apps["orders"] = ForwardTo(replica.url)  # type: ignore[assignment]
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            assert hold.reached.wait(10)
            replica.process.kill()
            replica.process.wait()
            with pytest.raises(requests.ConnectionError):
                asking.result()
        desk.gateway.apps["orders"] = app
    hold.release.set()
    desk.gateway.hold = None
    assert desk.order(order)["refunded_cents"] == 0
    wait_for(lambda: desk.recover().get_json().get("recovered"), 5, "it is recovered")
    assert ask().status_code in {200, 201}
    after = desk.order(order)
    assert (after["status"], desk.refunded(order)) == ("refunded", order["total_cents"])


class ForwardTo:
    """Looks like an application to `ask`, and sends what it is asked to a replica."""

    def __init__(self, url: str) -> None:
        self.url = url

    def test_client(self, **_: Any) -> ForwardTo:
        return self

    def open(
        self, path: str, *, method: str, headers: dict[str, str], data: Any = None, content_type: str = ""
    ) -> Any:
        headers = {**headers, **({"Content-Type": content_type} if content_type else {})}
        return requests.request(method, f"{self.url}{path}", headers=headers, data=data, timeout=20)


def test_money_that_goes_back_is_counted_once(desk: OrderDesk):
    labels = {"channel": "web", "store": "W1"}
    order = desk.paid(A=1)
    with growth("refunds_total", **labels) as refunds, growth("refunds_cents_total", **labels) as cents:
        for key in ("k", "k", "another"):
            assert desk.cancel(order, key=key).status_code == 200
    assert (refunds.by, cents.by) == (1, order["total_cents"])
