"""What checkout takes and shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from functions.shared import ONE_LINE, Body, Query, Row

HIGHEST_TOTAL_CENTS = 10**15


Text = Annotated[str, Field(min_length=1, max_length=200), ONE_LINE]


class Address(Body):
    """Where the order goes."""

    name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    province: Text
    postal_code: Annotated[str, Field(min_length=1, max_length=20), ONE_LINE]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2, such as CA.")]
    phone: Annotated[str, Field(min_length=1, max_length=40), ONE_LINE] | None = None


class Payment(Body):
    """A card, as the payment provider's own form has named it: its number never comes here."""

    card_token: Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]


class NewCheckout(Body):
    """Buy what is in the cart, as it was shown, for this total."""

    cart_version: Annotated[int, Field(ge=1, le=2**31 - 1, description="Of the cart that was shown.")]
    total_cents: Annotated[
        int, Field(ge=0, le=HIGHEST_TOTAL_CENTS, description="What was shown, taxes included.")
    ]
    address: Address
    payment: Payment
    fulfilled_by: Annotated[str, Field(min_length=1, max_length=10), ONE_LINE] | None = Field(
        default=None, description="Location whose stock is sold; without it the web shop's."
    )


class CheckoutQuery(Query):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: Annotated[str, Field(max_length=1000)] | None = None


class Erasure(Body):
    customer_id: Annotated[str, Field(min_length=1, max_length=200)]


class BoughtView(BaseModel):
    """The order, as orders shows it."""

    model_config = ConfigDict(extra="allow")

    checkout_id: UUID
    order_id: str
    number: str
    status: str
    currency: str
    total_cents: int


class StepView(BaseModel):
    """A step that was begun. Its outcome is not known while both `done_at` and `undone_at` are null."""

    step: str
    attempts: int
    begun_at: datetime
    done_at: datetime | None
    milliseconds: float | None = Field(description="From beginning to end, with its record.")
    undo_attempts: int
    undo_begun_at: datetime | None
    undone_at: datetime | None


class CheckoutSummary(BaseModel):
    checkout_id: UUID
    customer_id: str
    state: Literal["open", "undoing", "complete", "refused"]
    step: str = Field(description="The step that is being done, or taken back; at the end the last one.")
    code: str | None = Field(description="Why it is undone.")
    cart_version: int
    agreed_cents: int
    total_cents: int | None = Field(description="Null until it is priced.")
    currency: str | None
    location: str
    order_id: str | None
    order_number: str | None
    created_at: datetime
    settled_at: datetime | None


class CheckoutView(CheckoutSummary):
    steps: list[StepView]


class CheckoutPage(BaseModel):
    items: list[CheckoutSummary]
    next: str | None


class Recovery(BaseModel):
    recovered: int
    more: bool = Field(description="Whether there may be more to recover right now.")


class Erased(BaseModel):
    erased: int
    open: int = Field(description="How many cannot be erased yet, because they are not settled.")


def show_checkout(row: Row) -> dict[str, Any]:
    """The CheckoutView of a checkout with its steps."""
    return {**row, "steps": [{name: _time(value) for name, value in step.items()} for step in row["steps"]]}


def _time(value: Any) -> Any:
    """Times that PostgreSQL wrote into JSON, as they are written everywhere."""
    return value.replace("+00:00", "Z") if isinstance(value, str) else value
