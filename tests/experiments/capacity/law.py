"""The universal scalability law, fitted to what so many replicas got done.

X(N) = λN / (1 + σ(N − 1) + κN(N − 1)): λ is what one does, σ the share that waits its turn (contention), κ what it costs
that each has to agree with each other (coherency). N. J. Gunther, Guerrilla Capacity Planning, 2007, chapters 4 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from benchmarks.quantiles import LEVEL, Ratio, expanded

RESAMPLES = 400
FEWEST_POINTS = 3
"""As many as the law has parameters."""
MOST_CONTENTION = 1.0
MOST_COHERENCY = 1.0
AT_BOUND = 1e-6
UNLIKELY = 0.01
"""Where points that follow the law would lie so far from the curve less often than this, they do not follow it."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The law's parameters with 95 % intervals, and what can be said of them.

    A parameter at the upper bound of the fit has infinite ends: the bound is all that is known of it.
    """

    rate: Ratio
    """λ: requests a second of one replica."""
    contention: Ratio
    coherency: Ratio
    peak: Ratio
    """The N beyond which the law says that more replicas do less; endless without coherency."""
    misfit: float
    """How far the worst point lies from the curve, as a share of the curve."""
    follows: bool | None
    """Whether the points lie as near to the curve as their blocks scatter; None for as many points as parameters."""
    confusion: float
    """The correlation of σ and κ over the resamples: near −1 one stands for the other, and neither is known by itself."""
    band: Mapping[float, tuple[float, float]]
    """By N, where the curves of the resamples lie."""

    def at(self, replicas: ArrayLike) -> Floats:
        return throughput(replicas, self.rate.value, self.contention.value, self.coherency.value)


def throughput(replicas: ArrayLike, rate: float, contention: float, coherency: float) -> Floats:
    n = np.asarray(replicas, dtype=float)
    return np.asarray(rate * n / (1 + contention * (n - 1) + coherency * n * (n - 1)))


def fit(measured: Mapping[int, Sequence[float]], resamples: int = RESAMPLES) -> Fit:
    """Fit the law to throughputs by replicas, each measured in some blocks.

    Least squares of the ratio to the curve, within 0 ≤ σ ≤ 1 and 0 ≤ κ ≤ 1; intervals by a percentile bootstrap over the
    blocks of each N (Efron, 1979), `expanded`; whether the law holds by the F test of lack of fit (Draper and Smith,
    Applied Regression Analysis, 1998, section 2.1). Raises ValueError for fewer than three different N.
    """
    if len(measured) < FEWEST_POINTS:
        raise ValueError(f"the law needs {FEWEST_POINTS} numbers of replicas, not {len(measured)}")
    counts = sorted(measured)
    blocks = [np.asarray(measured[count], dtype=float) for count in counts]
    best = _parameters(counts, [block.mean() for block in blocks])
    level = expanded(LEVEL, min(map(len, blocks)), sum(len(block) - 1 for block in blocks))
    found = stats.bootstrap(
        blocks, lambda *ones: _parameters(counts, [one.mean() for one in ones]), paired=False, vectorized=False,
        n_resamples=resamples, confidence_level=level, method="percentile", rng=np.random.default_rng(len(counts)),
    )  # fmt: skip
    drawn = found.bootstrap_distribution.T
    curve = throughput(counts, *best)
    grid = np.linspace(counts[0], counts[-1], 41)
    low, high = _ends(np.array([throughput(grid, *one) for one in drawn]), level)
    limits = zip(best, found.confidence_interval.low, found.confidence_interval.high, strict=True)
    rate, contention, coherency = (Ratio(*map(float, one)) for one in limits)
    return Fit(
        rate,
        _unless_at_bound(contention, MOST_CONTENTION),
        _unless_at_bound(coherency, MOST_COHERENCY),
        peak=_peak(best, drawn, level),
        misfit=float(np.max(np.abs([block.mean() for block in blocks] - curve) / curve)),
        follows=_follows(blocks, curve),
        confusion=_correlation(drawn[:, 1], drawn[:, 2]),
        band={float(n): (float(a), float(b)) for n, a, b in zip(grid, low, high, strict=True)},
    )


def _parameters(counts: Sequence[int], means: Sequence[float]) -> Floats:
    first = means[0] / counts[0]
    found = optimize.least_squares(
        lambda one: np.log(throughput(counts, first * one[0], one[1], one[2])) - np.log(means), (1.0, 0.1, 0.01),
        bounds=((0.01, 0.0, 0.0), (100.0, MOST_CONTENTION, MOST_COHERENCY)),
    )  # fmt: skip
    return np.asarray(found.x * (first, 1.0, 1.0))


def _ends(values: Floats, level: float) -> Floats:
    return np.asarray(np.quantile(values, ((1 - level) / 2, (1 + level) / 2), axis=0))


def _unless_at_bound(one: Ratio, bound: float) -> Ratio:
    return Ratio(one.value, -math.inf, math.inf) if one.value > bound - AT_BOUND else one


def _follows(blocks: Sequence[Floats], curve: Floats) -> bool | None:
    lacking, scattered = len(blocks) - FEWEST_POINTS, sum(len(block) - 1 for block in blocks)
    if not lacking:
        return None
    logs = [np.log(block) for block in blocks]
    lack = sum(len(one) * (one.mean() - np.log(at)) ** 2 for one, at in zip(logs, curve, strict=True))
    scatter = max(1e-12, sum(float(np.sum((one - one.mean()) ** 2)) for one in logs))
    return bool(stats.f.sf((lack / lacking) / (scatter / scattered), lacking, scattered) >= UNLIKELY)


def _peak(best: Floats, drawn: Floats, level: float) -> Ratio:
    """√((1 − σ)/κ), Gunther's N*; never below one replica."""
    peaks = [
        max(1.0, math.sqrt((1 - one[1]) / one[2])) if one[2] > 1e-9 else math.inf for one in [best, *drawn]
    ]
    low, high = np.quantile(peaks[1:], ((1 - level) / 2, (1 + level) / 2), method="inverted_cdf")
    return Ratio(peaks[0], float(low), float(high))


def _correlation(one: Floats, other: Floats) -> float:
    if np.ptp(one) < 1e-12 or np.ptp(other) < 1e-12:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])
