"""What reports compute from sums that they have read: changes, averages, shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MEASURES = (
    "sale_count", "return_count", "void_count", "units_sold", "units_returned",
    "sold_cents", "returned_cents", "net_cents", "tax_cents", "total_cents",
)  # fmt: skip
"""What a row of sales says, in this order. Before tax: net = sold - returned. With tax: total = net + tax.
A count is null where documents cannot be added up: by category and by product, one sale is in many rows."""


def change_percent(value: int, previous: int) -> float | None:
    """By how much `value` is more than `previous`, in percent of it, to one place; None when there was nothing before."""
    if previous == 0:
        return None
    return round(100 * (value - previous) / abs(previous), 1)


def average(total: int, count: int) -> int:
    """`total / count` in whole units, half away from zero."""
    sign = -1 if total < 0 else 1
    return sign * ((2 * abs(total) + count) // (2 * count))


def moving_averages(values: Sequence[int], window: int) -> list[int | None]:
    """For each value the average of it and the `window - 1` before; None where there are not that many."""
    averages: list[int | None] = []
    total = 0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0)
        averages.append(average(total, window) if index >= window - 1 else None)
    return averages


def with_changes(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of sums that has `previous_net_cents`, with what that means for `net_cents`."""
    net, previous = row["net_cents"], row["previous_net_cents"]
    return {**row, "change_cents": net - previous, "change_percent": change_percent(net, previous)}


def trend(values: Sequence[tuple[Any, int, int]], window: int) -> list[dict[str, Any]]:
    """Rows of a trend from `(bucket, net_cents, units)` in order of time.

    The first `2 * window - 1` only serve the averages of the others: each row has the average of the `window` values
    that end with it, and how that differs from the average of the `window` before those.
    """
    nets = moving_averages([net for _, net, _ in values], window)
    units = moving_averages([100 * count for _, _, count in values], window)
    return [
        {
            "start": start,
            "net_cents": net,
            "units": count,
            "average_net_cents": nets[index],
            "average_units": (units[index] or 0) / 100,
            "change_percent": change_percent(nets[index] or 0, nets[index - window] or 0),
        }
        for index, (start, net, count) in enumerate(values)
        if index >= 2 * window - 1
    ]
