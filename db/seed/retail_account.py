"""What an import of sales says at its end: where every line and every cent of the file is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from db.seed.retail_lines import LeftOut
from db.seed.retail_replay import Recorded
from db.seed.retail_sales import Document, Kind, Plan

SHOWN_ROWS = 200
"""How many rows that are not recorded are shown; their reasons, counts and amounts are all there."""

_KINDS: tuple[tuple[Kind, str, str], ...] = (
    ("sale", "sold", "sales"),
    ("return", "taken back", "returns"),
    ("write_off", "written off", "write-offs"),
)


def summarize(plan: Plan, recorded: Recorded | None) -> Iterator[str]:
    """The lines of the summary; `recorded` is what the shop did, or None when nothing was sent."""
    yield f"{plan.line_count:,} lines, {money(plan.amount_cents)} net:"
    for kind, verb, noun in _KINDS:
        yield from _kind([one for one in plan.documents if one.kind == kind], verb, noun)
    yield from _not_recorded(plan.left_out, "left out")
    if recorded is None:
        return
    yield from _not_recorded(recorded.refused, "refused by the shop")
    yield from _rows([*plan.left_out, *recorded.refused])
    missing = plan.amount_cents - recorded.amount_cents
    yield f"In the shop: {money(recorded.amount_cents)}, the file's net less {money(missing)} not recorded."
    yield from _changes(recorded)


def money(cents: Decimal | int) -> str:
    """Cents with their unit; parts of one only where the file has them."""
    whole = int(cents)
    return f"{whole:,} cents" if cents == whole else f"{cents:,f} cents"


def _kind(documents: Sequence[Document], verb: str, noun: str) -> Iterator[str]:
    entries = [entry for document in documents for entry in document.entries]
    if not entries:
        return
    against = sum(document.original is not None for document in documents)
    told = f" ({against:,} against their sale, the others refunds)" if noun == "returns" else ""
    amount = sum(entry.amount_cents for entry in entries)
    yield f"  {len(entries):>9,}  {verb} in {len(documents):,} {noun}{told}, {money(amount)}"
    for number, label in (
        (sum(entry.charge for entry in entries), "charges"),
        (sum(entry.amount_cents == 0 for entry in entries), "at price 0"),
    ):
        if number and noun != "write-offs":
            yield f"  {number:>9,}    of these {label}"


def _not_recorded(rows: Iterable[LeftOut], verb: str) -> Iterator[str]:
    by_reason: dict[str, list[LeftOut]] = defaultdict(list)
    for row in rows:
        by_reason[row.reason].append(row)
    for reason, found in sorted(by_reason.items()):
        known = [row.amount_cents for row in found if row.amount_cents is not None]
        unknown = f", {len(found) - len(known):,} unknown" if len(known) < len(found) else ""
        yield f"  {len(found):>9,}  {verb}: {reason}, {money(sum(known, Decimal(0)))}{unknown}"


def _rows(rows: Sequence[LeftOut]) -> Iterator[str]:
    for row in rows[:SHOWN_ROWS]:
        amount = "amount unknown" if row.amount_cents is None else money(row.amount_cents)
        yield f"not recorded: line {row.number}, {row.invoice} {row.sku}, {amount}: {row.reason}"
    if len(rows) > SHOWN_ROWS:
        yield f"not recorded: {len(rows) - SHOWN_ROWS:,} more"


def _changes(recorded: Recorded) -> Iterator[str]:
    present = sum(recorded.present.values())
    if recorded.created:
        created = ", ".join(f"{recorded.created[kind]:,} {noun}" for kind, _, noun in _KINDS)
        rate = recorded.line_count / max(recorded.seconds, 0.001)
        yield f"Recorded now: {created}; {present:,} documents were there."
        yield f"{recorded.line_count:,} lines in {recorded.seconds:.1f} s: {rate:,.0f} lines/s."
    elif present:
        yield f"Nothing changed: all {present:,} documents were there."
    else:
        yield "Nothing changed: the shop has none of the documents."
