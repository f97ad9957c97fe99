"""The scenes about buying: an answer that is lost and asked for again, and one piece that many want."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from uuid import uuid4

from benchmarks.http_client import Reply
from tests.load.demo.drawing import Claim
from tests.load.demo.goods import in_stock, needed, paying
from tests.load.demo.reckoning import money
from tests.load.demo.stage import Stage
from tests.load.demo.visits import Caller, Judge, at, document, said

CARD_OK, CARD_LOST = "tok_ok", "tok_lost_answer"
PATIENCE_SECONDS = 20.0
"""Within which a checkout is settled."""
IMPATIENT_SECONDS = 1.0
BUYERS = 20
UNDER_WAY = {(409, "idempotency_key_in_flight"), (503, "checkout_unfinished")}
"""Answers that ask for the same again, later."""


def pay_once(stage: Stage) -> list[Claim]:
    ada = stage.caller("customer")
    again = stage.caller()
    again.token = ada.token
    with closing(ada), closing(again), ThreadPoolExecutor(1) as pool:
        body, key = _with_one_in_the_cart(ada, stage.goods.usual.sku, CARD_LOST), str(uuid4())
        first = pool.submit(_check_out, ada, body, key)
        stage.note(f"POST /api/checkout by {CARD_LOST}, Idempotency-Key {key[:8]}…")
        stage.pause(IMPATIENT_SECONDS)
        repeated = _repeated(stage, again, body, key, first)
        order, told = needed(repeated), first.result()
        stage.note(f"order {order['number']} over {money(order['total_cents'])}")
        orders = needed(again.ask("GET", "/api/orders"))["items"]
        steps = needed(again.ask("GET", f"/api/checkout/{order['checkout_id']}"))["steps"]
    entries = stage.shop.provider_says(order["checkout_id"])
    stage.hold()
    return [
        _was_lost(next(one["attempts"] for one in steps if one["step"] == "authorise")),
        _were_told_the_same(told, repeated),
        _was_paid_once(order["total_cents"], entries),
        Claim(f"orders of this customer: {len(orders)}", len(orders) == 1),
    ]


def _was_lost(attempts: int) -> Claim:
    """Without this the scene would have shown nothing."""
    if attempts < 2:
        return Claim("the provider's answer was not lost, so there was nothing to be seen", holds=False)
    return Claim(f"the provider's answer was lost, and checkout asked it {attempts} times in all", holds=True)


def _were_told_the_same(first: Reply | None, repeated: Reply | None) -> Claim:
    one, two = (said(reply) if reply else "nothing" for reply in (first, repeated))
    if first is None or repeated is None or (first.status, first.body) != (repeated.status, repeated.body):
        return Claim(f"the first was told {one}, and the repeat {two}", holds=False)
    return Claim(f"both were told the same, {first.status} and {len(first.body):,} bytes", holds=True)


def _was_paid_once(cents: int, entries: Mapping[str, list[int]]) -> Claim:
    listed = ", ".join(f"{kind} {' and '.join(map(money, amounts))}" for kind, amounts in entries.items())
    once = entries == {"authorised": [cents], "captured": [cents]}
    return Claim(
        f"paid {'once' if once else 'wrongly'}: the provider's ledger says {listed or 'nothing'}", once
    )


def _with_one_in_the_cart(customer: Caller, sku: str, card: str) -> dict[str, Any]:
    """The body of a checkout of one piece. Raises Surprise."""
    return paying(needed(customer.ask("PUT", f"/api/cart/items/{sku}", {"quantity": 1})), card)


def _check_out(customer: Caller, body: Any, key: str, judge: Judge | None = None) -> Reply | None:
    judge = judge or bought_or_under_way
    return customer.ask("POST", "/api/checkout", body, judge, headers={"Idempotency-Key": key})


def bought_or_under_way(reply: Reply) -> str:
    return "" if reply.status == 201 or _is_under_way(reply) else said(reply)


def bought_or_sold_out(reply: Reply) -> str:
    return "" if _code(reply) == "insufficient_stock" else bought_or_under_way(reply)


def _is_under_way(reply: Reply) -> bool:
    return (reply.status, _code(reply)) in UNDER_WAY


def _code(reply: Reply) -> str:
    return str(at(document(reply), "code") or "")


def _repeated(
    stage: Stage, customer: Caller, body: Any, key: str, first: Future[Reply | None]
) -> Reply | None:
    """The same request again, until its answer is final; when the shop says to wait, it waits."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        reply = _check_out(customer, body, key)
        if reply is None or not _is_under_way(reply) or time.monotonic() > deadline:
            return reply
        stage.note(f"the same again, with the same key: {reply.status} {_code(reply)}")
        stage.until(first.done, float(reply.header("Retry-After") or 1))


def sell_the_last_piece(stage: Stage) -> list[Claim]:
    with ExitStack() as doors:
        head = doors.enter_context(closing(stage.caller("hq", "tour")))
        people = [doors.enter_context(closing(stage.caller("customer"))) for _ in range(BUYERS)]
        sku = stage.goods.add(head, "The last of its kind", 1).sku
        bodies = [_with_one_in_the_cart(one, sku, CARD_OK) for one in people]
        stage.note(f"{BUYERS} customers have the one piece of {sku} in their carts, and now all of them pay")
        start = threading.Barrier(BUYERS)
        with ThreadPoolExecutor(BUYERS) as pool:
            outcomes = Counter(pool.map(lambda one, body: _grab(start, one, body), people, bodies))
        available, promised = in_stock(head, sku)
    stage.note(_listed(outcomes))
    stage.hold()
    return [
        _one_has_it(outcomes),
        Claim(f"left of it: {available}, promised to somebody: {promised}", (available, promised) == (0, 0)),
    ]


def _one_has_it(outcomes: Counter[str]) -> Claim:
    right = outcomes == {"bought": 1, "insufficient_stock": BUYERS - 1}
    return Claim(f"{outcomes['bought']} of {outcomes.total()} got it: {_listed(outcomes)}", right)


def _grab(start: threading.Barrier, customer: Caller, body: Any) -> str:
    """What one of them is told in the end: `bought`, or the code of the refusal."""
    key, deadline = str(uuid4()), time.monotonic() + PATIENCE_SECONDS
    start.wait(PATIENCE_SECONDS)
    while True:
        reply = _check_out(customer, body, key, bought_or_sold_out)
        if reply is None:
            return "no answer"
        if reply.status == 201:
            return "bought"
        if not _is_under_way(reply) or time.monotonic() > deadline:
            return _code(reply) or str(reply.status)
        time.sleep(float(reply.header("Retry-After") or 1))


def _listed(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in outcomes.most_common())
