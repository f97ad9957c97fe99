"""From lines to documents: what each line becomes, under which number, against which sale."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.seed import retail_lines, retail_sales
from db.seed.retail_account import summarize
from db.seed.retail_catalogue import MALFORMED, NO_CODE
from db.seed.retail_file import Line
from db.seed.retail_sales import Document, Plan, plan_sales
from functions.sales import bodies

GOODS = frozenset({"A", "B2"})


def line(
    quantity="6", price="2.55", invoice="536365", code="A", *, when="2010-12-01 08:26", customer="17850"
):
    return Line(
        2, code, "LANTERN", price, invoice=invoice, quantity=quantity, invoice_date=when, customer=customer
    )


def plan(*lines: Line) -> Plan:
    return plan_sales([replace(one, number=place) for place, one in enumerate(lines, 2)], GOODS)


def only(*lines: Line) -> Document:
    (document,) = plan(*lines).documents
    return document


def test_an_invoice_is_one_sale() -> None:
    sale = only(line(), line("2", "1.10", code="b2"))
    assert (sale.kind, sale.number, sale.customer) == ("sale", "536365", "17850")
    assert [(entry.sku, entry.quantity, entry.unit_price_cents) for entry in sale.entries] == [
        ("A", 6, 255),
        ("B2", 2, 110),
    ]
    assert sale.amount_cents == 1750


@pytest.mark.parametrize(
    ("one", "kind", "quantity", "price_cents", "amount_cents"),
    [
        (line("6", "0"), "sale", 6, 0, 0),
        (line("-6", "0"), "write_off", 6, 0, 0),
        (line("-6", "2,55"), "return", 6, 255, -1530),
        (line("-6", "0", "C1"), "return", 6, 0, 0),
        (line("-1", "27.5", "C1", "D"), "return", 1, 2750, -2750),
        (line("1", "-11062.06", "A563186", "B"), "return", 1, 1106206, -1106206),
        (line("3", "18", code="POST"), "sale", 3, 1800, 5400),
        (line("1", "373.57", "C496350", "M"), "sale", 1, 37357, 37357),
    ],
)
def test_what_a_line_is(one: Line, kind: str, quantity: int, price_cents: int, amount_cents: int) -> None:
    document = only(one)
    (entry,) = document.entries
    assert (document.kind, entry.quantity, entry.unit_price_cents, document.amount_cents) == (
        kind, quantity, price_cents, amount_cents
    )  # fmt: skip


def test_a_discount_on_an_invoice_is_a_deduction_from_it() -> None:
    sale = only(line("-1", "5.30", code="D"), line())
    assert [(entry.sku, entry.quantity, entry.unit_price_cents) for entry in sale.entries] == [
        ("A", 6, 255),
        ("D", 1, -530),
    ]
    assert sale.amount_cents == 1000


def test_a_discount_of_more_than_its_invoice_is_a_refund() -> None:
    documents = plan(line("-1", "15.31", code="D"), line()).documents
    assert [(one.kind, one.amount_cents, one.original) for one in documents] == [
        ("sale", 1530, None),
        ("return", -1531, None),
    ]


def test_what_comes_back_is_taken_from_the_latest_sale_with_enough_left() -> None:
    made = plan(
        line("5", invoice="1", when="2010-12-01 08:00"),
        line("2", invoice="2", when="2010-12-01 09:00"),
        line("9", invoice="3", when="2010-12-01 12:00"),
        line("-2", invoice="C4", when="2010-12-01 10:00"),
        line("-4", invoice="C5", when="2010-12-01 11:00"),
        line("-2", invoice="C6", when="2010-12-01 11:30"),
    )
    assert {one.number: one.original for one in made.documents if one.kind == "return"} == {
        "C4": "2",
        "C5": "1",
        "C6": None,
    }


@pytest.mark.parametrize(
    "change", [{"customer": ""}, {"customer": "2"}, {"price": "2.54"}, {"code": "B2"}, {"quantity": "-7"}]
)
def test_what_matches_no_sale_is_a_refund(change: dict[str, str]) -> None:
    back = line(**{"quantity": "-1", "invoice": "C7", "when": "2010-12-02 09:00"} | change)
    assert [one.original for one in plan(line(), back).documents] == [None, None]


def test_nobody_is_not_one_customer() -> None:
    documents = plan(line(customer=""), line("-1", invoice="C7", customer="")).documents
    assert [one.original for one in documents] == [None, None]


def test_a_cancellation_of_two_sales_is_two_returns() -> None:
    documents = plan(
        line(invoice="1"), line(invoice="2", code="B2"), line("-1", invoice="C3"),
        line("-1", invoice="C3", code="B2"), line("-1", "9.99", "C3"),
    ).documents  # fmt: skip
    assert [(one.number, one.original) for one in documents if one.kind == "return"] == [
        ("C3", "1"),
        ("C3/2", "2"),
        ("C3/3", None),
    ]


def test_an_invoice_of_two_days_counts_on_both() -> None:
    documents = plan(line(), line(when="12/2/2010 0:01"), line(when="2010-12-01 08:25:30")).documents
    assert [(one.number, one.moment.isoformat(), len(one.entries)) for one in documents] == [
        ("536365", "2010-12-01T08:25:30", 2),
        ("536365/2", "2010-12-02T00:01:00", 1),
    ]


def test_a_long_invoice_is_cut_so_that_sales_takes_it() -> None:
    most = retail_sales.LINES_PER_DOCUMENT
    documents = plan(*[line()] * (most + 1)).documents
    assert [(one.number, len(one.entries)) for one in documents] == [("536365", most), ("536365/2", 1)]
    assert most < bodies.LINES_PER_DOCUMENT
    assert retail_lines.LARGEST_QUANTITY == bodies.LARGEST_IMPORTED_QUANTITY


def test_a_sale_comes_before_what_takes_it_back_in_the_same_minute() -> None:
    assert [one.kind for one in plan(line("-1", invoice="C1"), line()).documents] == ["sale", "return"]


@pytest.mark.parametrize(
    ("one", "reason", "amount"),
    [
        (Line(2, malformed=True), MALFORMED, None),
        (line(invoice=" "), retail_lines.NO_INVOICE, 1530),
        (line(code=""), NO_CODE, 1530),
        (line(code="UNKNOWN"), retail_lines.NO_PRODUCT, 1530),
        (line("0"), retail_lines.NOT_A_QUANTITY, 0),
        (line("many"), retail_lines.NOT_A_QUANTITY, None),
        (line("1000001"), retail_lines.TOO_MANY, 255000255),
        (line(price="free"), retail_lines.NOT_A_NUMBER, None),
        (line(price="0.001"), retail_lines.PART_OF_A_CENT, Decimal("0.6")),
        (line(price="1000000.01"), retail_lines.TOO_DEAR, 600000006),
        (line(price="-1"), retail_lines.BELOW_ZERO, -600),
        (line(when="yesterday"), retail_lines.NOT_A_TIME, 1530),
    ],
)
def test_a_line_that_cannot_be_recorded_is_named(one: Line, reason: str, amount: int | None) -> None:
    made = plan(one)
    assert [(row.reason, row.amount_cents) for row in made.left_out] == [(reason, amount)]
    assert not made.documents


lines = st.builds(
    line,
    quantity=st.sampled_from(["6", "-6", "1", "-1", "-5", "0", "x"]),
    price=st.sampled_from(["2.55", "0", "-1", "0.001", "1"]),
    invoice=st.sampled_from(["1", "2", "C3", "c4", ""]),
    code=st.sampled_from(["A", "a", "B2", "D", "POST", "gone"]),
    when=st.sampled_from(["2010-12-01 08:26", "2010-12-02 09:00", "?"]),
    customer=st.sampled_from(["", "17850"]),
)


@given(st.lists(lines, max_size=40))
def test_every_line_and_cent_is_in_one_place(given_lines: list[Line]) -> None:
    made = plan(*given_lines)
    places = [entry.number for one in made.documents for entry in one.entries]
    places += [row.number for row in made.left_out]
    assert sorted(places) == [*range(2, len(given_lines) + 2)]
    readable = [one for one in given_lines if one.quantity != "x"]
    assert made.amount_cents == sum(int(one.quantity) * Decimal(one.unit_price) * 100 for one in readable)
    assert sum(one.amount_cents for one in made.documents if one.kind == "write_off") == 0
    assert all(one.amount_cents >= 0 for one in made.documents if one.kind == "sale")
    numbers = Counter((one.kind, one.number) for one in made.documents)
    assert not numbers or max(numbers.values()) == 1


@given(st.lists(lines, max_size=40))
def test_no_more_comes_back_than_was_sold_before(given_lines: list[Line]) -> None:
    left: Counter[tuple[str, str, int]] = Counter()
    for one in plan(*given_lines).documents:
        for entry in one.entries:
            if one.kind == "sale":
                left[one.number, entry.sku, entry.unit_price_cents] += entry.quantity
            elif one.original is not None:
                left[one.original, entry.sku, entry.unit_price_cents] -= entry.quantity
                assert left[one.original, entry.sku, entry.unit_price_cents] >= 0


def test_the_summary_accounts_for_every_line() -> None:
    made = plan(line(), line("-2", "0", "7"), line(code="gone"), line("-1", invoice="C1"), line("x"))
    assert list(summarize(made, None)) == [
        "5 lines, 2,805 cents net:",
        "          1  sold in 1 sales, 1,530 cents",
        "          1  taken back in 1 returns (1 against their sale, the others refunds), -255 cents",
        "          1  written off in 1 write-offs, 0 cents",
        "          1  left out: a quantity that is not a whole number other than zero, 0 cents, 1 unknown",
        "          1  left out: the file has no price for this code, 1,530 cents",
    ]
