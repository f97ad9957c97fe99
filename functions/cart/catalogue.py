"""Prices as products shows them now."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask import current_app
from prometheus_client import Counter
from requests import Response

from functions.shared import Unavailable, UpstreamTimeout, current
from functions.shared.telemetry import current_trace

from .domain import Item, Offer

PRICES_PER_REQUEST = 100
"""products answers for up to 200 at once; half of that keeps the address short."""
LONGEST_SKU = 64
READING_BUDGET_SECONDS = 2.0
"""A cart is shown with remembered prices rather than later than this."""
COOL_DOWN_SECONDS = 1.0
"""After products could not be reached, reading a cart does not even try for this long."""

PRICE_CHECKS = Counter("cart_price_checks_total", "Price look-ups in products, by outcome.", ["outcome"])

_log = logging.getLogger("magasin")

Offers = dict[str, Offer]


class Catalogue:
    """Looks products up through the gateway; remembers for a moment that they cannot be reached."""

    def __init__(self) -> None:
        self._away_until = 0.0

    def offers(self, items: Iterable[Item], sku: str | None = None) -> Offers:
        """The products of `items`, and the one with `sku`, as they are now; unknown ones are missing.

        Raises Unavailable or UpstreamTimeout when products does not answer.
        """
        wanted = [("id", str(item.product_id)) for item in items if item.sku != sku]
        if sku is not None and len(sku) <= LONGEST_SKU:
            wanted.append(("sku", sku))
        try:
            found = [
                offer
                for start in range(0, len(wanted), PRICES_PER_REQUEST)
                for offer in _ask(wanted[start : start + PRICES_PER_REQUEST])
            ]
        except (Unavailable, UpstreamTimeout) as problem:
            PRICE_CHECKS.labels("failed").inc()
            self._away_until = time.monotonic() + COOL_DOWN_SECONDS
            raise Unavailable(
                "The catalogue cannot be reached right now, so prices are not known; try again shortly.",
                code="prices_unavailable",
            ) from problem
        if wanted:
            PRICE_CHECKS.labels("answered").inc()
        return {offer.sku: offer for offer in found}

    def offers_if_reachable(self, items: Sequence[Item]) -> Offers | None:
        """The products of `items` as they are now; None when products does not answer soon."""
        if items and time.monotonic() < self._away_until:
            PRICE_CHECKS.labels("skipped").inc()
            return None
        try:
            with _at_most(READING_BUDGET_SECONDS):
                return self.offers(items)
        except Unavailable:
            return None


def catalogue() -> Catalogue:
    """The catalogue of the running function."""
    found: Catalogue = current_app.extensions["catalogue"]
    return found


def _ask(wanted: Sequence[tuple[str, str]]) -> list[Offer]:
    parameters = {kind: [value for name, value in wanted if name == kind] for kind in ("id", "sku")}
    response = current().client.get("products", "/prices", params=parameters)
    try:
        return _read(response)
    except (ValueError, KeyError, TypeError) as error:
        _log.exception("products answered %s, which is not a list of prices", response.status_code)
        raise Unavailable from error


def _read(response: Response) -> list[Offer]:
    if response.status_code != 200:
        raise ValueError(f"status {response.status_code}")
    return [_offer(row) for row in response.json()["items"]]


def _offer(row: dict[str, Any]) -> Offer:
    return Offer(
        sku=row["sku"],
        product_id=row["product_id"],
        version=row["version"],
        name=row["name"],
        price_cents=row["price_cents"],
        currency=row["currency"],
        active=row["active"],
    )


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Bring the request's deadline forward for the calls made inside."""
    trace = current_trace()
    if trace is None:
        yield
        return
    deadline = trace.deadline
    trace.deadline = min(deadline, time.monotonic() + seconds)
    try:
        yield
    finally:
        trace.deadline = deadline
