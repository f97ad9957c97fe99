"""What one line of sales says: whose goods, how many, at what price, when; or why it cannot be recorded."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from db.seed.catalogue import LONGEST_NAME, LONGEST_SKU, MAX_PRICE_CENTS
from db.seed.retail_catalogue import (
    LONG_CODE,
    MALFORMED,
    NO_CODE,
    NOT_A_NUMBER,
    NOT_GOODS,
    PRICE,
    REMEMBERED_TEXTS,
    TOO_DEAR,
    WHOLE,
    tidy,
)
from db.seed.retail_file import Line

LARGEST_QUANTITY = 1_000_000
LONGEST_TEXT = 90
"""The limits of the sales function, with room for the number of a part."""

NO_INVOICE = "no invoice number"
NO_PRODUCT = "the file has no price for this code"
NOT_A_QUANTITY = "a quantity that is not a whole number other than zero"
TOO_MANY = f"a quantity above {LARGEST_QUANTITY:,}"
PART_OF_A_CENT = "a price that is not in whole cents"
BELOW_ZERO = "goods at a price below zero"
NOT_A_TIME = "a date that cannot be read"

TIME_FORMATS = ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S")
"""As ISO 8601 has it, and as the data set was first published: month first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that can be recorded. The quantity is above zero; `amount_cents` has the sign that the file gives it."""

    number: int
    invoice: str
    moment: datetime
    customer: str
    sku: str
    name: str
    charge: bool
    quantity: int
    unit_price_cents: int
    amount_cents: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A line that is not recorded, and why; the amount is None when it cannot be known."""

    number: int
    invoice: str
    sku: str
    amount_cents: Decimal | None
    reason: str


class LeftOutError(Exception):
    """A line that cannot be recorded; the reason is a phrase for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def entry_of(line: Line, goods: Container[str]) -> Entry:
    """A line of sales in a file whose catalogue has the SKUs `goods`. Raises LeftOutError."""
    invoice, sku, charge = _names(line, goods)
    quantity, price_cents = whole(line.quantity), _cents(line.unit_price)
    if price_cents < 0 and not charge:
        raise LeftOutError(BELOW_ZERO)
    name = tidy(line.description)[:LONGEST_NAME] or NOT_GOODS.get(sku, sku)
    customer = tidy(line.customer)[:LONGEST_TEXT]
    return Entry(
        line.number, invoice, _moment(line.invoice_date), customer, sku, name, charge,
        abs(quantity), abs(price_cents), quantity * price_cents,
    )  # fmt: skip


def _names(line: Line, goods: Container[str]) -> tuple[str, str, bool]:
    """Invoice and SKU, and whether that is a charge; in capitals, like the catalogue."""
    invoice, sku = tidy(line.invoice).upper(), tidy(line.stock_code).upper()
    if line.malformed:
        raise LeftOutError(MALFORMED)
    if not invoice or len(invoice) > LONGEST_TEXT:
        raise LeftOutError(NO_INVOICE)
    if not sku or len(sku) > LONGEST_SKU:
        raise LeftOutError(LONG_CODE if sku else NO_CODE)
    charge = sku in NOT_GOODS
    if not charge and sku not in goods:
        raise LeftOutError(NO_PRODUCT)
    return invoice, sku, charge


@lru_cache(maxsize=REMEMBERED_TEXTS)
def whole(text: str) -> int:
    """A quantity, below zero for what goes back or is lost. Raises LeftOutError."""
    stripped = text.strip()
    if not WHOLE.fullmatch(stripped) or int(stripped) == 0:
        raise LeftOutError(NOT_A_QUANTITY)
    if abs(int(stripped)) > LARGEST_QUANTITY:
        raise LeftOutError(TOO_MANY)
    return int(stripped)


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _cents(text: str) -> int:
    cents = _exact_cents(text)
    if cents is None:
        raise LeftOutError(NOT_A_NUMBER)
    if cents != int(cents):
        raise LeftOutError(PART_OF_A_CENT)
    if abs(cents) > MAX_PRICE_CENTS:
        raise LeftOutError(TOO_DEAR)
    return int(cents)


def _exact_cents(text: str) -> Decimal | None:
    stripped = text.strip()
    return Decimal(stripped.replace(",", ".")) * 100 if PRICE.fullmatch(stripped) else None


def amount_of(line: Line) -> Decimal | None:
    """Quantity x price of a line that is left out, if both can be read."""
    quantity, cents = line.quantity.strip(), _exact_cents(line.unit_price)
    return None if cents is None or not WHOLE.fullmatch(quantity) else int(quantity) * cents


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _moment(text: str) -> datetime:
    for format_ in TIME_FORMATS:
        try:
            return datetime.strptime(text.strip(), format_)
        except ValueError:
            continue
    raise LeftOutError(NOT_A_TIME)
