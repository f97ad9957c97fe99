"""Quantiles, and intervals for their ratios when the samples come in blocks that were interleaved."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

Block = Sequence[float]
"""Samples of one arm that were taken together; block i of every arm belongs to the same moment."""

RESAMPLES = 400


@dataclass(frozen=True)
class Ratio:
    """A ratio of two quantiles and its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, goal: float) -> str:
        """Whether the ratio is at most `goal`, as far as the measurement can tell."""
        if self.value <= goal:
            return "met" if self.high <= goal else "met, within the noise"
        return "missed" if self.low > goal else "missed, within the noise"


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample with at least `share` of all at or below it (nearest rank). Raises ValueError if empty."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def pooled(blocks: Sequence[Block]) -> list[float]:
    return [sample for block in blocks for sample in block]


def ratio_of_quantiles(
    blocks: Sequence[Block], reference: Sequence[Block], share: float, resamples: int = RESAMPLES
) -> Ratio:
    """quantile(blocks) / quantile(reference), with a percentile bootstrap over blocks (Efron, 1979).

    Whole blocks are drawn, the same ones for both arms, because samples of one moment resemble each other.
    """
    return ratio_of_sums([blocks], [reference], share, resamples)


def ratio_of_sums(
    arms: Sequence[Sequence[Block]],
    references: Sequence[Sequence[Block]],
    share: float,
    resamples: int = RESAMPLES,
) -> Ratio:
    """The same for sums of quantiles over several arms, such as a floor made of two parts."""
    rounds = len(arms[0])
    if any(len(arm) != rounds for arm in [*arms, *references]):
        raise ValueError("every arm needs as many blocks as the others")

    def ratio(drawn: Sequence[int]) -> float:
        return _sum(arms, drawn, share) / _sum(references, drawn, share)

    chance = random.Random(rounds)  # noqa: S311  resampling, nothing secret
    drawn = sorted(ratio(chance.choices(range(rounds), k=rounds)) for _ in range(resamples))
    return Ratio(ratio(range(rounds)), quantile(drawn, 0.025), quantile(drawn, 0.975))


def _sum(arms: Sequence[Sequence[Block]], drawn: Sequence[int], share: float) -> float:
    return sum(quantile(pooled([arm[index] for index in drawn]), share) for arm in arms)
