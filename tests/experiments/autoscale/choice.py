"""How the thresholds of scaling.yml were chosen: what the simulator says of each choice, over all shapes and steady loads."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.experiments.autoscale.measures import Measures, measure
from tests.experiments.autoscale.rule_sets import Thresholds, ours
from tests.experiments.autoscale.shapes import SHAPES, Shape, Stage
from tests.experiments.autoscale.simulator import Function, simulate

STEADY_SECONDS = 600.0
STEADY_RATES = (10.0, 14.0, 20.0, 28.0, 34.0, 42.0, 50.0, 60.0)
"""From half of what one replica can do to three fifths of what five can; some just below a threshold, on purpose."""


@dataclass(frozen=True)
class Outcome:
    """One choice, over all shapes and seeds: seconds unserved and replica-seconds beyond need are means per run."""

    choice: str
    thresholds: Thresholds
    served_after_step: float
    unserved_seconds: float
    surplus_replica_seconds: float
    overshoot: int
    steps_down_square: float
    steady_surplus: float
    steady_unserved_share: float
    steady_changes: float


def candidates(shipped: Thresholds) -> Iterator[tuple[str, Thresholds]]:
    """The shipped thresholds, and each of them moved alone."""
    yield "as shipped", shipped
    for up, target in ((0.75, 0.65), (0.8, 0.7), (0.9, 0.8), (0.95, 0.85)):
        yield f"up {up}, target {target}", replace(shipped, up_ratio=up, target_ratio=target)
    for target in (0.65, 0.75, 0.85):
        yield f"target {target}", replace(shipped, target_ratio=target)
    for release in (0.4, 0.7):
        yield f"release {release}", replace(shipped, release_ratio=release)
    for keep in (20.0, 120.0):
        yield f"kept {keep:.0f} s", replace(shipped, keep=keep)
    yield "arrivals over 15 s", replace(shipped, arrivals_are_last_two=False)
    yield "time in queue ignored", replace(shipped, longest_wait=1e9)


def outcome(choice: str, thresholds: Thresholds, function: Function, seeds: range) -> Outcome:
    runs = {
        name: [measure(simulate(shape, function, ours(thresholds), seed), shape, function) for seed in seeds]
        for name, shape in SHAPES.items()
    }
    every = [run for shape_runs in runs.values() for run in shape_runs]
    steady = [_steady(rate, thresholds, function, seeds[0]) for rate in STEADY_RATES]
    return Outcome(
        choice=choice,
        thresholds=thresholds,
        served_after_step=statistics.mean(_served(run) for run in runs["step"]),
        unserved_seconds=statistics.mean(run.unserved_seconds for run in every),
        surplus_replica_seconds=statistics.mean(run.surplus_replica_seconds for run in every),
        overshoot=max(run.overshoot for run in every + [one for one, _ in steady]),
        steps_down_square=statistics.mean(run.steps_down for run in runs["square"]),
        steady_surplus=statistics.mean(one.surplus_replica_seconds / STEADY_SECONDS for one, _ in steady),
        steady_unserved_share=statistics.mean(one.unserved_seconds / STEADY_SECONDS for one, _ in steady),
        steady_changes=statistics.mean(changes for _, changes in steady),
    )


def _served(run: Measures) -> float:
    rise = run.rises[0]
    return rise.lasted if rise.served_after is None else rise.served_after


def _steady(rate: float, thresholds: Thresholds, function: Function, seed: int) -> tuple[Measures, int]:
    shape = Shape("steady", "Steady", rate, (Stage(STEADY_SECONDS, rate),))
    run = simulate(shape, function, ours(thresholds), seed)
    return measure(run, shape, function), len(run.wanted) - 1
