"""What the answers of a comparison say: a rate, quantiles and processor time for each arm, with intervals over blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.quantiles import Ratio, over_blocks, quantile
from tests.experiments.common.answers import Answers, Floats
from tests.experiments.common.driving import Driven
from tests.experiments.servers.arms import Comparison

WARM_SECONDS = 0.2
Blocks = Sequence[NDArray[np.float64]]


@dataclass(frozen=True)
class Measure:
    """A figure of an arm: what its blocks hold, and what is made of all of them together."""

    title: str
    unit: str
    better: str
    of_pooled: Callable[[Floats], float]
    factor: float = 1.0


def _mean(values: Floats) -> float:
    return float(np.mean(values))


MEASURES: Mapping[str, Measure] = {
    "rate": Measure("requests a second at saturation", "1/s", "higher", _mean),
    "p50": Measure("p50 at half load", "ms", "lower", lambda values: quantile(values, 0.50), 1000),
    "p99": Measure("p99 at half load", "ms", "lower", lambda values: quantile(values, 0.99), 1000),
    "cpu": Measure("processor time a request, of the server alone", "ms", "lower", _mean, 1000),
}


@dataclass(frozen=True)
class Measured:
    """By measure and arm, its blocks in the order of rounds."""

    blocks: Mapping[str, Mapping[str, Blocks]]
    _values: dict[tuple[str, str], Ratio] = field(default_factory=dict, init=False, compare=False)

    def value(self, measure: str, arm: str) -> Ratio:
        """Worked out once: table, figures and picture all ask."""
        its, key = MEASURES[measure], (measure, arm)
        if key not in self._values:
            self._values[key] = over_blocks(
                [self.blocks[measure][arm]], lambda arms: its.factor * its.of_pooled(arms[0])
            )
        return self._values[key]

    def ratio(self, measure: str, arm: str, reference: str) -> Ratio:
        its, blocks = MEASURES[measure], self.blocks[measure]
        return over_blocks(
            [blocks[arm], blocks[reference]],
            lambda arms: its.of_pooled(arms[0]) / its.of_pooled(arms[1]),
        )


def measured(comparison: Comparison, closed: Driven, half: Driven) -> Measured:
    names = [arm.name for arm in comparison.arms]
    waits = {name: [one.seconds for one in half.of(name, WARM_SECONDS)] for name in names}
    return Measured(
        {
            "rate": {
                name: [np.array([rate(one)]) for one in closed.of(name, WARM_SECONDS)] for name in names
            },
            "p50": waits,
            "p99": waits,
            "cpu": {name: [np.array([_cpu(closed, name, one)]) for one in closed.of(name)] for name in names},
        }
    )


def rate(block: Answers) -> float:
    """Answers a second between the first and the last answer of a closed block."""
    ended = np.sort(block.ended)
    return (len(ended) - 1) / float(ended[-1] - ended[0])


def slowest(closed: Driven, names: Sequence[str]) -> float:
    """The rate of the arm that serves least."""
    return min(_mean(np.array([rate(one) for one in closed.of(name, WARM_SECONDS)])) for name in names)


def _cpu(closed: Driven, name: str, block: Answers) -> float:
    return closed.ticks.spent(name, float(block.due.min()), float(block.ended.max())) / len(block)
