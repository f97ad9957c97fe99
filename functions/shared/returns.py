"""What comes back of what was sold, at a till or by the web shop: never more than was sold, and taxes in proportion.

All of a document returned in any pieces gives back exactly its total.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import partial

from prometheus_client import Counter

from .database import Connection
from .errors import Conflict, Invalid
from .taxes import Tax

REFUNDS = Counter(
    "refunds_total", "Voids, returns and cancelled orders that were paid back.", ["channel", "store"]
)
REFUNDS_CENTS = Counter(
    "refunds_cents_total",
    "What the refunds in refunds_total came to, in cents with taxes.",
    ["channel", "store"],
)


def count_refund(connection: Connection, channel: str, store: str, cents: int) -> None:
    """Money went back, once the transaction is committed."""
    connection.after_commit(REFUNDS.labels(channel, store).inc)
    connection.after_commit(partial(REFUNDS_CENTS.labels(channel, store).inc, cents))


@dataclass(frozen=True)
class Sold:
    """A line that was sold, and what has come back of it."""

    line: int
    sku: str
    name: str
    category: str
    charge: bool
    quantity: int
    unit_price_cents: int
    tax_parts: tuple[int, ...]
    returned_quantity: int
    returned_tax_parts: tuple[int, ...]

    @property
    def left(self) -> int:
        return self.quantity - self.returned_quantity

    @property
    def left_cents(self) -> int:
        """What was paid for the line with its taxes, less what has gone back."""
        return self.left * self.unit_price_cents + sum(self.tax_parts) - sum(self.returned_tax_parts)


@dataclass(frozen=True)
class Wanted:
    """What is to come back of one line; `field` is where the request says so."""

    line: int
    quantity: int
    restock: bool
    field: str


@dataclass(frozen=True)
class Returned:
    """A line of a return: what comes back of a sold line, or of a product whose sale is not known."""

    sku: str
    name: str
    category: str
    charge: bool
    restock: bool
    quantity: int
    unit_price_cents: int
    tax_parts: tuple[int, ...]
    sold_line: int | None = None

    @property
    def total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


def take_back(
    sold: Sequence[Sold], wanted: Sequence[Wanted], *, document: str = "sale"
) -> tuple[tuple[Returned, ...], tuple[Sold, ...]]:
    """The lines of a return, and the sold lines as they are after it.

    Raises Invalid for lines that the document does not have, Conflict when more would come back than was sold.
    """
    present = {line.line: line for line in sold}
    unknown = [want for want in wanted if want.line not in present]
    if unknown:
        faults = [
            {"field": f"{want.field}.line", "message": f"the {document} has no line {want.line}"}
            for want in unknown
        ]
        raise Invalid(f"The {document} has no such line.", code="unknown_line", errors=faults)
    faults, returned = [], []
    for want in wanted:
        line = present[want.line]
        if want.quantity > line.left:
            message = f"{want.quantity} wanted, {line.left} left to return"
            faults.append({"field": f"{want.field}.quantity", "message": message})
            continue
        parts = _refunded(line, want.quantity)
        returned.append(_returned(line, want, parts))
        present[want.line] = replace(
            line,
            returned_quantity=line.returned_quantity + want.quantity,
            returned_tax_parts=_added(line.returned_tax_parts, parts),
        )
    if faults:
        raise Conflict("More would come back than was sold.", code="more_than_sold", errors=faults)
    touched = {want.line for want in wanted}
    return tuple(returned), tuple(line for number, line in present.items() if number in touched)


def _returned(line: Sold, want: Wanted, parts: tuple[int, ...]) -> Returned:
    return Returned(
        line.sku, line.name, line.category, line.charge, want.restock, want.quantity,
        line.unit_price_cents, parts, line.line,
    )  # fmt: skip


def _refunded(line: Sold, quantity: int) -> tuple[int, ...]:
    """The taxes that go back with `quantity` more of a line.

    What is due in proportion once it is back, less what has gone back already: never below nothing,
    and all of it with the last one, whatever was returned before or given up on.
    """
    after = line.returned_quantity + quantity
    return tuple(
        _further(part, after, line.quantity, already)
        for part, already in zip(line.tax_parts, line.returned_tax_parts, strict=True)
    )


def _further(part: int, after: int, quantity: int, already: int) -> int:
    due = int((Decimal(abs(part)) * after / quantity).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    further = max(0, due - abs(already))
    return further if part >= 0 else -further


def _added(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def refund_taxes(names: Sequence[tuple[str, Decimal]], lines: Sequence[Returned]) -> tuple[Tax, ...]:
    """The taxes of a return: for each tax of the document the sum of what its lines give back."""
    return tuple(
        Tax(name, percent, sum(line.tax_parts[place] for line in lines))
        for place, (name, percent) in enumerate(names)
    )
