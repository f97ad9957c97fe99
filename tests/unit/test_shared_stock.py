"""Stock as inventory keeps it: calls stay within its limits."""

from __future__ import annotations

from functions.inventory import views
from functions.shared.stock import LARGEST_QUANTITY, lines_of


def test_lines_of_one_sku_are_one_line_unless_inventory_takes_no_such_quantity() -> None:
    assert lines_of([("A", 2), ("B", 1), ("A", 3)]) == [
        {"sku": "A", "quantity": 5},
        {"sku": "B", "quantity": 1},
    ]
    assert lines_of([("A", 600_000)] * 2) == [
        {"sku": "A", "quantity": 1_000_000},
        {"sku": "A", "quantity": 200_000},
    ]
    assert lines_of([("A", 1_000_000)] * 2) == [{"sku": "A", "quantity": 1_000_000}] * 2
    assert LARGEST_QUANTITY == views.LARGEST_QUANTITY
