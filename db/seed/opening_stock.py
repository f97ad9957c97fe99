"""Load opening stock through the shop's public HTTP API, in batches that are received once, ever.

The API is the bulk receipt of the inventory function (functions/inventory/README.md). Each batch has a reference made
from what it belongs to, so loading again, or going on after an interruption, receives only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.seed.catalogue import PATIENCE_SECONDS, Catalogue, UploadError, explain

STOCK_PATH = "/api/inventory/stock"
BULK_PATH = "/api/inventory/receipts/bulk"
ROWS_PER_REQUEST = 1000
LARGEST_QUANTITY = 1_000_000
"""The limits of the inventory function."""

STORES = ("S1", "S2", "S3", "S4", "S5")
WAREHOUSE = "W1"
SALES_STORE = "S1"
"""Where an imported file's sales are replayed, so all that it sells must be there."""
ELSEWHERE_SHARE = 10
"""Each other location gets one in so many of what the file sells."""

Row = Mapping[str, Any]
"""One row of opening stock: location, sku, quantity, and perhaps low_at."""


@dataclass
class Loaded:
    """How many rows were received now, and how many had been before."""

    received: int = 0
    present: int = 0


def rows_for_sales(units: Mapping[str, int]) -> list[Row]:
    """Opening stock for a file that takes `units` of each SKU out of one store: all of it there, a share elsewhere."""
    rows: list[Row] = []
    for sku, count in sorted(units.items()):
        for location in (*STORES, WAREHOUSE):
            share = count if location == SALES_STORE else -(-count // ELSEWHERE_SHARE)
            if share:
                rows.append({"location": location, "sku": sku, "quantity": min(share, LARGEST_QUANTITY)})
    return rows


def digest(rows: Sequence[Row]) -> str:
    """A short name for exactly these rows."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def in_batches(rows: Sequence[Row], size: int = ROWS_PER_REQUEST) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def load(
    shop: Catalogue, batches: Iterable[Sequence[Row]], name: str, progress: Callable[[int], None]
) -> Loaded:
    """Have each batch received under `<name>:<number>` unless it was, telling `progress` how many rows are done.

    Raises UploadError when the shop cannot be used.
    """
    loaded = Loaded()
    for number, batch in enumerate(batches, 1):
        body = {"reference": f"{name}:{number}", "lines": list(batch)}
        answer = shop.request("POST", BULK_PATH, body, PATIENCE_SECONDS, key=str(uuid.uuid4()))
        if answer.status == 201:
            loaded.received += len(batch)
        elif answer.status == 200:
            loaded.present += len(batch)
        else:
            raise UploadError(explain(answer, "inventory"))
        progress(loaded.received + loaded.present)
    return loaded
