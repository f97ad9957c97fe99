"""What a request does to stock, and what a refusal says: decisions that need neither HTTP nor SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from functions.shared import Conflict, Invalid

Kind = Literal[
    "receipt", "adjustment", "write_off", "transfer_out", "transfer_in", "sale", "sale_undone", "return"
]
WAREHOUSE: Final = "W1"
"""Where replenishments come from; also the web shop's stock."""


@dataclass(frozen=True)
class Line:
    """A quantity of one SKU at one location, as a request names it; never zero, below zero only in adjustments."""

    location: str
    sku: str
    quantity: int


@dataclass(frozen=True)
class Change:
    """What happens to one row of stock: both are added. `kind` is what the ledger calls a change of `on_hand`."""

    location: str
    sku: str
    on_hand: int = 0
    reserved: int = 0
    kind: Kind | None = None


@dataclass(frozen=True)
class Lack:
    """One row of stock that has less `available` than the request takes."""

    location: str
    sku: str
    requested: int
    available: int


def combined(lines: Iterable[Line]) -> list[Line]:
    """One line for each location and SKU, in that order: quantities add up, and what adds up to nothing is left out."""
    sums: dict[tuple[str, str], int] = {}
    for line in lines:
        key = (line.location, line.sku)
        sums[key] = sums.get(key, 0) + line.quantity
    return [Line(*key, quantity) for key, quantity in sorted(sums.items()) if quantity]


def brought(lines: Iterable[Line], kind: Kind) -> list[Change]:
    """The lines come in."""
    return [Change(line.location, line.sku, line.quantity, 0, kind) for line in combined(lines)]


def taken(lines: Iterable[Line], kind: Kind) -> list[Change]:
    """The lines go out, of what is not promised to anybody."""
    return [Change(line.location, line.sku, -line.quantity, 0, kind) for line in combined(lines)]


def moved(lines: Sequence[Line], to_location: str) -> list[Change]:
    """The lines go from where they are to another location; nothing is gained or lost."""
    arriving = [Line(to_location, line.sku, line.quantity) for line in lines]
    changes = taken(lines, "transfer_out") + brought(arriving, "transfer_in")
    return sorted(changes, key=lambda change: (change.location, change.sku))


def promised(lines: Iterable[Line]) -> list[Change]:
    """The lines stay, and are available to nobody else."""
    return [Change(line.location, line.sku, 0, line.quantity) for line in combined(lines)]


def released(lines: Iterable[Line]) -> list[Change]:
    """The lines are available again; those of several reservations may be given together."""
    return [Change(line.location, line.sku, 0, -line.quantity) for line in combined(lines)]


def fulfilled(lines: Iterable[Line]) -> list[Change]:
    """Lines that were promised go out."""
    return [
        Change(line.location, line.sku, -line.quantity, -line.quantity, "sale") for line in combined(lines)
    ]


Shortage = Literal["insufficient_stock", "reservation_expired"]
_TOO_LITTLE: Final[Mapping[Shortage, str]] = {
    "insufficient_stock": "There is not enough stock.",
    "reservation_expired": "The reservation has expired, and there is not enough stock to take it anew.",
}


def insufficient(lines: Sequence[Line], lacks: Sequence[Lack], code: Shortage) -> Conflict:
    """The refusal that names each of `lines`, by its place, of which there is too little."""
    by_key = {(lack.location, lack.sku): lack for lack in lacks}
    errors = []
    for place, line in enumerate(lines):
        lack = by_key.get((line.location, line.sku))
        if lack is not None:
            message = f"{lack.requested} wanted, {lack.available} available at {lack.location}"
            errors.append({"field": f"lines.{place}.sku", "message": message})
    lacking = [
        {
            "location": lack.location,
            "sku": lack.sku,
            "requested": lack.requested,
            "available": lack.available,
        }
        for lack in lacks
    ]
    return Conflict(_TOO_LITTLE[code], code=code, errors=errors, members={"lacking": lacking})


def lacks_of(
    changes: Iterable[Change],
    changed: Iterable[tuple[str, str]],
    available: Mapping[tuple[str, str], int],
) -> list[Lack]:
    """The changes that were not made, by what is `available` where they were to be made."""
    done = set(changed)
    return [
        Lack(
            change.location,
            change.sku,
            change.reserved - change.on_hand,
            available.get((change.location, change.sku), 0),
        )
        for change in changes
        if (change.location, change.sku) not in done
    ]


def approved_quantities(requested: Mapping[str, int], given: Mapping[str, int] | None) -> dict[str, int]:
    """How much of each SKU is approved: all of it, or what is given; what is not given is refused.

    Raises Invalid for what was not asked for, for more than was, and for nothing at all.
    """
    if given is None:
        return dict(requested)
    faults = [
        {"field": f"lines.{place}", "message": f"{requested.get(sku, 0)} of {sku} were asked for"}
        for place, (sku, quantity) in enumerate(given.items())
        if quantity > requested.get(sku, 0)
    ]
    if faults:
        raise Invalid("More would be approved than was asked for.", code="more_than_requested", errors=faults)
    if not any(given.values()):
        raise Invalid(
            "Approve something of it, or refuse the request.",
            code="nothing_approved",
            errors=[{"field": "lines", "message": "at least one quantity must be above zero"}],
        )
    return {sku: given.get(sku, 0) for sku in requested}


def repeated_rows(lines: Sequence[Line]) -> list[dict[str, str]]:
    """A fault for each line whose location and SKU were given before."""
    seen: set[tuple[str, str]] = set()
    faults = []
    for place, line in enumerate(lines):
        if (line.location, line.sku) in seen:
            faults.append(
                {"field": f"lines.{place}.sku", "message": "is given more than once for this location"}
            )
        seen.add((line.location, line.sku))
    return faults
