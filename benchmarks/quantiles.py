"""Quantiles, and intervals for them and their ratios, by known methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Block = Sequence[float] | NDArray[np.float64]
"""Samples of one arm that were taken together; block i of every arm belongs to the same moment."""

RESAMPLES = 400
LEVEL = 0.95


@dataclass(frozen=True)
class Ratio:
    """A figure, such as a ratio of two quantiles, and its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, goal: float) -> str:
        """Whether the ratio is at most `goal`, as far as the measurement can tell."""
        if self.value <= goal:
            return "met" if self.high <= goal else "met, within the noise"
        return "missed" if self.low > goal else "missed, within the noise"

    def said(self, digits: int = 2) -> str:
        """`value (low–high)`, as tables show it."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def quantile(samples: ArrayLike, share: float) -> float:
    """The smallest sample with at least `share` of all at or below it (nearest rank). Raises ValueError if empty."""
    values = np.asarray(samples, dtype=float)
    if not values.size:
        raise ValueError("no samples")
    return float(np.quantile(values, share, method="inverted_cdf"))


def quantile_interval(samples: ArrayLike, share: float) -> Ratio:
    """A quantile with its 95 % interval between two order statistics, whatever the distribution.

    Ranks by the binomial distribution: Le Boudec, Performance Evaluation of Computer and Communication Systems,
    theorem 2.1. It takes samples for independent; those of one busy spell are not, so `over_blocks` is wider and
    to be preferred where there are blocks. Where there are too few samples for an end, that end is infinite.
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    count = len(ordered)
    low = int(stats.binom.ppf((1 - LEVEL) / 2, count, share))
    high = int(stats.binom.ppf((1 + LEVEL) / 2, count, share)) + 1
    return Ratio(
        quantile(ordered, share),
        float(ordered[low - 1]) if low >= 1 else -np.inf,
        float(ordered[high - 1]) if high <= count else np.inf,
    )


def pooled(blocks: Sequence[Block]) -> list[float]:
    return [float(sample) for block in blocks for sample in block]


def over_blocks(
    arms: Sequence[Sequence[Block]],
    figure: Callable[[Sequence[NDArray[np.float64]]], float],
    resamples: int = RESAMPLES,
) -> Ratio:
    """`figure` of the arms' pooled samples, with a percentile bootstrap over blocks (Efron, 1979).

    Whole blocks are drawn, the same ones for all arms, because samples of one moment resemble each other.
    """
    rounds = len(arms[0])
    if any(len(arm) != rounds for arm in arms):
        raise ValueError("every arm needs as many blocks as the others")
    values = [[np.asarray(block, dtype=float) for block in arm] for arm in arms]

    def of(drawn: NDArray[np.int_]) -> float:
        return figure([np.concatenate([arm[index] for index in drawn]) for arm in values])

    everything = np.arange(rounds)
    if rounds == 1:
        value = of(everything)
        return Ratio(value, -np.inf, np.inf)
    drawn = stats.bootstrap(
        (everything,), of, vectorized=False, n_resamples=resamples, confidence_level=LEVEL, method="percentile",
        rng=np.random.default_rng(rounds),
    )  # fmt: skip
    limits = drawn.confidence_interval
    return Ratio(of(everything), float(limits.low), float(limits.high))


def block_quantile(blocks: Sequence[Block], share: float) -> Ratio:
    """A quantile of all samples, with an interval over blocks."""
    return over_blocks([blocks], lambda arms: quantile(arms[0], share))


def ratio_of_quantiles(
    blocks: Sequence[Block], reference: Sequence[Block], share: float, resamples: int = RESAMPLES
) -> Ratio:
    """quantile(blocks) / quantile(reference), with an interval over pairs of blocks."""
    return over_blocks(
        [blocks, reference], lambda arms: quantile(arms[0], share) / quantile(arms[1], share), resamples
    )
