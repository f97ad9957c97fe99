"""Payments as clients send and see them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from functions.shared import Body, Invalid, Query

LARGEST_AMOUNT_CENTS = 10**15
LONGEST_REFERENCE = 100
_REFERENCE = re.compile(rf"[!-.0-~]{{1,{LONGEST_REFERENCE}}}\Z")
_REFERENCE_RULE = f"must be 1 to {LONGEST_REFERENCE} printable ASCII characters without space or slash"

State = Literal["authorised", "captured", "voided", "declined"]


def is_reference(text: str) -> bool:
    return bool(_REFERENCE.match(text))


def check_reference(text: str) -> str:
    """The reference of a path; raises Invalid when it cannot be one."""
    if not is_reference(text):
        raise Invalid(errors=[{"field": "reference", "message": _REFERENCE_RULE}])
    return text


def _reference(text: str) -> str:
    if not is_reference(text):
        raise ValueError(_REFERENCE_RULE)
    return text


Reference = Annotated[str, Field(max_length=LONGEST_REFERENCE), AfterValidator(_reference)]
Amount = Annotated[int, Field(ge=1, le=LARGEST_AMOUNT_CENTS)]


class NewAuthorisation(Body):
    """Hold an amount on a card, once for the reference."""

    reference: Reference
    amount_cents: Amount
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    card_token: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=200)] = ""


class NewRefund(Body):
    """Give back a part of what was captured, once for the refund's reference."""

    refund_reference: Reference
    amount_cents: Amount
    reason: Annotated[str, Field(max_length=200)] = ""


class LedgerQuery(Query):
    reference: Reference | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    after: Annotated[str, Field(max_length=200)] | None = None


class RefundView(BaseModel):
    refund_reference: str
    amount_cents: int
    reason: str
    created_at: datetime


class AuthorisationView(BaseModel):
    """What became of a reference."""

    authorisation_id: UUID
    reference: str
    state: State
    amount_cents: int
    captured_cents: int
    refunded_cents: int
    currency: str | None = Field(description="Null when the reference was voided before it was ever used.")
    decline_code: str | None
    created_at: datetime
    refunds: list[RefundView]


class EntryView(BaseModel):
    """One thing that happened to the money of a reference."""

    entry_id: int
    at: datetime
    reference: str
    kind: Literal["authorised", "declined", "voided", "captured", "refunded"]
    amount_cents: int
    refund_reference: str | None


class SumsView(BaseModel):
    """All entries of one reference by kind, also those on other pages."""

    reference: str
    authorised_cents: int
    declined_cents: int
    voided_cents: int
    captured_cents: int
    refunded_cents: int


class LedgerView(BaseModel):
    items: list[EntryView]
    next: str | None
    sums: list[SumsView] = Field(description="Of each reference on this page.")
