"""Bills, payments, overrides and returns: whatever the numbers, sums add up."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.sales import domain
from functions.sales.domain import Asked, Line, Tender
from functions.shared import Conflict, Forbidden, Invalid
from functions.shared.returns import Returned, Sold, Wanted, refund_taxes, take_back
from functions.shared.taxes import TaxRates, apportioned

RATES = TaxRates("TPS=5,TVQ=9.975")


def line(price: int = 1000, quantity: int = 1, **changes: Any) -> Line:
    return replace(Line("A", "Product A", "things", quantity, price, price), **changes)


quantities = st.integers(1, 10_000)
prices = st.integers(0, 100_000_000)
bills = st.lists(st.builds(line, prices, quantities), min_size=1, max_size=12)
percents = st.decimals(0, 100, places=3)


@given(bills, percents, percents)
def test_taxes_of_lines_add_up_to_those_of_the_bill(lines: list[Line], one: Decimal, other: Decimal):
    bill = domain.bill(lines, TaxRates(f"X={one},Y={other}"))
    for place, tax in enumerate(bill.taxes):
        exact = Decimal(bill.subtotal_cents) * tax.percent / 100
        assert tax.amount_cents == exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)
        assert sum(parts[place] for parts in bill.tax_parts) == tax.amount_cents
        assert all(parts[place] >= 0 for parts in bill.tax_parts)
    assert bill.total_cents == sum(row.total_cents for row in lines) + bill.tax_cents


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20))
def test_shares_add_up_and_are_within_a_cent_of_the_proportion(amount: int, weights: list[int]):
    shares = apportioned(amount, weights)
    if sum(weights) == 0:
        assert set(shares) == {0}
        return
    assert sum(shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - amount * weight) < abs(sum(weights))


@given(st.integers(0, 10**9), st.data())
def test_any_way_to_pay_pays_the_total_exactly_and_the_rest_is_change(total: int, data: st.DataObject):
    left, tenders = total, []
    for _ in range(data.draw(st.integers(0, 3))):
        part = data.draw(st.integers(1, max(1, left)))
        if part <= left:
            tenders.append(Tender("card", part, "T"))
            left -= part
    extra = data.draw(st.integers(0, 10_000))
    if left:
        tenders.insert(data.draw(st.integers(0, len(tenders))), Tender("cash", left + extra))
    paid = domain.payments(total, tenders)
    assert sum(payment.amount_cents for payment in paid) == total
    change = sum(payment.given_cents - payment.amount_cents for payment in paid)
    assert change == (extra if left else 0)
    assert all(payment.amount_cents > 0 for payment in paid)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_too_little_and_too_much_are_refused_with_the_difference(total: int, off: int):
    if off <= total:
        with pytest.raises(Invalid) as short:
            domain.payments(total, [Tender("cash", total - off)] if off < total else [])
        assert (short.value.code, short.value.errors[0]["message"]) == (
            "underpaid",
            f"{off} cents are missing",
        )
    with pytest.raises(Invalid) as beyond:
        domain.payments(total, [Tender("card", total + off, "T")])
    assert (beyond.value.code, beyond.value.errors[0]["message"]) == ("overpaid", f"{off} cents too much")


def test_one_gift_card_pays_once_and_cash_comes_in_one_tender():
    card, other = Tender("gift_card", 50, code="X"), Tender("gift_card", 50, code="Y")
    cash = Tender("cash", 50)
    for tenders, at_fault in (
        ([card, card, cash], 1),
        ([card, other, cash, card], 3),
        ([card, cash, cash, other], 2),
    ):
        with pytest.raises(Invalid) as refused:
            domain.payments(200, tenders)
        assert refused.value.code == "bad_tender"
        assert [fault["field"] for fault in refused.value.errors] == [f"tenders.{at_fault}"]


@given(st.integers(1, 10**6), st.integers(0, 100), st.integers(0, 2 * 10**6))
def test_override_is_allowed_up_to_the_limit_and_not_a_cent_further(price: int, percent: int, charged: int):
    changed = line(price, unit_price_cents=charged, override_reason="a reason")
    if abs(charged - price) * 100 <= percent * price:
        domain.check_overrides([changed], percent)
    else:
        with pytest.raises(Forbidden) as refused:
            domain.check_overrides([line(), changed], percent)
        assert [fault["field"] for fault in refused.value.errors] == ["lines.1.unit_price_cents"]


def test_override_without_a_reason_is_refused_whatever_the_limit():
    with pytest.raises(Invalid) as refused:
        domain.check_overrides([line(unit_price_cents=999)], 100)
    assert refused.value.code == "override_reason_missing"


def sold(lines: list[Line]) -> tuple[list[Sold], domain.Bill]:
    bill = domain.bill(lines, RATES)
    found = [
        Sold(
            number, row.sku, row.name, row.category, row.charge, row.quantity, row.unit_price_cents,
            parts, 0, (0,) * len(parts),
        )
        for number, (row, parts) in enumerate(zip(lines, bill.tax_parts, strict=True), 1)
    ]  # fmt: skip
    return found, bill


small_bills = st.lists(st.builds(line, st.integers(0, 5_000), st.integers(1, 12)), min_size=1, max_size=4)


@given(small_bills, st.randoms(use_true_random=False), st.booleans())
def test_returns_in_any_pieces_give_back_exactly_what_was_paid(
    lines: list[Line], chance: random.Random, some_are_refused: bool
):
    """Also when returns are taken and then refused in between, and nothing is ever below zero on the way."""
    present, bill = sold(lines)
    refunded = 0
    held: list[Returned] = []
    while any(row.left for row in present) or held:
        if held and (chance.random() < 0.5 or not any(row.left for row in present)):
            present = _given_back(present, held.pop(chance.randrange(len(held))))
            continue
        row = chance.choice([row for row in present if row.left])
        (back,), (after,) = take_back(
            present, [Wanted(row.line, chance.randint(1, row.left), True, "lines.0")]
        )
        present = [after if other.line == after.line else other for other in present]
        assert min(back.tax_parts) >= 0
        if some_are_refused and chance.random() < 0.3:
            held.append(back)
        else:
            refunded += back.total_cents + sum(back.tax_parts)
        assert refunded <= bill.total_cents
    assert refunded == bill.total_cents


def _given_back(present: list[Sold], back: Returned) -> list[Sold]:
    """What refusing a return does to the line it was taken from."""
    return [
        replace(
            row,
            returned_quantity=row.returned_quantity - back.quantity,
            returned_tax_parts=tuple(
                a - b for a, b in zip(row.returned_tax_parts, back.tax_parts, strict=True)
            ),
        )
        if row.line == back.sold_line
        else row
        for row in present
    ]


@given(small_bills)
def test_taxes_of_a_return_are_the_sum_of_its_lines(lines: list[Line]):
    present, bill = sold(lines)
    wanted = [Wanted(row.line, row.quantity, True, "lines") for row in present]
    returned, _ = take_back(present, wanted)
    taxes = refund_taxes([(tax.name, tax.percent) for tax in bill.taxes], returned)
    assert [tax.amount_cents for tax in taxes] == [tax.amount_cents for tax in bill.taxes]


def test_imported_return_takes_lines_of_its_price_and_names_what_is_missing():
    present, _ = sold([line(100, 2), line(90, 5), line(100, 3)])
    wanted = domain.matched(present, [Asked("A", 4, 100, True)])
    assert [(want.line, want.quantity) for want in wanted] == [(3, 3), (1, 1)]
    with pytest.raises(Conflict) as refused:
        domain.matched(present, [Asked("A", 3, 100, True), Asked("A", 3, 100, True)])
    assert [fault["field"] for fault in refused.value.errors] == ["lines.1.quantity"]


def test_imported_return_takes_no_charge_for_goods_and_no_goods_for_a_charge():
    present, _ = sold([line(100, 2), line(100, 5, charge=True)])
    assert [want.line for want in domain.matched(present, [Asked("A", 2, 100, True)])] == [1]
    assert [want.line for want in domain.matched(present, [Asked("A", 5, 100, True, charge=True)])] == [2]
    with pytest.raises(Conflict):
        domain.matched(present, [Asked("A", 3, 100, True)])


def test_business_date_is_the_stores_day():
    late = datetime(2026, 3, 1, 4, 30, tzinfo=UTC)
    assert domain.business_date(late, "America/Toronto") == date(2026, 2, 28)
    assert domain.business_date(late, "America/St_Johns") == date(2026, 3, 1)


def test_every_line_of_a_lacking_product_is_named():
    lacking = [{"sku": "B", "requested": 3, "available": 1}]
    assert domain.lacking_faults(["A", "B", "B"], lacking) == [
        {"field": "lines.1.sku", "message": "3 wanted, 1 available"},
        {"field": "lines.2.sku", "message": "3 wanted, 1 available"},
    ]
