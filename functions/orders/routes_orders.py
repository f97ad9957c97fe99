"""What people do with orders: customers with their own, staff with those of their store, the head office with all."""

from __future__ import annotations

from typing import Any

from functions.shared import (
    Answer,
    Connection,
    Invalid,
    Row,
    current,
    encode_cursor,
    identity,
    moment_filters,
    page,
)
from functions.shared.idempotency import this_request

from . import bodies, cancelling, domain, returning, store, views
from .common import (
    EVERYBODY,
    SHOP,
    WIDE,
    api,
    check_location,
    count_step,
    find_order,
    order_id_or_number,
    shown,
    visible,
)
from .order_numbers import read_number


@api.get("/", query=bodies.OrderQuery, answers={200: views.OrderPage}, roles=EVERYBODY, problems=[400])
def list_orders(query: bodies.OrderQuery) -> dict[str, Any]:
    """List and search orders, latest first.

    Customers see their own, staff those of their own store.
    """
    filters = {
        **query.model_dump(include={"status", "sku", "day"}),
        **_scope(query),
        "number": _number(query.number),
        **moment_filters(query.after),
        "limit": query.limit + 1,
    }
    rows = current().database.read(store.list_orders, filters)
    return page([views.show_order(row) for row in rows], query.limit, _cursor)


def _scope(query: bodies.OrderQuery) -> dict[str, Any]:
    """Whose orders and from where: what is asked for, within what who asks may see."""
    who = identity()
    if who.has_any(WIDE):
        return {"customer": query.customer, "location": query.location}
    if who.has_any(("staff",)):
        check_location(query.location)
        return {"customer": query.customer, "location": who.store or ""}
    return {"customer": who.subject, "location": query.location}


def _number(text: str | None) -> str | None:
    number = read_number(text) if text is not None else None
    if text is not None and number is None:
        raise Invalid(
            "This is not an order number; one of its characters is wrong.",
            code="order_number_mistyped",
            errors=[{"field": "number", "message": "is not an order number such as M7K3-F92Q-X"}],
        )
    return number


def _cursor(row: Row) -> str:
    return encode_cursor(row["created_at"].isoformat(), row["order_id"])


@api.get("/<reference>", answers={200: views.OrderView}, roles=EVERYBODY, problems=[404])
def read_order(reference: str) -> dict[str, Any]:
    """One order by its id or its number, with its lines, history and returns."""
    name = order_id_or_number(reference)
    return views.show_order(visible(current().database.read(store.read_order, name)))


@api.post(
    "/<reference>/pack",
    answers={200: views.OrderView},
    roles=SHOP,
    idempotency="optional",
    problems=[404, 409],
)
def pack_order(reference: str, connection: Connection) -> dict[str, Any]:
    """The goods of a paid order are in their parcel: from now on it is not cancelled."""
    return _step(connection, reference, "packed")


@api.post(
    "/<reference>/ship", body=bodies.Shipment, answers={200: views.OrderView}, roles=SHOP, idempotency="optional",
    problems=[404],
)  # fmt: skip
def ship_order(reference: str, body: bodies.Shipment, connection: Connection) -> dict[str, Any]:
    """The parcel of a packed order has left with its carrier."""
    return _step(connection, reference, "shipped", carrier=body.carrier, tracking=body.tracking)


@api.post(
    "/<reference>/deliver", answers={200: views.OrderView}, roles=SHOP, idempotency="optional",
    problems=[404, 409],
)  # fmt: skip
def deliver_order(reference: str, connection: Connection) -> dict[str, Any]:
    """The parcel of a shipped order has arrived."""
    return _step(connection, reference, "delivered")


def _step(connection: Connection, reference: str, to_status: str, **more: Any) -> dict[str, Any]:
    order_id = find_order(connection, reference)["order_id"]
    status = store.lock_order(connection, order_id)["status"]
    domain.check_step(status, to_status)
    store.step(connection, order_id, status, to_status, identity().subject, **more)
    count_step(connection, to_status)
    return shown(connection, order_id)


@api.post(
    "/<reference>/cancel", body=bodies.Cancellation, answers={200: views.OrderView}, roles=("customer", *SHOP),
    idempotency="required", problems=[404, 503],
)  # fmt: skip
def cancel_order(reference: str, body: bodies.Cancellation, connection: Connection) -> dict[str, Any]:
    """Cancel an order before it is packed: its goods go back into stock and its money to the customer.

    When one of the two cannot be reached it is cancelled all the same, answered 503 and finished by itself.
    """
    return shown(connection, cancelling.cancel(connection, reference, body.reason))


@api.post(
    "/<reference>/returns", body=bodies.NewReturn, answers={201: views.ReturnView}, roles=SHOP,
    idempotency="required", problems=[404, 503],
)  # fmt: skip
def return_lines(reference: str, body: bodies.NewReturn, connection: Connection) -> Answer:
    """Lines of a shipped order have come back: book them in and pay them back; never more than was ordered."""
    order_id, return_id = returning.return_lines(connection, reference, body, this_request())
    returns = shown(connection, order_id)["returns"]
    return Answer(next(row for row in returns if row["return_id"] == return_id), 201)
