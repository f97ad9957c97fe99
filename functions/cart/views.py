"""Carts as clients send and see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from functions.shared import Body
from functions.shared.taxes import TaxRates, show_taxes

from .domain import Cart, Item, Merge, totals

LARGEST_QUANTITY = 10_000
"""As in the table's constraint; the setting in force is usually lower."""
LONGEST_CUSTOMER_ID = 200
"""As in the table's constraint."""


class NewItem(Body):
    """Add this much of a product to what the cart has of it."""

    sku: Annotated[str, Field(min_length=1, max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=LARGEST_QUANTITY)] = 1


class Quantity(Body):
    """Have exactly this much of a product in the cart; 0 removes it."""

    quantity: Annotated[int, Field(ge=0, le=LARGEST_QUANTITY)]


class ItemView(BaseModel):
    """A product in the cart. What is not `available` cannot be bought any more and is not in the totals."""

    sku: str
    product_id: int
    name: str
    quantity: int
    unit_price_cents: int
    total_cents: int
    available: bool
    previous_price_cents: int | None = Field(
        description="What was shown before the price changed; null again once the quantity is changed."
    )
    price_changed_at: datetime | None


class TaxView(BaseModel):
    name: str
    percent: str
    amount_cents: int


class CartView(BaseModel):
    """A cart with its totals."""

    cart_id: UUID | None = Field(description="Null while there is no cart yet.")
    version: int = Field(description="Counts the changes; also in ETag.")
    currency: str
    items: list[ItemView]
    item_count: int = Field(description="Sum of all quantities.")
    subtotal_cents: int
    taxes: list[TaxView]
    total_cents: int
    prices_checked: bool = Field(
        description="False when prices are those last shown: the catalogue could not be reached, or the cart is in checkout."
    )
    in_checkout: bool = Field(
        description="Whether a checkout holds it; until it is done, changes are refused (409)."
    )
    expires_at: datetime | None


class LeftBehind(BaseModel):
    sku: str
    quantity: int


class MergedCartView(CartView):
    """The customer's cart after a merge."""

    merged: list[str] = Field(description="SKUs that came from the other cart.")
    limited: list[LeftBehind] = Field(
        description="Quantities that did not fit into the limit for one product."
    )
    left_out: list[str] = Field(description="SKUs that did not fit into the limit for one cart.")


class NewCheckout(Body):
    """Keep the customer's cart as it is, if it still has this version."""

    checkout_id: UUID
    customer_id: Annotated[str, Field(min_length=1, max_length=LONGEST_CUSTOMER_ID)]
    version: Annotated[int, Field(ge=0, le=2**31 - 1)]


class FrozenItemView(BaseModel):
    sku: str
    product_id: int
    product_version: int
    name: str
    quantity: int
    unit_price_cents: int = Field(description="As it was last shown to the holder.")
    available: bool


class FrozenCartView(BaseModel):
    """What a checkout holds."""

    checkout_id: UUID
    state: Literal["frozen"]
    cart_id: UUID
    version: int
    currency: str
    items: list[FrozenItemView]


class SettledCheckoutView(BaseModel):
    checkout_id: UUID
    state: Literal["closed", "released"]


class Erasure(Body):
    """Whose data is to be deleted."""

    customer_id: Annotated[str, Field(min_length=1, max_length=LONGEST_CUSTOMER_ID)]


class Erased(BaseModel):
    erased: int = Field(description="Carts that were deleted.")
    open: int = Field(description="Carts that are being checked out, and have to be asked for again.")


class Expiry(BaseModel):
    expired: int
    more: bool = Field(description="Whether there may be more to expire right now.")


def show(cart: Cart | None, currency: str, rates: TaxRates, *, prices_checked: bool) -> dict[str, Any]:
    """The CartView of a cart, or of an empty one that does not exist."""
    items = cart.items if cart else ()
    sums = totals(items, rates)
    return {
        "cart_id": cart.cart_id if cart else None,
        "version": cart.version if cart else 0,
        "currency": currency,
        "items": [_show_item(item) for item in items],
        "item_count": sum(item.quantity for item in items),
        "subtotal_cents": sums.subtotal_cents,
        "taxes": show_taxes(sums.taxes),
        "total_cents": sums.total_cents,
        "prices_checked": prices_checked,
        "in_checkout": cart.in_checkout if cart else False,
        "expires_at": cart.expires_at if cart else None,
    }


def _show_item(item: Item) -> dict[str, Any]:
    return {
        "sku": item.sku,
        "product_id": item.product_id,
        "name": item.name,
        "quantity": item.quantity,
        "unit_price_cents": item.unit_price_cents,
        "total_cents": item.total_cents,
        "available": item.available,
        "previous_price_cents": item.previous_price_cents,
        "price_changed_at": item.price_changed_at,
    }


def show_merge(done: Merge) -> dict[str, Any]:
    """What a MergedCartView adds to a CartView."""
    return {
        "merged": [item.sku for item in done.items],
        "limited": [{"sku": sku, "quantity": quantity} for sku, quantity in done.limited.items()],
        "left_out": list(done.left_out),
    }


def show_frozen(checkout_id: UUID, cart: Cart, currency: str) -> dict[str, Any]:
    """The FrozenCartView of a cart, as it is kept and answered for ever."""
    return {
        "checkout_id": str(checkout_id),
        "state": "frozen",
        "cart_id": str(cart.cart_id),
        "version": cart.version,
        "currency": currency,
        "items": [{name: getattr(item, name) for name in FrozenItemView.model_fields} for item in cart.items],
    }
