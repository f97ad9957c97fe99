"""What reports compute from sums: changes in percent, averages, trends."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.reports.domain import average, change_percent, moving_averages, trend

cents = st.integers(-(10**12), 10**12)


@pytest.mark.parametrize(
    ("value", "previous", "percent"),
    [(150, 100, 50.0), (50, 100, -50.0), (0, 100, -100.0), (100, 0, None), (0, 0, None), (-50, -100, 50.0), (1, 3, -66.7)],
)  # fmt: skip
def test_a_change_is_told_in_percent_of_what_was_before(
    value: int, previous: int, percent: float | None
) -> None:
    assert change_percent(value, previous) == percent


@given(cents, st.integers(1, 400))
def test_an_average_is_the_nearest_whole_number(total: int, count: int) -> None:
    distance = abs(Fraction(total, count) - average(total, count))
    assert distance <= Fraction(1, 2)
    assert average(-total, count) == -average(total, count)


@given(st.lists(cents, max_size=40), st.integers(1, 10))
def test_moving_averages_are_averages_of_the_last_values(values: list[int], window: int) -> None:
    found = moving_averages(values, window)
    assert found == [
        average(sum(values[index - window + 1 : index + 1]), window) if index >= window - 1 else None
        for index in range(len(values))
    ]


def test_a_trend_compares_with_the_window_before() -> None:
    values = [(day, 100 * day, day) for day in range(1, 7)]
    rows = trend(values, 2)
    assert [row["start"] for row in rows] == [4, 5, 6]
    assert rows[0] == {
        "start": 4, "net_cents": 400, "units": 4, "average_net_cents": 350, "average_units": 3.5,
        "change_percent": change_percent(350, 150),
    }  # fmt: skip
