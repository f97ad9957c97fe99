"""Opening stock: enough for what a file sells, received once, and the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from db.seed import demo, opening_stock
from db.seed.catalogue import Answer, Catalogue, UploadError
from db.seed.opening_stock import LARGEST_QUANTITY, Loaded, in_batches, rows_for_sales
from db.seed.retail_catalogue import read_catalogue, units_leaving
from db.seed.retail_file import Line
from functions.inventory import views


class FakeInventory:
    """Receives each reference once, as inventory does."""

    def __init__(self) -> None:
        self.received: dict[str, Any] = {}
        self.keys: list[str] = []

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        content = json.loads(body or b"{}")
        self.keys.append(headers["Idempotency-Key"])
        present = self.received.setdefault(content["reference"], content["lines"])
        if present is content["lines"]:
            return Answer(201, {}, b"{}")
        return Answer(200 if present == content["lines"] else 409, {}, b"{}")

    def shop(self) -> Catalogue:
        return Catalogue(self.send, lambda _: None, lambda: "token")


def line(quantity: str, invoice: str = "536365", code: str = "A") -> Line:
    return Line(2, code, "LANTERN", "1", invoice=invoice, quantity=quantity)


@pytest.mark.parametrize(
    ("quantity", "invoice", "units"),
    [
        ("6", "536365", 6), (" 6 ", "", 6), ("-6", "536365", 6), ("-6", "C536365", 0), ("-6", " c536365", 0),
        ("0", "1", 0), ("", "1", 0), ("many", "1", 0), ("1.5", "1", 0), ("9" * 30, "1", 0), ("٣", "1", 0),
    ],
)  # fmt: skip
def test_what_leaves_is_what_is_sold_or_written_off(quantity: str, invoice: str, units: int) -> None:
    assert units_leaving(line(quantity, invoice)) == units


def test_all_spellings_of_a_code_are_one_products_units() -> None:
    made = read_catalogue([line("6", code="a"), line("2", code="A"), line("-1", "C1"), line("-3", "1")])
    assert [(product.sku, product.units) for product in made.products] == [("A", 11)]


def test_a_line_that_says_nothing_of_the_product_still_takes_stock() -> None:
    damaged = Line(3, "A", "", "0", invoice="1", quantity="-4")
    made = read_catalogue([line("6"), damaged])
    assert [product.units for product in made.products] == [10]


def test_the_store_of_the_sales_gets_all_of_it_and_others_a_share() -> None:
    rows = {row["location"]: row["quantity"] for row in rows_for_sales({"A": 21})}
    assert rows == {"S1": 21, "S2": 3, "S3": 3, "S4": 3, "S5": 3, "W1": 3}
    assert rows_for_sales({"A": 0}) == []
    assert max(row["quantity"] for row in rows_for_sales({"A": 10**9})) == LARGEST_QUANTITY


def test_the_same_rows_are_received_once_and_others_anew() -> None:
    inventory, rows = FakeInventory(), rows_for_sales({f"A{number}": 5 for number in range(400)})
    name = opening_stock.digest(rows)
    done: list[int] = []
    first = opening_stock.load(inventory.shop(), in_batches(rows), name, done.append)
    again = opening_stock.load(inventory.shop(), in_batches(rows), name, done.append)
    assert (first, again) == (Loaded(received=2400), Loaded(present=2400))
    assert done == [1000, 2000, 2400] * 2
    assert len(set(inventory.keys)) == 6
    assert opening_stock.digest(rows[1:]) != name


def test_a_refusal_ends_it_with_an_explanation() -> None:
    inventory, rows = FakeInventory(), rows_for_sales({"A": 5})
    opening_stock.load(inventory.shop(), [rows], "n", lambda _: None)
    with pytest.raises(UploadError, match="the shop answered 409"):
        opening_stock.load(inventory.shop(), [rows[1:]], "n", lambda _: None)


def test_the_limits_known_here_are_those_of_the_inventory_function() -> None:
    assert (opening_stock.LARGEST_QUANTITY, opening_stock.ROWS_PER_REQUEST) == (
        views.LARGEST_QUANTITY,
        views.MOST_LINES,
    )


def test_demonstration_stock_is_the_same_on_every_machine_and_some_of_it_is_low() -> None:
    rows = [row for number in range(1, 201) for row in demo.stock_rows(number)]
    assert rows == [row for number in range(1, 201) for row in demo.stock_rows(number)]
    assert {row["location"] for row in rows} == {"S1", "S2", "S3", "S4", "S5", "W1"}
    low = sum(row["quantity"] <= row["low_at"] for row in rows)
    assert 0.05 < low / len(rows) < 0.3
    assert all(size % demo.PRODUCTS_PER_BATCH == 0 for size in demo.SIZES.values())
    assert 6 * demo.PRODUCTS_PER_BATCH <= opening_stock.ROWS_PER_REQUEST
