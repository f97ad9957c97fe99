"""Replay a retailer's file as till sales at its real times, speeded up: `python -m tests.load.replay FILE --speed 600`.

FILE is in the format of the UCI Online Retail data set, as for `make import`. Each invoice that sells something is a
sale at one till, due exactly when the file has it, with all its lines and quantities; cancellations and charges are
left out. A stock code that the shop does not sell is stood for by one of the products it does sell, the same one each
time, so a shop with demonstration data alone will do. All that will be sold is received into stock first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.report import BenchmarkError, whole_number
from db.seed import retail_replay
from db.seed.catalogue import PRODUCTS_PATH, Catalogue, ShopConnection, UploadError, explain
from db.seed.keys import KeyFileError
from db.seed.retail_file import UnusableFileError
from db.seed.retail_sales import Document
from localfaas.settings import Settings, SettingsError
from tests.load.people import STORE, NotHereError, told
from tests.load.running import RULES_BROKEN, folder_for_summaries, run_k6

PROJECT = Path(__file__).resolve().parents[2]
RECEIPTS_PATH = "/api/inventory/receipts"
LINES_PER_SALE = 200
UNITS_PER_LINE = 10_000
"""What sales takes at once."""
LINES_PER_RECEIPT = 1_000
UNITS_PER_RECEIPT = 1_000_000
SKUS_PER_QUESTION = 200
PRODUCTS_PER_PAGE = 200
SALE_SECONDS = 3.0
"""A sale of many lines is surely done by then; so many seconds' sales may be under way at once."""
SPARE_USERS = 5
MOST_USERS = 300
SPEED = 600.0
LATE_MS = 50.0


@dataclass(frozen=True)
class Line:
    sku: str
    quantity: int


@dataclass(frozen=True)
class Sale:
    """What one invoice sells; `at` is seconds from the first sale, `moment` the file's own time."""

    document: str
    moment: datetime
    lines: tuple[Line, ...]
    at: float = 0.0


def read(path: Path, day: date | None = None) -> list[Sale]:
    """The sales of a file, or of one day of it, in the order of their time. Raises UnusableFileError."""
    documents = retail_replay.read(path).documents
    chosen = [one for one in documents if one.kind == "sale" and day in (None, one.moment.date())]
    return [sale for document in chosen for sale in _sales(document)]


def _sales(document: Document) -> Iterator[Sale]:
    """One sale, or several at once for an invoice with more lines than a sale may have."""
    lines = [
        Line(entry.sku, units)
        for entry in document.entries
        if not entry.charge
        for units in _pieces(entry.quantity)
    ]
    for start in range(0, len(lines), LINES_PER_SALE):
        yield Sale(document.number, document.moment, tuple(lines[start : start + LINES_PER_SALE]))


def _pieces(quantity: int) -> Iterator[int]:
    while quantity > 0:
        yield min(quantity, UNITS_PER_LINE)
        quantity -= UNITS_PER_LINE


def timed(sales: Sequence[Sale], speed: float) -> list[Sale]:
    """Each with when it is due, `speed` times faster than it was."""
    return [replace(sale, at=(sale.moment - sales[0].moment).total_seconds() / speed) for sale in sales]


def users(times: Sequence[float]) -> int:
    """How many sales may be under way at once: as many as are due within SALE_SECONDS, at the busiest moment."""
    most = max(bisect_right(times, at + SALE_SECONDS) - place for place, at in enumerate(times))
    return min(most + SPARE_USERS, MOST_USERS)


def stood_for(sales: Sequence[Sale], sold_here: set[str], stand_ins: Sequence[str]) -> list[Sale]:
    """With a product of the shop for each that it does not sell."""
    foreign = sorted({line.sku for sale in sales for line in sale.lines} - sold_here)
    names = {sku: stand_ins[place % len(stand_ins)] for place, sku in enumerate(foreign)}
    return [
        replace(
            sale,
            lines=tuple(replace(line, sku=names.get(line.sku, line.sku)) for line in sale.lines),
        )
        for sale in sales
    ]


def units(sales: Iterable[Sale]) -> Counter[str]:
    """How much of each product is sold."""
    sums: Counter[str] = Counter()
    for sale in sales:
        for line in sale.lines:
            sums[line.sku] += line.quantity
    return sums


@dataclass(frozen=True)
class Shop:
    """The shop before the replay: what it sells, and stock."""

    catalogue: Catalogue

    def sells(self, skus: Iterable[str]) -> set[str]:
        wanted, found = sorted(skus), set[str]()
        for start in range(0, len(wanted), SKUS_PER_QUESTION):
            query = urlencode([("sku", sku) for sku in wanted[start : start + SKUS_PER_QUESTION]])
            answer = self._asked(f"{PRODUCTS_PATH}/prices?{query}")
            found |= {item["sku"] for item in answer["items"] if item["active"]}
        return found

    def on_sale(self) -> list[str]:
        items = self._asked(f"{PRODUCTS_PATH}?limit={PRODUCTS_PER_PAGE}")["items"]
        return [item["sku"] for item in items]

    def _asked(self, path: str) -> dict[str, list[dict[str, str]]]:
        answer = self.catalogue.request("GET", path)
        if answer.status != 200:
            raise UploadError(explain(answer))
        return answer.json()

    def receive(self, quantities: Mapping[str, int]) -> None:
        lines = [
            {"sku": sku, "quantity": min(UNITS_PER_RECEIPT, quantity)} for sku, quantity in quantities.items()
        ]
        for start in range(0, len(lines), LINES_PER_RECEIPT):
            body = {
                "location": STORE,
                "lines": lines[start : start + LINES_PER_RECEIPT],
                "reason": "replay",
            }
            answer = self.catalogue.request("POST", RECEIPTS_PATH, body, key=os.urandom(16).hex())
            if answer.status != 201:
                raise UploadError(explain(answer, "inventory"))


def prepare(sales: Sequence[Sale], base: str, staff_token: str) -> list[Sale]:
    """The sales as this shop can make them, with all that they sell in stock. Raises UploadError."""
    with closing(ShopConnection(base)) as send:
        shop = Shop(Catalogue(send, lambda text: print(text, file=sys.stderr), lambda: staff_token))
        shop.catalogue.check()
        wanted = units(sales).keys()
        known = shop.sells(wanted)
        stand_ins = shop.on_sale()
        if not stand_ins:
            raise UploadError(f"the shop at {base} sells nothing; `python -m db.seed.demo` loads a catalogue")
        print(f"{len(known):,} of {len(wanted):,} products are on sale; others are stood for.")
        ready = stood_for(sales, known, stand_ins)
        shop.receive(units(ready))
        return ready


def as_plan(sales: Sequence[Sale], late_ms: float) -> dict[str, object]:
    """What replay.js reads."""
    return {
        "late_ms": late_ms,
        "users": users([sale.at for sale in sales]),
        "sales": [
            {"at": round(sale.at, 4), "lines": [{"sku": one.sku, "quantity": one.quantity} for one in sale.lines]}
            for sale in sales
        ],
    }  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.replay",
        description="Replay the sales of a file in the Online Retail format at their real times, speeded up.",
        epilog=f"Exit status: 0 all was sold in time, {RULES_BROKEN} rejected (a sale was late or wrong), 1 not run.",
    )
    parser.add_argument("file", type=Path, help="CSV in the format of the UCI Online Retail data set")
    parser.add_argument(
        "--speed",
        type=_above_zero,
        default=SPEED,
        help="how many times faster than it was (default: %(default)g)",
    )
    parser.add_argument("--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="only that day")
    parser.add_argument(
        "--limit",
        type=whole_number(1, 10**9),
        metavar="N",
        help="only the first N sales (of the file, or the day)",
    )
    parser.add_argument(
        "--late-ms",
        type=_above_zero,
        default=LATE_MS,
        metavar="MS",
        help="a sale sent later than this after it was due rejects the run (default: %(default)g)",
    )
    parser.add_argument("--base", metavar="URL", help="the edge (default: that of STATE_DIR and PORT_OFFSET)")
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="where the JSON goes (default: in STATE_DIR/load)"
    )
    parser.add_argument("--dry-run", action="store_true", help="read the file and say what would be sent")
    return parser


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from exc
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        sales = timed(read(options.file, options.day)[: options.limit], options.speed)
        if not sales:
            raise UnusableFileError(f"{options.file} sells nothing{f' on {options.day}' * bool(options.day)}")  # noqa: TRY301
        print(
            f"{len(sales):,} sales of {sum(len(sale.lines) for sale in sales):,} lines within {sales[-1].at:,.0f} s",
            flush=True,
        )
        return 0 if options.dry_run else replay(sales, options)
    except (BenchmarkError, KeyFileError, NotHereError, SettingsError, UnusableFileError, UploadError) as exc:
        print(f"replay: {exc}", file=sys.stderr)
        return 1


def replay(sales: Sequence[Sale], options: argparse.Namespace) -> int:
    """Send them; k6's exit code."""
    environment = told(os.environ, options.base)
    ready = prepare(sales, environment["BASE"], environment["STAFF_TOKEN"])
    summary = folder_for_summaries(options.summary, "replay", Settings.load(os.environ, PROJECT).state)
    plan = summary.with_suffix(".plan.json")
    plan.write_text(json.dumps(as_plan(ready, options.late_ms)))
    return run_k6("replay.js", environment | {"PLAN": str(plan), "SUMMARY": str(summary)})


if __name__ == "__main__":
    sys.exit(main())
