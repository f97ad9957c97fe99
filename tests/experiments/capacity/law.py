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
from scipy import optimize

from benchmarks.quantiles import LEVEL, Ratio

RESAMPLES = 400
FEWEST_POINTS = 3
"""As many as the law has parameters."""
MOST_CONTENTION = 1.0
MOST_COHERENCY = 1.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The law's parameters with 95 % intervals, and what can be said of them."""

    rate: Ratio
    """λ: requests a second of one replica."""
    contention: Ratio
    coherency: Ratio
    peak: Ratio
    """The N beyond which the law says that more replicas do less; endless without coherency."""
    misfit: float
    """How far the worst point lies from the curve, as a share of the curve."""
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
    blocks of each N (Efron, 1979). Raises ValueError for fewer than three different N.
    """
    if len(measured) < FEWEST_POINTS:
        raise ValueError(f"the law needs {FEWEST_POINTS} numbers of replicas, not {len(measured)}")
    counts = sorted(measured)
    blocks = [np.asarray(measured[count], dtype=float) for count in counts]
    best = _parameters(counts, [block.mean() for block in blocks])
    chance = np.random.default_rng(len(counts))
    drawn = np.array(
        [
            _parameters(counts, [chance.choice(block, len(block)).mean() for block in blocks])
            for _ in range(resamples)
        ]
    )
    curve = throughput(counts, *best)
    grid = np.linspace(counts[0], counts[-1], 41)
    curves = np.array([throughput(grid, *one) for one in drawn])
    low, high = _ends(curves)
    rate, contention, coherency = (
        Ratio(float(value), *map(float, _ends(drawn[:, place]))) for place, value in enumerate(best)
    )
    return Fit(
        rate,
        contention,
        coherency,
        peak=_peak(best, drawn),
        misfit=float(np.max(np.abs([block.mean() for block in blocks] - curve) / curve)),
        confusion=_correlation(drawn[:, 1], drawn[:, 2]),
        band={float(n): (float(a), float(b)) for n, a, b in zip(grid, low, high, strict=True)},
    )


def _parameters(counts: Sequence[int], means: Sequence[float]) -> Floats:
    first = means[0] / counts[0]

    def relative(replicas: Floats, rate: float, contention: float, coherency: float) -> Floats:
        return np.log(throughput(replicas, first * rate, contention, coherency))

    found, _ = optimize.curve_fit(
        relative, np.asarray(counts, dtype=float), np.log(means), p0=(1.0, 0.1, 0.01),
        bounds=((0.01, 0.0, 0.0), (100.0, MOST_CONTENTION, MOST_COHERENCY)),
    )  # fmt: skip
    return np.asarray(found * (first, 1.0, 1.0))


def _ends(values: Floats) -> Floats:
    return np.asarray(np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0))


def _peak(best: Floats, drawn: Floats) -> Ratio:
    """√((1 − σ)/κ), Gunther's N*; never below one replica."""
    peaks = [
        max(1.0, math.sqrt((1 - one[1]) / one[2])) if one[2] > 1e-9 else math.inf for one in [best, *drawn]
    ]
    low, high = np.quantile(peaks[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf")
    return Ratio(peaks[0], float(low), float(high))


def _correlation(one: Floats, other: Floats) -> float:
    if np.ptp(one) < 1e-12 or np.ptp(other) < 1e-12:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])
