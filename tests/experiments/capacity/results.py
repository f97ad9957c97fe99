"""What the cells say: throughput, processor time a request, the knee; and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quantiles import Ratio, over_blocks, quantile
from tests.experiments.capacity.law import FEWEST_POINTS, Fit, fit
from tests.experiments.capacity.subjects import IMMEDIATE_SECONDS, JOURNEY, SUBJECTS
from tests.experiments.common.answers import Answers
from tests.experiments.common.driving import Driven, load
from tests.experiments.common.folder import Folder
from tests.experiments.common.journey import requests_of_a_visit
from tests.experiments.common.report import Figure, Table, Verdict
from tests.experiments.common.validity import Limits

BLOCK_SECONDS = 1.5
WARM_SECONDS = 0.2
TO_ITS_LIMIT = Limits(late_seconds=None, wrong_answers=None, dropped=None)
"""Beyond the knee requests are late, dropped and refused: that is what is looked for. Only stolen time spoils a run."""
EMPTY = np.array([])
NOTHING = Answers(EMPTY, EMPTY, EMPTY, EMPTY.astype(int), EMPTY.astype(bool))
SERVER = ("replicas", "gateway", "edge", "postgres")
LAB_SECONDS = 0.02112
LAB_TIMES = 10
CPU_RATIO = 1.25
KEPT_SHARE = 0.8


@dataclass(frozen=True)
class Rung:
    """One open rate: whether it was borne, and the p99 of each part from when requests were due."""

    rate: float
    p99: Mapping[str, float]
    borne: bool


@dataclass(frozen=True)
class Cell:
    """One subject with so many replicas: blocks of closed load, and the rungs of the ladder by rate."""

    subject: str
    replicas: int
    throughputs: Sequence[float]
    """Right answers a second, by block."""
    cpu: Mapping[str, Sequence[float]]
    """Processor seconds a right answer, by group and block."""
    rungs: Sequence[Rung]

    @property
    def throughput(self) -> Ratio:
        return over_blocks([[[one] for one in self.throughputs]], lambda arms: float(np.mean(arms[0])))

    @property
    def cpu_blocks(self) -> list[float]:
        """Of all that serves, by block."""
        return [sum(parts) for parts in zip(*self.cpu.values(), strict=True)]

    @property
    def per_core(self) -> Ratio:
        """Requests for a second of one processor."""
        return over_blocks([[[one] for one in self.cpu_blocks]], lambda arms: 1 / float(np.mean(arms[0])))

    @property
    def knee(self) -> Ratio:
        """The highest rate that was borne; the interval ends at the lowest above it that was not.

        Below the lowest rung that is 0, and above the highest it has no end.
        """
        borne = max((one.rate for one in self.rungs if one.borne), default=0.0)
        above = min((one.rate for one in self.rungs if one.rate > borne), default=math.inf)
        return Ratio(borne, borne, above)


def read_cell(folder: Folder, subject: str, replicas: int) -> Cell:
    driven, ladder = (load(Folder(folder.path / part), TO_ITS_LIMIT) for part in ("closed", "ladder"))
    about = folder.read("cell.json")
    spans, counts = _counted(driven, subject)
    return Cell(
        subject,
        replicas,
        throughputs(driven, subject),
        {
            group: [
                driven.ticks.spent(group, *span) / max(1, count)
                for span, count in zip(spans, counts, strict=True)
            ]
            for group in SERVER
        },
        [_rung(rate, about["parts"], ladder, about["rung_seconds"]) for rate in about["rates"]],
    )


def throughputs(driven: Driven, subject: str) -> list[float]:
    """Right answers a second, by closed block."""
    return [count / (end - start) for (start, end), count in zip(*_counted(driven, subject), strict=True)]


def _counted(driven: Driven, subject: str) -> tuple[list[tuple[float, float]], list[int]]:
    """By closed block, from when to when it counts, and the right answers."""
    blocks = driven.of(subject)
    begins = [float(one.due.min()) for one in blocks]
    spans = [(begin + WARM_SECONDS, begin + BLOCK_SECONDS) for begin in begins]
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


def fits(cells: Sequence[Cell]) -> dict[str, Fit]:
    """By subject, where there are enough numbers of replicas, and no block went without a right answer."""
    by = {name: {one.replicas: one.throughputs for one in cells if one.subject == name} for name in SUBJECTS}
    return {
        name: fit(measured)
        for name, measured in by.items()
        if len(measured) >= FEWEST_POINTS and all(min(blocks) > 0 for blocks in measured.values())
    }


def verdicts(cells: Sequence[Cell]) -> list[Verdict]:
    found = []
    by = {(one.subject, one.replicas): one for one in cells}
    if one := by.get(("products", 1)):
        least = LAB_TIMES / LAB_SECONDS
        found.append(
            Verdict(
                f"one replica bears {LAB_TIMES} times as many reads of a product as one client of the lab was answered ({LAB_TIMES} / {LAB_SECONDS * 1000:g} ms = {least:.0f}/s)",
                f"{_between(one.knee)} requests/s (p99 within {IMMEDIATE_SECONDS * 1000:g} ms)",
                _above(one.knee, least),
            )
        )
    ratios = cpu_ratios(cells)
    if ratios:
        worst = max(ratios, key=lambda name: ratios[name].value)
        most = by_most(cells, worst)
        found.append(
            Verdict(
                f"a request takes at most {CPU_RATIO:g} times the processor time when there are more replicas",
                f"at most {ratios[worst].said()} times ({worst}, {most} replicas against 1)",
                _at_most(ratios[worst], CPU_RATIO),
            )
        )
    shares = kept_shares(cells)
    if shares:
        worst = min(shares, key=lambda name: shares[name].value)
        found.append(
            Verdict(
                f"more replicas than processors do no harm: with the most of them at least {KEPT_SHARE:.0%} of the best throughput",
                f"at least {shares[worst].said()} of it ({worst})",
                _above(shares[worst], KEPT_SHARE),
            )
        )
    return found


def _above(one: Ratio, least: float) -> bool | None:
    """Cannot be told where the interval has the goal in it."""
    return None if one.low < least <= one.high else one.low >= least


def _at_most(one: Ratio, most: float) -> bool | None:
    return None if one.low <= most < one.high else one.high <= most


def by_most(cells: Sequence[Cell], subject: str) -> int:
    return max(one.replicas for one in cells if one.subject == subject)


def _pairs(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """By subject, its cells by rising replicas, where there are several from one on."""
    by = {
        name: sorted((one for one in cells if one.subject == name), key=lambda one: one.replicas)
        for name in SUBJECTS
    }
    return {name: its for name, its in by.items() if len(its) > 1 and its[0].replicas == 1}


def cpu_ratios(cells: Sequence[Cell]) -> dict[str, Ratio]:
    """By subject: processor time a request with the most replicas, over that with one."""
    return {
        name: _ratio_of_means(its[-1].cpu_blocks, its[0].cpu_blocks) for name, its in _pairs(cells).items()
    }


def kept_shares(cells: Sequence[Cell]) -> dict[str, Ratio]:
    """By subject: throughput with the most replicas, over the best of all."""
    found = {}
    for name, its in _pairs(cells).items():
        best = max(its, key=lambda one: float(np.mean(one.throughputs)))
        found[name] = _ratio_of_means(its[-1].throughputs, best.throughputs)
    return found


def _ratio_of_means(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Blocks of both are of different minutes, so they are not pairs: each is drawn by itself (percentile bootstrap)."""
    chance = np.random.default_rng(len(above))
    drawn = [
        chance.choice(above, len(above)).mean() / chance.choice(below, len(below)).mean() for _ in range(400)
    ]
    return Ratio(float(np.mean(above) / np.mean(below)), *map(float, np.quantile(drawn, (0.025, 0.975))))


def figures(cells: Sequence[Cell], fitted: Mapping[str, Fit]) -> list[Figure]:
    found = []
    for one in cells:
        with_ = f"{one.subject}, {one.replicas} replica{'s' if one.replicas > 1 else ''}"
        if one.replicas in {1, by_most(cells, one.subject)}:
            found.append(_figure(f"knee, {with_}", "requests/s", one.knee))
            found.append(_figure(f"for a second of a processor, {with_}", "requests", one.per_core))
        found.append(_figure(f"throughput, {with_}", "requests/s", one.throughput))
    for name, law in fitted.items():
        found.append(_figure(f"contention σ, {name}", "", law.contention, "lower"))
    # Those of the journey first: the index shows a dozen.
    return sorted(found, key=lambda one: JOURNEY not in one.name)


def _figure(name: str, unit: str, value: Ratio, better: str = "higher") -> Figure:
    return Figure(name, unit, value.value, value.low, value.high, better)


def tables(cells: Sequence[Cell], fitted: Mapping[str, Fit]) -> list[Table]:
    rows = [
        [
            one.subject, str(one.replicas), _said(one.throughput), _between(one.knee), _p99(one), _said(one.per_core),
            *(f"{1000 * float(np.mean(one.cpu[group])):.2f}" for group in SERVER),
        ]
        for one in cells
    ]  # fmt: skip
    measured = Table(
        "Requests a second, and processor time of a request in ms",
        [
            "",
            "replicas",
            "throughput (95 %)",
            "knee",
            "p99 there, ms",
            "for a second of a processor (95 %)",
            *SERVER,
        ],
        rows,
    )
    law = Table(
        "The universal scalability law, fitted",
        ["", "λ, requests/s", "σ (contention)", "κ (coherency)", "most at N", "worst point off by", "correlation of σ and κ"],
        [
            [
                name, _said(one.rate), one.contention.said(), one.coherency.said(3), _peak(one.peak),
                f"{one.misfit:.0%}", "–" if math.isnan(one.confusion) else f"{one.confusion:.2f}",
            ]
            for name, one in fitted.items()
        ],
    )  # fmt: skip
    asked = Table(
        "What is asked",
        ["", "request", "scaled together"],
        [[one.name, one.request, ", ".join(one.functions)] for one in SUBJECTS.values()],
    )
    journey = [
        [str(one.replicas), _between(_times(one.knee, 1 / sum(requests_of_a_visit().values())))]
        for one in cells
        if one.subject == JOURNEY
    ]
    visits = (
        [Table("Visits a second at the knee of the journey", ["replicas", "visits/s"], journey)]
        if journey
        else []
    )
    return [measured, *visits, *([law] if fitted else []), asked]


def _times(one: Ratio, factor: float) -> Ratio:
    return Ratio(one.value * factor, one.low * factor, one.high * factor)


def _said(one: Ratio) -> str:
    return one.said(0) if one.value >= 100 else one.said(1)


def _between(knee: Ratio) -> str:
    """`from 410 on, below 480`, as a ladder has it."""
    if knee.value == 0:
        return f"below {knee.high:.3g}"
    return f"{knee.low:.3g} or more" if math.isinf(knee.high) else f"{knee.low:.3g} to {knee.high:.3g}"


def _p99(one: Cell) -> str:
    borne = [rung.p99 for rung in one.rungs if rung.rate == one.knee.value]
    return ", ".join(f"{p99 * 1000:.0f}" for p99 in borne[0].values()) if borne else "–"


def _peak(one: Ratio) -> str:
    return " to ".join("∞" if math.isinf(end) else f"{end:.1f}" for end in (one.low, one.high))


def as_json(cells: Sequence[Cell]) -> list[dict[str, object]]:
    return [
        {
            "subject": one.subject, "replicas": one.replicas, "throughputs": list(one.throughputs),
            "cpu_seconds": {group: list(values) for group, values in one.cpu.items()},
            "rungs": [{"rate": rung.rate, "p99_seconds": dict(rung.p99), "borne": rung.borne} for rung in one.rungs],
        }
        for one in cells
    ]  # fmt: skip


THREATS = (
    "Client, edge, gateway, replicas and PostgreSQL share two processors. One replica of one thread keeps one of them busy; from the second or third on there is nothing left that more replicas could use. The fitted law therefore describes this machine, not the function: σ is near what two processors for everything leave, whoever the function is.",
    "Five points hardly tell σ from κ: their correlation over the resamples is in the table, and the interval of either is that of the sum more than of the one. The curve between the points may be believed, beyond them not.",
    "The intervals are those of the blocks of one visit to each number of replicas; what changes between minutes is not in them.",
    "k6 takes a part of the processors that grows with the rate, so rates would be higher with a client elsewhere. Requests for a second of a processor leave it out.",
    "A knee lies between two rungs and is no finer; below 100 requests/s a rung has so few requests that their p99 is nearly the slowest of them.",
    "The idle work of the replicas (health checks, scrapes: about 1 ms of processor time a second each) is in the processor time of a request.",
    "The shop is small and in memory: what many years of sales or a million products change is not here.",
)
