"""What sales decides without a database or a network: bills, payments, overrides, what a return gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from functions.shared import Conflict, Forbidden, Invalid
from functions.shared.returns import Sold, Wanted
from functions.shared.taxes import Tax, TaxRates, apportioned, taxes_on

Fault = dict[str, str]


@dataclass(frozen=True)
class Rules:
    """What is set for all stores."""

    currency: str
    taxes: TaxRates
    staff_override_percent: int
    hq_override_percent: int


@dataclass(frozen=True)
class Line:
    """A quantity of one product, or a charge, at the price it is sold for."""

    sku: str
    name: str
    category: str
    quantity: int
    list_price_cents: int
    unit_price_cents: int
    charge: bool = False
    override_reason: str | None = None

    @property
    def total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


@dataclass(frozen=True)
class Bill:
    """Lines with their taxes; `tax_parts` has for each line its share of each tax, and shares add up."""

    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...]
    tax_parts: tuple[tuple[int, ...], ...]

    @property
    def subtotal_cents(self) -> int:
        return sum(line.total_cents for line in self.lines)

    @property
    def tax_cents(self) -> int:
        return sum(tax.amount_cents for tax in self.taxes)

    @property
    def total_cents(self) -> int:
        return self.subtotal_cents + self.tax_cents


def bill(lines: Iterable[Line], rates: TaxRates) -> Bill:
    """Taxes once on the whole, each then shared out over the lines."""
    lines = tuple(lines)
    totals = [line.total_cents for line in lines]
    taxes = taxes_on(sum(totals), rates)
    shares = [apportioned(tax.amount_cents, totals) for tax in taxes]
    parts = tuple(tuple(share[place] for share in shares) for place in range(len(lines)))
    return Bill(lines, taxes, parts)


@dataclass(frozen=True)
class Tender:
    """A way to pay as the till gives it; for cash the amount is what was given."""

    kind: str
    amount_cents: int
    reference: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Payment:
    """What a tender pays of a sale; for cash `given_cents` may be more, and the rest is change."""

    kind: str
    amount_cents: int
    given_cents: int
    reference: str | None = None
    code: str | None = None


def payments(total_cents: int, tenders: Sequence[Tender]) -> tuple[Payment, ...]:
    """How `tenders` pay exactly the total; only cash may be more than is left to pay, and gives change.

    Raises Invalid naming the tender at fault.
    """
    cash = [place for place, tender in enumerate(tenders) if tender.kind == "cash"]
    if len(cash) > 1:
        raise _refused_tender(cash[1], "give the cash in one tender", "bad_tender")
    seen: set[str] = set()
    for place, tender in enumerate(tenders):
        if tender.code in seen:
            raise _refused_tender(place, "a gift card is given twice", "bad_tender")
        if tender.code is not None:
            seen.add(tender.code)
    left = total_cents - sum(tender.amount_cents for tender in tenders if tender.kind != "cash")
    if left < 0:
        raise Invalid(
            f"The tenders other than cash are {-left} cents more than the total of {total_cents}.",
            code="overpaid",
            errors=[{"field": "tenders", "message": f"{-left} cents too much"}],
        )
    if cash and left == 0:
        raise _refused_tender(cash[0], "nothing is left to pay in cash", "overpaid")
    given = tenders[cash[0]].amount_cents if cash else 0
    if given < left:
        raise Invalid(
            f"The tenders are {left - given} cents short of the total of {total_cents}.",
            code="underpaid",
            errors=[{"field": "tenders", "message": f"{left - given} cents are missing"}],
        )
    return tuple(_payment(tender, left) for tender in tenders)


def _payment(tender: Tender, cash_cents: int) -> Payment:
    amount = cash_cents if tender.kind == "cash" else tender.amount_cents
    return Payment(tender.kind, amount, tender.amount_cents, tender.reference, tender.code)


def _refused_tender(place: int, message: str, code: str) -> Invalid:
    return Invalid(
        f"Tender {place + 1}: {message}.",
        code=code,
        errors=[{"field": f"tenders.{place}", "message": message}],
    )


def check_overrides(lines: Sequence[Line], percent: int) -> None:
    """Raise when a price differs from the catalogue's without a reason (422), or by more than `percent` (403)."""
    unexplained: list[Fault] = []
    beyond: list[Fault] = []
    for place, line in enumerate(lines):
        difference = abs(line.unit_price_cents - line.list_price_cents)
        if difference and not line.override_reason:
            unexplained.append(
                {"field": f"lines.{place}.override_reason", "message": "say why the price is another"}
            )
        elif difference * 100 > percent * line.list_price_cents:
            message = f"may differ by {percent} % from {line.list_price_cents}"
            beyond.append({"field": f"lines.{place}.unit_price_cents", "message": message})
    if unexplained:
        raise Invalid("A changed price needs a reason.", code="override_reason_missing", errors=unexplained)
    if beyond:
        raise Forbidden(
            f"This token may change a price by at most {percent} %.", code="override_limit", errors=beyond
        )


def business_date(moment: datetime, time_zone: str) -> date:
    """The day that it is in `time_zone` at a moment."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


@dataclass(frozen=True)
class Asked:
    """A line of an imported return: which product at which price, not yet which line of the sale."""

    sku: str
    quantity: int
    unit_price_cents: int
    restock: bool
    charge: bool = False


def matched(sold: Sequence[Sold], asked: Sequence[Asked]) -> list[Wanted]:
    """Which lines of the sale an imported return takes back: same SKU, price and kind, those with most left first.

    Raises Conflict naming the lines of which too little is left.
    """
    left = {line.line: line.left for line in sold}
    places: dict[tuple[str, int, bool], list[int]] = {}
    for line in sold:
        places.setdefault((line.sku, line.unit_price_cents, line.charge), []).append(line.line)
    wanted: list[Wanted] = []
    faults: list[Fault] = []
    for place, ask in enumerate(asked):
        missing = ask.quantity
        for number in sorted(
            places.get((ask.sku, ask.unit_price_cents, ask.charge), []), key=lambda number: -left[number]
        ):
            taken = min(missing, left[number])
            if taken:
                wanted.append(Wanted(number, taken, ask.restock, f"lines.{place}"))
                left[number] -= taken
                missing -= taken
        if missing:
            message = f"{ask.quantity} wanted, {ask.quantity - missing} left to return at this price"
            faults.append({"field": f"lines.{place}.quantity", "message": message})
    if faults:
        raise Conflict("More would come back than was sold.", code="more_than_sold", errors=faults)
    return wanted


def lacking_faults(skus: Sequence[str], lacking: Iterable[Mapping[str, object]]) -> list[Fault]:
    """A fault for each line whose product is lacking; `skus` are those of the lines, in order."""
    messages = {row["sku"]: f"{row['requested']} wanted, {row['available']} available" for row in lacking}
    return [
        {"field": f"lines.{place}.sku", "message": messages[sku]}
        for place, sku in enumerate(skus)
        if sku in messages
    ]
