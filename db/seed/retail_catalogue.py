"""From lines of sales to a catalogue: one product for each stock code, and an account of every code and line.

Decided here (docs/decisions/): what is not goods, which lines count, what a code's name and price are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final

from db.seed.catalogue import LONGEST_NAME, LONGEST_SKU, MAX_PRICE_CENTS
from db.seed.retail_file import Line

NOT_GOODS: Final[Mapping[str, str]] = {
    "ADJUST": "adjustment",
    "ADJUST2": "adjustment",
    "AMAZONFEE": "marketplace fee",
    "B": "bad debt",
    "BANK CHARGES": "bank charges",
    "C2": "carriage",
    "C3": "carriage",
    "CRUK": "charity commission",
    "D": "discount",
    "DOT": "postage",
    "M": "manual entry",
    "POST": "postage",
    "S": "samples",
    "TEST001": "test",
    "TEST002": "test",
}
"""Codes of Online Retail and Online Retail II (in capitals) that book money and not goods."""

MALFORMED = "another number of fields than the header"
NO_CODE = "no stock code"
LONG_CODE = f"a stock code longer than {LONGEST_SKU} characters"
NO_DESCRIPTION = "no description"
LONG_DESCRIPTION = f"a description longer than {LONGEST_NAME} characters"
NOT_A_NUMBER = "a price that is not a number"
NOT_POSITIVE = "a price of zero or below"
UNDER_ONE_CENT = "a price below half a cent"
TOO_DEAR = "a price too high to be one"

REMEMBERED_TEXTS = 16_384
"""Sales repeat themselves: most fields of a line have been read before."""

PRICE = re.compile(r"[+-]?[0-9]{1,12}(?:[.,][0-9]{1,12})?")
WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class RetailProduct:
    """What the file says of one product; `codes` are the spellings of its stock code, all in one price.

    `units` is how many leave the shelf in the whole file, sold or written off, before anything comes back.
    """

    sku: str
    name: str
    price_cents: int
    codes: tuple[str, ...]
    units: int = 0


@dataclass(frozen=True)
class RetailCatalogue:
    """Every code of the file is in exactly one of `products` (by its spellings), `not_goods`, `unusable`."""

    products: Sequence[RetailProduct]
    not_goods: Mapping[str, str]
    unusable: Mapping[str, str]
    line_count: int
    code_count: int
    unused_lines: Mapping[str, int]


class _LineRefusedError(Exception):
    """A line that says nothing about a product, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class _Tally:
    """What was seen of one stock code, its spellings together."""

    codes: set[str] = field(default_factory=set)
    descriptions: Counter[str] = field(default_factory=Counter)
    prices: Counter[Decimal] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    units: int = 0


def read_catalogue(lines: Iterable[Line]) -> RetailCatalogue:
    """Fold lines into a catalogue. Memory grows with the number of codes, not of lines."""
    tallies: dict[str, _Tally] = {}
    unused: Counter[str] = Counter()
    line_count = 0
    for line in lines:
        line_count += 1
        reason = _take(line, tallies)
        if reason is not None:
            unused[reason] += 1
    return _catalogue(tallies, unused, line_count)


def _take(line: Line, tallies: dict[str, _Tally]) -> str | None:
    """Count `line` for its code; return why it says nothing about a product, if so."""
    code = tidy(line.stock_code)
    if line.malformed or not code:
        return MALFORMED if line.malformed else NO_CODE
    sku = code.upper()
    tally = tallies.get(sku)
    if tally is None:
        tally = tallies[sku] = _Tally()
    tally.codes.add(code)
    if sku in NOT_GOODS:
        return f"not goods: {NOT_GOODS[sku]}"
    tally.units += units_leaving(line)
    try:
        _check_length(sku, LONGEST_SKU, LONG_CODE)
        description, price = _description(line.description), _price(line.unit_price)
    except _LineRefusedError as refusal:
        tally.refused[refusal.reason] += 1
        return refusal.reason
    tally.descriptions[description] += 1
    tally.prices[price] += 1
    return None


def units_leaving(line: Line) -> int:
    """How many units a line takes from the shelf: those sold, or written off by a negative quantity that is not
    a cancellation (`C…`), which brings goods back."""
    if not WHOLE.fullmatch(line.quantity.strip()) or line.invoice.strip()[:1] in {"C", "c"}:
        return 0
    return abs(int(line.quantity))


@lru_cache(maxsize=REMEMBERED_TEXTS)
def tidy(text: str) -> str:
    """Without control characters (PostgreSQL refuses NUL, people cannot see the others), with single spaces."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _description(text: str) -> str:
    description = tidy(text)
    if not any(character.isalnum() for character in description):
        raise _LineRefusedError(NO_DESCRIPTION)
    _check_length(description, LONGEST_NAME, LONG_DESCRIPTION)
    return description


def _check_length(text: str, longest: int, reason: str) -> None:
    if len(text) > longest:
        raise _LineRefusedError(reason)


@lru_cache(maxsize=REMEMBERED_TEXTS)
def _price(text: str) -> Decimal:
    stripped = text.strip()
    if not PRICE.fullmatch(stripped):
        raise _LineRefusedError(NOT_A_NUMBER)
    price = Decimal(stripped.replace(",", "."))
    if price <= 0:
        raise _LineRefusedError(NOT_POSITIVE)
    cents = to_cents(price)
    if not 1 <= cents <= MAX_PRICE_CENTS:
        raise _LineRefusedError(UNDER_ONE_CENT if cents < 1 else TOO_DEAR)
    return price


def to_cents(price: Decimal) -> int:
    """Half a cent goes up (as money is rounded everywhere in the shop)."""
    return int(price.quantize(_CENT, ROUND_HALF_UP).scaleb(2))


def median(prices: Mapping[Decimal, int]) -> Decimal:
    """The middle of all prices, each as often as it was seen; the mean of the two middle ones of an even number."""
    expanded = _expand(prices)
    count = sum(prices.values())
    middle = [price for position, price in enumerate(expanded) if position in ((count - 1) // 2, count // 2)]
    return sum(middle, Decimal(0)) / len(middle)


def _expand(prices: Mapping[Decimal, int]) -> Iterator[Decimal]:
    for price in sorted(prices):
        yield from (price for _ in range(prices[price]))


def most_frequent(counts: Mapping[str, int]) -> str:
    """Of those seen most often the first in the alphabet, so that the order of lines does not matter."""
    return min(counts, key=lambda text: (-counts[text], text))


def _catalogue(tallies: Mapping[str, _Tally], unused: Mapping[str, int], line_count: int) -> RetailCatalogue:
    products: list[RetailProduct] = []
    not_goods: dict[str, str] = {}
    unusable: dict[str, str] = {}
    for sku, tally in sorted(tallies.items()):
        if sku in NOT_GOODS:
            not_goods |= dict.fromkeys(sorted(tally.codes), NOT_GOODS[sku])
        elif tally.prices:
            name, price = most_frequent(tally.descriptions), median(tally.prices)
            products.append(
                RetailProduct(sku, name, to_cents(price), tuple(sorted(tally.codes)), tally.units)
            )
        else:
            unusable |= dict.fromkeys(sorted(tally.codes), most_frequent(tally.refused))
    codes = sum(len(tally.codes) for tally in tallies.values())
    return RetailCatalogue(products, not_goods, unusable, line_count, codes, dict(unused))
