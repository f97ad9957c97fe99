"""What a cart costs when it is bought, and what of it the customer has to be told."""

from __future__ import annotations

from typing import Any

import pytest

from functions.checkout import views
from functions.checkout.domain import Bill, Item, Refused, bill, stock_lacking
from functions.orders import bodies
from functions.payments.views import LARGEST_AMOUNT_CENTS
from functions.shared.catalogue import Product
from functions.shared.taxes import TaxRates

RATES = TaxRates("TPS=5,TVQ=9.975")
ITEMS = (Item("A", 1, "Apple", 2, 1000), Item("B", 2, "Bread", 1, 333))
AGREED_CENTS = 2333 + 117 + 233


def product(product_id: int, sku: str, price_cents: int, **changes: Any) -> Product:
    usual = {"version": 1, "name": f"New {sku}", "category": "food", "currency": "CAD", "active": True}
    return Product(product_id=product_id, sku=sku, price_cents=price_cents, **{**usual, **changes})


def priced(*products: Product, agreed_cents: int = AGREED_CENTS) -> Bill:
    return bill(ITEMS, products, "CAD", RATES, agreed_cents)


def refused(*products: Product, agreed_cents: int = AGREED_CENTS) -> Any:
    with pytest.raises(Refused) as caught:
        priced(*products, agreed_cents=agreed_cents)
    return caught.value.problem


def test_it_costs_what_was_shown_with_taxes_taken_once_on_the_whole() -> None:
    found = priced(product(2, "B", 333), product(1, "A", 1000))
    assert [(line.sku, line.name, line.total_cents) for line in found.lines] == [
        ("A", "New A", 2000), ("B", "New B", 333),
    ]  # fmt: skip
    assert (found.subtotal_cents, [tax.amount_cents for tax in found.taxes]) == (2333, [117, 233])
    assert found.total_cents == AGREED_CENTS


def test_prices_that_changed_are_told_even_if_the_total_is_the_same() -> None:
    problem = refused(product(1, "A", 999), product(2, "B", 335))
    assert problem.code == "price_changed"
    assert problem.members["total_cents"] == AGREED_CENTS
    assert [(line["sku"], line["shown_price_cents"], line["unit_price_cents"]) for line in problem.members["lines"]] == [
        ("A", 1000, 999), ("B", 333, 335),
    ]  # fmt: skip


@pytest.mark.parametrize("cents", [-1, 1])
def test_another_total_than_the_agreed_one_is_told(cents: int) -> None:
    problem = refused(product(1, "A", 1000), product(2, "B", 333), agreed_cents=AGREED_CENTS + cents)
    assert (problem.code, problem.members["lines"]) == ("price_changed", [])


@pytest.mark.parametrize(
    "other", [{"active": False}, {"currency": "USD"}, {"sku": "B2"}, {"product_id": 3}], ids=str
)
def test_what_is_not_sold_as_it_was_is_named(other: dict[str, Any]) -> None:
    changed = product(**{"product_id": 2, "sku": "B", "price_cents": 333, **other})
    problem = refused(product(1, "A", 1000), changed)
    assert problem.code == "product_unavailable"
    assert problem.members["lines"] == [{"sku": "B", "name": "Bread"}]


def test_lacking_stock_is_told_by_the_place_of_its_line() -> None:
    lines = [{"sku": item.sku} for item in ITEMS]
    problem = stock_lacking(lines, [{"sku": "B", "requested": 1, "available": 0}]).problem
    assert problem.errors == [{"field": "lines.1.sku", "message": "1 wanted, 0 available"}]
    assert problem.members["lacking"] == [{"sku": "B", "requested": 1, "available": 0}]


def test_every_total_that_can_be_agreed_to_can_be_ordered_and_charged() -> None:
    assert views.HIGHEST_TOTAL_CENTS == bodies.HIGHEST_AMOUNT_CENTS == LARGEST_AMOUNT_CENTS
