"""From lines to products: names, prices, and an account in which every code has one place."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.seed import retail_catalogue as retail
from db.seed.retail_catalogue import RetailCatalogue, RetailProduct, median, read_catalogue, to_cents
from db.seed.retail_file import Line


def catalogue(*rows: tuple[str, str, str]) -> RetailCatalogue:
    return read_catalogue(Line(number, *row) for number, row in enumerate(rows, 2))


def test_a_product_has_its_most_frequent_description_and_its_median_price() -> None:
    made = catalogue(
        ("22423", "REGENCY CAKESTAND 3 TIER", "12.75"),
        ("22423", "REGENCY CAKESTAND 3 TIER", "10.95"),
        ("22423", "REGENCY CAKE STAND", "24.96"),
    )
    assert made.products == [RetailProduct("22423", "REGENCY CAKESTAND 3 TIER", 1275, ("22423",))]


def test_of_equally_frequent_descriptions_the_first_in_the_alphabet_wins_whatever_the_order() -> None:
    rows = [("1", "B", "1"), ("1", "A", "1"), ("1", "B", "1"), ("1", "A", "1"), ("1", "C", "1")]
    random.Random(1).shuffle(rows)
    assert [product.name for product in catalogue(*rows).products] == ["A"]


@pytest.mark.parametrize(
    ("prices", "cents"),
    [
        (["2.55"], 255),
        (["1", "2"], 150),
        (["0.10", "0.15"], 13),
        (["1.005", "1.005"], 101),
        (["1.0049"], 100),
        (["3", "1", "2"], 200),
        (["5", "1", "1", "1"], 100),
        (["2,55"], 255),
    ],
)
def test_the_median_price_is_rounded_half_up_to_cents(prices: list[str], cents: int) -> None:
    assert catalogue(*[("1", "A", price) for price in prices]).products[0].price_cents == cents


@given(st.lists(st.decimals(min_value="0.01", max_value="999", places=2), min_size=1, max_size=30))
def test_the_median_has_as_many_prices_below_as_above(prices: list[Decimal]) -> None:
    middle = median(Counter(prices))
    assert sum(price < middle for price in prices) <= len(prices) / 2
    assert sum(price > middle for price in prices) <= len(prices) / 2
    assert to_cents(middle) >= 1


@pytest.mark.parametrize(
    ("price", "description", "reason"),
    [
        ("0", "A", retail.NOT_POSITIVE),
        ("-11062.06", "A", retail.NOT_POSITIVE),
        ("0.001", "A", retail.UNDER_ONE_CENT),
        ("99999999999", "A", retail.TOO_DEAR),
        ("", "A", retail.NOT_A_NUMBER),
        ("free", "A", retail.NOT_A_NUMBER),
        ("1e3", "A", retail.NOT_A_NUMBER),
        ("NaN", "A", retail.NOT_A_NUMBER),
        ("inf", "A", retail.NOT_A_NUMBER),
        ("1_000", "A", retail.NOT_A_NUMBER),
        ("1,234.50", "A", retail.NOT_A_NUMBER),
        ("٣", "A", retail.NOT_A_NUMBER),
        ("9" * 10_000, "A", retail.NOT_A_NUMBER),
        ("1", "", retail.NO_DESCRIPTION),
        ("1", " \t ", retail.NO_DESCRIPTION),
        ("1", "??", retail.NO_DESCRIPTION),
        ("1", "A" * 5000, retail.LONG_DESCRIPTION),
    ],
)
def test_a_line_that_says_nothing_usable_is_counted_with_its_reason(
    price: str, description: str, reason: str
) -> None:
    made = catalogue(("1", description, price))
    assert made.products == []
    assert made.unusable == {"1": reason}
    assert made.unused_lines == {reason: 1}


def test_an_unusable_line_does_not_spoil_the_usable_ones_of_its_code() -> None:
    made = catalogue(("1", "LANTERN", "2.00"), ("1", "damages", "0"), ("1", "damages", "0"))
    assert [(product.name, product.price_cents) for product in made.products] == [("LANTERN", 200)]
    assert made.unusable == {}


def test_codes_that_book_money_are_not_goods_in_any_spelling() -> None:
    made = catalogue(
        ("POST", "POSTAGE", "18"), ("m", "Manual", "1.25"), (" BANK  CHARGES", "Bank Charges", "15")
    )
    assert made.products == []
    assert made.not_goods == {"BANK CHARGES": "bank charges", "m": "manual entry", "POST": "postage"}


def test_codes_that_differ_in_letter_case_only_are_one_product_in_capitals() -> None:
    made = catalogue(("85123A", "HEART", "2.55"), ("85123a", "HEART", "6.77"), ("72803b", "LAMP", "1"))
    assert [(product.sku, product.codes) for product in made.products] == [
        ("72803B", ("72803b",)),
        ("85123A", ("85123A", "85123a")),
    ]
    assert made.code_count == 3


def test_control_characters_and_spare_blanks_do_not_reach_the_shop() -> None:
    made = catalogue((" 85123A\x00", "RED\x00\x07  LANTERN\n ", " 2.55 "))
    assert [(product.sku, product.name) for product in made.products] == [("85123A", "RED LANTERN")]


def test_a_line_without_a_code_or_of_another_width_is_counted() -> None:
    made = read_catalogue([Line(2, "", "A", "1"), Line(3, malformed=True)])
    assert made.unused_lines == {retail.NO_CODE: 1, retail.MALFORMED: 1}
    assert made.code_count == 0


def test_a_code_too_long_for_the_shop_is_unusable() -> None:
    assert set(catalogue(("X" * 500, "A", "1")).unusable.values()) == {retail.LONG_CODE}


codes = st.sampled_from(["85123A", "85123a", "POST", "post", "", "22423", "ß", "X" * 99, "\x00"])
texts = st.one_of(st.text(max_size=20), st.sampled_from(["LANTERN", "lantern", "?", ""]))
prices = st.one_of(st.sampled_from(["1", "2.55", "0", "-1", "1,5", "9" * 30]), st.text(max_size=8))


@given(st.lists(st.builds(Line, st.just(2), codes, texts, prices, st.booleans()), max_size=40))
def test_every_code_and_every_line_is_accounted_for_once(lines: list[Line]) -> None:
    made = read_catalogue(lines)
    imported = [code for product in made.products for code in product.codes]
    everywhere = [*imported, *made.not_goods, *made.unusable]
    assert len(everywhere) == len(set(everywhere)) == made.code_count
    assert made.line_count == len(lines)
    assert sum(made.unused_lines.values()) <= len(lines)
    assert len({product.sku for product in made.products}) == len(made.products)
    assert all(1 <= product.price_cents <= retail.MAX_PRICE_CENTS for product in made.products)
