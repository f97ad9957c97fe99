"""Intervals of a few repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

FEWEST = 3
"""With fewer repeats there is no interval: the range of two holds the truth half of the time."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean's 95 % interval by Student's t (Student, 1908); without ends for fewer than FEWEST values, and the range of endless ones."""
    if len(values) < FEWEST:
        return -math.inf, math.inf
    if not all(map(math.isfinite, values)) or min(values) == max(values):
        return min(values), max(values)
    low, high = stats.t.interval(0.95, len(values) - 1, statistics.mean(values), stats.sem(values))
    return float(low), float(high)


def said(values: Sequence[float], digits: int = 0) -> str:
    """`mean (low to high)`, as a table shows it; of fewer than FEWEST values with their range."""
    if not values:
        return "–"
    low, high = interval(values) if len(values) >= FEWEST else (min(values), max(values))
    if low == high:
        return f"{low:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
