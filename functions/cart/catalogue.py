"""Prices as products shows them now; when it cannot be reached, a cart is shown without asking again and again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from flask import current_app
from prometheus_client import Counter

from functions.shared import Unavailable, current
from functions.shared.catalogue import Product, find_products

from .domain import Item

READING_BUDGET_SECONDS = 2.0
"""A cart is shown with remembered prices rather than later than this."""
COOL_DOWN_SECONDS = 1.0
"""After products could not be reached, reading a cart does not even try for this long."""

PRICE_CHECKS = Counter("cart_price_checks_total", "Price look-ups in products, by outcome.", ["outcome"])

Offers = dict[str, Product]
"""Products by SKU, as they are offered now."""


class Catalogue:
    """Looks products up through the gateway; remembers for a moment that they cannot be reached."""

    def __init__(self) -> None:
        self._away_until = 0.0

    def offers(
        self, items: Iterable[Item], sku: str | None = None, timeout_seconds: float = math.inf
    ) -> Offers:
        """The products of `items`, and the one with `sku`, as they are now; unknown ones are missing.

        Raises Unavailable when products does not answer.
        """
        ids = [item.product_id for item in items if item.sku != sku]
        skus = [] if sku is None else [sku]
        try:
            found = find_products(current().client, skus=skus, ids=ids, timeout_seconds=timeout_seconds)
        except Unavailable:
            PRICE_CHECKS.labels("failed").inc()
            self._away_until = time.monotonic() + COOL_DOWN_SECONDS
            raise
        if ids or skus:
            PRICE_CHECKS.labels("answered").inc()
        return {product.sku: product for product in found}

    def offers_if_reachable(self, items: Sequence[Item]) -> Offers | None:
        """The products of `items` as they are now; None when products does not answer soon."""
        if items and time.monotonic() < self._away_until:
            PRICE_CHECKS.labels("skipped").inc()
            return None
        try:
            return self.offers(items, timeout_seconds=READING_BUDGET_SECONDS)
        except Unavailable:
            return None


def catalogue() -> Catalogue:
    """The catalogue of the running function."""
    found: Catalogue = current_app.extensions["catalogue"]
    return found
