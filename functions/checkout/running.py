"""A checkout going forward, or back, one step at a time. Whoever runs one holds its claim, and its connection autocommits.

Before a step's effect its beginning is stored, after it its end, in one commit with the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prometheus_client import Counter, Histogram

from functions.shared import (
    Conflict,
    Connection,
    Problem,
    Unavailable,
    UpstreamTimeout,
    crash,
    metrics,
    to_json,
)
from functions.shared.errors import render
from functions.shared.idempotency import StoredAnswer
from functions.shared.telemetry import current_trace

from . import domain, saga, store
from .checkouts import Checkout
from .effects import AlreadyCaptured

T = TypeVar("T")

WORTH_ASKING_AGAIN_SECONDS = 4.0
"""With less than this left for the request, an answer that did not come is asked for by the next one."""

STARTED = Counter("checkout_started_total", "Checkouts that were begun.")
STEPS = Counter(
    "checkout_steps_total",
    "Steps of checkouts, or their taking back (undo-…): done, refused, or unknown, which is asked again later.",
    ["step", "outcome"],
)
FINISHED = Counter("checkout_finished_total", "Checkouts that were settled, by outcome.", ["outcome"])
STEP_SECONDS = Histogram(
    "checkout_step_duration_seconds",
    "Time that a step's effect took, or its taking back (undo-…), answered or not.",
    ["step"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)


def run(connection: Connection, checkout: Checkout) -> str:
    """Settle a checkout: bought and paid (`complete`), or all taken back (`refused`).

    Raises Unavailable or UpstreamTimeout when the outcome of a step cannot be known now, and Conflict when somebody
    else has gone on with the checkout; what was done so far is stored.
    """
    if checkout.overdue and checkout.state == "open" and saga.can_turn_back(checkout.step):
        checkout = _turn_back(connection, checkout, domain.given_up())
    while not checkout.settled:
        step = _forward if checkout.state == "open" else _backward
        checkout = step(connection, checkout)
    return checkout.state


def _forward(connection: Connection, checkout: Checkout) -> Checkout:
    step, following = saga.step(checkout.step), saga.after(checkout.step)
    crash.point(f"checkout.{step.name}.before")
    try:
        learnt = _asked(connection, checkout, step.name, step.act)
    except domain.Refused as refused:
        STEPS.labels(step.name, "refused").inc()
        return _turn_back(connection, checkout, refused.problem)
    crash.point(f"checkout.{step.name}.effect")
    if following is not None:
        _require(store.advance(connection, checkout, following, learnt))
        checkout = checkout.at(following.name, learnt=learnt)
    else:
        _require(store.complete(connection, checkout, _bought(checkout)))
        checkout = checkout.at(step.name, "complete")
        FINISHED.labels("complete").inc()
    STEPS.labels(step.name, "done").inc()
    crash.point(f"checkout.{step.name}.stored")
    return checkout


def _bought(checkout: Checkout) -> StoredAnswer:
    order = checkout.facts["order"]
    headers = {"Content-Type": "application/json", "Location": f"/api/orders/{order['order_id']}"}
    return StoredAnswer(201, to_json({**order, "checkout_id": checkout.checkout_id}), headers)


def _turn_back(connection: Connection, checkout: Checkout, problem: Problem) -> Checkout:
    """Decide that the checkout shall not be, and what will be told, before anything is taken back."""
    body, status, headers = render(problem, checkout.request_id)
    first = saga.to_undo_at(checkout.step)
    crash.point(saga.REFUSAL[0])
    answer = StoredAnswer(status, body, headers)
    _require(store.turn_back(connection, checkout, first, problem.code, answer))
    crash.point(saga.REFUSAL[1])
    return checkout.at(first.name, "undoing")


def _backward(connection: Connection, checkout: Checkout) -> Checkout:
    step, earlier = saga.step(checkout.step), saga.to_undo_before(checkout.step)
    name = f"undo-{step.name}"
    assert step.undo is not None, "only what can be taken back is come by on the way back"
    crash.point(f"checkout.{name}.before")
    try:
        _asked(connection, checkout, name, step.undo)
    except AlreadyCaptured:
        STEPS.labels(name, "refused").inc()
        return _turn_forward(connection, checkout)
    crash.point(f"checkout.{name}.effect")
    if earlier is not None:
        _require(store.undone(connection, checkout, earlier))
        checkout = checkout.at(earlier.name, "undoing")
    else:
        code = store.refuse(connection, checkout)
        _require(code is not None)
        checkout = checkout.at(step.name, "refused")
        FINISHED.labels(code).inc()
    STEPS.labels(name, "done").inc()
    crash.point(f"checkout.{name}.stored")
    return checkout


def _turn_forward(connection: Connection, checkout: Checkout) -> Checkout:
    """The money is taken after all. Letting go of it is what going back begins with, so nothing else is undone yet."""
    done = saga.SAGA[saga.PIVOT]
    following = saga.after(done.name)
    assert following is not None, "there is a way forward from where there is none back"
    _require(store.turn_forward(connection, checkout, done, following))
    return checkout.at(following.name)


def _asked(connection: Connection, checkout: Checkout, name: str, ask: Callable[[Checkout], T]) -> T:
    """The outcome of an effect; asked a second time when no answer came and there is time."""
    try:
        with STEP_SECONDS.labels(name).time():
            return _asked_twice(connection, checkout, ask)
    except (Unavailable, UpstreamTimeout):
        STEPS.labels(name, "unknown").inc()
        raise


def _asked_twice(connection: Connection, checkout: Checkout, ask: Callable[[Checkout], T]) -> T:
    try:
        return ask(checkout)
    except UpstreamTimeout:
        trace = current_trace()
        if trace is None or trace.seconds_left() < WORTH_ASKING_AGAIN_SECONDS:
            raise
    store.count_attempt(connection, checkout)
    metrics.CALL_RETRIES.labels(saga.step(checkout.step).callee).inc()
    return ask(checkout)


def _require(stored: bool) -> None:
    """Whoever lost the claim unnoticed, because it hung, stops here."""
    if not stored:
        raise in_flight()


def in_flight() -> Conflict:
    """The refusal of a request that is being worked on."""
    return Conflict(
        "This checkout is being worked on; ask again with the same key for its answer.",
        code="idempotency_key_in_flight",
        headers={"Retry-After": "1"},
    )
