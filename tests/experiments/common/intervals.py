"""Intervals of a few repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

FEWEST = 3
"""With fewer repeats there is no interval worth the name, and the range is given."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean's 95 % interval by Student's t (Student, 1908); of fewer than FEWEST values, or endless ones, their range."""
    if len(values) < FEWEST or not all(map(math.isfinite, values)) or min(values) == max(values):
        return min(values), max(values)
    low, high = stats.t.interval(0.95, len(values) - 1, statistics.mean(values), stats.sem(values))
    return float(low), float(high)


def said(values: Sequence[float], digits: int = 0) -> str:
    """`mean (low to high)`, as a table shows it."""
    if not values:
        return "–"
    low, high = interval(values)
    if low == high:
        return f"{low:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
