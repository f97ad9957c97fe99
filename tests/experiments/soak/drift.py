"""Whether something grows: Theil and Sen's slope with its interval, against what may be.

The slope is the median of the slopes of all pairs of points (Theil, 1950; Sen, 1968, whose interval from Kendall's
statistic scipy computes), so a few outliers do not move it. The interval takes points for independent; readings of
one process are not, so it is rather too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.quantiles import Ratio
from tests.experiments.soak.watching import MEASURES, Held

HOUR = 3600.0
FEWEST = 8
"""With fewer points nothing is said."""
ALLOWED = 0.05
"""The chance to find a drift somewhere where there is none; it is shared among all that are looked at (Bonferroni)."""
MOST: Mapping[str, float] = {"own_bytes": 0.10, "descriptors": 10, "threads": 2, "connections": 10}
"""What an hour may bring a program: a share of what it holds, for memory; else so many. What grows less shows in days only."""


@dataclass(frozen=True)
class Drift:
    """What grew by how much in an hour, and how much it may."""

    of: str
    measure: str
    holds: float
    """In the middle."""
    slope: Ratio
    bound: float

    @property
    def word(self) -> str:
        return {True: "no drift", False: "drifts", None: "cannot tell"}[self.stays]

    @property
    def stays(self) -> bool | None:
        if self.slope.high <= self.bound:
            return True
        return False if self.slope.low > self.bound else None


def share(programs: int, actions: int) -> float:
    """Of ALLOWED, what each interval has: one for each measure of each program, and one for the p99 of each action."""
    return ALLOWED / (programs * len(MEASURES) + actions)


def slope_of(at: Sequence[float], values: Sequence[float], allowed: float) -> Ratio:
    """The slope an hour; endless both ways for too few points."""
    if len(values) < FEWEST:
        return Ratio(math.nan, -math.inf, math.inf)
    found = stats.theilslopes(np.asarray(values, dtype=float), np.asarray(at) / HOUR, alpha=1 - allowed)
    return Ratio(*(float(value) for value in (found.slope, found.low_slope, found.high_slope)))


def of_programs(held: Sequence[Held], settle_seconds: float, allowed: float) -> list[Drift]:
    """By measure and program, over the longest life of each, without its first `settle_seconds`."""
    lives = {
        program: longest_life(held, program, settle_seconds)
        for program in dict.fromkeys(one.program for one in held)
    }
    return [_drift(program, measure, its, allowed) for measure in MEASURES for program, its in lives.items()]


def longest_life(held: Sequence[Held], program: str, settle_seconds: float) -> list[Held]:
    lives: dict[int, list[Held]] = {}
    for one in held:
        if one.program == program:
            lives.setdefault(one.pid, []).append(one)
    settled = [[one for one in life if one.at >= life[0].at + settle_seconds] for life in lives.values()]
    return max(settled, key=len)


def _drift(program: str, measure: str, its: Sequence[Held], allowed: float) -> Drift:
    values = [float(getattr(one, measure)) for one in its]
    holds = float(np.median(values)) if values else math.nan
    bound = MOST[measure] * (holds if measure == "own_bytes" else 1)
    return Drift(program, measure, holds, slope_of([one.at for one in its], values, allowed), bound)
