"""The steps of an order and its sums, without a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.orders.domain import (
    CLOSED,
    STEPS,
    Sums,
    check_cancellable,
    check_returnable,
    check_step,
    check_sums,
    tax_parts,
)
from functions.shared import Conflict, Invalid


def test_every_status_is_reached_and_every_way_ends():
    assert {status for steps in STEPS.values() for status in steps} == set(STEPS) - {"pending"}
    seen, ahead = set(), ["pending"]
    while ahead:
        status = ahead.pop()
        assert status not in STEPS[status]
        seen.add(status)
        ahead += STEPS[status] - seen
    assert seen == set(STEPS)
    assert [status for status in STEPS if not STEPS[status]] == ["refunded"]


def test_what_is_closed_sends_nothing_any_more():
    assert all(not STEPS[status] & {"packed", "shipped"} for status in CLOSED)


@pytest.mark.parametrize("status", STEPS)
@pytest.mark.parametrize("wanted", STEPS)
def test_steps_are_made_or_refused(status: str, wanted: str):
    if wanted in STEPS[status]:
        check_step(status, wanted)
    else:
        with pytest.raises(Conflict):
            check_step(status, wanted)


@pytest.mark.parametrize(
    ("status", "paid", "code"),
    [
        ("pending", False, "order_in_checkout"), ("paid", True, None), ("packed", True, "wrong_status"),
        ("shipped", True, "wrong_status"), ("delivered", True, "wrong_status"), ("cancelled", True, None),
        ("cancelled", False, "wrong_status"), ("returned", True, "wrong_status"), ("refunded", True, "wrong_status"),
    ],
)  # fmt: skip
def test_only_what_is_paid_and_not_packed_is_cancelled(status: str, paid: bool, code: str | None):
    if code is None:
        check_cancellable(status, paid=paid)
        return
    with pytest.raises(Conflict) as refused:
        check_cancellable(status, paid=paid)
    assert refused.value.code == code


@pytest.mark.parametrize("status", STEPS)
def test_goods_come_back_once_they_have_left(status: str):
    if status in {"shipped", "delivered"}:
        check_returnable(status)
    else:
        with pytest.raises(Conflict):
            check_returnable(status)


amounts = st.integers(0, 10**9)


@given(st.lists(amounts, min_size=1, max_size=20), st.lists(st.integers(0, 30), max_size=3))
def test_shares_of_lines_add_up_to_each_tax(totals: list[int], percents: list[int]):
    taxes = tuple(sum(totals) * percent // 100 for percent in percents)
    sums = Sums(tuple(totals), sum(totals), taxes, sum(taxes), sum(totals) + sum(taxes))
    check_sums(sums)
    parts = tax_parts(sums)
    assert len(parts) == len(totals)
    assert [sum(part[place] for part in parts) for place in range(len(taxes))] == list(taxes)
    assert all(share >= 0 for part in parts for share in part)


@pytest.mark.parametrize(
    ("sums", "fields"),
    [
        (Sums((100, 50), 149, (7,), 7, 156), ["subtotal_cents"]),
        (Sums((100,), 100, (7, 3), 9, 109), ["tax_cents"]),
        (Sums((100,), 100, (7,), 7, 106), ["total_cents"]),
        (Sums((100,), 99, (7,), 8, 100), ["subtotal_cents", "tax_cents", "total_cents"]),
        (Sums((0,), 0, (5,), 5, 5), ["tax_cents"]),
    ],
)
def test_sums_that_are_wrong_are_named(sums: Sums, fields: list[str]):
    with pytest.raises(Invalid) as refused:
        check_sums(sums)
    assert [fault["field"] for fault in refused.value.errors] == fields
