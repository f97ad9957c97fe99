"""Carts over HTTP: owns the schema cart, and calls products for prices.

What checkout asks is in routes_checkout.py, how a change goes in changing.py; here are the holders' routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from functions.shared import (
    Answer,
    Connection,
    DatabaseSettings,
    FunctionApp,
    ServiceKeySettings,
    TokenSettings,
    current,
    setting,
)
from functions.shared import (
    create_app as build,
)
from functions.shared.taxes import TaxRates

# Importing routes_checkout declares its routes on `api`.
from . import domain, holders, routes_checkout, store
from .catalogue import Catalogue, Offers, catalogue
from .changing import CHANGES, change_if_there, find, open_and_change, refreshed, shown
from .common import Rules, api, rules
from .domain import Cart, Item, Limits
from .holders import TOKEN_HEADER, Holder, current_holder, token_holder
from .store import Key
from .views import LARGEST_QUANTITY, CartView, Expiry, MergedCartView, NewItem, Quantity, show_merge

__all__ = ["api", "create_app", "routes_checkout"]

HOLDER = {TOKEN_HEADER: "Token of a visitor's cart; a browser may send its cookie `cart_token` instead."}
CHANGER = {
    **HOLDER,
    "If-Match": "The `ETag` that was read: change the cart only if nobody else has since (412).",
}
SHOWN = {"ETag": "The cart's version."}
OPENED = {**SHOWN, TOKEN_HEADER: "Token of the cart that was made for a visitor without one; not sent again."}

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
    def rules(self) -> Rules:
        return Rules(
            currency=self.currency,
            taxes=self.taxes,
            limits=Limits(quantity=min(self.max_quantity, LARGEST_QUANTITY), items=self.max_items),
            visitor_ttl_seconds=self.cart_ttl_seconds,
            customer_ttl_seconds=self.customer_cart_ttl_seconds,
        )


@api.post(
    "/items", body=NewItem, answers={200: CartView}, idempotency="optional", principal=holders.principal,
    request_headers=CHANGER, response_headers=OPENED, problems=[401, 403, 404, 409, 412, 503],
)  # fmt: skip
def add_item(body: NewItem, connection: Connection) -> Answer:
    """Add a product to the cart.

    A visitor without a cart gets one: its token is in `X-Cart-Token` and in a cookie.
    Sent again after a lost answer it adds again, unless it has an `Idempotency-Key`; or use PUT.
    """
    holder = current_holder()
    cart = find(holder, connection)
    offers = catalogue().offers(cart.items if cart else (), body.sku)
    item = domain.item_of(domain.check_offer(offers.get(body.sku), rules().currency), body.quantity)

    def add(connection: Connection, cart_id: UUID) -> None:
        quantity = store.add_quantity(connection, cart_id, item)
        domain.check_quantity(quantity, rules().limits)
        if quantity == item.quantity:
            domain.check_size(store.count_items(connection, cart_id), rules().limits)

    changed = open_and_change(connection, holder, offers, add)
    connection.after_commit(CHANGES.labels("add").inc)
    return shown(changed)


@api.get(
    "/", answers={200: CartView}, request_headers=HOLDER, response_headers=SHOWN,
    problems=[401, 403, 404, 503],
)  # fmt: skip
def read_cart() -> Answer:
    """The cart, at current prices.

    Without a cart this is an empty one, and nothing is stored.
    When the catalogue cannot be reached, or the cart is being checked out, prices are those last shown and
    `prices_checked` is false.
    """
    holder = current_holder()
    cart = find(holder)
    if cart is None or cart.in_checkout:
        return shown(cart, prices_checked=cart is None)
    offers = catalogue().offers_if_reachable(cart.items)
    if offers and domain.outdated(cart.items, offers):
        with current().database.transaction() as connection:
            cart = _show_newer_prices(connection, holder, offers)
    return shown(cart, prices_checked=offers is not None)


def _show_newer_prices(connection: Connection, holder: Holder, offers: Offers) -> Cart | None:
    cart_id = store.lock_cart(connection, holder.key)
    holder.require_cart(cart_id)
    if cart_id is None:
        return None
    return refreshed(connection, cart_id, offers, store.count_change)


@api.put(
    "/items/<path:sku>", body=Quantity, answers={200: CartView}, request_headers=CHANGER,
    response_headers=OPENED, problems=[401, 403, 404, 409, 412, 503],
)  # fmt: skip
def set_quantity(sku: str, body: Quantity) -> Answer:
    """Have exactly this quantity of a product in the cart; 0 removes it.

    Sent twice it does the same once. `If-Match` may name the version that was seen.
    """
    if body.quantity == 0:
        return remove_item(sku)
    holder = current_holder()
    cart = find(holder)
    item, offers = _item_to_set(cart, sku, body.quantity)

    def set_it(connection: Connection, cart_id: UUID) -> None:
        store.set_quantity(connection, cart_id, item)
        domain.check_size(store.count_items(connection, cart_id), rules().limits)

    with current().database.transaction() as connection:
        changed = open_and_change(connection, holder, offers or {}, set_it)
    CHANGES.labels("set").inc()
    return shown(changed, prices_checked=offers is not None)


def _item_to_set(cart: Cart | None, sku: str, quantity: int) -> tuple[Item, Offers | None]:
    """The item at today's price; at the remembered one if it is in the cart and products cannot be reached."""
    domain.check_quantity(quantity, rules().limits)
    items = cart.items if cart else ()
    held = next((item for item in items if item.sku == sku), None)
    offers = catalogue().offers_if_reachable(items) if held else catalogue().offers(items, sku)
    if held is not None and offers is None:
        return replace(held, quantity=quantity), None
    offers = offers or {}
    return domain.item_of(domain.check_offer(offers.get(sku), rules().currency), quantity), offers


@api.delete(
    "/items/<path:sku>", answers={200: CartView}, request_headers=CHANGER, response_headers=SHOWN,
    problems=[401, 403, 404, 409, 412, 503],
)  # fmt: skip
def remove_item(sku: str) -> Answer:
    """Take a product out of the cart; harmless when it is not in it."""
    return change_if_there("remove", lambda connection, cart_id: store.remove_item(connection, cart_id, sku))


@api.delete(
    "/", answers={200: CartView}, request_headers=CHANGER, response_headers=SHOWN,
    problems=[401, 403, 404, 409, 412, 503],
)  # fmt: skip
def clear_cart() -> Answer:
    """Take everything out of the cart."""
    return change_if_there("clear", store.clear_items)


@api.post(
    "/merge", answers={200: MergedCartView}, roles=["customer"], idempotency="optional",
    principal=holders.principal, request_headers=CHANGER, response_headers=SHOWN, problems=[404, 409, 412, 503],
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
        changed = open_and_change(connection, customer, offers or {}, merge)
        connection.after_commit(CHANGES.labels("merge").inc)
    holders.drop_cookie()
    answer = shown(changed, prices_checked=offers is not None)
    return replace(answer, body=answer.body | show_merge(done))


def _merge_into(connection: Connection, cart_id: UUID, visitor: Holder) -> domain.Merge:
    """Empty the visitor's cart into a locked one. The visitor's is always locked second: no two merges deadlock."""
    visitors_id = store.lock_cart(connection, visitor.key)
    held = store.find_cart(connection, Key(cart_id=cart_id))
    brought = store.find_cart(connection, Key(cart_id=visitors_id)) if visitors_id else None
    if held is None or brought is None:
        return domain.Merge()
    done = domain.merge(held.items, brought.items, rules().limits)
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


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The cart function in `environ`; the template calls this once."""
    app = build(api, CartSettings, environ)
    app.extensions["catalogue"] = Catalogue()
    app.extensions["rules"] = app.service.settings(CartSettings).rules
    return app
