"""How well the simulator foretold a run: replicas second by second, and when each step came."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.experiments.autoscale.rule_sets import RuleSet, openfaas_ce, ours, shipped_thresholds
from tests.experiments.autoscale.shapes import Shape
from tests.experiments.autoscale.simulator import Function, simulate
from tests.experiments.autoscale.trajectory import Steps, Trajectory, count_at

SEEDS = range(1, 22)
GOAL_SHARE = 0.9


@dataclass(frozen=True)
class Agreement:
    """`share`: seconds within one replica of the foretold count. `furthest`: the largest difference of a step's time."""

    share: float
    furthest: float
    notification_interval: float
    predicted: tuple[int, ...]

    @property
    def holds(self) -> bool:
        return self.share >= GOAL_SHARE and self.furthest <= self.notification_interval


def rule_set_of(name: str) -> RuleSet:
    return ours(shipped_thresholds()) if name == "ours" else openfaas_ce()


def compare(run: Trajectory, shape: Shape, function: Function) -> Agreement:
    """The run against the median of many simulated ones, whose phases of scraping and evaluating differ.

    A step is a rise to a count not reached before since the last fall, or a fall; it is compared with the same step
    of the median trajectory. A step that only one of them has is not compared here, but counts in `share`.
    """
    rules = rule_set_of(run.rules)
    seconds = range(int(shape.duration) + 1)
    simulated = [simulate(shape, function, rules, seed).wanted for seed in SEEDS]
    median = [round(statistics.median_low(count_at(one, second) for one in simulated)) for second in seconds]
    real = [count_at(run.wanted, second) for second in seconds]
    close = sum(abs(have - said) <= 1 for have, said in zip(real, median, strict=True))
    differences = [abs(a - b) for a, b in matched(step_times(run.wanted), step_times(_steps(median)))]
    repeat = max(alert.route.repeat for alert in rules.alerts if alert.route.repeat < 3600)
    return Agreement(close / len(seconds), max(differences, default=0.0), repeat, tuple(median))


def step_times(wanted: Steps) -> list[tuple[str, float]]:
    """What each step was (`3 up`, `1 down`) and when."""
    return [
        (f"{now} {'up' if now > before else 'down'}", moment)
        for (moment, now), (_, before) in zip(wanted[1:], wanted, strict=False)
    ]


def matched(
    one: Sequence[tuple[str, float]], other: Sequence[tuple[str, float]]
) -> list[tuple[float, float]]:
    """Pairs of times of the same step in the same turn: the second `2 up` with the second `2 up`."""
    pairs = []
    for name in dict(one).keys() & dict(other).keys():
        times = [[moment for title, moment in steps if title == name] for steps in (one, other)]
        pairs += list(zip(*times, strict=False))
    return pairs


def _steps(counts: Sequence[int]) -> Steps:
    steps: Steps = [(0.0, counts[0])]
    for second, count in enumerate(counts):
        if count != steps[-1][1]:
            steps.append((float(second), count))
    return steps
