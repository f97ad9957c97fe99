"""What other functions ask of orders: checkout makes them, tells that they are paid or abandons them; maintenance finishes."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any
from uuid import UUID

from flask import request

from functions.shared import Answer, Conflict, Connection, Row, current, identity, to_json
from functions.shared.idempotency import KEY_HEADER, attempt

from . import bodies, domain, store, views
from .common import api, count_paid, count_step, order_not_found, shown, time_zone_of
from .order_numbers import new_number

NUMBER_ATTEMPTS = 10
"""One in a million is taken when there are a million orders."""


@api.post(
    "/", body=bodies.NewOrder, answers={200: views.OrderView, 201: views.OrderView}, roles=["service"],
    idempotency="own", problems=[503], links={"reference": "order_id"},
)  # fmt: skip
def create_order(body: bodies.NewOrder) -> Answer:
    """Make the order of a checkout, unpaid.

    The same checkout with the same content is answered 200 with its order as it stands; with other content 409
    `checkout_has_order`; one that was abandoned 409 `order_abandoned`.
    """
    attempt(identity().subject, request.path, request.headers.get(KEY_HEADER), b"")
    sums = _sums(body)
    domain.check_sums(sums)
    order = _columns(body, sums)
    return current().database.change(lambda connection: _record(connection, order))


def _sums(body: bodies.NewOrder) -> domain.Sums:
    return domain.Sums(
        tuple(line.quantity * line.unit_price_cents for line in body.lines),
        body.subtotal_cents,
        tuple(tax.amount_cents for tax in body.taxes),
        body.tax_cents,
        body.total_cents,
    )


def _columns(body: bodies.NewOrder, sums: domain.Sums) -> dict[str, Any]:
    content = body.model_dump(mode="json")
    parts = domain.tax_parts(sums)
    return {
        **{name: content[name] for name in _SAME},
        "order_id": str(uuid.uuid4()),
        "time_zone": time_zone_of(body.location),
        "taxes": json.dumps(content["taxes"]),
        "address": json.dumps(content["address"]),
        "lines": [
            {**line, "line": place, "tax_parts_cents": part, "tax_cents": sum(part)}
            for place, (line, part) in enumerate(zip(content["lines"], parts, strict=True), 1)
        ],
        "content_sha256": hashlib.sha256(to_json(content)).digest(),
        "who": identity().subject,
    }


_SAME = (
    "checkout_id", "customer_id", "location", "reservation_id", "currency", "subtotal_cents", "tax_cents",
)  # fmt: skip


def _record(connection: Connection, order: dict[str, Any]) -> Answer:
    if not store.claim_checkout(connection, order["checkout_id"], order["order_id"], None):
        return Answer(_same_order(connection, order))
    for _ in range(NUMBER_ATTEMPTS):
        if store.record_order(connection, {**order, "number": new_number()}):
            count_step(connection, "pending")
            location = f"/api/orders/{order['order_id']}"
            return Answer(shown(connection, order["order_id"]), 201, {"Location": location})
    raise RuntimeError("no order number is free")


def _same_order(connection: Connection, order: dict[str, Any]) -> dict[str, Any]:
    """The order that the checkout has, if it is this one."""
    present = store.lock_order_of_checkout(connection, order["checkout_id"])
    if present is None:
        raise _abandoned()
    if bytes(present["content_sha256"]) != order["content_sha256"]:
        raise Conflict("This checkout has another order.", code="checkout_has_order")
    if present["status"] == "cancelled" and present["payment_reference"] is None:
        raise _abandoned()
    return shown(connection, present["order_id"])


def _abandoned() -> Conflict:
    return Conflict("This checkout was abandoned.", code="order_abandoned")


@api.get("/by-checkout/<uuid:checkout_id>", answers={200: views.OrderView}, roles=["service"], problems=[404])
def read_order_of_checkout(checkout_id: UUID) -> dict[str, Any]:
    """The order of a checkout; 404 before it has one, and when it was abandoned without."""
    row = current().database.read(store.read_order, store.Name(checkout_id=str(checkout_id)))
    if row is None:
        raise order_not_found()
    return views.show_order(row)


@api.post(
    "/by-checkout/<uuid:checkout_id>/paid", body=bodies.Payment, answers={200: views.OrderView},
    roles=["service"], problems=[404, 409],
)  # fmt: skip
def mark_order_paid(checkout_id: UUID, body: bodies.Payment) -> dict[str, Any]:
    """All of an order was taken by the payment provider; may be repeated, whatever has become of the order since."""

    def work(connection: Connection) -> dict[str, Any]:
        present = store.lock_order_of_checkout(connection, str(checkout_id))
        if present is None:
            raise _abandoned() if store.was_abandoned(connection, str(checkout_id)) else order_not_found()
        _check_payment(present, body)
        payment = {**body.model_dump(), "order_id": present["order_id"], "who": identity().subject}
        if present["status"] == "pending":
            store.mark_paid(connection, payment)
            count_paid(connection, present)
        return shown(connection, present["order_id"])

    return current().database.change(work)


def _check_payment(order: Row, body: bodies.Payment) -> None:
    if order["status"] == "cancelled" and order["payment_reference"] is None:
        raise _abandoned()
    faults = domain.captured_fault(body.captured_cents, order["total_cents"])
    if faults:
        raise Conflict(
            "What was taken is not what the order costs.", code="wrong_amount", errors=list(faults)
        )
    if order["payment_reference"] not in {None, body.payment_reference}:
        raise Conflict("The order was paid by another payment.", code="order_paid_otherwise")


@api.post(
    "/by-checkout/<uuid:checkout_id>/abandon", body=bodies.Abandonment, answers={200: views.AbandonedView},
    roles=["service"], problems=[409],
)  # fmt: skip
def abandon_order(checkout_id: UUID, body: bodies.Abandonment) -> dict[str, Any]:
    """A checkout came to nothing: its order is cancelled, and if it has none it never will. May be repeated."""

    def work(connection: Connection) -> dict[str, Any]:
        name = str(checkout_id)
        if store.claim_checkout(connection, name, None, body.reason):
            return {"checkout_id": name, "order_id": None, "status": "cancelled"}
        present = store.lock_order_of_checkout(connection, name)
        if present is None:
            return {"checkout_id": name, "order_id": None, "status": "cancelled"}
        if present["payment_reference"] is not None:
            raise Conflict("The order is paid; cancel it instead.", code="order_paid")
        order_id = present["order_id"]
        if present["status"] == "pending":
            store.step(connection, order_id, "pending", "cancelled", identity().subject, note=body.reason)
            count_step(connection, "cancelled")
        return {"checkout_id": name, "order_id": order_id, "status": "cancelled"}

    return current().database.change(work)


@api.post("/erasures", body=bodies.Erasure, answers={200: views.Erased}, roles=["service"])
def erase_customer(body: bodies.Erasure) -> dict[str, Any]:
    """Take a customer's personal data out of closed orders; sums stay. Repeat it until none is open."""
    with current().database.transaction() as connection:
        return store.erase_customer(connection, body.customer_id, sorted(domain.CLOSED))
