"""What all of orders' routes share: the API they are declared on, who may see and do what, and how an order is shown."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from flask import current_app
from prometheus_client import Counter

from functions.shared import (
    Api,
    Conflict,
    Connection,
    Forbidden,
    Invalid,
    NotFound,
    Row,
    identity,
)
from functions.shared.payments import PaymentProvider
from functions.shared.stock import Locations

from . import store, views
from .order_numbers import read_number

EVERYBODY = ("customer", "staff", "hq", "service")
SHOP = ("staff", "hq")
WIDE = ("hq", "service")

CHANNEL = "web"

STEPS = Counter("orders_steps_total", "Steps that orders made, by the status they came to.", ["status"])
ORDERS = Counter(
    "orders_total", "Orders that were paid, by the place that fulfils them.", ["channel", "store"]
)
ORDERS_CENTS = Counter(
    "orders_cents_total",
    "What the orders in orders_total came to, in cents with taxes.",
    ["channel", "store"],
)


def count_step(connection: Connection, status: str) -> None:
    """An order came to `status`, once the transaction is committed."""
    connection.after_commit(STEPS.labels(status).inc)


def count_paid(connection: Connection, order: Row) -> None:
    """An order is paid, once the transaction is committed. Needs `location` and `total_cents`."""
    count_step(connection, "paid")
    connection.after_commit(ORDERS.labels(CHANNEL, order["location"]).inc)
    connection.after_commit(
        partial(ORDERS_CENTS.labels(CHANNEL, order["location"]).inc, order["total_cents"])
    )


api = Api(
    "orders",
    title="Orders",
    migration="0009",
    warm_up=["/?limit=1"],
    refusals={
        "orders_step": Conflict("The order has gone on in the meantime; read it again.", code="wrong_status"),
        "order_lines_returned_quantity_check": Conflict(
            "More would come back than was sold.", code="more_than_sold"
        ),
    },
)


def in_flight() -> Conflict:
    """The refusal of what is being worked on."""
    return Conflict(
        "This is being worked on; ask again for its answer.",
        code="order_in_flight",
        headers={"Retry-After": "1"},
    )


def provider() -> PaymentProvider:
    """The payment provider, as long as this function waits for it."""
    found: PaymentProvider = current_app.extensions["provider"]
    return found


def time_zone_of(location: str) -> str:
    """Raises Invalid when there is no such location, Unavailable when that cannot be known."""
    locations: Locations = current_app.extensions["locations"]
    found = locations.find(location)
    if found is None:
        raise Invalid(
            f"There is no location {location}.",
            code="unknown_location",
            errors=[{"field": "location", "message": "is not a location"}],
        )
    return found.time_zone


def find_order(connection: Connection, reference: str) -> Row:
    """The order with this id or number, that who asks may see. Raises NotFound, Forbidden."""
    return visible(store.read_order(connection, order_id_or_number(reference)))


def order_id_or_number(reference: str) -> store.Name:
    """What a path names an order by. Raises NotFound for what is neither an id nor a number."""
    try:
        return store.Name(order_id=str(UUID(reference)))
    except ValueError:
        number = read_number(reference)
    if number is None:
        raise NotFound(
            "This is not an order number; one of its characters is wrong.", code="order_number_mistyped"
        )
    return store.Name(number=number)


def visible(row: Row | None) -> Row:
    """The order, if who asks may see it.

    Raises NotFound for another customer's, as for one that does not exist; Forbidden for another store's.
    """
    if row is None:
        raise order_not_found()
    who = identity()
    if who.has_any(WIDE) or (who.has_any(("customer",)) and row["customer_id"] == who.subject):
        return row
    if not who.has_any(("staff",)):
        raise order_not_found()
    check_location(row["location"])
    return row


def check_location(location: str | None) -> None:
    """Raise Forbidden when the token is staff's of another place."""
    who = identity()
    if location is not None and not who.has_any(WIDE) and location != who.store:
        raise Forbidden("This token is for another store.", code="other_store")


def order_not_found() -> NotFound:
    return NotFound("There is no such order.", code="order_not_found")


def shown(connection: Connection, order_id: str) -> dict[str, Any]:
    """The OrderView of an order that exists, as it is now."""
    row = store.read_order(connection, store.Name(order_id=order_id))
    assert row is not None
    return views.show_order(row)
