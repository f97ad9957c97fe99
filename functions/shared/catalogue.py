"""Products as the function products shows them now, for every function that needs their prices.

by_sku = {product.sku: product for product in find_products(current().client, skus=["85123A"])}
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from requests import Response

from .client import ServiceClient
from .errors import Unavailable, UpstreamTimeout

PRICES_PER_REQUEST = 100
"""products answers for up to 200 at once; half of that keeps the address short."""
LONGEST_SKU = 64
"""products refuses to look for longer ones; there is none."""

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class Product:
    product_id: int
    sku: str
    version: int
    name: str
    category: str
    price_cents: int
    currency: str
    active: bool


def find_products(
    client: ServiceClient,
    *,
    skus: Iterable[str] = (),
    ids: Iterable[int] = (),
    timeout_seconds: float = math.inf,
) -> list[Product]:
    """The products with these SKUs, then those with these ids; unknown ones are missing. Without any, nobody is asked.

    Raises Unavailable (`prices_unavailable`) when products does not answer within `timeout_seconds`, nor within the
    request's deadline: then no price is known.
    """
    wanted = [("sku", sku) for sku in dict.fromkeys(skus) if len(sku) <= LONGEST_SKU]
    wanted += [("id", str(product_id)) for product_id in dict.fromkeys(ids)]
    give_up_at = time.monotonic() + timeout_seconds
    try:
        return [
            product
            for start in range(0, len(wanted), PRICES_PER_REQUEST)
            for product in _ask(client, wanted[start : start + PRICES_PER_REQUEST], give_up_at)
        ]
    except (Unavailable, UpstreamTimeout) as problem:
        raise Unavailable(
            "The catalogue cannot be reached right now, so prices are not known; try again shortly.",
            code="prices_unavailable",
        ) from problem


def _ask(client: ServiceClient, wanted: Sequence[tuple[str, str]], give_up_at: float) -> list[Product]:
    parameters = {kind: [value for name, value in wanted if name == kind] for kind in ("sku", "id")}
    seconds = give_up_at - time.monotonic()
    response = client.get("products", "/prices", params=parameters, timeout_seconds=seconds)
    try:
        return _read(response)
    except (ValueError, KeyError, TypeError) as error:
        _log.exception("products answered %s, which is not a list of prices", response.status_code)
        raise Unavailable from error


def _read(response: Response) -> list[Product]:
    if response.status_code != 200:
        raise ValueError(f"status {response.status_code}")
    return [_product(row) for row in response.json()["items"]]


def _product(row: dict[str, Any]) -> Product:
    return Product(
        product_id=row["product_id"],
        sku=row["sku"],
        version=row["version"],
        name=row["name"],
        category=row["category"],
        price_cents=row["price_cents"],
        currency=row["currency"],
        active=row["active"],
    )
