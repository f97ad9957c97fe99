"""What checkout asks of a cart: keep it as it is, then take out what was bought, or let it go; and erasure."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prometheus_client import Counter

from functions.shared import Answer, Conflict, Connection, NotFound, Row, current

from . import store, store_checkout
from .common import api, in_checkout, rules
from .domain import Cart
from .store import Key
from .views import Erased, Erasure, FrozenCartView, NewCheckout, SettledCheckoutView, show_frozen

CHECKOUTS = Counter(
    "cart_checkouts_total", "Carts that were frozen for a checkout, closed or released.", ["step"]
)


@api.post("/checkouts", body=NewCheckout, answers={200: FrozenCartView}, roles=("service",), problems=[409])
def freeze_cart(body: NewCheckout) -> Answer:
    """Keep a customer's cart as it is until the checkout closes or releases it.

    Asked again it answers the same, whatever became of prices. A `version` that the cart no longer has is refused.
    """
    return Answer(current().database.change(lambda connection: _freeze(connection, body)))


def _freeze(connection: Connection, body: NewCheckout) -> Row:
    present = _present(connection, body)
    if present is not None:
        return present
    locked = store_checkout.lock_customer_cart(connection, body.customer_id)
    if locked is not None and locked["checkout_id"] not in {None, str(body.checkout_id)}:
        raise in_checkout()
    if locked is None or locked["checkout_id"] is None:
        content = _content(connection, body, locked)
        if store_checkout.freeze_cart(connection, body.checkout_id, body.customer_id, content):
            connection.after_commit(CHECKOUTS.labels("frozen").inc)
            return content
    # The same checkout was here, or gave up, while this one waited for the cart.
    present = _present(connection, body)
    if present is None:
        raise AssertionError("a checkout that could not be added is there")
    return present


def _present(connection: Connection, body: NewCheckout) -> Row | None:
    """What this checkout was answered before; None when it is new."""
    found = store_checkout.find_checkout(connection, body.checkout_id)
    if found is None:
        return None
    if found["state"] != "frozen":
        raise Conflict(
            f"This checkout is done with its cart: it was {found['state']}.", code="checkout_settled"
        )
    content: Row = found["content"]
    if (found["customer_id"], content["version"]) != (body.customer_id, body.version):
        raise Conflict("This checkout holds another cart or version.", code="checkout_taken")
    return content


def _content(connection: Connection, body: NewCheckout, locked: Row | None) -> dict[str, Any]:
    """What the checkout will hold, if the locked cart is what the customer saw and something is in it."""
    cart: Cart | None = None
    if locked is not None:
        cart = store.find_cart(connection, Key(cart_id=UUID(locked["cart_id"])))
    if cart is None or not cart.items:
        raise Conflict("There is nothing in the cart.", code="cart_empty")
    if cart.version != body.version:
        raise Conflict(
            "The cart has changed since it was read; show it again.",
            code="cart_changed",
            members={"version": cart.version},
        )
    return show_frozen(body.checkout_id, cart, rules().currency)


@api.post(
    "/checkouts/<uuid:checkout_id>/close", answers={200: SettledCheckoutView}, roles=("service",),
    problems=[404, 409],
)  # fmt: skip
def close_checkout(checkout_id: UUID) -> Answer:
    """Take out what was bought, and let the holder have the cart back. May be repeated."""
    state = current().database.change(lambda connection: _settle(connection, checkout_id, "closed"))
    if state is None:
        raise NotFound("This checkout never held a cart.", code="checkout_not_found")
    if state != "closed":
        raise Conflict("This checkout let go of its cart.", code="checkout_settled")
    return Answer({"checkout_id": checkout_id, "state": state})


@api.post(
    "/checkouts/<uuid:checkout_id>/release",
    answers={200: SettledCheckoutView},
    roles=("service",),
    problems=[409],
)
def release_checkout(checkout_id: UUID) -> Answer:
    """Let the holder have the cart back as it is. May be repeated.

    A checkout that never held a cart never will: that settles a call whose answer was lost.
    """
    state = current().database.change(lambda connection: _settle(connection, checkout_id, "released"))
    if state != "released":
        raise Conflict("What this checkout bought was taken out of the cart.", code="checkout_settled")
    return Answer({"checkout_id": checkout_id, "state": state})


def _settle(connection: Connection, checkout_id: UUID, state: str) -> str | None:
    """Be done with the checkout; the state it has then, None for one that is not known and is to be closed."""
    while not _free(connection, checkout_id, state):
        if state == "released" and store_checkout.forbid_checkout(connection, checkout_id):
            return state
        found = store_checkout.find_checkout(connection, checkout_id)
        if found is None or found["state"] != "frozen":
            return found["state"] if found else None
        # It was frozen between the two looks, so there is a cart to free.
    return state


def _free(connection: Connection, checkout_id: UUID, state: str) -> bool:
    """Settle a checkout that holds a cart; False when it holds none."""
    cart_id = store_checkout.lock_frozen_cart(connection, checkout_id)
    if cart_id is None:
        return False
    found = store_checkout.find_checkout(connection, checkout_id)
    store_checkout.free_cart(connection, cart_id, rules().customer_ttl_seconds)
    if state == "closed" and found is not None:
        bought = [item["sku"] for item in found["content"]["items"] if item["available"]]
        store_checkout.remove_bought(connection, cart_id, bought)
    store_checkout.settle_checkout(connection, checkout_id, state)
    connection.after_commit(CHECKOUTS.labels(state).inc)
    return True


@api.post("/erasures", body=Erasure, answers={200: Erased}, roles=("service",))
def erase_customer(body: Erasure) -> Row:
    """Delete a customer's cart and stored answers; a cart that is being checked out is `open` and is left."""
    return current().database.change(
        lambda connection: store_checkout.erase_customer(connection, body.customer_id)
    )
