"""What a run was, simulated or real, and what can be said of it: one form for both, so that they can be compared."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

WINDOW_SECONDS = 5.0
"""Quantiles of a moment are those of the requests that were answered in this long before it."""


class Request(NamedTuple):
    """One request: when its answer came (seconds from the start), how long it took, and its status (0: no answer)."""

    ended: float
    seconds: float
    status: int


Steps = list[tuple[float, int]]
"""A count over time: (since when, count)."""


@dataclass(frozen=True)
class Trajectory:
    """One function's run: its requests, the replicas that were wanted and that were ready, its alerts (when, name, on)."""

    shape: str
    rules: str
    requests: list[Request]
    wanted: Steps
    ready: Steps
    alerts: list[tuple[float, str, bool]]


def count_at(steps: Sequence[tuple[float, int]], moment: float) -> int:
    """The count at `moment`; before the first step, the first count."""
    index = bisect_right([since for since, _ in steps], moment)
    return steps[max(index - 1, 0)][1]


class Answers:
    """Requests by the time of their answers."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = sorted(requests)
        self._ended = [request.ended for request in self._requests]

    def between(self, start: float, end: float) -> list[Request]:
        return self._requests[bisect_left(self._ended, start) : bisect_left(self._ended, end)]

    def p99(self, moment: float) -> float:
        """Seconds within which 99 of 100 requests of the last WINDOW_SECONDS were answered; NaN without any.

        A request that was refused or failed has not been answered: it counts as endless.
        """
        window = self.between(moment - WINDOW_SECONDS, moment)
        if not window:
            return math.nan
        times = sorted(one.seconds if one.status == 200 else math.inf for one in window)
        return times[math.ceil(0.99 * len(times)) - 1]
