"""From lines of sales to documents for the shop: sales, returns, write-offs, and an account of every line.

The same file gives the same documents under the same numbers, so that sending them again changes nothing.
Decided here (docs/decisions/0025-importing-sales.md): what a line is, by its invoice, quantity and price.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from db.seed.retail_catalogue import tidy
from db.seed.retail_file import Line
from db.seed.retail_lines import Entry, LeftOut, LeftOutError, amount_of, entry_of, whole

COLUMNS: Final = ("InvoiceNo", "Quantity", "InvoiceDate")
"""The columns without which there are no sales in a file."""
LINES_PER_DOCUMENT = 500
"""A longer invoice becomes several documents; half of what sales takes."""

Kind = Literal["sale", "return", "write_off"]
_ORDER: Final[Mapping[str, int]] = {"sale": 0, "return": 1, "write_off": 2}


@dataclass(frozen=True, slots=True)
class Document:
    """Lines of one invoice that are recorded together; `moment` is by the store's clock.

    `original` is the number of the sale that a return takes back.
    """

    kind: Kind
    number: str
    moment: datetime
    customer: str
    entries: tuple[Entry, ...]
    original: str | None = None

    @property
    def amount_cents(self) -> int:
        return sum(entry.amount_cents for entry in self.entries)


@dataclass(frozen=True)
class Plan:
    """Every line of the file is in one document, or left out."""

    documents: Sequence[Document]
    left_out: Sequence[LeftOut]
    line_count: int

    @property
    def amount_cents(self) -> Decimal:
        """Quantity x price of all lines of which both are known."""
        known = (row.amount_cents for row in self.left_out if row.amount_cents is not None)
        return sum(known, Decimal(sum(document.amount_cents for document in self.documents)))


@dataclass
class _Groups:
    """Entries by what becomes of them, each group in the order of the file."""

    sold: list[Entry] = field(default_factory=list)
    returned: list[Entry] = field(default_factory=list)
    written_off: list[Entry] = field(default_factory=list)
    discounts: list[Entry] = field(default_factory=list)


def plan_sales(lines: Iterable[Line], goods: Container[str]) -> Plan:
    """What is to be recorded for a file whose catalogue has the SKUs `goods`.

    Documents are in the order of their time, a sale before what takes it back.
    """
    groups, left_out, count = _Groups(), [], 0
    for line in lines:
        count += 1
        try:
            _place(line, goods, groups)
        except LeftOutError as refusal:
            code = tidy(line.stock_code).upper()
            left_out.append(
                LeftOut(line.number, tidy(line.invoice).upper(), code, amount_of(line), refusal.reason)
            )
    sales, refunds = _with_discounts(_documents("sale", groups.sold), groups.discounts)
    returns = _returns(sorted([*groups.returned, *refunds], key=lambda entry: entry.number), sales)
    documents = [*sales, *returns, *_documents("write_off", groups.written_off)]
    documents.sort(key=lambda one: (one.moment, _ORDER[one.kind], one.entries[0].number))
    return Plan(documents, left_out, count)


def _place(line: Line, goods: Container[str], groups: _Groups) -> None:
    """Put a line where it belongs. Raises LeftOutError with the reason why it belongs nowhere."""
    entry = entry_of(line, goods)
    if entry.charge:
        if entry.amount_cents >= 0:
            groups.sold.append(entry)
        elif _is_cancellation(entry.invoice):
            groups.returned.append(entry)
        else:
            groups.discounts.append(entry)
    elif whole(line.quantity) > 0:
        groups.sold.append(entry)
    elif entry.unit_price_cents == 0 and not _is_cancellation(entry.invoice):
        groups.written_off.append(entry)
    else:
        groups.returned.append(entry)


def _is_cancellation(invoice: str) -> bool:
    return invoice.startswith("C")


def _documents(kind: Kind, entries: Iterable[Entry]) -> list[Document]:
    """One document for each invoice, or several for one that is long or goes on on another day."""
    return _numbered(kind, (((entry.moment.date(), entry.customer, None), entry) for entry in entries))


_Group = tuple[object, str, str | None]


def _numbered(kind: Kind, grouped: Iterable[tuple[_Group, Entry]]) -> list[Document]:
    """Documents of the entries that have invoice and group in common; the second of an invoice is `<invoice>/2`."""
    invoices: dict[str, dict[_Group, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for group, entry in grouped:
        invoices[entry.invoice][group].append(entry)
    documents = []
    for invoice, parts in invoices.items():
        pieces = ((group, piece) for group, entries in parts.items() for piece in _pieces(entries))
        for place, ((_day, customer, original), piece) in enumerate(pieces, 1):
            number = invoice if place == 1 else f"{invoice}/{place}"
            moment = min(entry.moment for entry in piece)
            documents.append(Document(kind, number, moment, customer, tuple(piece), original))
    return documents


def _pieces(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), LINES_PER_DOCUMENT):
        yield entries[start : start + LINES_PER_DOCUMENT]


def _with_discounts(sales: list[Document], discounts: Iterable[Entry]) -> tuple[list[Document], list[Entry]]:
    """The sales with the deductions that their invoices make, and those that are more than the invoice: refunds."""
    places = {sale.number: place for place, sale in enumerate(sales)}
    refunds = []
    for discount in discounts:
        place = places.get(discount.invoice)
        if place is None or sales[place].amount_cents + discount.amount_cents < 0:
            refunds.append(discount)
            continue
        line = replace(discount, unit_price_cents=-discount.unit_price_cents)
        sales[place] = replace(sales[place], entries=(*sales[place].entries, line))
    return sales, refunds


@dataclass
class _Left:
    """What of one sale has not come back yet, of one SKU at one price."""

    sale: Document
    quantity: int


def _returns(entries: Sequence[Entry], sales: Iterable[Document]) -> list[Document]:
    """Each line against the latest sale before it to the same customer, of that SKU at that price, of which so much
    is left; a refund where there is none, or no customer is named."""
    left = _left_to_return(sales)
    grouped = []
    for entry in entries:
        found = next(
            (one for one in left.get(_bought(entry), ())
             if one.sale.moment <= entry.moment and one.quantity >= entry.quantity), None
        )  # fmt: skip
        if found is not None:
            found.quantity -= entry.quantity
        original = found.sale.number if found else None
        grouped.append(((entry.moment.date(), entry.customer, original), entry))
    return _numbered("return", grouped)


_Bought = tuple[str, str, int]


def _bought(entry: Entry) -> _Bought:
    return entry.customer, entry.sku, entry.unit_price_cents


def _left_to_return(sales: Iterable[Document]) -> dict[_Bought, list[_Left]]:
    """What each customer bought, latest sales first."""
    left: dict[_Bought, list[_Left]] = defaultdict(list)
    for sale in sorted(sales, key=lambda one: one.moment, reverse=True):
        for entry in sale.entries:
            if not entry.customer:
                continue
            found = left[_bought(entry)]
            if found and found[-1].sale is sale:
                found[-1].quantity += entry.quantity
            else:
                found.append(_Left(sale, entry.quantity))
    return left
