"""Products as the catalogue shows them now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from requests import Response

from functions.shared import Invalid, Unavailable, UpstreamTimeout, current

from .domain import Fault

PRICES_PER_REQUEST = 100
"""products answers for up to 200 at once; half of that keeps the address short."""

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class Product:
    sku: str
    name: str
    category: str
    price_cents: int
    currency: str
    active: bool


def products_of(skus: Iterable[str]) -> dict[str, Product]:
    """The products with these SKUs; unknown ones are missing.

    Raises Unavailable when products does not answer, for then no price is known.
    """
    wanted = list(dict.fromkeys(skus))
    try:
        found = [
            product
            for start in range(0, len(wanted), PRICES_PER_REQUEST)
            for product in _ask(wanted[start : start + PRICES_PER_REQUEST])
        ]
    except (Unavailable, UpstreamTimeout) as problem:
        raise Unavailable(
            "The catalogue cannot be reached right now, so prices are not known; try again shortly.",
            code="prices_unavailable",
        ) from problem
    return {product.sku: product for product in found}


def _ask(skus: Sequence[str]) -> list[Product]:
    response = current().client.get("products", "/prices", params={"sku": list(skus)})
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
        sku=row["sku"],
        name=row["name"],
        category=row["category"],
        price_cents=row["price_cents"],
        currency=row["currency"],
        active=row["active"],
    )


def check_products(
    skus: Sequence[str | None], found: Mapping[str, Product], currency: str, *, on_sale_only: bool = True
) -> None:
    """Raise Invalid naming every line whose product cannot be sold in `currency`; None is a line without a product."""
    rules: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
        ("unknown_product", "There is no product with this SKU.", lambda sku: sku in found),
        (
            "inactive_product",
            "This product is no longer sold.",
            lambda sku: found[sku].active or not on_sale_only,
        ),
        (
            "other_currency",
            f"This product is not priced in {currency}.",
            lambda sku: found[sku].currency == currency,
        ),
    )
    for code, sentence, fits in rules:
        faults: list[Fault] = [
            {"field": f"lines.{place}.sku", "message": sentence}
            for place, sku in enumerate(skus)
            if sku is not None and not fits(sku)
        ]
        if faults:
            raise Invalid(sentence, code=code, errors=faults)
