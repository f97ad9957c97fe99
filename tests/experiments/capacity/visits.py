"""Intervals over visits to numbers of replicas: what changes between minutes is in them, and is not in those over the blocks of one visit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.quantiles import LEVEL, Ratio

NOTHING = 1e-9
"""For what brought nothing, which has no logarithm."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Visits:
    """A figure of one subject: by number of replicas, a value of each visit.

    Two visits to one number tell nearly nothing of how far visits lie apart; the scatter of the logarithms about the mean of
    their number is therefore pooled over all numbers, as in the analysis of variance (Box, Hunter and Hunter, Statistics for
    Experimenters, 2005, section 4.1). Where each number was visited once there is no scatter, and no end of an interval is known.
    """

    values: Mapping[int, Sequence[float]]

    @cached_property
    def _logs(self) -> dict[int, Floats]:
        return {number: np.log(np.maximum(self.values[number], NOTHING)) for number in sorted(self.values)}

    @property
    def counts(self) -> list[int]:
        return list(self._logs)

    @property
    def means(self) -> Floats:
        """Of the logarithms, by rising number."""
        return np.array([one.mean() for one in self._logs.values()])

    @property
    def freedom(self) -> int:
        return sum(len(one) - 1 for one in self._logs.values())

    @property
    def scatter(self) -> float:
        """The standard deviation of a visit's logarithm; there has to be a number with several visits."""
        squares = sum(float(np.sum((one - one.mean()) ** 2)) for one in self._logs.values())
        return math.sqrt(squares / self.freedom)

    def mean(self, number: int) -> Ratio:
        """The geometric mean, with Student's interval."""
        return self._within(self._logs[number].mean(), 1 / len(self._logs[number]), LEVEL)

    def ratio(self, number: int, reference: int, level: float) -> Ratio:
        one, other = self._logs[number], self._logs[reference]
        return self._within(one.mean() - other.mean(), 1 / len(one) + 1 / len(other), level)

    def _within(self, log: float, variance: float, level: float) -> Ratio:
        value = math.exp(log)
        if not self.freedom:
            return Ratio(value, -math.inf, math.inf)
        far = stats.t.ppf((1 + level) / 2, self.freedom) * self.scatter * math.sqrt(variance)
        return Ratio(value, value * math.exp(-far), value * math.exp(far))

    def drawn(self, times: int, chance: np.random.Generator) -> Floats:
        """`means` as they may be, one line each time: scattered about those that were seen as Student's distribution says."""
        sizes = np.array([len(one) for one in self._logs.values()])
        normal = chance.standard_normal((times, len(sizes)))
        wider = np.sqrt(self.freedom / chance.chisquare(self.freedom, (times, 1)))
        return np.asarray(self.means + self.scatter * wider * normal / np.sqrt(sizes))
