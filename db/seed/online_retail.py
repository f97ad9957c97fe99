"""Import from a retailer's file of sales: `python -m db.seed.online_retail FILE`, `make import file=FILE`.

The file is in the format of the UCI Online Retail data set. Each stock code becomes one product: its most
frequent description, its median price above zero, and opening stock for all that the file sells.
With `--what sales` (`make import file=FILE what=sales`) the invoices are recorded as sales, returns and write-offs.
All is loaded through the shop's public HTTP API.
Running it again changes nothing; an interrupted import is completed by running it again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from db.seed import opening_stock, retail_account, retail_replay
from db.seed.catalogue import Catalogue, Outcome, Row, ShopConnection, UploadError
from db.seed.environment import SeedEnvironment
from db.seed.keys import KeyFileError
from db.seed.opening_stock import Loaded
from db.seed.progress import Progress
from db.seed.retail_catalogue import RetailCatalogue, RetailProduct, read_catalogue
from db.seed.retail_file import Line, RetailFile, UnusableFileError
from db.seed.token import TokenRequest, mint
from localfaas.settings import SettingsError

ANNOUNCED_LINES = 100_000
SHOWN_CODES = 8
"""How many codes of a kind the summary names before it says how many more there are."""

EXIT_FAILED = 1
EXIT_ROWS_REFUSED = 3
EXIT_INTERRUPTED = 130


def to_row(product: RetailProduct, currency: str | None) -> Row:
    """A product in the fields of the bulk upsert.

    What the file does not know (category, whether it is on sale) is left out, so that it stays as the shop has it.
    """
    row = {"sku": product.sku, "name": product.name, "price_cents": product.price_cents}
    return row if currency is None else row | {"currency": currency}


def summarize(catalogue: RetailCatalogue, outcome: Outcome | None) -> Iterator[str]:
    """The lines of the summary, in which every code and every line of the file is in one place.

    `outcome` is what the shop did, or None when nothing was sent.
    """
    refused = outcome.refused if outcome else {}
    kept = [product for product in catalogue.products if product.sku not in refused]
    merged = sum(len(product.codes) - 1 for product in kept)
    lost = [code for product in catalogue.products if product.sku in refused for code in product.codes]
    yield f"{catalogue.line_count:,} lines, {catalogue.code_count:,} stock codes:"
    yield f"  {len(kept):>7,}  {'to import' if outcome is None else 'imported'}"
    if merged:
        yield f"  {merged:>7,}  the same code in other letter case, one product with it"
    yield from _kinds(catalogue.not_goods, "not goods: ")
    yield from _kinds(catalogue.unusable, "unusable: ")
    if lost:
        yield f"  {len(lost):>7,}  refused by the shop: {_shown(lost)}"
    for reason, count in sorted(catalogue.unused_lines.items()):
        yield f"lines not used, {reason}: {count:,}"
    if outcome is not None:
        yield from _changes(outcome)


def _kinds(codes: Mapping[str, str], label: str) -> Iterator[str]:
    for kind, count in sorted(Counter(codes.values()).items()):
        named = [code for code, reason in codes.items() if reason == kind]
        yield f"  {count:>7,}  {label}{kind} ({_shown(named)})"


def _shown(codes: list[str]) -> str:
    more = len(codes) - SHOWN_CODES
    return ", ".join(codes[:SHOWN_CODES]) + (f" and {more:,} more" if more > 0 else "")


def say_stock(loaded: Loaded) -> str:
    """One line on the opening stock."""
    if loaded.received:
        return f"Opening stock: {loaded.received:,} rows received, {loaded.present:,} were there."
    if loaded.present:
        return f"Opening stock: all {loaded.present:,} rows were there."
    return "Opening stock: none, since the file has no quantities."


def _changes(outcome: Outcome) -> Iterator[str]:
    for sku, reason in sorted(outcome.refused.items()):
        yield f"refused {sku}: {reason}"
    if outcome.created or outcome.updated:
        yield f"{outcome.created:,} created, {outcome.updated:,} updated, {outcome.unchanged:,} already so."
    else:
        yield f"Nothing changed: all {outcome.unchanged:,} products were already so."


def upload(
    catalogue: RetailCatalogue, environment: SeedEnvironment, currency: str | None
) -> tuple[Outcome, Loaded]:
    """Send the products to the shop, then their opening stock. Raises UploadError or KeyFileError."""
    progress = Progress("import", len(catalogue.products), sys.stderr)
    request = TokenRequest(roles=("hq",), subject="import")
    with closing(ShopConnection(environment.edge_url)) as send:
        shop = Catalogue(send, progress.say, lambda: mint(request, environment.secrets, time.time()))
        shop.check()
        outcome = shop.upsert([to_row(product, currency) for product in catalogue.products], progress)
        return outcome, _stock_up(catalogue, shop)


def _stock_up(catalogue: RetailCatalogue, shop: Catalogue) -> Loaded:
    """Receive what the file sells; the same rows, whatever became of the products, are received once."""
    rows = opening_stock.rows_for_sales({product.sku: product.units for product in catalogue.products})
    name = f"import:{opening_stock.digest(rows)}"
    progress = Progress("opening stock", len(rows), sys.stderr)
    return opening_stock.load(shop, opening_stock.in_batches(rows), name, progress)


def read(path: Path) -> RetailCatalogue:
    """Raises UnusableFileError when there is nothing in `path` to import."""
    catalogue = read_catalogue(_announced(RetailFile.open(path).lines()))
    if not catalogue.line_count:
        raise UnusableFileError(f"{path} has a first line with column names and nothing below it")
    return catalogue


def _announced(lines: Iterable[Line]) -> Iterator[Line]:
    """The same lines; says now and then how many were read, since a large file takes seconds."""
    for count, line in enumerate(lines):
        if count and count % ANNOUNCED_LINES == 0:
            print(f"import: {count:,} lines read", file=sys.stderr)
        yield line


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m db.seed.online_retail",
        description="Import a catalogue, or sales, from a file in the format of the UCI Online Retail data set.",
        epilog="Exit status: 0 imported, 1 nothing or not all could be imported, 2 wrong use, "
        "3 imported but for rows that the shop refused, 130 interrupted (run it again to go on).",
    )
    parser.add_argument(
        "file",
        type=Path,
        help="CSV with the columns StockCode, Description, UnitPrice; Quantity for stock; "
        "InvoiceNo, InvoiceDate and perhaps CustomerID for sales",
    )
    parser.add_argument(
        "--what",
        choices=("catalogue", "sales"),
        default="catalogue",
        help="the products and their opening stock, or what was sold and came back (after them; default: catalogue)",
    )
    parser.add_argument(
        "--store",
        metavar="CODE",
        default=opening_stock.SALES_STORE,
        help="the store that sold it, for --what sales (default: %(default)s, where the opening stock suffices)",
    )
    parser.add_argument(
        "--currency",
        metavar="CODE",
        help="of the prices, such as GBP; the file names none (default: the shop's own)",
    )
    parser.add_argument("--dry-run", action="store_true", help="read and summarize the file, send nothing")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    run = import_sales if options.what == "sales" else import_catalogue
    try:
        return run(options, SeedEnvironment.load(os.environ))
    except (UnusableFileError, UploadError, KeyFileError, SettingsError) as exc:
        print(f"import: {exc}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("\nimport: interrupted; run it again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED


def import_catalogue(options: argparse.Namespace, environment: SeedEnvironment) -> int:
    """Load the products of the file and their stock; the exit status."""
    catalogue = read(options.file)
    outcome, loaded = (
        (None, None)
        if options.dry_run or not catalogue.products
        else upload(catalogue, environment, options.currency)
    )
    print("\n".join(summarize(catalogue, outcome)))
    if loaded is not None:
        print(say_stock(loaded))
    if not catalogue.products:
        print(f"import: {options.file} has no product that can be imported", file=sys.stderr)
        return EXIT_FAILED
    if options.dry_run:
        print("Dry run: nothing was sent.")
    return EXIT_ROWS_REFUSED if outcome and outcome.refused else 0


def import_sales(options: argparse.Namespace, environment: SeedEnvironment) -> int:
    """Record the sales of the file; the exit status."""
    plan = retail_replay.read(options.file)
    recorded = None if options.dry_run else retail_replay.upload(plan, environment, options.store)
    print("\n".join(retail_account.summarize(plan, recorded)))
    if not plan.documents:
        print(f"import: {options.file} has no line that can be recorded", file=sys.stderr)
        return EXIT_FAILED
    if recorded is None:
        print("Dry run: nothing was sent.")
    return EXIT_ROWS_REFUSED if recorded and recorded.refused else 0


if __name__ == "__main__":
    sys.exit(main())
