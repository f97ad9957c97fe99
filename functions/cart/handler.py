"""Carts over HTTP: owns `carts` and `items` in the schema cart, and calls products for prices.

A change looks prices up first, then locks the cart, so nobody waits for a lock that waits for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import request
from prometheus_client import Counter

from functions.shared import (
    Answer,
    Api,
    Connection,
    DatabaseSettings,
    FunctionApp,
    Invalid,
    PreconditionFailed,
    Row,
    ServiceKeySettings,
    TokenSettings,
    current,
    etag,
    required_version,
    setting,
)
from functions.shared import (
    create_app as build,
)
from functions.shared.taxes import TaxRates

from . import domain, holders, store
from .catalogue import Catalogue, Offers, catalogue
from .domain import Cart, Item, Limits
from .holders import Holder, current_holder, token_holder
from .store import Key
from .views import LARGEST_QUANTITY, CartView, Expiry, MergedCartView, NewItem, Quantity, show, show_merge

CHANGES = Counter("cart_changes_total", "Changes made to carts.", ["change"])
EXPIRED = Counter("cart_expired_total", "Carts deleted because their time had passed.")


@dataclass(frozen=True, kw_only=True)
class CartSettings(DatabaseSettings, TokenSettings, ServiceKeySettings):
    currency: str = setting("ISO 4217 code of the currency of all carts.", default="CAD")
    taxes: TaxRates = setting(  # noqa: RUF009 - it makes a field, as dataclasses.field does
        "Taxes on the subtotal, as NAME=PERCENT joined by commas.", default="TPS=5,TVQ=9.975"
    )
    cart_ttl_seconds: int = setting(
        "A visitor's cart that is not changed for this long expires.", default=14 * 86_400
    )
    customer_cart_ttl_seconds: int = setting(
        "A customer's cart that is not changed for this long expires.", default=90 * 86_400
    )
    max_quantity: int = setting("Largest quantity of one product in a cart, up to 10000.", default=999)
    max_items: int = setting("Most different products in a cart.", default=100)
    expiry_batch: int = setting("Carts that one call of /expire deletes at most.", default=500)

    @property
    def limits(self) -> Limits:
        return Limits(quantity=min(self.max_quantity, LARGEST_QUANTITY), items=self.max_items)

    def ttl_seconds(self, holder: Holder) -> int:
        return self.customer_cart_ttl_seconds if holder.proof == "customer" else self.cart_ttl_seconds


api = Api(
    "cart",
    title="Carts",
    migration="0003",
    refusals={
        "items_quantity_check": Invalid(
            "The quantity would be too large.",
            code="quantity_limit",
            errors=[{"field": "quantity", "message": f"must not become more than {LARGEST_QUANTITY}"}],
        ),
    },
)

Change = Callable[[Connection, UUID], None]


@api.post(
    "/items", body=NewItem, answers={200: CartView}, idempotency="optional", principal=holders.principal,
    problems=[401, 403, 404, 412, 503],
)  # fmt: skip
def add_item(body: NewItem, connection: Connection) -> Answer:
    """Add a product to the cart.

    A visitor without a cart gets one: its token is in `X-Cart-Token` and in a cookie.
    Sent again after a lost answer it adds again, unless it has an `Idempotency-Key`; or use PUT.
    """
    holder = current_holder()
    cart = _find(holder, connection)
    offers = catalogue().offers(cart.items if cart else (), body.sku)
    item = domain.item_of(domain.check_offer(offers.get(body.sku), _settings().currency), body.quantity)

    def add(connection: Connection, cart_id: UUID) -> None:
        quantity = store.add_quantity(connection, cart_id, item)
        domain.check_quantity(quantity, _settings().limits)
        if quantity == item.quantity:
            domain.check_size(store.count_items(connection, cart_id), _settings().limits)

    changed = _open_and_change(connection, holder, offers, add)
    CHANGES.labels("add").inc()
    return _shown(changed)


@api.get("/", answers={200: CartView}, problems=[401, 403, 404, 503])
def read_cart() -> Answer:
    """The cart, at current prices.

    Without a cart this is an empty one, and nothing is stored.
    When the catalogue cannot be reached, prices are those last shown and `prices_checked` is false.
    """
    holder = current_holder()
    cart = _find(holder)
    if cart is None:
        return _shown(None)
    offers = catalogue().offers_if_reachable(cart.items)
    if offers and domain.outdated(cart.items, offers):
        with current().database.transaction() as connection:
            cart = _show_newer_prices(connection, holder, offers)
    return _shown(cart, prices_checked=offers is not None)


def _show_newer_prices(connection: Connection, holder: Holder, offers: Offers) -> Cart | None:
    cart_id = store.lock_cart(connection, holder.key)
    holder.require_cart(cart_id)
    if cart_id is None:
        return None
    return _refreshed(connection, cart_id, offers, store.count_change)


@api.put("/items/<path:sku>", body=Quantity, answers={200: CartView}, problems=[401, 403, 404, 412, 503])
def set_quantity(sku: str, body: Quantity) -> Answer:
    """Have exactly this quantity of a product in the cart; 0 removes it.

    Sent twice it does the same once. `If-Match` may name the version that was seen.
    """
    if body.quantity == 0:
        return remove_item(sku)
    holder = current_holder()
    cart = _find(holder)
    item, offers = _item_to_set(cart, sku, body.quantity)

    def set_it(connection: Connection, cart_id: UUID) -> None:
        store.set_quantity(connection, cart_id, item)
        domain.check_size(store.count_items(connection, cart_id), _settings().limits)

    with current().database.transaction() as connection:
        changed = _open_and_change(connection, holder, offers or {}, set_it)
    CHANGES.labels("set").inc()
    return _shown(changed, prices_checked=offers is not None)


def _item_to_set(cart: Cart | None, sku: str, quantity: int) -> tuple[Item, Offers | None]:
    """The item at today's price; at the remembered one if it is in the cart and products cannot be reached."""
    domain.check_quantity(quantity, _settings().limits)
    items = cart.items if cart else ()
    held = next((item for item in items if item.sku == sku), None)
    offers = catalogue().offers_if_reachable(items) if held else catalogue().offers(items, sku)
    if held is not None and offers is None:
        return replace(held, quantity=quantity), None
    offers = offers or {}
    return domain.item_of(domain.check_offer(offers.get(sku), _settings().currency), quantity), offers


@api.delete("/items/<path:sku>", answers={200: CartView}, problems=[401, 403, 404, 412, 503])
def remove_item(sku: str) -> Answer:
    """Take a product out of the cart; harmless when it is not in it."""
    return _change_if_there("remove", lambda connection, cart_id: store.remove_item(connection, cart_id, sku))


@api.delete("/", answers={200: CartView}, problems=[401, 403, 404, 412, 503])
def clear_cart() -> Answer:
    """Take everything out of the cart."""
    return _change_if_there("clear", store.clear_items)


@api.post(
    "/merge", answers={200: MergedCartView}, roles=["customer"], idempotency="optional",
    principal=holders.principal, problems=[412, 503],
)  # fmt: skip
def merge_carts(connection: Connection) -> Answer:
    """Put the visitor's cart, named by its token, into that of the customer who has just signed in.

    Quantities add up to the limits; what does not fit is told. The visitor's cart is gone afterwards,
    so doing it twice changes nothing.
    """
    customer, visitor = current_holder(), token_holder()
    carts = [store.find_cart(connection, holder.key) for holder in (customer, visitor)]
    offers = catalogue().offers_if_reachable([item for cart in carts if cart for item in cart.items])
    done = domain.Merge()

    def merge(connection: Connection, cart_id: UUID) -> None:
        nonlocal done
        done = _merge_into(connection, cart_id, visitor)

    changed = carts[0]
    if carts[1] is not None:
        changed = _open_and_change(connection, customer, offers or {}, merge)
        CHANGES.labels("merge").inc()
    holders.drop_cookie()
    answer = _shown(changed, prices_checked=offers is not None)
    return replace(answer, body=answer.body | show_merge(done))


def _merge_into(connection: Connection, cart_id: UUID, visitor: Holder) -> domain.Merge:
    """Empty the visitor's cart into a locked one. The visitor's is always locked second: no two merges deadlock."""
    visitors_id = store.lock_cart(connection, visitor.key)
    held = store.find_cart(connection, Key(cart_id=cart_id))
    brought = store.find_cart(connection, Key(cart_id=visitors_id)) if visitors_id else None
    if held is None or brought is None:
        return domain.Merge()
    done = domain.merge(held.items, brought.items, _settings().limits)
    for item in done.items:
        store.set_quantity(connection, cart_id, item)
    store.delete_cart(connection, brought.cart_id)
    return done


@api.post("/expire", answers={200: Expiry}, roles=["service"], problems=[503])
def expire_carts() -> dict[str, Any]:
    """Delete some carts whose time has passed; for maintenance. Any number of these may run at once."""
    limit = _settings().expiry_batch
    with current().database.transaction() as connection:
        expired = store.expire_carts(connection, limit)
    EXPIRED.inc(expired)
    return {"expired": expired, "more": expired == limit}


def _settings() -> CartSettings:
    return current().settings(CartSettings)


def _find(holder: Holder, connection: Connection | None = None) -> Cart | None:
    if holder.proof == "nothing":
        return None
    if connection is not None:
        cart = store.find_cart(connection, holder.key)
    else:
        cart = current().database.read(store.find_cart, holder.key)
    holder.require_cart(cart)
    return cart


def _open_and_change(connection: Connection, holder: Holder, offers: Offers, change: Change) -> Cart | None:
    """Make `change` to the holder's cart, opening one if need be."""
    row = holders.open_cart(connection, holder, _settings().ttl_seconds(holder))
    return _change(connection, row, offers, change)


def _change_if_there(name: str, change: Change) -> Answer:
    """Make `change` to the holder's cart; an empty cart is shown when there is none."""
    holder = current_holder()
    cart = _find(holder)
    if cart is None:
        return _shown(None)
    offers = catalogue().offers_if_reachable(cart.items)
    with current().database.transaction() as connection:
        row = holders.touch_cart(connection, holder, _settings().ttl_seconds(holder))
        changed = _change(connection, row, offers or {}, change) if row else None
    CHANGES.labels(name).inc()
    return _shown(changed, prices_checked=offers is not None)


def _change(connection: Connection, locked: Row, offers: Offers, change: Change) -> Cart | None:
    """Make `change` to a locked cart, and show newer prices in it."""
    cart_id = UUID(locked["cart_id"])
    if request.headers.get("If-Match") and required_version() not in {None, locked["version"] - 1}:
        raise PreconditionFailed
    change(connection, cart_id)
    return _refreshed(connection, cart_id, offers)


def _refreshed(
    connection: Connection, cart_id: UUID, offers: Offers, when_changed: Change | None = None
) -> Cart | None:
    """A locked cart, after showing in it what is newer in `offers`."""
    key = Key(cart_id=cart_id)
    cart = store.find_cart(connection, key)
    now, currency = datetime.now(UTC), _settings().currency
    newer = [
        domain.refreshed(item, offers[item.sku], currency, now)
        for item in domain.outdated(cart.items if cart else (), offers)
    ]
    if not newer:
        return cart
    store.refresh_items(connection, cart_id, newer)
    if when_changed is not None:
        when_changed(connection, cart_id)
    return store.find_cart(connection, key)


def _shown(cart: Cart | None, *, prices_checked: bool = True) -> Answer:
    settings = _settings()
    body = show(cart, settings.currency, settings.taxes, prices_checked=prices_checked)
    return Answer(body, headers={"ETag": etag(body["version"]), "Cache-Control": "private, no-store"})


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The cart function in `environ`; the template calls this once."""
    app = build(api, CartSettings, environ)
    app.extensions["catalogue"] = Catalogue()
    return app
