"""What sales shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from functions.shared.taxes import show_taxes

from .domain import Bill


class TaxView(BaseModel):
    name: str
    percent: str
    amount_cents: int


class QuoteLineView(BaseModel):
    sku: str
    name: str
    category: str
    charge: bool
    quantity: int
    list_price_cents: int
    unit_price_cents: int
    override_reason: str | None
    total_cents: int
    tax_cents: int


class QuoteView(BaseModel):
    """What lines cost now."""

    currency: str
    lines: list[QuoteLineView]
    subtotal_cents: int
    taxes: list[TaxView]
    tax_cents: int
    total_cents: int


class SaleLineView(QuoteLineView):
    line: int
    returned_quantity: int


class TenderView(BaseModel):
    kind: str
    amount_cents: int
    given_cents: int
    reference: str | None
    gift_card: str | None = Field(description="the last four characters of its code")


class Document(BaseModel):
    """What sales and returns have in common."""

    status: str
    origin: Literal["till", "import"]
    channel: str
    store: str
    register_name: str | None = Field(alias="register")
    cashier: str
    business_date: date = Field(description="the store's day")
    completed_at: datetime | None
    receipt_number: int | None
    receipt: str | None = Field(description="S1-20261122-17; of a return S1-20261122-R3")
    currency: str
    subtotal_cents: int
    taxes: list[TaxView]
    tax_cents: int
    total_cents: int
    customer_reference: str | None
    document: str | None


class SaleSummary(Document):
    """A sale in a list."""

    sale_id: UUID
    sold_at: datetime
    change_cents: int
    voided_at: datetime | None
    void_reason: str | None


class ReturnLineView(BaseModel):
    line: int
    sale_line: int | None
    sku: str
    name: str
    category: str
    charge: bool
    restock: bool
    quantity: int
    unit_price_cents: int
    total_cents: int
    tax_cents: int


class ReturnSummary(Document):
    """A return in a list; amounts are positive."""

    return_id: UUID
    sale_id: UUID | None
    returned_at: datetime
    refund_kind: str
    refund_reference: str | None
    reason: str


class ReturnView(ReturnSummary):
    """A return with its lines."""

    lines: list[ReturnLineView]


class SaleView(SaleSummary):
    """A sale with its lines, tenders and returns."""

    lines: list[SaleLineView]
    tenders: list[TenderView]
    returns: list[ReturnView]


class SalePage(BaseModel):
    items: list[SaleSummary]
    next: str | None


class ReturnPage(BaseModel):
    items: list[ReturnSummary]
    next: str | None


class SessionView(BaseModel):
    """One opening of a register; expected, counted and discrepancy once it is closed."""

    session_id: int
    store: str
    register_name: str = Field(alias="register")
    business_date: date
    opened_at: datetime
    opened_by: str
    opening_cash_cents: int
    closed_at: datetime | None
    closed_by: str | None
    counted_cash_cents: int | None
    expected_cash_cents: int | None
    discrepancy_cents: int | None
    note: str | None


class SessionPage(BaseModel):
    items: list[SessionView]
    next: str | None


class GiftCardEntry(BaseModel):
    kind: Literal["issue", "charge", "charge_undone", "refund"]
    reference: str
    amount_cents: int
    entered_at: datetime


class GiftCardView(BaseModel):
    """A gift card; its balance is the sum of its entries."""

    gift_card_id: int
    last_four: str
    currency: str
    balance_cents: int
    store: str
    issued_at: datetime
    entries: list[GiftCardEntry]


class ImportOutcome(BaseModel):
    """What became of a document, in its place."""

    document: str | None
    kind: str | None
    outcome: Literal["created", "present", "refused", "failed"]
    id: UUID | None
    receipt: str | None
    total_cents: int | None
    problem: dict[str, Any] | None = Field(description="status, code, detail and errors of a refusal")


class ImportResult(BaseModel):
    items: list[ImportOutcome]


class Recovery(BaseModel):
    recovered: int
    more: bool = Field(description="Whether there may be more to settle right now.")


def show_quote(bill: Bill, currency: str) -> dict[str, Any]:
    """The QuoteView of a bill."""
    return {
        "currency": currency,
        "lines": [
            {
                "sku": line.sku,
                "name": line.name,
                "category": line.category,
                "charge": line.charge,
                "quantity": line.quantity,
                "list_price_cents": line.list_price_cents,
                "unit_price_cents": line.unit_price_cents,
                "override_reason": line.override_reason,
                "total_cents": line.total_cents,
                "tax_cents": sum(parts),
            }
            for line, parts in zip(bill.lines, bill.tax_parts, strict=True)
        ],
        "subtotal_cents": bill.subtotal_cents,
        "taxes": show_taxes(bill.taxes),
        "tax_cents": bill.tax_cents,
        "total_cents": bill.total_cents,
    }


def show_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of sales or returns with its receipt as it is printed."""
    return {
        **row,
        "business_date": row["business_date"].isoformat(),
        "receipt": receipt_of(row),
    }


def receipt_of(row: Mapping[str, Any]) -> str | None:
    if row["receipt_number"] is None:
        return None
    series = "R" if "return_id" in row else ""
    return f"{row['store']}-{row['business_date']:%Y%m%d}-{series}{row['receipt_number']}"
