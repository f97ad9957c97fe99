"""What inventory takes and shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from functions.shared import ONE_LINE, Body, Query
from functions.shared.validation import invalid

from .domain import Kind

LARGEST_QUANTITY = 1_000_000
MOST_LINES = 1000
MOST_SKUS = 200
LARGEST_THRESHOLD = 100_000_000
LONGEST_TTL_SECONDS = 31 * 86_400
"""What is looked at; the setting `longest_reservation_seconds` is less."""


Sku = Annotated[str, Field(min_length=1, max_length=64), ONE_LINE]
Location = Annotated[str, Field(min_length=1, max_length=10, description="Code of a location, such as S1.")]
Reason = Annotated[str, Field(min_length=1, max_length=200), ONE_LINE]
Reference = Annotated[
    str,
    Field(
        pattern=r"^[!-.0-~]{1,100}$", description="Up to 100 printable ASCII characters but space and slash."
    ),
]
Quantity = Annotated[int, Field(ge=1, le=LARGEST_QUANTITY)]
Threshold = Annotated[int, Field(ge=0, le=LARGEST_THRESHOLD)]


ReservationId = Annotated[UUID, Field(strict=False)]


class NewLine(Body):
    sku: Sku
    quantity: Quantity


Lines = Annotated[list[NewLine], Field(min_length=1, max_length=MOST_LINES)]


class NewReceipt(Body):
    """Goods that arrive."""

    location: Location
    lines: Lines
    reference: Reference | None = None
    reason: Reason | None = None


class BulkLine(Body):
    location: Location
    sku: Sku
    quantity: Quantity
    low_at: Threshold | None = Field(default=None, description="Set this threshold too.")


class NewBulkReceipt(Body):
    """Up to 1,000 rows of opening stock, received together or not at all, and once for each reference."""

    reference: Reference
    lines: Annotated[list[BulkLine], Field(min_length=1, max_length=MOST_LINES)]
    reason: Reason = "opening stock"


class AdjustedLine(Body):
    sku: Sku
    quantity: Annotated[int, Field(ge=-LARGEST_QUANTITY, le=LARGEST_QUANTITY)]


class NewAdjustment(Body):
    """What a count has found to be more or less than the books say."""

    location: Location
    reason: Reason
    lines: Annotated[list[AdjustedLine], Field(min_length=1, max_length=MOST_LINES)]


class NewWriteOff(Body):
    """Goods that can no longer be sold."""

    location: Location
    reason: Reason
    lines: Lines


class NewTransfer(Body):
    """Goods that go from one location to another."""

    from_location: Location
    to_location: Location
    lines: Lines
    reference: Reference | None = None
    reason: Reason | None = None


class NewIssue(Body):
    """Goods that leave because they are sold; once for each reference."""

    location: Location
    reference: Reference
    lines: Lines
    reason: Literal["sale"] = "sale"


class NewReturn(Body):
    """Goods that come back; once for each reference. Without `restock` they are written off at once."""

    location: Location
    reference: Reference
    lines: Lines
    restock: bool


class NewReservation(Body):
    """Promise all lines or none, for a while."""

    reservation_id: ReservationId | None = Field(
        default=None,
        description="The caller's own: it is reserved once, and released before it was it never is.",
    )
    location: Location = "W1"
    lines: Lines
    reference: Reference | None = None
    ttl_seconds: Annotated[int, Field(ge=1, le=LONGEST_TTL_SECONDS)] | None = Field(
        default=None,
        description="How long the promise holds; without it the setting `reservation_ttl_seconds`.",
    )


class ThresholdLine(Body):
    sku: Sku
    low_at: Threshold | None


class Thresholds(Body):
    """From how many available on a SKU is low at a location; null: never."""

    location: Location
    lines: Annotated[list[ThresholdLine], Field(min_length=1, max_length=MOST_LINES)]


class NewReplenishment(Body):
    """A store asks the warehouse for stock."""

    location: Location
    lines: Lines
    note: Reason | None = None


class ApprovedLine(Body):
    sku: Sku
    quantity: Annotated[int, Field(ge=0, le=LARGEST_QUANTITY)]


class Approval(Body):
    """The quantities that are approved; without `lines` all that was asked for."""

    lines: Annotated[list[ApprovedLine], Field(min_length=1, max_length=MOST_LINES)] | None = None


class Refusal(Body):
    reason: Reason


class PageQuery(Query):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: Annotated[str, Field(max_length=1000)] | None = None


class StockQuery(PageQuery):
    location: Location | None = None
    sku: Annotated[list[Sku], Field(default_factory=list, max_length=MOST_SKUS)]


class LowStockQuery(PageQuery):
    location: Location | None = None


class MovementQuery(PageQuery):
    location: Location | None = None
    sku: Sku | None = None
    kind: Kind | None = None
    reference: Reference | None = None


class ReplenishmentQuery(PageQuery):
    location: Location | None = None
    state: Literal["requested", "approved", "refused"] | None = None


class MovementView(BaseModel):
    movement_id: int
    moved_at: datetime
    location: str
    sku: str
    quantity: int = Field(description="Above zero what came in, below what went out.")
    on_hand: int = Field(description="What was there afterwards.")
    kind: Kind
    reason: str | None
    reference: str | None
    moved_by: str


class Movements(BaseModel):
    movements: list[MovementView]


class MovementPage(BaseModel):
    items: list[MovementView]
    next: str | None


class BulkReceiptView(BaseModel):
    reference: str
    lines: int = Field(description="How many rows the batch has.")


class LineView(BaseModel):
    sku: str
    quantity: int


class IssueView(BaseModel):
    reference: str
    state: Literal["issued", "undone"]
    location: str | None = Field(
        description="Null, as `lines`, when it was undone without having been issued."
    )
    lines: list[LineView] | None
    issued_at: datetime | None
    undone_at: datetime | None
    movements: list[MovementView]


class ReturnView(BaseModel):
    reference: str
    location: str
    lines: list[LineView]
    restock: bool
    returned_at: datetime
    movements: list[MovementView]


class ReservationView(BaseModel):
    reservation_id: UUID
    state: Literal["open", "committed", "released", "expired"]
    location: str | None = Field(description="Null when it was released without having been made.")
    reference: str | None
    lines: list[LineView]
    created_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    movements: list[MovementView] = Field(description="What left; empty until it is committed.")


class Expiry(BaseModel):
    expired: int
    more: bool = Field(description="Whether there may be more to expire right now.")


class LocationView(BaseModel):
    location: str
    name: str
    kind: Literal["store", "warehouse"]
    time_zone: str


class LocationList(BaseModel):
    items: list[LocationView]
    next: str | None


class StockView(BaseModel):
    location: str
    sku: str
    on_hand: int
    reserved: int
    available: int
    low_at: int | None
    changed_at: datetime


class StockPage(BaseModel):
    items: list[StockView]
    next: str | None


class SkuStock(BaseModel):
    """One SKU over all locations that have, or have had, any of it."""

    sku: str
    on_hand: int
    reserved: int
    available: int
    locations: list[StockView]


class ReplenishmentLineView(BaseModel):
    sku: str
    requested: int
    approved: int | None


class ReplenishmentView(BaseModel):
    replenishment_id: int
    location: str
    state: Literal["requested", "approved", "refused"]
    note: str | None
    lines: list[ReplenishmentLineView]
    asked_by: str
    asked_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None


class ReplenishmentPage(BaseModel):
    items: list[ReplenishmentView]
    next: str | None


class Difference(BaseModel):
    """A row of stock that is not what its ledger and its open reservations say; null: there is no row."""

    location: str
    sku: str
    on_hand: int | None
    ledger: int
    reserved: int | None
    open_reservations: int


class Invariants(BaseModel):
    holds: bool
    checked: int = Field(description="How many rows of stock were compared.")
    differences: list[Difference]
    more: bool = Field(description="Whether more differ than are named.")


def is_same(present: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether what is stored under a reference is what is asked for now."""
    return all(present[name] == value for name, value in asked.items())


_REFERENCE = TypeAdapter(Reference)


def check_reference(text: str) -> str:
    """A reference that came in a path; raises Invalid when it is none."""
    try:
        return _REFERENCE.validate_python(text)
    except ValidationError as error:
        raise invalid(error, "reference") from error
