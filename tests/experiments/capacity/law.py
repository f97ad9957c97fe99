"""The universal scalability law, fitted to what so many replicas got done.

X(N) = λN / (1 + σ(N − 1) + κN(N − 1)): λ is what one does, σ the share that waits its turn (contention), κ what it costs
that each has to agree with each other (coherency). N. J. Gunther, Guerrilla Capacity Planning, 2007, chapters 4 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from benchmarks.quantiles import LEVEL, Ratio
from tests.experiments.capacity.visits import Visits

RESAMPLES = 400
FEWEST_POINTS = 3
"""As many as the law has parameters."""
AT_MOST, AT_BOUND = 1.0, 1e-6
"""The upper bound of σ and κ in the fit, and how near to it either is called at it."""
UNLIKELY = 0.01
"""Where points that follow the law would lie so far from the curve less often than this, they do not follow it."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The law's parameters with 95 % intervals, and what can be said of them.

    Without a number that was visited several times no end of an interval is known, nor is that of a parameter at the upper
    bound of the fit (`at_bound`), as the bound is all that is known of it.
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
    """Whether the points lie as near to the curve as visits scatter; None for as many points as parameters, and without scatter."""
    confusion: float
    """The correlation of σ and κ over the resamples: near −1 one stands for the other, and neither is known by itself."""
    band: Mapping[float, tuple[float, float]]
    """By N, where the curves of the resamples lie."""

    def at(self, replicas: ArrayLike) -> Floats:
        return throughput(replicas, self.rate.value, self.contention.value, self.coherency.value)


def throughput(replicas: ArrayLike, rate: float, contention: float, coherency: float) -> Floats:
    n = np.asarray(replicas, dtype=float)
    return np.asarray(rate * n / (1 + contention * (n - 1) + coherency * n * (n - 1)))


def fit(visits: Visits, resamples: int = RESAMPLES) -> Fit:
    """Fit the law to throughputs by replicas, a value a visit.

    Least squares of the ratio to the curve, within 0 ≤ σ ≤ 1 and 0 ≤ κ ≤ 1; intervals by a parametric bootstrap (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, section 6.5) over `Visits.drawn`; whether the law holds by the F test
    of lack of fit (Draper and Smith, Applied Regression Analysis, 1998, section 2.1). Raises ValueError for fewer than three
    different N.
    """
    counts, means = visits.counts, visits.means
    if len(counts) < FEWEST_POINTS:
        raise ValueError(f"the law needs {FEWEST_POINTS} numbers of replicas, not {len(counts)}")
    best = _parameters(counts, means)
    curve = throughput(counts, *best)
    rate, contention, coherency, peak = (
        Ratio(float(value), -math.inf, math.inf) for value in (*best, _peak(best))
    )
    found = Fit(
        rate,
        contention,
        coherency,
        peak,
        misfit=float(np.max(np.abs(np.exp(means) - curve) / curve)),
        follows=_follows(visits, curve),
        confusion=math.nan,
        band={},
    )
    if not visits.freedom:
        return found
    means_drawn = visits.drawn(resamples, np.random.default_rng(len(counts)))
    drawn = np.array([_parameters(counts, one) for one in means_drawn])
    rate, contention, coherency = (Ratio(*map(float, one)) for one in zip(best, *_ends(drawn), strict=True))
    grid = np.linspace(counts[0], counts[-1], 41)
    band = zip(grid, *_ends(np.array([throughput(grid, *one) for one in drawn])), strict=True)
    return replace(
        found,
        rate=rate,
        contention=_unless_at_bound(contention),
        coherency=_unless_at_bound(coherency),
        peak=Ratio(peak.value, *map(float, _ends(np.array([_peak(one) for one in drawn])))),
        confusion=_correlation(drawn[:, 1], drawn[:, 2]),
        band={float(n): (float(low), float(high)) for n, low, high in band},
    )


def _parameters(counts: Sequence[int], logs: Floats) -> Floats:
    first = math.exp(logs[0]) / counts[0]
    found = optimize.least_squares(
        lambda one: np.log(throughput(counts, first * one[0], one[1], one[2])) - logs, (1.0, 0.1, 0.01),
        bounds=((0.01, 0.0, 0.0), (100.0, AT_MOST, AT_MOST)),
    )  # fmt: skip
    return np.asarray(found.x * (first, 1.0, 1.0))


def _ends(values: Floats) -> Floats:
    """Between which 95 % of the values lie; endless ones are values too."""
    shares = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return np.asarray(np.quantile(values, shares, axis=0, method="inverted_cdf"))


def at_bound(value: float) -> bool:
    """Whether σ or κ is as great as the fit lets it be."""
    return value > AT_MOST - AT_BOUND


def _unless_at_bound(one: Ratio) -> Ratio:
    return Ratio(one.value, -math.inf, math.inf) if at_bound(one.value) else one


def _follows(visits: Visits, curve: Floats) -> bool | None:
    lacking = len(visits.counts) - FEWEST_POINTS
    if not (lacking and visits.freedom):
        return None
    sizes = np.array([len(visits.values[count]) for count in visits.counts])
    lack = float(np.sum(sizes * (visits.means - np.log(curve)) ** 2)) / lacking
    scatter = max(1e-12, visits.scatter**2)
    return bool(stats.f.sf(lack / scatter, lacking, visits.freedom) >= UNLIKELY)


def _peak(one: Floats) -> float:
    """√((1 − σ)/κ), Gunther's N*; never below one replica."""
    _, contention, coherency = one
    return max(1.0, math.sqrt((1 - contention) / coherency)) if coherency > 1e-9 else math.inf


def _correlation(one: Floats, other: Floats) -> float:
    if np.ptp(one) < 1e-12 or np.ptp(other) < 1e-12:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])
