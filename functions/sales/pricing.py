"""What lines cost: the catalogue's prices or those that the till names, and what of a bill a sale keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from functions.shared import identity
from functions.shared.catalogue import Product
from functions.shared.taxes import show_taxes

from . import domain, people
from .bodies import NewLine
from .catalogue import check_products, products_of
from .domain import Bill, Line


def price(lines: Sequence[NewLine]) -> Bill:
    """The bill of lines at the catalogue's prices, or at those they name."""
    rules = people.rules()
    found = products_of(line.sku for line in lines)
    check_products([line.sku for line in lines], found, rules.currency)
    return domain.bill([_line(line, found[line.sku]) for line in lines], rules.taxes)


def _line(line: NewLine, product: Product) -> Line:
    named = line.unit_price_cents
    overridden = named is not None and named != product.price_cents
    return Line(
        sku=product.sku,
        name=product.name,
        category=product.category,
        quantity=line.quantity,
        list_price_cents=product.price_cents,
        unit_price_cents=product.price_cents if named is None else named,
        override_reason=line.override_reason if overridden else None,
    )


def override_percent() -> int:
    """How far who asks may change a price, in percent of the catalogue's."""
    rules = people.rules()
    wide = identity().has_any(("hq",))
    return rules.hq_override_percent if wide else rules.staff_override_percent


def bill_columns(bill: Bill, currency: str) -> dict[str, Any]:
    """The columns of a sale that its bill says, and its lines."""
    return {
        "currency": currency,
        "subtotal_cents": bill.subtotal_cents,
        "taxes": json.dumps(show_taxes(bill.taxes)),
        "tax_cents": bill.tax_cents,
        "lines": [
            {
                "line": place,
                "sku": line.sku,
                "name": line.name,
                "category": line.category,
                "charge": line.charge,
                "quantity": line.quantity,
                "list_price_cents": line.list_price_cents,
                "unit_price_cents": line.unit_price_cents,
                "override_reason": line.override_reason,
                "tax_parts_cents": parts,
                "tax_cents": sum(parts),
            }
            for place, (line, parts) in enumerate(zip(bill.lines, bill.tax_parts, strict=True), 1)
        ],
    }
