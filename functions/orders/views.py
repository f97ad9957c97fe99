"""What orders shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from .bodies import Address, Status
from .order_numbers import show_number


class TaxView(BaseModel):
    name: str
    percent: str
    amount_cents: int


class OrderLineView(BaseModel):
    line: int
    sku: str
    name: str
    quantity: int
    returned: int
    unit_price_cents: int
    total_cents: int = Field(description="before tax")
    tax_cents: int


class HistoryEntry(BaseModel):
    """A step that the order made."""

    at: datetime
    who: str
    from_status: Status | None = Field(alias="from")
    to: Status
    note: str | None


class ReturnLineView(BaseModel):
    line: int = Field(description="of the order")
    sku: str
    name: str
    restock: bool
    quantity: int
    unit_price_cents: int
    total_cents: int
    tax_cents: int


class ReturnView(BaseModel):
    """Goods that came back; amounts are positive. Refunded once it is complete."""

    return_id: UUID
    order_id: UUID
    status: str = Field(description="pending until the goods are booked and the money is back; then complete")
    reason: str | None = Field(description="null once the customer's data was erased")
    returned_by: str
    lines: list[ReturnLineView]
    subtotal_cents: int
    taxes: list[TaxView]
    tax_cents: int
    total_cents: int
    created_at: datetime
    completed_at: datetime | None


class OrderSummary(BaseModel):
    """An order in a list."""

    order_id: UUID
    number: str = Field(description="M7K3-F92Q-X")
    status: Status
    checkout_id: UUID
    customer_id: str
    location: str
    currency: str
    subtotal_cents: int
    taxes: list[TaxView]
    tax_cents: int
    total_cents: int
    refunded_cents: int
    carrier: str | None
    tracking: str | None
    placed_on: date = Field(description="the location's day")
    created_at: datetime
    paid_at: datetime | None
    packed_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    cancelled_at: datetime | None
    returned_at: datetime | None
    refunded_at: datetime | None
    erased_at: datetime | None


class OrderView(OrderSummary):
    """An order with its lines, history and returns."""

    lines: list[OrderLineView]
    address: Address | None = Field(description="null once the customer's data was erased")
    history: list[HistoryEntry]
    returns: list[ReturnView]


class OrderPage(BaseModel):
    items: list[OrderSummary]
    next: str | None


class AbandonedView(BaseModel):
    """A checkout that has no order, or a cancelled one."""

    checkout_id: UUID
    order_id: UUID | None
    status: Status


class Recovery(BaseModel):
    recovered: int
    more: bool = Field(description="Whether there may be more to settle right now.")


class Erased(BaseModel):
    """How many orders lost their personal data now, and how many still need theirs."""

    erased: int
    open: int


def show_order(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of orders, as OrderSummary or OrderView."""
    return {
        **row,
        "number": show_number(row["number"]),
        "placed_on": row["placed_on"].isoformat(),
        **{name: [_utc(part) for part in row[name]] for name in ("history", "returns") if name in row},
    }


def _utc(part: Mapping[str, Any]) -> dict[str, Any]:
    """With times again of what PostgreSQL has made text of, so that they are written as everywhere else."""
    return {
        name: datetime.fromisoformat(value) if value and name in _TIMES else value
        for name, value in part.items()
    }


_TIMES = frozenset({"at", "created_at", "completed_at"})
