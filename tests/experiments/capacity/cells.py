"""One subject with so many replicas: its throughput, processor time a request, and knee at each visit, from what was written down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quantiles import Ratio, quantile
from tests.experiments.capacity.law import FEWEST_POINTS, Fit, fit
from tests.experiments.capacity.subjects import SUBJECTS
from tests.experiments.capacity.visits import Visits
from tests.experiments.common.answers import Answers
from tests.experiments.common.driving import Driven, load
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import Limits

BLOCK_SECONDS = 1.5
SLOW_TIMES = 2
"""So much longer are the blocks of what takes a user long, of which else only a few would end in one."""
WARM_SECONDS = 0.2
TO_ITS_LIMIT = Limits(late_seconds=None, wrong_answers=None, dropped=None)
"""Beyond the knee requests are late, dropped and refused: that is what is looked for. Only stolen time spoils a run."""
EMPTY = np.array([])
NOTHING = Answers(EMPTY, EMPTY, EMPTY, EMPTY.astype(int), EMPTY.astype(bool))
SERVER = ("replicas", "gateway", "edge", "postgres")


@dataclass(frozen=True)
class Rung:
    """One open rate: whether it was borne, and the p99 of each part from when requests were due."""

    rate: float
    p99: Mapping[str, float]
    borne: bool


@dataclass(frozen=True)
class Visit:
    """What was seen in one go: blocks of closed load, and the rungs of the ladder."""

    throughputs: Sequence[float]
    """Right answers a second, by block."""
    cpu: Mapping[str, Sequence[float]]
    """Processor seconds a right answer, by group and block."""
    rungs: Sequence[Rung]

    @property
    def throughput(self) -> float:
        return float(np.mean(self.throughputs))

    @property
    def cpu_blocks(self) -> list[float]:
        """Processor seconds a right answer of all that serves, by block."""
        return [sum(parts) for parts in zip(*self.cpu.values(), strict=True)]

    @property
    def knee(self) -> Ratio:
        """The rung below the lowest that was not borne, and that one: the knee lies between them, which is no interval of 95 %.

        Below the lowest rung that is 0, and above the highest it has no end. What was borne above a rung that was not does
        not count: whatever was in the way of the lower one was luckily absent.
        """
        above = min((one.rate for one in self.rungs if not one.borne), default=math.inf)
        borne = max((one.rate for one in self.rungs if one.rate < above), default=0.0)
        return Ratio(borne, borne, above)


@dataclass(frozen=True)
class Cell:
    """One subject with so many replicas, at each visit."""

    subject: str
    replicas: int
    visits: Sequence[Visit]

    @property
    def knee(self) -> Ratio:
        """The mean of the visits' knees, and from the lowest of them to the highest that a rung above one is."""
        knees = [one.knee for one in self.visits]
        mean = float(np.mean([one.value for one in knees]))
        return Ratio(mean, min(one.low for one in knees), max(one.high for one in knees))


def read_cells(folder: Folder) -> list[Cell]:
    """Of all runs `<subject>-<replicas>` and, for later visits, `<subject>-<replicas>-<visit>`."""
    by: dict[tuple[str, int], list[Visit]] = {}
    for name in folder.done_runs():
        subject, replicas, *_ = name.split("-")
        by.setdefault((subject, int(replicas)), []).append(read_visit(folder.run(name), subject))
    order = sorted(by, key=lambda one: (list(SUBJECTS).index(one[0]), one[1]))
    return [Cell(*one, by[one]) for one in order]


def read_visit(folder: Folder, subject: str) -> Visit:
    driven = load(Folder(folder.path / "closed"), TO_ITS_LIMIT)
    spans, counts = _counted(driven, subject)
    return Visit(
        throughputs(driven, subject),
        {
            group: [
                driven.ticks.spent(group, *span) / max(1, count)
                for span, count in zip(spans, counts, strict=True)
            ]
            for group in SERVER
        },
        read_rungs(folder),
    )


def read_rungs(folder: Folder) -> list[Rung]:
    """The ladder of a cell, by rising rate, and what was climbed above it."""
    about = folder.read("cell.json")
    found = []
    for name, rates in about["ladders"].items():
        ladder = load(Folder(folder.path / name), TO_ITS_LIMIT)
        found += [_rung(rate, about["parts"], ladder, about["rung_seconds"]) for rate in rates]
    return found


def block_seconds(subject: str) -> float:
    return BLOCK_SECONDS * (SLOW_TIMES if subject == "checkout" else 1)


def throughputs(driven: Driven, subject: str) -> list[float]:
    """Right answers a second, by closed block."""
    return [count / (end - start) for (start, end), count in zip(*_counted(driven, subject), strict=True)]


def _counted(driven: Driven, subject: str) -> tuple[list[tuple[float, float]], list[int]]:
    """By closed block, from when to when it counts, and the right answers."""
    blocks = driven.of(subject)
    begins = [float(one.due.min()) for one in blocks]
    spans = [(begin + WARM_SECONDS, begin + block_seconds(subject)) for begin in begins]
    return spans, [_answered(one, *span) for one, span in zip(blocks, spans, strict=True)]


def _answered(one: Answers, start: float, end: float) -> int:
    """Right answers that came in between, whenever they were asked for."""
    return int(np.sum(one.ok & (one.ended > start) & (one.ended <= end)))


def _rung(rate: float, parts: Sequence[Mapping[str, Any]], ladder: Driven, seconds: float) -> Rung:
    """Of each part every request has to be sent and rightly answered, and the p99 to stay within its bound."""
    p99, borne = {}, True
    for part in parts:
        [answers] = ladder.of(arm_of(rate, part["name"])) or [NOTHING]
        p99[part["name"]] = quantile(answers.seconds, 0.99) if len(answers) else math.inf
        # What k6 could not send in time is not among the answers; at the edges of a block one may be missing.
        all_sent = len(answers) >= int(rate * part["share"] * seconds) - 1
        borne = borne and all_sent and bool(answers.ok.all()) and p99[part["name"]] <= part["bound_seconds"]
    return Rung(rate, p99, borne)


def arm_of(rate: float, part: str) -> str:
    return f"{part} at {rate:g}"


def by_subject(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """By subject, its cells by rising replicas."""
    found: dict[str, list[Cell]] = {}
    for one in sorted(cells, key=lambda one: (list(SUBJECTS).index(one.subject), one.replicas)):
        found.setdefault(one.subject, []).append(one)
    return found


def throughput(cells: Iterable[Cell]) -> Visits:
    """Of one subject, requests a second."""
    return Visits({one.replicas: [visit.throughput for visit in one.visits] for one in cells})


def per_core(cells: Iterable[Cell]) -> Visits:
    """Of one subject, requests for a second of one processor."""
    return Visits(
        {one.replicas: [1 / float(np.mean(visit.cpu_blocks)) for visit in one.visits] for one in cells}
    )


def fits(cells: Sequence[Cell]) -> dict[str, Fit]:
    """By subject, where there are enough numbers of replicas, and no block went without a right answer."""
    return {
        name: fit(throughput(its))
        for name, its in by_subject(cells).items()
        if len(its) >= FEWEST_POINTS
        and all(min(visit.throughputs) > 0 for one in its for visit in one.visits)
    }
