"""Answers that are lost, functions that are away, time that passes: what is not known is asked again, never assumed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest

from functions.checkout.saga import NAMES, PIVOT, SAGA
from functions.shared.client import LARGEST_ANSWER_BYTES
from tests.support.functions import problem
from tests.support.hand_made_gateway import Hold
from tests.support.metrics import growth
from tests.support.postgres import PostgresServer
from tests.support.webshop import WebShop, running_webshop

CALLS = {
    "freeze": "cart/checkouts",
    "price": "products",
    "reserve": "inventory/reservations",
    "order": "orders/",
    "authorise": "payments/authorisations",
    "commit": "inventory/reservations/*/commit",
    "capture": "payments/authorisations/*/capture",
    "mark_paid": "orders/by-checkout/*/paid",
    "clear": "cart/checkouts/*/close",
}
UNDOING = {
    "authorise": "payments/authorisations/*/void",
    "order": "orders/by-checkout/*/abandon",
    "reserve": "inventory/reservations/*/release",
    "restock": "inventory/returns",
    "freeze": "cart/checkouts/*/release",
}
"""Which call each step makes, forward and back."""


@pytest.fixture(scope="module")
def shop_of_all(postgres_server: PostgresServer) -> Iterator[WebShop]:
    settings = {"payment_timeout_seconds": "0.3", "hang_seconds": "0.6", "late_seconds": "0.6"}
    with running_webshop(postgres_server, **settings) as shop:
        yield shop


@pytest.fixture
def shop(shop_of_all: WebShop) -> Iterator[WebShop]:
    shop_of_all.renew()
    yield shop_of_all
    shop_of_all.check_books()


@pytest.fixture
def ada(shop: WebShop) -> dict[str, str]:
    who = shop.customer("ada")
    shop.fill(who, A=1, B=2)
    return who


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["code"]


def break_calls(shop: WebShop, how: str, call: str) -> None:
    """From now on such calls are done without an answer (lost), or fail undone."""
    if how == "lost":
        shop.gateway.lost.add(call)
    else:
        shop.gateway.answers[call] = (500, b"{}")


def let_time_pass(shop: WebShop) -> None:
    shop.execute("UPDATE checkout.checkouts SET give_up_at = now() WHERE settled_at IS NULL")


def attempts(shop: WebShop, step: str) -> tuple[int, int]:
    """How often a step was asked for, and to be taken back."""
    statement = "SELECT attempts, undo_attempts FROM checkout.steps WHERE step = %s"
    [(forward, back)] = shop.execute(statement, (step,))
    return forward, back


def test_each_step_has_its_call() -> None:
    assert [(step, call.partition("/")[0]) for step, call in CALLS.items()] == [
        (step.name, step.callee) for step in SAGA
    ]


@pytest.mark.parametrize("how", ["lost", "failed"])
@pytest.mark.parametrize("step", CALLS)
def test_a_step_without_an_answer_is_asked_again(
    shop: WebShop, ada: dict[str, str], step: str, how: str
) -> None:
    cart = shop.cart(ada)
    break_calls(shop, how, CALLS[step])
    unfinished = shop.check_out(ada, cart, "k")
    assert problem(unfinished) == (503, "checkout_unfinished")
    assert unfinished.headers["Retry-After"] == "2"
    shop.gateway.mend()
    bought = shop.check_out(ada, cart, "k")
    assert bought.status_code == 201, bought.get_json()
    assert attempts(shop, step)[0] >= 2
    assert (shop.stock("A", "W1"), shop.stock("B", "W1")) == (9_999, 9_998)
    assert shop.check_out(ada, cart, "k").data == bought.data


@pytest.mark.parametrize("how", ["lost", "failed"])
@pytest.mark.parametrize("step", UNDOING)
def test_taking_back_without_an_answer_is_asked_again(
    shop: WebShop, ada: dict[str, str], step: str, how: str
) -> None:
    cart = shop.cart(ada)
    break_calls(shop, how, UNDOING[step])
    card = {"card_token": "tok_capture_refused"}
    assert problem(shop.check_out(ada, cart, "k", **card)) == (503, "checkout_unfinished")
    shop.gateway.mend()
    assert shop.recover() == 1
    refused = shop.check_out(ada, cart, "k", **card)
    assert code_of(refused) == (402, "card_declined")
    assert attempts(shop, "reserve" if step == "restock" else step)[1] >= 2
    assert (shop.stock("A", "W1"), shop.stock("B", "W1")) == (10_000, 10_000)


def step_the_clock_back(shop: WebShop) -> None:
    """What is under way was begun at a time that is still to come, as the clock has it now."""
    shop.execute("UPDATE checkout.steps SET begun_at = begun_at + interval '1 hour' WHERE done_at IS NULL")
    shop.execute(
        "UPDATE checkout.steps SET undo_begun_at = undo_begun_at + interval '1 hour' WHERE undone_at IS NULL"
    )


@pytest.mark.parametrize("step", CALLS)
def test_a_clock_that_steps_back_does_not_stop_a_checkout(
    shop: WebShop, ada: dict[str, str], step: str
) -> None:
    cart = shop.cart(ada)
    break_calls(shop, "failed", CALLS[step])
    assert shop.check_out(ada, cart, "k").status_code == 503
    step_the_clock_back(shop)
    shop.gateway.mend()
    assert shop.check_out(ada, cart, "k").status_code == 201


@pytest.mark.parametrize("step", UNDOING)
def test_a_clock_that_steps_back_does_not_stop_taking_back(
    shop: WebShop, ada: dict[str, str], step: str
) -> None:
    cart = shop.cart(ada)
    break_calls(shop, "failed", UNDOING[step])
    card = {"card_token": "tok_capture_refused"}
    assert shop.check_out(ada, cart, "k", **card).status_code == 503
    step_the_clock_back(shop)
    shop.gateway.mend()
    assert code_of(shop.check_out(ada, cart, "k", **card)) == (402, "card_declined")


def test_a_clock_that_steps_back_does_not_stop_what_turns_forward_again(
    shop: WebShop, ada: dict[str, str]
) -> None:
    cart = shop.cart(ada)
    break_calls(shop, "lost", CALLS["capture"])
    assert shop.check_out(ada, cart, "k").status_code == 503
    step_the_clock_back(shop)
    let_time_pass(shop)
    shop.gateway.mend()
    assert shop.check_out(ada, cart, "k").status_code == 201


def test_a_record_that_the_database_refuses_is_no_outcome(
    shop: WebShop, ada: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    cart = shop.cart(ada)
    shop.execute("ALTER TABLE checkout.steps ADD CONSTRAINT no_capture CHECK (step <> 'capture') NOT VALID")
    try:
        assert problem(shop.check_out(ada, cart, "k")) == (503, "checkout_unfinished")
    finally:
        shop.execute("ALTER TABLE checkout.steps DROP CONSTRAINT no_capture")
    assert "no_capture" in caplog.text
    assert shop.check_out(ada, cart, "k").status_code == 201


@pytest.mark.parametrize("step", CALLS)
def test_what_cannot_be_finished_in_time_is_undone_unless_the_money_is_taken(
    shop: WebShop, ada: dict[str, str], step: str
) -> None:
    cart = shop.cart(ada)
    shop.gateway.lost.add(CALLS[step])
    shop.check_out(ada, cart, "k")
    let_time_pass(shop)
    shop.gateway.mend()
    assert shop.recover() == 1
    answer = shop.check_out(ada, cart, "k")
    if NAMES.index(step) >= PIVOT:
        assert answer.status_code == 201
        return
    assert code_of(answer) == (409, "checkout_given_up")
    assert (shop.stock("A", "W1"), shop.stock("B", "W1")) == (10_000, 10_000)
    assert shop.check_out(ada).status_code == 201


@pytest.mark.parametrize(
    "card_token", ["tok_lost_answer", "tok_lost_capture", "tok_late", "tok_timeout", "tok_unavailable_once"]
)
def test_a_card_that_keeps_its_answer_to_itself_is_charged_once(
    shop: WebShop, ada: dict[str, str], card_token: str
) -> None:
    cart = shop.cart(ada)
    answer = shop.check_out(ada, cart, "k", card_token=card_token)
    while answer.status_code == 503:
        answer = shop.check_out(ada, cart, "k", card_token=card_token)
    assert answer.status_code == 201, answer.get_json()
    captured = "SELECT sum(amount_cents) FROM payments.ledger WHERE kind = 'captured'"
    assert shop.execute(captured) == [(cart["total_cents"],)]


def test_what_is_asked_again_at_once_counts_as_a_repeated_call(shop: WebShop, ada: dict[str, str]) -> None:
    with growth("function_call_retries_total", callee="payments") as repeated:
        bought = shop.check_out(ada, card_token="tok_timeout")
    assert bought.status_code == 201, bought.get_json()
    assert repeated.by == 1


def commit_is_away(shop: WebShop, ada: dict[str, str]) -> dict[str, Any]:
    """A checkout whose card is authorised and whose stock has not left, though its reservation's time has passed."""
    cart = shop.cart(ada)
    shop.gateway.away.add(CALLS["commit"])
    assert shop.check_out(ada, cart, "k").status_code == 503
    shop.execute("UPDATE inventory.reservations SET expires_at = now() - interval '1 second'")
    assert shop.ask("inventory", "POST /expire", shop.maintenance).get_json()["expired"] == 1
    shop.gateway.mend()
    return cart


def test_a_reservation_whose_time_has_passed_is_taken_anew(shop: WebShop, ada: dict[str, str]) -> None:
    cart = commit_is_away(shop, ada)
    assert shop.check_out(ada, cart, "k").status_code == 201


def test_a_reservation_whose_stock_others_have_bought_is_refused_and_the_card_let_go(
    shop: WebShop, ada: dict[str, str]
) -> None:
    cart = commit_is_away(shop, ada)
    shop.bought(shop.customer("bob"), B=999)
    lines = [{"sku": "B", "quantity": 9_000}]
    body = {"location": "W1", "reason": "broken", "lines": lines}
    assert shop.ask("inventory", "POST /write-offs", shop.hq, body).status_code == 201
    refused = shop.check_out(ada, cart, "k")
    assert code_of(refused) == (409, "insufficient_stock")
    assert refused.get_json()["lacking"] == [{"sku": "B", "requested": 2, "available": 1}]
    held = "SELECT state FROM payments.authorisations WHERE amount_cents = %s"
    assert shop.execute(held, (cart["total_cents"],)) == [("voided",)]


def test_stock_that_finds_no_room_on_its_way_back_is_brought_back_later(
    shop: WebShop, ada: dict[str, str]
) -> None:
    cart, card = shop.cart(ada), {"card_token": "tok_capture_refused"}
    break_calls(shop, "failed", CALLS["capture"])
    assert shop.check_out(ada, cart, "k", **card).status_code == 503
    shop.gateway.mend()
    for quantity in [1_000_000] * 99 + [990_001]:
        shop.put_in("W1", A=quantity)
    assert problem(shop.check_out(ada, cart, "k", **card)) == (503, "checkout_unfinished")
    assert problem(shop.ask("checkout", "POST /recover", shop.maintenance)) == (503, "recovery_unfinished")
    body = {"location": "W1", "reason": "broken", "lines": [{"sku": "A", "quantity": 1}]}
    assert shop.ask("inventory", "POST /write-offs", shop.hq, body).status_code == 201
    assert code_of(shop.check_out(ada, cart, "k", **card)) == (402, "card_declined")


def test_recoveries_at_once_and_customers_asking_share_the_work(shop: WebShop) -> None:
    people = [shop.customer(f"customer-{number}") for number in range(8)]
    carts = [shop.fill(who, A=1, C=2) for who in people]
    shop.gateway.lost.add(CALLS["capture"])
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda place: shop.check_out(people[place], carts[place], "k"), range(8)))
    assert {answer.status_code for answer in first} == {503}
    shop.gateway.mend()
    with ThreadPoolExecutor(8) as pool:
        recoveries = [pool.submit(shop.ask, "checkout", "POST /recover", shop.maintenance) for _ in range(4)]
        again = list(pool.map(lambda place: shop.check_out(people[place], carts[place], "k"), range(8)))
    assert {answer.status_code for answer in again} <= {201, 409}
    assert {recovery.result().status_code for recovery in recoveries} == {200}
    assert shop.recover() == 0
    assert shop.stock("A", "W1") == 10_000 - 8
    final = [shop.check_out(who, cart, "k") for who, cart in zip(people, carts, strict=True)]
    assert {answer.status_code for answer in final} == {201}


def test_who_has_lost_the_claim_unnoticed_stops_at_the_next_record(
    shop: WebShop, ada: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims are not what this relies on: here everybody gets one."""
    monkeypatch.setattr("functions.shared.recovery.claimed", lambda *_: nullcontext(True))
    cart = shop.cart(ada)
    hold = shop.gateway.hold = Hold("reservations", "after")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(shop.check_out, ada, cart, "k")
        assert hold.reached.wait(10)
        shop.gateway.hold = None
        assert shop.recover() == 1
        hold.release.set()
        assert problem(asking.result()) == (409, "idempotency_key_in_flight")
    assert attempts(shop, "reserve") == (2, 0)
    assert attempts(shop, "order") == (1, 0)
    assert shop.check_out(ada, cart, "k").status_code == 201


def test_checkouts_that_cannot_be_settled_do_not_keep_others_back(shop: WebShop) -> None:
    people = [shop.customer(f"customer-{number}") for number in range(5)]
    break_calls(shop, "failed", CALLS["mark_paid"])
    for who in people:
        assert shop.check_out(who, shop.fill(who, C=1)).status_code == 503
    shop.gateway.mend()
    rows = shop.execute("SELECT checkout_id::text FROM checkout.checkouts ORDER BY tried_at LIMIT 4")
    for (checkout_id,) in rows:
        break_calls(shop, "failed", f"orders/by-checkout/{checkout_id}/paid")
    settled = "SELECT count(*) FROM checkout.checkouts WHERE settled_at IS NOT NULL"
    recover = ("checkout", "POST /recover", shop.maintenance)
    assert problem(shop.ask(*recover)) == (503, "recovery_unfinished")
    assert shop.execute(settled) == [(0,)], "three failures in a row, and the rest is left to the next call"
    assert problem(shop.ask(*recover)) == (503, "recovery_unfinished")
    assert shop.execute(settled) == [(1,)]
    shop.gateway.mend()
    assert shop.recover() == 4


@pytest.mark.parametrize("step", ["freeze", "reserve", "order", "authorise", "mark_paid"])
def test_an_answer_nobody_foresaw_is_no_answer(shop: WebShop, ada: dict[str, str], step: str) -> None:
    cart = shop.cart(ada)
    for answer in ((200, b"garbage"), (200, b"{}"), (200, b"[]"), (418, b"{}"), (409, b'{"code": 7}')):
        shop.gateway.answers = {CALLS[step]: answer}
        assert problem(shop.check_out(ada, cart, "k")) == (503, "checkout_unfinished"), answer
    shop.gateway.mend()
    assert shop.check_out(ada, cart, "k").status_code == 201


WORDS = "words of the provider's own"
HOSTILE_PROVIDER = {
    "more than any answer holds": (200, b'{"x": "' + b"y" * (LARGEST_ANSWER_BYTES + 1) + b'"}'),
    "nested without end": (200, b"[" * 200_000),
    "a page": (200, f"<html><script>{WORDS}</script></html>".encode()),
    "a redirect": (302, WORDS.encode()),
    "numbers that are none": (200, b'{"amount_cents": NaN, "captured_cents": 1e999}'),
    "half a letter": (402, b'{"code": "card_declined", "decline_code": "\\ud800", "detail": "No."}'),
    "a letter that no database keeps": (
        402,
        b'{"code": "card_declined", "decline_code": "\\u0000", "detail": "No."}',
    ),
    "a refusal of somebody else's": (409, f'{{"code": "cart_changed", "detail": "{WORDS}"}}'.encode()),
    "an error": (500, f'{{"code": "card_declined", "decline_code": "x", "detail": "{WORDS}"}}'.encode()),
}


@pytest.mark.parametrize("step", ["authorise", "capture"])
def test_a_hostile_provider_breaks_no_checkout_and_does_not_speak_to_its_customer(
    shop: WebShop, ada: dict[str, str], step: str
) -> None:
    cart = shop.cart(ada)
    for what, answer in HOSTILE_PROVIDER.items():
        shop.gateway.answers = {CALLS[step]: answer}
        unfinished = shop.check_out(ada, cart, "k")
        assert problem(unfinished) == (503, "checkout_unfinished"), what
        assert WORDS not in unfinished.get_data(as_text=True), what
    shop.gateway.mend()
    assert shop.check_out(ada, cart, "k").status_code == 201


def test_a_database_that_is_away_loses_nothing(shop: WebShop, ada: dict[str, str]) -> None:
    cart = shop.cart(ada)
    shop.gateway.lost.add(CALLS["capture"])
    shop.check_out(ada, cart, "k")
    shop.gateway.mend()
    with shop.outage():
        assert shop.check_out(ada, cart, "k").status_code == 503
    assert shop.recover() in {0, 1}
    assert shop.check_out(ada, cart, "k").status_code == 201


def test_an_outcome_that_is_not_known_is_counted_as_that(shop: WebShop, ada: dict[str, str]) -> None:
    labels = {"step": "authorise"}
    break_calls(shop, "failed", CALLS["authorise"])
    with growth("checkout_steps_total", **labels, outcome="unknown") as unknown:
        assert shop.check_out(ada, key="k").status_code == 503
    assert unknown.by == 1
    shop.gateway.mend()
    with growth("checkout_steps_total", **labels, outcome="done") as done:
        assert shop.check_out(ada, key="k").status_code == 201
    assert done.by == 1
