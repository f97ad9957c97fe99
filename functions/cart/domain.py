"""What the cart decides without a database or a network: totals, limits, merging, what a new price changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from functions.shared import Conflict, Invalid
from functions.shared.catalogue import Product
from functions.shared.taxes import Tax, TaxRates, taxes_on


@dataclass(frozen=True)
class Item:
    """A quantity of one product in a cart, with the product as it was last shown to the cart's holder."""

    sku: str
    quantity: int
    product_id: int
    product_version: int
    name: str
    unit_price_cents: int
    available: bool = True
    previous_price_cents: int | None = None
    price_changed_at: datetime | None = None

    @property
    def total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


@dataclass(frozen=True)
class Cart:
    """One cart as it is in the database; items in the order in which they were added."""

    cart_id: UUID
    version: int
    expires_at: datetime
    items: Sequence[Item] = ()
    in_checkout: bool = False


@dataclass(frozen=True)
class Limits:
    """How much one cart may hold."""

    quantity: int
    items: int


@dataclass(frozen=True)
class Totals:
    """Sums over the available items, in cents."""

    subtotal_cents: int
    taxes: Sequence[Tax]

    @property
    def total_cents(self) -> int:
        return self.subtotal_cents + sum(tax.amount_cents for tax in self.taxes)


def totals(items: Iterable[Item], rates: TaxRates) -> Totals:
    """Subtotal and taxes of a cart."""
    subtotal = sum(item.total_cents for item in items if item.available)
    return Totals(subtotal, taxes_on(subtotal, rates))


def check_offer(offer: Product | None, currency: str) -> Product:
    """The offer, if it can be put into a cart of `currency`; raises Invalid naming the field otherwise."""
    if offer is None:
        raise _refused_sku("unknown_product", "There is no product with this SKU.")
    if not offer.active:
        raise _refused_sku("inactive_product", "This product is no longer sold.")
    if offer.currency != currency:
        raise _refused_sku(
            "other_currency", f"This product is priced in {offer.currency}, the cart in {currency}."
        )
    return offer


def _refused_sku(code: str, message: str) -> Invalid:
    return Invalid(message, code=code, errors=[{"field": "sku", "message": message}])


def check_quantity(quantity: int, limits: Limits) -> None:
    """Raise Invalid when one item would hold more than the limit."""
    if quantity > limits.quantity:
        message = f"A cart holds at most {limits.quantity} of one product; this would make {quantity}."
        raise Invalid(message, code="quantity_limit", errors=[{"field": "quantity", "message": message}])


def check_size(items: int, limits: Limits) -> None:
    """Raise Conflict when a cart would hold more different products than the limit."""
    if items > limits.items:
        message = f"A cart holds at most {limits.items} different products."
        raise Conflict(message, code="cart_full", errors=[{"field": "sku", "message": message}])


def refreshed(item: Item, offer: Product, currency: str, now: datetime) -> Item:
    """`item` as `offer` shows its product now, and what the price was before if it has changed."""
    newer = replace(
        item,
        product_version=offer.version,
        name=offer.name,
        available=offer.active and offer.currency == currency,
    )
    if offer.currency != currency or offer.price_cents == item.unit_price_cents:
        return newer
    return replace(
        newer,
        unit_price_cents=offer.price_cents,
        previous_price_cents=item.unit_price_cents,
        price_changed_at=now,
    )


def outdated(items: Iterable[Item], offers: Mapping[str, Product]) -> list[Item]:
    """The items whose product has a newer version than the one that they show."""
    return [item for item in items if item.sku in offers and offers[item.sku].version > item.product_version]


def item_of(offer: Product, quantity: int) -> Item:
    """A quantity of a product that can be sold, as the catalogue shows it now."""
    return Item(offer.sku, quantity, offer.product_id, offer.version, offer.name, offer.price_cents)


@dataclass(frozen=True)
class Merge:
    """What merging one cart into another does: the items to write, and what did not fit."""

    items: Sequence[Item] = ()
    limited: Mapping[str, int] = field(default_factory=dict)
    """SKU to the quantity that was left behind, because of the limit on one item."""
    left_out: Sequence[str] = ()
    """SKUs left behind altogether, because of the limit on the number of items."""


def merge(held: Sequence[Item], brought: Sequence[Item], limits: Limits) -> Merge:
    """Put `brought` into a cart that has `held`: quantities add up to the limits, in the order they were added."""
    quantities = {item.sku: item.quantity for item in held}
    items: list[Item] = []
    limited: dict[str, int] = {}
    left_out: list[str] = []
    for item in brought:
        if item.sku not in quantities and len(quantities) >= limits.items:
            left_out.append(item.sku)
            continue
        present = quantities.get(item.sku, 0)
        wanted = present + item.quantity
        quantities[item.sku] = max(present, min(wanted, limits.quantity))
        if quantities[item.sku] < wanted:
            limited[item.sku] = wanted - quantities[item.sku]
        items.append(replace(item, quantity=quantities[item.sku]))
    return Merge(items, limited, left_out)
