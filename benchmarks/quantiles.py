"""Quantiles, and intervals for them and their ratios, by known methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Block = Sequence[float] | NDArray[np.float64]
"""Samples of one arm that were taken together; block i of every arm belongs to the same moment."""

RESAMPLES = 1_000
LEVEL = 0.95
FEWEST_BLOCKS = 5
"""Of fewer blocks a bootstrap has hardly more to draw than their range, which holds the truth less often than 95 times of 100."""


@dataclass(frozen=True)
class Ratio:
    """A figure, such as a ratio of two quantiles, and its 95 % interval; an end that is not known is infinite."""

    value: float
    low: float
    high: float

    def holds(self, goal: float) -> str:
        """Whether the ratio is at most `goal`, as far as the measurement can tell."""
        if self.value <= goal:
            return "met" if self.high <= goal else "met, within the noise"
        return "missed" if self.low > goal else "missed, within the noise"

    def said(self, digits: int = 2) -> str:
        """`value (low–high)`, as tables show it, and `value` where neither end is known."""
        value, low, high = (f"{end:.{digits}f}" for end in (self.value, self.low, self.high))
        if math.isinf(self.low) and math.isinf(self.high):
            return value
        if math.isinf(self.high):
            return f"{value} ({low} or more)"
        if math.isinf(self.low):
            return f"{value} ({high} or less)"
        return f"{value} ({low}–{high})"

    def times(self, factor: float) -> Ratio:
        """In another unit."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)


def quantile(samples: ArrayLike, share: float) -> float:
    """The smallest sample with at least `share` of all at or below it (nearest rank). Raises ValueError if empty."""
    values = np.asarray(samples, dtype=float)
    if not values.size:
        raise ValueError("no samples")
    rank = max(1, math.ceil(share * values.size))
    # As np.quantile(…, method="inverted_cdf"), in a tenth of its time: a bootstrap asks a thousand times.
    return float(np.partition(values, rank - 1)[rank - 1])


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


def expanded(level: float, blocks: int, freedom: int) -> float:
    """The level at which percentiles of a bootstrap have to be read to be as wide as Student's interval of so few blocks.

    A bootstrap of n blocks scatters by √((n − 1)/n) too little, and its percentiles are those of a normal distribution:
    T. C. Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 5.3.
    """
    t = stats.t.ppf((1 + level) / 2, freedom)
    return float(1 - 2 * stats.norm.sf(math.sqrt(blocks / (blocks - 1)) * t))


def over_blocks(
    arms: Sequence[Sequence[Block]],
    figure: Callable[[Sequence[NDArray[np.float64]]], float],
    resamples: int = RESAMPLES,
    *,
    signed: bool = False,
) -> Ratio:
    """`figure` of the arms' pooled samples, with a percentile bootstrap over blocks (Efron, 1979), `expanded`.

    Whole blocks are drawn, the same ones for all arms, because samples of one moment resemble each other. Fewer than
    FEWEST_BLOCKS have Student's interval instead (`_of_few`), by factors unless the figure is `signed`, as a difference is; one
    block has none. Raises ValueError for arms of different length.
    """
    rounds = len(arms[0])
    if any(len(arm) != rounds for arm in arms):
        raise ValueError("every arm needs as many blocks as the others")
    values = [[np.asarray(block, dtype=float) for block in arm] for arm in arms]

    def of(drawn: NDArray[np.int_]) -> float:
        return figure([np.concatenate([arm[index] for index in drawn]) for arm in values])

    everything = np.arange(rounds)
    if rounds < FEWEST_BLOCKS:
        return _of_few(of(everything), [of(everything[[index]]) for index in everything], signed)
    drawn = stats.bootstrap(
        (everything,), of, vectorized=False, n_resamples=resamples, method="percentile",
        confidence_level=expanded(LEVEL, rounds, rounds - 1), rng=np.random.default_rng(rounds),
    )  # fmt: skip
    limits = drawn.confidence_interval
    return Ratio(of(everything), float(limits.low), float(limits.high))


def _of_few(value: float, figures: Sequence[float], signed: bool) -> Ratio:
    """`value`, of all blocks, and as far from it as Student's interval of the `figures` of single blocks (Student, 1908).

    Times, rates and their ratios scatter by factors, so it is that of their logarithms; zero has none.
    """
    if len(figures) < 2:
        return Ratio(value, -np.inf, np.inf)
    t = float(stats.t.ppf((1 + LEVEL) / 2, len(figures) - 1))
    if not signed and min(value, *figures) > 0:
        factor = math.exp(t * float(stats.sem(np.log(figures))))
        return Ratio(value, value / factor, value * factor)
    far = t * float(stats.sem(figures))
    return Ratio(value, value - far, value + far)


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
