"""What a cart costs, and what a customer is told when it cannot be bought: decisions that need neither HTTP nor SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.shared import Conflict, Invalid, PaymentRequired, Problem
from functions.shared.catalogue import Product
from functions.shared.taxes import Tax, TaxRates, taxes_on

Facts = Mapping[str, Any]
"""What a step has learnt, as JSON."""


@dataclass(frozen=True)
class Rules:
    """What the settings say of checkouts."""

    currency: str
    taxes: TaxRates
    reservation_seconds: int
    finish_seconds: int
    payment_timeout_seconds: float


class Refused(Exception):
    """A step is decided against; `problem` is what the customer will be told once all is taken back."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


@dataclass(frozen=True)
class Item:
    """A product in the cart, at the price that its holder was last shown."""

    sku: str
    product_id: int
    name: str
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True)
class Line:
    sku: str
    name: str
    category: str
    quantity: int
    unit_price_cents: int

    @property
    def total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


@dataclass(frozen=True)
class Bill:
    currency: str
    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...]

    @property
    def subtotal_cents(self) -> int:
        return sum(line.total_cents for line in self.lines)

    @property
    def tax_cents(self) -> int:
        return sum(tax.amount_cents for tax in self.taxes)

    @property
    def total_cents(self) -> int:
        return self.subtotal_cents + self.tax_cents


def bill(
    items: Sequence[Item], products: Iterable[Product], currency: str, rates: TaxRates, agreed_cents: int
) -> Bill:
    """What the items cost now, with taxes.

    Raises Refused when one of them is no longer sold, or when this is not what the customer has seen and agreed to.
    """
    sold = {
        (product.product_id, product.sku): product
        for product in products
        if product.active and product.currency == currency
    }
    _check_sold(items, sold)
    lines = tuple(_line(item, sold[item.product_id, item.sku]) for item in items)
    subtotal_cents = sum(line.total_cents for line in lines)
    found = Bill(currency, lines, taxes_on(subtotal_cents, rates))
    _check_agreed(items, found, agreed_cents)
    return found


def _line(item: Item, product: Product) -> Line:
    return Line(item.sku, product.name, product.category, item.quantity, product.price_cents)


def _check_sold(items: Sequence[Item], sold: Collection[tuple[int, str]]) -> None:
    gone = [item for item in items if (item.product_id, item.sku) not in sold]
    if gone:
        members = {"lines": [{"sku": item.sku, "name": item.name} for item in gone]}
        detail = "Something in the cart is no longer sold; take it out, and check out again with a new key."
        raise Refused(Conflict(detail, code="product_unavailable", members=members))


def _check_agreed(items: Sequence[Item], found: Bill, agreed_cents: int) -> None:
    if not found.total_cents:
        raise Refused(Conflict("Nothing is to be paid for this cart.", code="nothing_to_pay"))
    changed = [
        {
            "sku": line.sku,
            "name": line.name,
            "quantity": line.quantity,
            "shown_price_cents": item.unit_price_cents,
            "unit_price_cents": line.unit_price_cents,
        }
        for item, line in zip(items, found.lines, strict=True)
        if item.unit_price_cents != line.unit_price_cents
    ]
    if not changed and found.total_cents == agreed_cents:
        return
    members = {
        "currency": found.currency,
        "agreed_cents": agreed_cents,
        "total_cents": found.total_cents,
        "lines": changed,
    }
    detail = (
        f"The total is {found.total_cents} cents now; nothing was charged. "
        "Read the cart again, and check out with a new key if you agree."
    )
    raise Refused(Conflict(detail, code="price_changed", members=members))


def stock_lacking(items: Sequence[Mapping[str, Any]], lacking: Iterable[Mapping[str, Any]]) -> Refused:
    """`items` are the lines of the bill; each of which too little is left is named by its place."""
    lacks = list(lacking)
    messages = {row["sku"]: f"{row['requested']} wanted, {row['available']} available" for row in lacks}
    faults = [
        {"field": f"lines.{place}.sku", "message": messages[item["sku"]]}
        for place, item in enumerate(items)
        if item["sku"] in messages
    ]
    detail = "There is not enough stock; nothing was charged. Change the cart, and check out with a new key."
    return Refused(Conflict(detail, code="insufficient_stock", errors=faults, members={"lacking": lacks}))


def card_declined(decline_code: str) -> Refused:
    detail = "The card was declined; nothing was charged. Check out again with another card and a new key."
    return Refused(PaymentRequired(detail, code="card_declined", members={"decline_code": decline_code}))


def unknown_card(detail: str) -> Refused:
    message = "is not a token of the payment provider"
    return Refused(Invalid(detail, errors=[{"field": "payment.card_token", "message": message}]))


def unknown_location() -> Refused:
    errors = [{"field": "fulfilled_by", "message": "is not a location"}]
    return Refused(Invalid("There is no such location.", code="unknown_location", errors=errors))


def given_up() -> Problem:
    """What is told of a checkout that was undone for no fault of the customer's."""
    return Conflict(
        "The checkout could not be finished in time and was undone; nothing was charged and the cart is as it was. "
        "Check out again with a new key.",
        code="checkout_given_up",
    )
