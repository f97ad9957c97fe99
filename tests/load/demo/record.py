"""What was asked and answered, and its figures: of the last seconds, second by second, and by scene.

Times are arguments, in seconds of a clock that never goes back, so nothing here waits or looks at a clock.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WINDOW_SECONDS = 5.0
KEPT_SECONDS = 90.0
"""Single answers are kept so long; sums by scene are kept for ever."""
MOST_EXAMPLES = 3
UNANSWERED = 0
"""The status of a request to which no answer came."""


@dataclass(frozen=True)
class Answer:
    """A request that is over; `fault` says what is wrong with its answer, and is empty when nothing is."""

    moment: float
    scene: str
    name: str
    method: str
    status: int
    seconds: float
    fault: str = ""
    served_by: str = ""


@dataclass(frozen=True)
class Window:
    """The last few seconds. Times are of answers, whatever they say; without any they are None."""

    rate: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    statuses: Mapping[int, int] = field(default_factory=dict)
    served_by: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0


@dataclass(frozen=True)
class Second:
    """One second of the past."""

    answers: int = 0
    failed: int = 0


@dataclass
class Sum:
    """One scene, by method: what was sent, what was answered, what was not, and what of both was not right."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failed_statuses: Counter[int] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def copy(self) -> Sum:
        return Sum(
            self.sent.copy(), self.answered.copy(), self.unanswered.copy(), self.failed.copy(),
            self.statuses.copy(), self.failed_statuses.copy(), self.examples.copy(),
        )  # fmt: skip


class Record:
    """Filled by all who ask, at once. `sending` counts by itself, so a request that gets lost here is missed."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._lock = threading.Lock()
        self._recent: deque[Answer] = deque()
        self._sums: dict[str, Sum] = {}

    def sending(self, scene: str, method: str) -> None:
        with self._lock:
            self._of(scene).sent[method] += 1

    def add(self, answer: Answer) -> None:
        with self._lock:
            self._recent.append(answer)
            while self._recent[0].moment < answer.moment - KEPT_SECONDS:
                self._recent.popleft()
            self._sum_up(answer)

    def sums(self) -> dict[str, Sum]:
        """By scene, in the order in which they began."""
        with self._lock:
            return {scene: its.copy() for scene, its in self._sums.items()}

    def sum_of(self, scene: str) -> Sum:
        return self.sums().get(scene, Sum())

    def window(self, now: float, seconds: float = WINDOW_SECONDS) -> Window:
        """The last `seconds` before `now`, or what there has been of them."""
        found = self._since(now - seconds)
        lasted = max(min(seconds, now - self._began), 1.0)
        times = sorted(one.seconds * 1000 for one in found if one.status != UNANSWERED)
        return Window(
            len(times) / lasted,
            nearest_rank(times, 0.5) if times else None,
            nearest_rank(times, 0.99) if times else None,
            dict(sorted(Counter(one.status for one in found).items())),
            self._replicas(found),
            sum(bool(one.fault) for one in found),
        )

    def served_by(self, since: float) -> dict[str, int]:
        """How many answers each replica has given since then."""
        return self._replicas(self._since(since))

    def seconds(self, now: float, count: int) -> list[Second]:
        """The last `count` whole seconds before the one that `now` is in, but none from before the beginning."""
        first = max(math.floor(now) - count, math.floor(self._began))
        answers, failed = Counter[int](), Counter[int]()
        for one in self._since(first):
            answers[math.floor(one.moment)] += 1
            failed[math.floor(one.moment)] += bool(one.fault)
        return [Second(answers[place], failed[place]) for place in range(first, math.floor(now))]

    def _of(self, scene: str) -> Sum:
        return self._sums.setdefault(scene, Sum())

    def _sum_up(self, answer: Answer) -> None:
        its = self._of(answer.scene)
        (its.unanswered if answer.status == UNANSWERED else its.answered)[answer.method] += 1
        its.statuses[answer.status] += 1
        if answer.fault:
            its.failed[answer.method] += 1
            its.failed_statuses[answer.status] += 1
            if len(its.examples) < MOST_EXAMPLES:
                its.examples.append(f"{answer.name}: {answer.fault}")

    def _since(self, moment: float) -> list[Answer]:
        with self._lock:
            return [one for one in self._recent if one.moment >= moment]

    @staticmethod
    def _replicas(answers: Sequence[Answer]) -> dict[str, int]:
        return dict(sorted(Counter(one.served_by for one in answers if one.served_by).items()))


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest of some ordered samples with at least `share` of all at or below it."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
