"""Load the demonstration catalogue and its opening stock: `python -m db.seed.demo`, run by localfaas after each deploy.

The same seed makes the same products everywhere, and a smaller size is the beginning of a larger one.
Loaded through the shop's public HTTP API. When its last product is there no product is sent, and when that is in
stock no stock, so that what people changed since stays as they left it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from db.seed import opening_stock
from db.seed.catalogue import (
    PATIENCE_SECONDS,
    PRODUCTS_PATH,
    Catalogue,
    Row,
    ShopConnection,
    UploadError,
    explain,
)
from db.seed.demo_words import (
    CATEGORIES,
    FOOD_CATEGORIES,
    FOOD_SHAPES,
    FOOD_STYLES,
    SHAPES,
    STYLES,
    Article,
    Variant,
)
from db.seed.environment import SeedEnvironment
from db.seed.progress import Progress
from localfaas.settings import SettingsError

SIZES = {"S": 200, "M": 2_000, "L": 20_000}
SEED = 20_101_201
INACTIVE_SHARE = 0.03
FRENCH_SHARE = 0.6
PRODUCTS_PER_BATCH = 100
"""Of opening stock; every size is a multiple, so the batches of a smaller size are the first of a larger one."""
WAREHOUSE_LOW_AT = 60
STORE_LOW_AT = 5
PRICE_ENDINGS_CENTS = (49, 95, 99, 99, 99)


@dataclass(frozen=True)
class Offer:
    """One article in one style and shape: what makes a product different from every other."""

    category: str
    article: Article
    style: Variant
    shape: Variant


def offers(seed: int) -> list[Offer]:
    """All that could be sold, in an order that depends on `seed` alone."""
    everything = []
    for category, articles in CATEGORIES.items():
        food = category in FOOD_CATEGORIES
        variants = FOOD_STYLES if food else STYLES, FOOD_SHAPES if food else SHAPES
        everything += [Offer(category, *parts) for parts in itertools.product(articles, *variants)]
    random.Random(seed).shuffle(everything)  # noqa: S311  demonstration data, nothing secret
    return everything


def sku(number: int) -> str:
    """The SKU of the demonstration product `number`, from 1."""
    return f"MAG-{number:05d}"


def demo_rows(size: str, seed: int = SEED) -> list[Row]:
    """The products of a size, in the fields of the bulk upsert."""
    return list(itertools.islice(_rows(seed), SIZES[size]))


def _rows(seed: int) -> Iterator[Row]:
    chance = random.Random(seed + 1)  # noqa: S311  demonstration data, nothing secret
    for number, offer in enumerate(offers(seed), 1):
        french = chance.random() < FRENCH_SHARE
        article, style, shape = offer.article, offer.style, offer.shape
        name = (
            f"{article.french} – {style.french}, {shape.french}"
            if french
            else f"{article.english} – {style.english}, {shape.english}"
        )
        yield {
            "sku": sku(number),
            "name": name,
            "description": _description(offer, french=french),
            "category": offer.category,
            "price_cents": _price_cents(article, chance),
            "active": chance.random() >= INACTIVE_SHARE,
        }


def _description(offer: Offer, *, french: bool) -> str:
    if french:
        return f"{offer.article.french}, modèle {offer.style.french} ({offer.shape.french}). Article de démonstration."
    return f"{offer.article.english}, {offer.style.english} model ({offer.shape.english}). Demonstration article."


def _price_cents(article: Article, chance: random.Random) -> int:
    dollars = chance.randint(article.low_cents, article.high_cents) // 100
    return dollars * 100 + chance.choice(PRICE_ENDINGS_CENTS)


def stock_rows(number: int, seed: int = SEED) -> list[opening_stock.Row]:
    """The opening stock of the demonstration product `number`: much in the warehouse, some in most stores."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311  demonstration data, nothing secret
    rows = [_stock_row(number, opening_stock.WAREHOUSE, chance.randint(40, 240), WAREHOUSE_LOW_AT)]
    for store in opening_stock.STORES:
        rows.append(_stock_row(number, store, chance.randint(0, 24), STORE_LOW_AT))
    return [row for row in rows if row["quantity"]]


def _stock_row(number: int, location: str, quantity: int, low_at: int) -> opening_stock.Row:
    return {"location": location, "sku": sku(number), "quantity": quantity, "low_at": low_at}


def is_stocked(shop: Catalogue, size: str) -> bool:
    """Whether the last product of the size has been received anywhere; batches go in order."""
    answer = shop.request("GET", f"{opening_stock.STOCK_PATH}/{sku(SIZES[size])}", patience=PATIENCE_SECONDS)
    if answer.status != 200:
        raise UploadError(explain(answer, "inventory"))
    return bool(answer.json().get("locations"))


def load_stock(shop: Catalogue, size: str) -> str:
    """Receive the opening stock that is missing and say what was done. Raises UploadError."""
    if is_stocked(shop, size):
        return "opening stock: it is there"
    numbers = range(1, SIZES[size] + 1)
    batches = [
        [row for number in numbers[start : start + PRODUCTS_PER_BATCH] for row in stock_rows(number)]
        for start in range(0, len(numbers), PRODUCTS_PER_BATCH)
    ]
    progress = Progress("opening stock", sum(map(len, batches)), sys.stderr)
    loaded = opening_stock.load(shop, batches, "demonstration", progress)
    return f"opening stock: {loaded.received:,} rows received"


def is_loaded(shop: Catalogue, size: str) -> bool:
    """Whether the last product of the size is there; batches are all or nothing and go in order."""
    answer = shop.request("GET", f"{PRODUCTS_PATH}/sku/{sku(SIZES[size])}", patience=PATIENCE_SECONDS)
    if answer.status == 404 and answer.json().get("code") == "product_not_found":
        return False
    if answer.status == 200:
        return True
    raise UploadError(explain(answer))


def load(environment: SeedEnvironment, size: str) -> str:
    """Load what is missing and say what was done. Raises UploadError or KeyFileError."""
    progress = Progress("demonstration data", SIZES[size], sys.stderr)
    with closing(ShopConnection(environment.edge_url)) as send:
        shop = Catalogue(send, progress.say, lambda: _token(environment))
        return f"{_load_products(shop, size, progress)}\n{load_stock(shop, size)}"


def _load_products(shop: Catalogue, size: str, progress: Progress) -> str:
    if is_loaded(shop, size):
        return f"demonstration data: the {SIZES[size]:,} products of size {size} are there"
    started = time.monotonic()
    outcome = shop.upsert(demo_rows(size), progress)
    if outcome.refused:
        name, reason = next(iter(outcome.refused.items()))
        raise UploadError(f"the shop refused {len(outcome.refused):,} products, {name} for one: {reason}")
    seconds = time.monotonic() - started
    return f"demonstration data: {outcome.created:,} products created, {outcome.updated:,} updated ({seconds:.1f} s)"


def _token(environment: SeedEnvironment) -> str:
    # Imported here because it takes longer than finding out that everything is loaded already.
    from db.seed.token import TokenRequest, mint  # noqa: PLC0415

    return mint(TokenRequest(roles=("hq",), subject="demonstration"), environment.secrets, time.time())


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m db.seed.demo", description="Load the demonstration catalogue unless it is there."
    )
    parser.add_argument(
        "--size",
        default=os.environ.get("DEMO_SIZE") or "S",
        choices=[*SIZES, "none"],
        help="S 200, M 2,000, L 20,000 products, or none (default: the variable DEMO_SIZE, else S)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    size = parser.parse_args(arguments).size
    if size not in SIZES:
        return 0 if size == "none" else parser.error(f"DEMO_SIZE must be S, M, L or none, not {size!r}")
    try:
        print(load(SeedEnvironment.load(os.environ), size))
    except (UploadError, SettingsError, ValueError) as exc:
        print(f"demonstration data: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemonstration data: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
