"""How every change of a cart goes: look prices up, lock the cart, change it, show newer prices in it.

Prices are looked up before, so nobody waits for a lock that waits for the network.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from flask import request
from prometheus_client import Counter

from functions.shared import Answer, Connection, PreconditionFailed, Row, current, etag, required_version

from . import domain, holders, store
from .catalogue import Offers, catalogue
from .common import in_checkout, rules
from .domain import Cart
from .holders import Holder, current_holder
from .store import Key
from .views import show

CHANGES = Counter("cart_changes_total", "Changes made to carts.", ["change"])

Change = Callable[[Connection, UUID], None]


def find(holder: Holder, connection: Connection | None = None) -> Cart | None:
    """The holder's cart; None when there is none. Raises NotFound as `Holder.require_cart` does."""
    if holder.proof == "nothing":
        return None
    if connection is not None:
        cart = store.find_cart(connection, holder.key)
    else:
        cart = current().database.read(store.find_cart, holder.key)
    holder.require_cart(cart)
    return cart


def open_and_change(connection: Connection, holder: Holder, offers: Offers, change: Change) -> Cart | None:
    """Make `change` to the holder's cart, opening one if need be."""
    row = holders.open_cart(connection, holder, _ttl_seconds(holder))
    return _change(connection, row, offers, change)


def change_if_there(name: str, change: Change) -> Answer:
    """Make `change` to the holder's cart; an empty cart is shown when there is none."""
    holder = current_holder()
    cart = find(holder)
    if cart is None:
        return shown(None)
    offers = catalogue().offers_if_reachable(cart.items)
    with current().database.transaction() as connection:
        row = holders.touch_cart(connection, holder, _ttl_seconds(holder))
        changed = _change(connection, row, offers or {}, change) if row else None
    CHANGES.labels(name).inc()
    return shown(changed, prices_checked=offers is not None)


def _ttl_seconds(holder: Holder) -> int:
    return rules().customer_ttl_seconds if holder.proof == "customer" else rules().visitor_ttl_seconds


def _change(connection: Connection, locked: Row, offers: Offers, change: Change) -> Cart | None:
    """Make `change` to a locked cart, and show newer prices in it."""
    cart_id = UUID(locked["cart_id"])
    if locked["checkout_id"] is not None:
        raise in_checkout()
    if request.headers.get("If-Match") and required_version() not in {None, locked["version"] - 1}:
        raise PreconditionFailed
    change(connection, cart_id)
    return refreshed(connection, cart_id, offers)


def refreshed(
    connection: Connection, cart_id: UUID, offers: Offers, when_changed: Change | None = None
) -> Cart | None:
    """A locked cart, after showing in it what is newer in `offers`; one that a checkout holds stays as it is."""
    key = Key(cart_id=cart_id)
    cart = store.find_cart(connection, key)
    now, currency = datetime.now(UTC), rules().currency
    if cart is None or cart.in_checkout:
        return cart
    newer = [
        domain.refreshed(item, offers[item.sku], currency, now)
        for item in domain.outdated(cart.items, offers)
    ]
    if not newer:
        return cart
    store.refresh_items(connection, cart_id, newer)
    if when_changed is not None:
        when_changed(connection, cart_id)
    return store.find_cart(connection, key)


def shown(cart: Cart | None, *, prices_checked: bool = True) -> Answer:
    """The answer that shows a cart, or an empty one that does not exist."""
    body = show(cart, rules().currency, rules().taxes, prices_checked=prices_checked)
    return Answer(body, headers={"ETag": etag(body["version"]), "Cache-Control": "private, no-store"})
