"""Taxes on a document: each is taken once on the whole subtotal, by rate, and rounded half up.

Each is shared out over the lines, so that it can go back in parts when lines come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any


class TaxRates(tuple[tuple[str, Decimal], ...]):
    """Names and percentages, read from a setting such as `TPS=5,TVQ=9.975`; empty text means no taxes."""

    __slots__ = ()

    def __new__(cls, text: str) -> TaxRates:
        """Raises ValueError for anything but `NAME=PERCENT` joined by commas, with percentages from 0 to 100."""
        return super().__new__(cls, (_rate(part) for part in text.split(",") if part.strip()))


def _rate(part: str) -> tuple[str, Decimal]:
    name, _, percent = (piece.strip() for piece in part.partition("="))
    try:
        rate = Decimal(percent)
    except InvalidOperation as error:
        raise ValueError(f"{part!r} is not NAME=PERCENT") from error
    if not name or not rate.is_finite() or not 0 <= rate <= 100:
        raise ValueError(f"{part!r} is not NAME=PERCENT from 0 to 100")
    return name, rate


@dataclass(frozen=True)
class Tax:
    name: str
    percent: Decimal
    amount_cents: int


def taxes_on(subtotal_cents: int, rates: TaxRates) -> tuple[Tax, ...]:
    """The taxes on a subtotal, in the order of `rates`.

    TVQ is not taken on TPS: since 2013 both have the same base.
    """
    return tuple(Tax(name, percent, percentage(subtotal_cents, percent)) for name, percent in rates)


def show_taxes(taxes: Iterable[Tax]) -> list[dict[str, Any]]:
    """Taxes as they are stored and shown."""
    return [
        {"name": tax.name, "percent": str(tax.percent), "amount_cents": tax.amount_cents} for tax in taxes
    ]


def percentage(cents: int, percent: Decimal) -> int:
    """`percent` of an amount in whole cents; half a cent goes away from zero."""
    return int((cents * percent / 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def apportioned(amount_cents: int, weights: Sequence[int]) -> list[int]:
    """Whole cents in proportion to `weights`, adding up to the amount (largest remainder method).

    Weights that add up to nothing get nothing; the amount is then 0 too, being a rate of their sum.
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    if whole < 0:
        return apportioned(amount_cents, [-weight for weight in weights])
    shares = [amount_cents * weight // whole for weight in weights]
    remainders = [amount_cents * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: -remainders[place])
    for place in order[: amount_cents - sum(shares)]:
        shares[place] += 1
    return shares
