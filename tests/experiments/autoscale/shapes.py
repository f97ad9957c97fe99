"""Load shapes: requests a second over time, as straight lines between points. One table feeds k6 and the simulator."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Stage:
    """The rate goes to `rate` in a straight line, within `seconds` (0: at once)."""

    seconds: float
    rate: float


@dataclass(frozen=True)
class Shape:
    """`start` requests a second, then the stages one after the other.

    `rises` and `falls` are the moments at which the rate begins to go up or down, in seconds from the start.
    """

    name: str
    title: str
    start: float
    stages: tuple[Stage, ...]

    @property
    def duration(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    def rate(self, moment: float) -> float:
        """Requests a second at `moment`; after a jump, the new rate."""
        points = self.points()
        index = bisect_right([time for time, _ in points], moment)
        if index == len(points):
            return points[-1][1]
        (t0, r0), (t1, r1) = points[index - 1], points[index]
        return r0 + (r1 - r0) * (moment - t0) / (t1 - t0)

    def due(self, number: float) -> float:
        """When the request of that number, from 0, is due: as k6 has it, once as many and one more have come due by the rate."""
        left = number + 1
        for (t0, r0), (t1, r1) in pairwise(self.points()):
            area = (r0 + r1) / 2 * (t1 - t0)
            if left <= area:
                slope = (r1 - r0) / (t1 - t0)
                return t0 + 2 * left / (r0 + math.sqrt(max(0.0, r0 * r0 + 2 * slope * left)))
            left -= area
        return self.duration

    def points(self) -> list[tuple[float, float]]:
        """The corners (seconds, rate), from (0, start)."""
        corners = [(0.0, self.start)]
        for stage in self.stages:
            corners.append((corners[-1][0] + stage.seconds, stage.rate))
        return corners

    @property
    def changes(self) -> list[tuple[float, float]]:
        """(moment, direction +1 or -1) of every change of the rate's direction, jumps included."""
        found: list[tuple[float, float]] = []
        for (t0, r0), (_, r1) in pairwise(self.points()):
            if r1 != r0:
                found.append((t0, 1.0 if r1 > r0 else -1.0))
        return found

    @property
    def peak(self) -> float:
        return max(rate for _, rate in self.points())


LOW = 3.0
"""Below the 5 requests a second at which OpenFaaS' own rule fires, so that both rules rest at one replica."""
HIGH = 56.0


def _hold(rate: float, seconds: float) -> tuple[Stage, Stage]:
    return Stage(0, rate), Stage(seconds, rate)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("step", "Step", LOW, (Stage(30, LOW), *_hold(HIGH, 180), *_hold(LOW, 90))),
        Shape(
            "ramp", "Ramp", LOW, (Stage(20, LOW), Stage(120, HIGH), Stage(40, HIGH), Stage(120, LOW), Stage(80, LOW))
        ),
        Shape(
            "square", "Square wave", LOW,
            (Stage(20, LOW), *(_hold(HIGH, 60) + _hold(LOW, 60)) * 3, Stage(30, LOW)),
        ),
        Shape("spike", "Spike", LOW, (Stage(20, LOW), *_hold(HIGH, 40), *_hold(LOW, 110))),
    )
}  # fmt: skip
