"""The year that the benchmark of reports is about: its documents add up, and its verdicts say what was measured."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

from benchmarks.reports import READ, SALE, Measured, reports, sale_ratio
from benchmarks.retail_year import (
    RETURN_LINE_COLUMNS,
    SALE_COLUMNS,
    SALE_LINE_COLUMNS,
    Documents,
    RetailYear,
)
from functions.reports.handler import api

LAST_DAY = date(2026, 11, 21)


def documents(lines: int) -> list[Documents]:
    return list(RetailYear(LAST_DAY)._documents(lines))


def named(columns: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(columns, row, strict=True))


def test_a_year_has_as_many_lines_as_asked_for_and_the_same_every_time() -> None:
    assert sum(len(one.sale_lines) for one in documents(500)) == 500
    assert documents(500) == documents(500)


def test_amounts_of_a_sale_are_those_of_its_lines_and_receipts_have_no_gaps() -> None:
    receipts: Counter[tuple[str, date]] = Counter()
    for one in documents(3_000):
        sale = named(SALE_COLUMNS, one.sale)
        lines = [named(SALE_LINE_COLUMNS, row) for row in one.sale_lines]
        assert sale["subtotal_cents"] == sum(line["quantity"] * line["unit_price_cents"] for line in lines)
        assert sale["tax_cents"] == sum(line["tax_cents"] for line in lines)
        receipts[sale["store"], sale["business_date"]] += 1
        assert sale["receipt_number"] == receipts[sale["store"], sale["business_date"]]
        assert LAST_DAY - timedelta(days=365) < sale["business_date"] <= LAST_DAY


def test_some_lines_come_back_and_the_sale_knows() -> None:
    returned = [one for one in documents(3_000) if one.return_]
    assert returned
    for one in returned:
        line = named(SALE_LINE_COLUMNS, one.sale_lines[0])
        back = named(RETURN_LINE_COLUMNS, one.return_lines[0])
        assert (line["returned_quantity"], line["returned_tax_parts_cents"]) == (
            back["quantity"],
            back["tax_parts_cents"],
        )


def test_every_report_is_measured() -> None:
    asked = {path.split("?")[0].replace("/S1", "/<store>") for path in reports(LAST_DAY).values()}
    assert asked == {route.path for route in api.routes if route.method == "GET"}


def test_a_sale_is_held_to_a_read_of_the_same_run() -> None:
    measured = Measured(10, seconds={SALE: [0.003, 0.001, 0.002], READ: [0.0001, 0.0002, 0.0003]})
    assert sale_ratio(measured) == 10
