"""What is said of a run, by definitions that know nothing of any rule: from the load, the answers and the replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tests.experiments.autoscale.shapes import Shape, Stage
from tests.experiments.autoscale.simulator import Function, simulate
from tests.experiments.autoscale.trajectory import (
    WINDOW_SECONDS,
    Answers,
    Request,
    Steps,
    Trajectory,
    count_at,
)

BOUND_SECONDS = 0.5
"""A function is served while 99 of 100 requests are answered within this: ten times its mean service time."""
SETTLED_SECONDS = 10
"""It counts as served from the first moment from which that holds for so long."""
DOWN_BEFORE, DOWN_AFTER = 1.0, 20.0
"""Requests answered from so long before to so long after a step down are those that it could have cost."""
_STEADY = 400.0


@dataclass(frozen=True)
class Rise:
    """One jump of the load. `served_after` and `enough_after` are None where it never came to that while it lasted."""

    at: float
    lasted: float
    served_after: float | None
    enough_after: float | None


@dataclass(frozen=True)
class Measures:
    """One function's run in figures; seconds, replicas, requests."""

    rises: tuple[Rise, ...]
    unserved_seconds: int
    short_seconds: int
    most_reversals: int
    overshoot: int
    surplus_replica_seconds: int
    replica_seconds: int
    lost_at_steps_down: int
    steps_down: int
    refused: int
    failed: int
    requests: int


@lru_cache
def capacities(function: Function, bound: float = BOUND_SECONDS) -> tuple[float, ...]:
    """The highest steady rate that 1, 2, … replicas serve within the bound, by the simulator, to 1 %."""
    return tuple(_capacity(function, count, bound) for count in range(1, function.maximum + 1))


def needed(rate: float, function: Function) -> int:
    """The fewest replicas that serve this rate within the bound."""
    limits = capacities(function)
    enough = (count for count, limit in enumerate(limits, 1) if rate <= limit)
    return max(function.minimum, next(enough, function.maximum))


def measure(run: Trajectory, shape: Shape, function: Function) -> Measures:
    answers = Answers(run.requests)
    seconds = range(1, int(shape.duration) + 1)
    served = [_is_served(answers.p99(second), second) for second in seconds]
    need = [needed(shape.rate(second), function) for second in seconds]
    ready = [count_at(run.ready, second) for second in seconds]
    wanted = [count_at(run.wanted, second) for second in seconds]
    down = [request for moment in steps_down(run.wanted) for request in _around(answers, moment)]
    statuses = [request.status for request in run.requests]
    return Measures(
        rises=tuple(_rise(at, end, served, ready, need) for at, end in _jumps(shape)),
        unserved_seconds=served.count(False),
        short_seconds=sum(have < want for have, want in zip(ready, need, strict=True)),
        most_reversals=most_reversals(run.wanted, [moment for moment, _ in shape.changes]),
        overshoot=overshoot(wanted, need, function.minimum),
        surplus_replica_seconds=sum(max(0, have - want) for have, want in zip(ready, need, strict=True)),
        replica_seconds=sum(ready),
        lost_at_steps_down=sum(request.status != 200 for request in set(down)),
        steps_down=len(steps_down(run.wanted)),
        refused=statuses.count(429),
        failed=sum(status not in (200, 429) for status in statuses),
        requests=len(statuses),
    )


def _is_served(p99: float, second: int) -> bool:
    """Without any answer nobody is, but at the very beginning, when none can be expected yet."""
    return second < WINDOW_SECONDS if math.isnan(p99) else p99 <= BOUND_SECONDS


def most_reversals(wanted: Steps, changes: Sequence[float]) -> int:
    """The most turns, from up to down or back, between one change of the load and the next."""
    turns = [
        moment
        for (moment, _), before, now in zip(
            wanted[2:], _directions(wanted), _directions(wanted)[1:], strict=False
        )
        if before != now
    ]
    edges = [*changes, math.inf]
    return max(
        (sum(start <= turn < end for turn in turns) for start, end in pairwise(edges)),
        default=0,
    )


def overshoot(wanted: Sequence[int], need: Sequence[int], minimum: int) -> int:
    """The most replicas above what the load has needed at any second since the count was last at its minimum."""
    most, peak = 0, minimum
    for have, want in zip(wanted, need, strict=True):
        peak = want if have <= minimum else max(peak, want)
        most = max(most, have - peak)
    return most


def steps_down(wanted: Steps) -> list[float]:
    """When the wanted count went down."""
    return [moment for (moment, now), (_, before) in zip(wanted[1:], wanted, strict=False) if now < before]


def _directions(wanted: Steps) -> list[bool]:
    return [now > before for (_, now), (_, before) in zip(wanted[1:], wanted, strict=False)]


def _around(answers: Answers, moment: float) -> list[Request]:
    return answers.between(moment - DOWN_BEFORE, moment + DOWN_AFTER)


def _jumps(shape: Shape) -> list[tuple[float, float]]:
    """(when, until the next change) of every jump upwards."""
    corners = shape.points()
    jumps = [t0 for (t0, r0), (t1, r1) in pairwise(corners) if t0 == t1 and r1 > r0]
    later = [moment for moment, _ in shape.changes] + [shape.duration]
    return [(jump, min(moment for moment in later if moment > jump)) for jump in jumps]


def _rise(
    start: float, end: float, served: Sequence[bool], ready: Sequence[int], need: Sequence[int]
) -> Rise:
    """Seconds are counted from 1: the element at index i is what was seen at second i + 1."""
    span = range(int(start), int(end) - 1)
    enough = [ready[index] >= need[index] for index in span]
    return Rise(
        start, end - start, _settled([served[index] for index in span], trouble_first=True), _settled(enough)
    )


def _settled(good: Sequence[bool], *, trouble_first: bool = False) -> float | None:
    """Seconds until the first moment from which it holds for SETTLED_SECONDS, or to the end.

    With `trouble_first` only what comes after the first bad second counts: it takes a moment for a load to be felt.
    """
    begin = good.index(False) if trouble_first and False in good else 0
    for index in range(begin, len(good)):
        if all(good[index : index + SETTLED_SECONDS]):
            return float(index)
    return None


def _capacity(function: Function, count: int, bound: float) -> float:
    low, high = 0.0, count * function.threads / function.mean_seconds
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _steady_p99(function, count, middle) <= bound else (low, middle)
    return low


def _steady_p99(function: Function, count: int, rate: float) -> float:
    run = simulate(Shape("steady", "", rate, (Stage(_STEADY, rate),)), function, None, seed=1, replicas=count)
    times = sorted(request.seconds if request.status == 200 else math.inf for request in run.requests)
    return times[math.ceil(0.99 * len(times)) - 1]
