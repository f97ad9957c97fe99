"""Order numbers: whatever people do to them on the way, they find their order or are told that it is not one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.orders.order_numbers import ALPHABET, LENGTH, new_number, read_number, show_number, with_check

numbers = st.text(ALPHABET, min_size=LENGTH - 1, max_size=LENGTH - 1).map(with_check)


@given(numbers)
def test_any_one_wrong_character_shows(number: str):
    for place, other in itertools.product(range(LENGTH), ALPHABET):
        changed = number[:place] + other + number[place + 1 :]
        assert (read_number(changed) == number) == (other == number[place])


@given(numbers)
def test_any_two_characters_that_changed_places_show(number: str):
    for one, other in itertools.combinations(range(LENGTH), 2):
        swapped = list(number)
        swapped[one], swapped[other] = number[other], number[one]
        if number[one] != number[other]:
            assert read_number("".join(swapped)) is None


@given(numbers, st.randoms(use_true_random=False))
def test_case_dashes_and_look_alikes_do_not_matter(number: str, chance):
    alike = {"0": "0oO", "1": "1iIlL"}
    written = "".join(
        chance.choice(alike.get(character, character.lower() + character))
        + chance.choice(["", "", "-", " ", "–"])
        for character in number
    )
    assert read_number(f" {written}") == number
    assert read_number(show_number(number)) == number


def test_it_is_shown_in_groups():
    assert show_number("M7K3F92QX") == "M7K3-F92Q-X"


@pytest.mark.parametrize(
    "text", ["", "-", "M7K3", "U" * 9, "M7K3F92QXX", "é" * 9, "M7K3\x00F92QX", "😀" * 9, "0" * 10_000]
)
def test_what_cannot_be_a_number_is_none(text: str):
    assert read_number(text) is None


@given(st.text(max_size=12))
def test_no_text_is_too_much_for_it(text: str):
    number = read_number(text)
    assert number is None or with_check(number[:-1]) == number


def test_numbers_are_drawn_from_all_there_are():
    drawn = {new_number() for _ in range(500)}
    assert len(drawn) == 500, "one draw in two billion repeats"
    assert {character for number in drawn for character in number} == set(ALPHABET)
    assert all(read_number(number) == number for number in drawn)
