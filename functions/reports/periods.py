"""Periods of a report: the days it covers, the period before it, and how both are cut into whole months and single days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

ONE_DAY = timedelta(days=1)
NOTHING = (date(2000, 1, 2), date(2000, 1, 1))
"""A span that no day is in."""

Span = tuple[date, date]
"""First and last day, both included."""


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def whole_months(self) -> int:
        """How many calendar months the period consists of; 0 when it is not made of whole ones."""
        if self.first.day != 1 or (self.last + ONE_DAY).day != 1:
            return 0
        return _month_number(self.last) - _month_number(self.first) + 1

    def previous(self) -> Period:
        """The period of the same length just before: as many months if it is made of whole ones, else as many days.

        Raises OverflowError or ValueError when the calendar does not go back that far.
        """
        last = self.first - ONE_DAY
        months = self.whole_months
        if months:
            return Period(_month_start(_month_number(self.first) - months), last)
        return Period(last - timedelta(days=self.days - 1), last)


@dataclass(frozen=True)
class Cover:
    """The same days as a period, each of them in exactly one span: whole months, and the days before and after them."""

    months: Span
    head: Span
    tail: Span


def cover(period: Period, *, by_month: bool = True) -> Cover:
    """The fewest rows of facts that add up to `period`; without `by_month`, its days one by one."""
    first_month = _month_start(_month_number(period.first) + (period.first.day != 1))
    after_last = _month_start(_month_number(period.last + ONE_DAY))
    if not by_month or first_month >= after_last:
        return Cover(NOTHING, (period.first, period.last), NOTHING)
    return Cover(
        months=(first_month, after_last - ONE_DAY),
        head=(period.first, first_month - ONE_DAY),
        tail=(after_last, period.last),
    )


@dataclass(frozen=True)
class Shift:
    """How far a day of the previous period is moved to be compared with one of the present."""

    months: int
    days: int


def shift_of(period: Period) -> Shift:
    """From `period.previous()` to `period`."""
    months = period.whole_months
    return Shift(months, 0) if months else Shift(0, period.days)


def bucket_start(day: date, bucket: str) -> date:
    """The first day of the `day`, `week` (from Monday, ISO 8601) or `month` that `day` is in."""
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket == "month" else day


def buckets_between(first: date, last: date, bucket: str) -> list[date]:
    """The first days of all buckets from that of `first` to that of `last`, also of those in which nothing was sold."""
    starts = [bucket_start(first, bucket)]
    while (following := bucket_after(starts[-1], bucket)) <= last:
        starts.append(following)
    return starts


def bucket_after(start: date, bucket: str, count: int = 1) -> date:
    """The first day of the bucket `count` after the one that begins on `start`; before it if `count` is negative."""
    if bucket == "month":
        return _month_start(_month_number(start) + count)
    return start + timedelta(days=7 * count if bucket == "week" else count)


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


def _month_start(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)
