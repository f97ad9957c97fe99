"""Intervals of a few repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Quantiles 0.975 of Student's t with 1, 2, … degrees of freedom (Student 1908; any table)."""
FEWEST = 3
"""With fewer repeats there is no interval worth the name, and the range is given."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean's 95 % interval by Student's t; of fewer than FEWEST values, or endless ones, their range."""
    if len(values) < FEWEST or not all(map(math.isfinite, values)):
        return min(values), max(values)
    quantile = _STUDENT_95[min(len(values) - 2, len(_STUDENT_95) - 1)]
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.mean(values)
    return mean - half, mean + half


def said(values: Sequence[float], digits: int = 0) -> str:
    """`mean (low to high)`, as a table shows it."""
    if not values:
        return "–"
    low, high = interval(values)
    if low == high:
        return f"{low:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
