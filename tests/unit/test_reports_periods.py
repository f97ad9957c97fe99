"""Periods of reports: the days they cover, what they are compared with, and how they are cut into months and days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.reports.periods import (
    Cover,
    Period,
    Shift,
    bucket_after,
    bucket_start,
    buckets_between,
    cover,
    shift_of,
)

periods = st.tuples(st.dates(date(2000, 1, 1), date(2199, 12, 31)), st.integers(0, 3_659)).map(
    lambda drawn: Period(drawn[0], drawn[0] + timedelta(days=drawn[1]))
)


def days_of(span: tuple[date, date]) -> list[date]:
    return [span[0] + timedelta(days=offset) for offset in range((span[1] - span[0]).days + 1)]


def days_in(covered: Cover) -> list[date]:
    return sorted(days_of(covered.head) + days_of(covered.months) + days_of(covered.tail))


@given(periods)
def test_a_cover_has_each_day_of_its_period_once(period: Period) -> None:
    for covered in (cover(period), cover(period, by_month=False)):
        assert days_in(covered) == days_of((period.first, period.last))


@given(periods)
def test_months_of_a_cover_are_whole_and_all_that_are(period: Period) -> None:
    covered = cover(period)
    first, last = covered.months
    if days_of(covered.months):
        assert first.day == (last + timedelta(days=1)).day == 1
        assert max(len(days_of(covered.head)), len(days_of(covered.tail))) <= 30
    else:
        starts = [day for day in days_of((period.first, period.last)) if day.day == 1]
        ends = [day for day in days_of((period.first, period.last)) if (day + timedelta(days=1)).day == 1]
        assert not [start for start in starts if any(end > start for end in ends)]


@given(periods)
def test_the_period_before_ends_the_day_before_and_is_as_long(period: Period) -> None:
    previous = period.previous()
    assert previous.last == period.first - timedelta(days=1)
    assert previous.whole_months == period.whole_months or not period.whole_months
    if not period.whole_months:
        assert previous.days == period.days


@pytest.mark.parametrize(
    ("first", "last", "before"),
    [
        ("2025-03-01", "2025-03-31", ("2025-02-01", "2025-02-28")),
        ("2025-01-01", "2025-12-31", ("2024-01-01", "2024-12-31")),
        ("2025-01-01", "2025-02-28", ("2024-11-01", "2024-12-31")),
        ("2025-03-01", "2025-03-30", ("2025-01-30", "2025-02-28")),
        ("2025-03-10", "2025-03-10", ("2025-03-09", "2025-03-09")),
        ("2024-02-01", "2024-02-29", ("2024-01-01", "2024-01-31")),
        ("2025-02-01", "2025-02-27", ("2025-01-05", "2025-01-31")),
    ],
)
def test_whole_months_are_compared_with_whole_months(first: str, last: str, before: tuple[str, str]) -> None:
    previous = Period(date.fromisoformat(first), date.fromisoformat(last)).previous()
    assert (str(previous.first), str(previous.last)) == before


def test_days_are_moved_by_the_length_of_the_period() -> None:
    assert shift_of(Period(date(2025, 3, 1), date(2025, 3, 31))) == Shift(1, 0)
    assert shift_of(Period(date(2025, 3, 1), date(2025, 3, 30))) == Shift(0, 30)


@given(st.dates(date(1990, 1, 1), date(2199, 1, 1)), st.sampled_from(["day", "week", "month"]))
def test_a_bucket_holds_its_day_and_the_next_begins_where_it_ends(day: date, bucket: str) -> None:
    start = bucket_start(day, bucket)
    following = bucket_after(start, bucket)
    assert start <= day < following
    assert bucket_start(following, bucket) == following
    assert bucket_after(following, bucket, -1) == start
    assert buckets_between(day, following, bucket) == [start, following]


def test_weeks_begin_on_monday() -> None:
    assert bucket_start(date(2025, 11, 2), "week") == date(2025, 10, 27)
    assert bucket_start(date(2025, 10, 27), "week") == date(2025, 10, 27)
