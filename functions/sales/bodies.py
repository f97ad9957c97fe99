"""What sales takes: bodies and queries, and how much of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, SkipValidation

from functions.shared import ONE_LINE, Body, Day, Query

LARGEST_QUANTITY = 10_000
LARGEST_IMPORTED_QUANTITY = 1_000_000
HIGHEST_PRICE_CENTS = 100_000_000
HIGHEST_AMOUNT_CENTS = 10**15
HIGHEST_DOCUMENT_CENTS = 10**12
"""Of an imported document, whatever the signs of its lines: reports sum millions of documents in a bigint."""
LINES_PER_SALE = 200
TENDERS_PER_SALE = 10
DOCUMENTS_PER_IMPORT = 200
LINES_PER_IMPORT = 2_000
LINES_PER_DOCUMENT = 1_000
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


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


Text = Annotated[str, Field(min_length=1, max_length=100), ONE_LINE]
Sku = Annotated[str, Field(min_length=1, max_length=64), ONE_LINE]
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
    note: Annotated[str, Field(max_length=500), ONE_LINE] | None = None


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
    name: Annotated[str, Field(min_length=1, max_length=200), ONE_LINE] | None = None


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


Cursor = Annotated[str, Field(max_length=200)]
Limit = Annotated[int, Field(ge=1, le=200)]
StoreDay = Annotated[Day, Field(description="the store's day, YYYY-MM-DD")]


class SaleQuery(Query):
    """Filters and page of the list of sales."""

    store: Annotated[str, Field(max_length=20)] | None = None
    day: StoreDay | None = None
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
    day: StoreDay | None = None
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
