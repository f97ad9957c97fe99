"""What the till makes of the catalogue: products by SKU, and which of them it may sell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from functions.shared import Invalid, current
from functions.shared.catalogue import Product, find_products

from .domain import Fault


def products_of(skus: Iterable[str]) -> dict[str, Product]:
    """The products with these SKUs; unknown ones are missing. Raises Unavailable when prices cannot be known."""
    return {product.sku: product for product in find_products(current().client, skus=skus)}


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
