"""Checkout over HTTP: owns the schema checkout; calls cart, products, inventory, orders and payments.

What a checkout does, step by step, is in saga.py.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg2
from flask import Response, request

from functions.shared import (
    Api,
    Conflict,
    Connection,
    DatabaseSettings,
    FunctionApp,
    NotFound,
    ServiceKeySettings,
    TokenSettings,
    Unavailable,
    UpstreamTimeout,
    claimed,
    crash,
    current,
    encode_cursor,
    identity,
    moment_filters,
    page,
    setting,
)
from functions.shared import (
    create_app as build,
)
from functions.shared.idempotency import (
    KEY_HEADER,
    REPLAYED_HEADER,
    Attempt,
    StoredAnswer,
    attempt,
    require_same_body,
)
from functions.shared.payments import TIMEOUT_SECONDS
from functions.shared.taxes import TaxRates
from functions.shared.telemetry import current_trace

from . import recovery, running, saga, store, views
from .domain import Rules

WIDE = ("hq", "service")
RETRY_AFTER_SECONDS = 2

_log = logging.getLogger("magasin")


@dataclass(frozen=True, kw_only=True)
class CheckoutSettings(DatabaseSettings, TokenSettings, ServiceKeySettings, crash.CrashSettings):
    currency: str = setting("ISO 4217 code of the currency of all checkouts.", default="CAD")
    taxes: TaxRates = setting(  # noqa: RUF009 - it makes a field, as dataclasses.field does
        "Taxes on the subtotal, as NAME=PERCENT joined by commas.", default="TPS=5,TVQ=9.975"
    )
    location: str = setting("Location whose stock is sold when a checkout names none.", default="W1")
    reservation_seconds: int = setting("How long stock is promised to a checkout.", default=600)
    finish_seconds: int = setting(
        "A checkout that is neither finished nor captured after this long is undone.", default=300
    )
    payment_timeout_seconds: float = setting(
        "One call of the payment provider takes at most this long.", default=TIMEOUT_SECONDS
    )
    recovery_batch: int = setting("Checkouts that one call of /recover deals with at most.", default=50)

    @property
    def rules(self) -> Rules:
        return Rules(
            self.currency, self.taxes, self.reservation_seconds, self.finish_seconds, self.payment_timeout_seconds
        )  # fmt: skip


api = Api("checkout", title="Checkout", migration="0010", warm_up=["/?limit=1"])


@api.post(
    "/", body=views.NewCheckout, answers={201: views.BoughtView}, roles=("customer",), idempotency="own",
    problems=[402, 409, 503],
)  # fmt: skip
def check_out(body: views.NewCheckout) -> Response:
    """Buy what is in one's cart.

    After a lost answer, or 503 `checkout_unfinished`, send the same again with its key: it is bought once, and the
    final answer (201, 402, 409 or 422) is the same for ever. To try again after a refusal take a new key.
    """
    asked = attempt(
        identity().subject, "POST /", request.headers.get(KEY_HEADER), request.get_data(cache=True)
    )
    with _saga_connection() as connection:
        checkout_id = str(uuid.uuid4())
        crash.point("checkout.begin.before")
        with claimed(connection, checkout_id):
            begun = store.begin(connection, _new(checkout_id, body, asked), saga.SAGA[0])
            if begun is not None:
                running.STARTED.inc()
                crash.point("checkout.begin.stored")
                running.run(connection, begun)
                return _told(store.read_answer(connection, checkout_id))
        return _told(_gone_on_with(connection, asked), replayed=True)


def _new(checkout_id: str, body: views.NewCheckout, asked: Attempt) -> dict[str, Any]:
    trace = current_trace()
    settings = current().settings(CheckoutSettings)
    return {
        "checkout_id": checkout_id,
        "customer_id": asked.principal,
        "request_key": asked.key,
        "body_sha256": asked.body_sha256,
        "request_id": trace.request_id if trace else "",
        "cart_version": body.cart_version,
        "agreed_cents": body.total_cents,
        "location": body.fulfilled_by or settings.location,
        "address": body.address.model_dump(),
        "card_token": body.payment.card_token,
        "finish_seconds": settings.finish_seconds,
    }


def _gone_on_with(connection: Connection, asked: Attempt) -> StoredAnswer | None:
    """The answer of the checkout that this request has begun before, once it is settled."""
    found = store.find_request(connection, asked.principal, asked.key)
    if found is None:
        raise running.in_flight()
    require_same_body(found["body_sha256"], asked.body_sha256)
    checkout_id = found["checkout_id"]
    answer = store.read_answer(connection, checkout_id)
    if answer is not None:
        return answer
    with claimed(connection, checkout_id) as held:
        if not held:
            raise running.in_flight()
        checkout = store.resume(connection, checkout_id)
        if checkout is not None:
            running.run(connection, checkout)
    return store.read_answer(connection, checkout_id)


def _told(answer: StoredAnswer | None, *, replayed: bool = False) -> Response:
    """The final answer, byte for byte as it was stored."""
    if answer is None:
        raise running.in_flight()
    if not answer.body:
        raise Conflict("The answer to this request was erased with its account.", code="checkout_erased")
    response = Response(answer.body, answer.status)
    for name, value in answer.headers.items():
        response.headers[name] = value
    if replayed:
        response.headers[REPLAYED_HEADER] = "true"
    return response


@contextmanager
def _saga_connection() -> Iterator[Connection]:
    """A connection on which each statement is a commit. What cannot be known inside is told as unfinished.

    No error of the database is a checkout's outcome: a record that is refused leaves it as it was.
    """
    try:
        with current().database.transaction() as connection:
            connection.autocommit = True
            yield connection
    except (Unavailable, UpstreamTimeout, psycopg2.OperationalError, psycopg2.InterfaceError) as away:
        raise _unfinished() from away
    except psycopg2.Error as defect:
        _log.exception("the database refused a record of a checkout")
        raise _unfinished() from defect


def _unfinished() -> Unavailable:
    return Unavailable(
        "The checkout is not finished yet. Send the same again with the same key for its outcome; "
        "it is finished or undone by itself, and the card is charged at most once.",
        code="checkout_unfinished",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


@api.get(
    "/", query=views.CheckoutQuery, answers={200: views.CheckoutPage}, roles=("customer",), problems=[400]
)
def list_checkouts(query: views.CheckoutQuery) -> dict[str, Any]:
    """List one's own checkouts, latest first."""
    filters = {"customer_id": identity().subject, **moment_filters(query.after), "limit": query.limit + 1}
    rows = current().database.read(store.list_checkouts, filters)
    return page(
        rows, query.limit, lambda row: encode_cursor(row["created_at"].isoformat(), row["checkout_id"])
    )


@api.get("/<uuid:checkout_id>", answers={200: views.CheckoutView}, roles=("customer", *WIDE), problems=[404])
def read_checkout(checkout_id: UUID) -> dict[str, Any]:
    """One checkout with its steps, their times and attempts. A customer sees one's own."""
    row = current().database.read(store.read_checkout, str(checkout_id))
    who = identity()
    if row is None or not (who.has_any(WIDE) or who.subject == row["customer_id"]):
        raise NotFound("There is no such checkout.", code="checkout_not_found")
    return views.show_checkout(row)


@api.post("/recover", answers={200: views.Recovery}, roles=("service",), problems=[503])
def recover_checkouts() -> dict[str, Any]:
    """Finish or undo some of what was interrupted; for maintenance. Any number of these may run at once."""
    limit = current().settings(CheckoutSettings).recovery_batch
    with current().database.transaction() as connection:
        connection.autocommit = True
        recovered = recovery.recover(connection, limit)
    return {"recovered": recovered, "more": recovered == limit}


@api.post("/erasures", body=views.Erasure, answers={200: views.Erased}, roles=("service",), problems=[503])
def erase_checkouts(body: views.Erasure) -> dict[str, Any]:
    """Forget where a customer's checkouts went; their sums stay. May be repeated until none is open."""
    return current().database.change(lambda connection: store.erase(connection, body.customer_id))


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The checkout function in `environ`; the template calls this once."""
    app = build(api, CheckoutSettings, environ)
    settings = app.service.settings(CheckoutSettings)
    app.extensions["rules"] = settings.rules
    crash.arm(settings)
    return app
