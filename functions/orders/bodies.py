"""What orders takes: bodies and queries, and how much of each."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from functions.shared import ONE_LINE, Body, Day, Query

LARGEST_QUANTITY = 1_000_000
HIGHEST_PRICE_CENTS = 100_000_000
HIGHEST_AMOUNT_CENTS = 10**15
LINES_PER_ORDER = 500
LONGEST_SUBJECT = 200

Status = Literal["pending", "paid", "packed", "shipped", "delivered", "cancelled", "returned", "refunded"]


def _percent(text: str) -> str:
    try:
        percent = Decimal(text)
    except InvalidOperation as error:
        raise ValueError("must be a percentage such as 9.975") from error
    if not percent.is_finite() or not 0 <= percent <= 100:
        raise ValueError("must be a percentage from 0 to 100")
    return text


Text = Annotated[str, Field(min_length=1, max_length=200), ONE_LINE]
Sku = Annotated[str, Field(min_length=1, max_length=64), ONE_LINE]
Customer = Annotated[str, Field(min_length=1, max_length=LONGEST_SUBJECT), ONE_LINE]
Location = Annotated[str, Field(min_length=1, max_length=20), ONE_LINE]
Reference = Annotated[str, Field(pattern=r"^[!-.0-~]{1,100}$")]
Cents = Annotated[int, Field(ge=0, le=HIGHEST_PRICE_CENTS)]
Amount = Annotated[int, Field(ge=0, le=HIGHEST_AMOUNT_CENTS)]
Quantity = Annotated[int, Field(ge=1, le=LARGEST_QUANTITY)]
Reason = Annotated[str, Field(min_length=1, max_length=500), ONE_LINE]


class Address(Body):
    """Where an order goes."""

    name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    province: Text
    postal_code: Annotated[str, Field(min_length=1, max_length=20), ONE_LINE]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]
    phone: Annotated[str, Field(min_length=1, max_length=40), ONE_LINE] | None = None


class NewOrderLine(Body):
    """A quantity of a product, as the checkout has priced it."""

    sku: Sku
    name: Text
    category: Annotated[str, Field(max_length=200), ONE_LINE]
    quantity: Quantity
    unit_price_cents: Cents


class NewTax(Body):
    name: Annotated[str, Field(min_length=1, max_length=50), ONE_LINE]
    percent: Annotated[str, Field(max_length=20), AfterValidator(_percent)]
    amount_cents: Amount


class NewOrder(Body):
    """What a checkout makes an order of; its sums must add up."""

    checkout_id: UUID
    customer_id: Customer
    location: Location
    reservation_id: UUID
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    lines: Annotated[list[NewOrderLine], Field(min_length=1, max_length=LINES_PER_ORDER)]
    subtotal_cents: Amount
    taxes: Annotated[list[NewTax], Field(max_length=10)]
    tax_cents: Amount
    total_cents: Amount
    address: Address


class Payment(Body):
    """What the provider has taken for an order."""

    payment_reference: Reference
    captured_cents: Amount


class Abandonment(Body):
    """Why a checkout came to nothing."""

    reason: Reason


class Cancellation(Body):
    """Why an order is not wanted any more."""

    reason: Reason


class Shipment(Body):
    """Who carries the parcel, and how to find it."""

    carrier: Text
    tracking: Text | None = None


class NewReturnLine(Body):
    """A quantity of a line of the order, back into stock or written off."""

    line: Annotated[int, Field(ge=1, le=LINES_PER_ORDER)]
    quantity: Quantity
    restock: bool


class NewReturn(Body):
    """Lines of an order that came back."""

    lines: Annotated[list[NewReturnLine], Field(min_length=1, max_length=LINES_PER_ORDER)]
    reason: Reason


class Erasure(Body):
    """Whose personal data is to go."""

    customer_id: Customer


class OrderQuery(Query):
    """Filters and page of the list of orders."""

    status: Status | None = None
    location: Annotated[str, Field(max_length=20)] | None = None
    customer: Annotated[str, Field(max_length=LONGEST_SUBJECT)] | None = None
    number: Annotated[str, Field(max_length=40, description="in any case, with or without dashes")] | None = (
        None
    )
    sku: Annotated[str, Field(max_length=64)] | None = None
    day: Annotated[Day, Field(description="the location's day on which it was placed, YYYY-MM-DD")] | None = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: Annotated[str, Field(max_length=200)] | None = None
