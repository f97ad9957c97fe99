"""What sales takes and shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, SkipValidation

from functions.shared import Body, Query
from functions.shared.taxes import Tax

from .domain import Bill

LARGEST_QUANTITY = 10_000
LARGEST_IMPORTED_QUANTITY = 1_000_000
HIGHEST_PRICE_CENTS = 100_000_000
HIGHEST_AMOUNT_CENTS = 10**15
LINES_PER_SALE = 200
TENDERS_PER_SALE = 10
DOCUMENTS_PER_IMPORT = 200
LINES_PER_IMPORT = 2_000
LINES_PER_DOCUMENT = 1_000
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


def _in_the_past(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= datetime.now(UTC):
        raise ValueError("must be in the past, from the year 2000 on")
    return moment


def _card_code(code: str) -> str:
    """Cards are read by people too: letter case and dashes do not matter."""
    code = code.upper().replace("-", "")
    if len(code) < 8:
        raise ValueError("must have at least 8 letters and digits")
    return code


Text = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
Sku = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
StoreCode = Annotated[
    str, Field(min_length=1, max_length=20, description="hq names it; staff have their own")
]
Register = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,20}$")]
"""In models the field is `register_name`, since `register` is a method of their class."""
GiftCardCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,40}$"), AfterValidator(_card_code)]
Cents = Annotated[int, Field(ge=0, le=HIGHEST_PRICE_CENTS)]
Amount = Annotated[int, Field(ge=1, le=HIGHEST_AMOUNT_CENTS)]
PastTime = Annotated[AwareDatetime, AfterValidator(_in_the_past)]


class NewLine(Body):
    """A quantity of a product; with `unit_price_cents` at another price than the catalogue's, for a reason."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=LARGEST_QUANTITY)]
    unit_price_cents: Cents | None = None
    override_reason: Text | None = None


class CashTender(Body):
    """Cash as it was given; what is too much is change."""

    kind: Literal["cash"]
    given_cents: Amount


class CardTender(Body):
    """Paid at a card terminal, which gave the reference."""

    kind: Literal["card"]
    amount_cents: Amount
    reference: Text


class GiftCardTender(Body):
    kind: Literal["gift_card"]
    amount_cents: Amount
    code: GiftCardCode


NewTender = Annotated[CashTender | CardTender | GiftCardTender, Field(discriminator="kind")]
Lines = Annotated[list[NewLine], Field(min_length=1, max_length=LINES_PER_SALE)]


class NewQuote(Body):
    """Lines to be priced."""

    lines: Lines


class NewSale(Body):
    """A sale at a register."""

    store: StoreCode | None = None
    register_name: Register = Field(alias="register")
    customer_reference: Text | None = None
    lines: Lines
    tenders: Annotated[list[NewTender], Field(max_length=TENDERS_PER_SALE)]


class NewVoid(Body):
    """Take a sale back; its cash is paid back from this register."""

    register_name: Register = Field(alias="register")
    reason: Text


class CashRefund(Body):
    kind: Literal["cash"]


class CardRefund(Body):
    kind: Literal["card"]
    reference: Text


class GiftCardRefund(Body):
    kind: Literal["gift_card"]
    code: GiftCardCode


class NewReturnLine(Body):
    """A quantity of a line of the sale, back into stock or written off."""

    line: Annotated[int, Field(ge=1, le=LINES_PER_DOCUMENT)]
    quantity: Annotated[int, Field(ge=1, le=LARGEST_IMPORTED_QUANTITY)]
    restock: bool


class NewReturn(Body):
    """Lines of a sale that come back, and how they are refunded."""

    register_name: Register = Field(alias="register")
    reason: Text
    lines: Annotated[list[NewReturnLine], Field(min_length=1, max_length=LINES_PER_SALE)]
    refund: Annotated[CashRefund | CardRefund | GiftCardRefund, Field(discriminator="kind")]


class NewSession(Body):
    """Cash that is in the drawer when the register opens."""

    store: StoreCode | None = None
    opening_cash_cents: Cents


class Closing(Body):
    """Cash that was counted in the drawer."""

    store: StoreCode | None = None
    counted_cash_cents: Annotated[int, Field(ge=0, le=HIGHEST_AMOUNT_CENTS)]
    note: Annotated[str, Field(max_length=500), AfterValidator(_one_line)] | None = None


class NewGiftCard(Body):
    """A gift card that is sold; `reference` is the card terminal's."""

    store: StoreCode | None = None
    register_name: Register = Field(alias="register")
    code: GiftCardCode
    amount_cents: Annotated[int, Field(ge=1, le=HIGHEST_PRICE_CENTS)]
    paid_by: Literal["cash", "card"]
    reference: Text | None = None


class ImportedLine(Body):
    """A line of a sale made elsewhere. A `charge` moves no stock and need not be a product."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=LARGEST_IMPORTED_QUANTITY)]
    unit_price_cents: Annotated[int, Field(ge=-HIGHEST_PRICE_CENTS, le=HIGHEST_PRICE_CENTS)]
    charge: bool = False
    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)] | None = None


class ImportedReturnLine(ImportedLine):
    restock: bool | None = Field(default=None, description="instead of the document's")


class ImportedSale(Body):
    """A sale that was made and paid elsewhere."""

    kind: Literal["sale"]
    store: StoreCode
    document: Text
    sold_at: PastTime
    customer_reference: Text | None = None
    taxed: bool = Field(default=False, description="whether taxes are added to the prices")
    lines: Annotated[list[ImportedLine], Field(min_length=1, max_length=LINES_PER_DOCUMENT)]


class ImportedReturn(Body):
    """A return that was taken and refunded elsewhere; without `original` its sale is not known."""

    kind: Literal["return"]
    store: StoreCode
    document: Text
    returned_at: PastTime
    original: Text | None = None
    customer_reference: Text | None = None
    reason: Text = "imported"
    restock: bool = True
    taxed: bool = Field(default=False, description="only without `original`: whether taxes are added")
    lines: Annotated[list[ImportedReturnLine], Field(min_length=1, max_length=LINES_PER_DOCUMENT)]


ImportedDocument = Annotated[ImportedSale | ImportedReturn, Field(discriminator="kind")]


class NewImport(Body):
    """Documents to record in this order; each is checked on its own, so that one that is wrong keeps no other back."""

    documents: Annotated[
        list[SkipValidation[ImportedDocument]], Field(min_length=1, max_length=DOCUMENTS_PER_IMPORT)
    ]


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


Cursor = Annotated[str, Field(max_length=200)]
Limit = Annotated[int, Field(ge=1, le=200)]
Day = Annotated[date, Field(description="the store's day, YYYY-MM-DD")]


class SaleQuery(Query):
    """Filters and page of the list of sales."""

    store: Annotated[str, Field(max_length=20)] | None = None
    day: Day | None = None
    register_name: Annotated[str, Field(max_length=20)] | None = Field(default=None, alias="register")
    cashier: Annotated[str, Field(max_length=200)] | None = None
    receipt: Annotated[str, Field(max_length=60)] | None = None
    sku: Annotated[str, Field(max_length=64)] | None = None
    document: Annotated[str, Field(max_length=100)] | None = None
    status: Literal["sold", "complete", "voided", "unsettled", "refused", "any"] = Field(
        default="sold", description="sold: complete and voided"
    )
    limit: Limit = 50
    after: Cursor | None = None


class ReturnQuery(Query):
    """Filters and page of the list of returns."""

    store: Annotated[str, Field(max_length=20)] | None = None
    day: Day | None = None
    sku: Annotated[str, Field(max_length=64)] | None = None
    sale_id: UUID | None = None
    limit: Limit = 50
    after: Cursor | None = None


class SessionQuery(Query):
    """Filters and page of the list of register sessions."""

    store: Annotated[str, Field(max_length=20)] | None = None
    register_name: Annotated[str, Field(max_length=20)] | None = Field(default=None, alias="register")
    open: bool | None = None
    limit: Limit = 50
    after: Cursor | None = None


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


def show_taxes(taxes: tuple[Tax, ...]) -> list[dict[str, Any]]:
    """Taxes as they are stored and shown."""
    return [
        {"name": tax.name, "percent": str(tax.percent), "amount_cents": tax.amount_cents} for tax in taxes
    ]


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
