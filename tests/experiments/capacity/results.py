"""What the cells say against the goals, as figures, tables and threats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from benchmarks.quantiles import LEVEL, Ratio
from tests.experiments.capacity.cells import SERVER, Cell
from tests.experiments.capacity.law import Fit
from tests.experiments.capacity.subjects import IMMEDIATE_SECONDS, JOURNEY, SUBJECTS
from tests.experiments.common.journey import actions_of_a_visit
from tests.experiments.common.report import Figure, Table, Verdict, at_least, at_most, every

LAB_SECONDS = 0.02112
"""What a request of the laboratory's one client took through its gateway."""
LAB_TIMES = 10
CPU_RATIO = 1.25
KEPT_SHARE = 0.8


def verdicts(cells: Sequence[Cell]) -> list[Verdict]:
    found = []
    by = {(one.subject, one.replicas): one for one in cells}
    if one := by.get(("products", 1)):
        least = LAB_TIMES / LAB_SECONDS
        found.append(
            Verdict(
                f"one replica bears {LAB_TIMES} times as many reads of a product as one client of the lab was answered ({LAB_TIMES} / {LAB_SECONDS * 1000:g} ms = {least:.0f}/s)",
                f"{_between(one.knee)} requests/s (p99 within {IMMEDIATE_SECONDS * 1000:g} ms)",
                at_least(one.knee, least),
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
                every(*(at_most(one, CPU_RATIO) for one in ratios.values())),
            )
        )
    shares = kept_shares(cells)
    if shares:
        worst = min(shares, key=lambda name: shares[name].value)
        found.append(
            Verdict(
                f"more replicas than processors do no harm: with the most of them at least {KEPT_SHARE:.0%} of the best throughput",
                f"at least {shares[worst].said()} of it ({worst})",
                every(*(at_least(one, KEPT_SHARE) for one in shares.values())),
            )
        )
    return found


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
    """By subject: processor time a request with the most replicas, over that with one; all intervals hold together (Bonferroni)."""
    pairs = _pairs(cells)
    level = together(len(pairs))
    return {name: ratio_of_means(its[-1].cpu_blocks, its[0].cpu_blocks, level) for name, its in pairs.items()}


def kept_shares(cells: Sequence[Cell]) -> dict[str, Ratio]:
    """By subject: throughput with the most replicas, over that with each other number; of those the least.

    Which number is best is chosen by the same blocks, so the intervals of all of them hold together (Bonferroni).
    """
    pairs = _pairs(cells)
    level = together(sum(len(its) - 1 for its in pairs.values()))
    return {
        name: min(
            (ratio_of_means(its[-1].throughputs, one.throughputs, level) for one in its[:-1]),
            key=lambda one: one.value,
        )
        for name, its in pairs.items()
    }


def together(count: int) -> float:
    """The level of each of so many intervals that hold together with 95 %."""
    return 1 - (1 - LEVEL) / max(1, count)


def ratio_of_means(above: Sequence[float], below: Sequence[float], level: float) -> Ratio:
    """Geometric means of blocks that are no pairs, as they are of different minutes; Welch's interval (1947) of their logarithms.

    Where a block brought nothing, or there is but one, the ends are infinite.
    """
    if min(*above, *below) <= 0:
        return Ratio(float(np.mean(above) / np.mean(below)), -math.inf, math.inf)
    one, other = np.log(above), np.log(below)
    value = float(np.exp(one.mean() - other.mean()))
    if min(len(one), len(other)) < 2:
        return Ratio(value, -math.inf, math.inf)
    if np.ptp(one) < 1e-12 and np.ptp(other) < 1e-12:
        return Ratio(value, value, value)
    ends = stats.ttest_ind(one, other, equal_var=False).confidence_interval(level)
    return Ratio(value, float(np.exp(ends.low)), float(np.exp(ends.high)))


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
                name, _said(one.rate), _parameter(one.contention, 2), _parameter(one.coherency, 3), _peak(one.peak),
                f"{one.misfit:.0%}" + (": the law does not describe this" if one.follows is False else ""), "–" if math.isnan(one.confusion) else f"{one.confusion:.2f}",
            ]
            for name, one in fitted.items()
        ],
    )  # fmt: skip
    asked = Table(
        "What is asked",
        ["", "request", "scaled together"],
        [[one.name, one.request, ", ".join(one.functions)] for one in SUBJECTS.values()],
    )
    actions = sum(actions_of_a_visit().values())
    journey = [
        [str(one.replicas), _between(one.knee.times(1 / actions))] for one in cells if one.subject == JOURNEY
    ]
    visits = (
        [
            Table(
                f"Visits a second at the knee of the journey, of {actions:g} actions each",
                ["replicas", "visits/s"],
                journey,
            )
        ]
        if journey
        else []
    )
    return [measured, *visits, *([law] if fitted else []), asked]


def _said(one: Ratio) -> str:
    return one.said(0) if one.value >= 100 else one.said(1)


def _between(knee: Ratio) -> str:
    """`from 410 on, below 480`, as a ladder has it."""
    if knee.value == 0:
        return f"below {_three_digits(knee.high)}"
    low = _three_digits(knee.low)
    return f"{low} or more" if math.isinf(knee.high) else f"{low} to {_three_digits(knee.high)}"


def _three_digits(value: float) -> str:
    """1,430 and 38.3, never 1.43e+03."""
    return f"{float(f'{value:.3g}'):,g}"


def _p99(one: Cell) -> str:
    borne = [rung.p99 for rung in one.rungs if rung.rate == one.knee.value]
    return ", ".join(f"{p99 * 1000:.0f}" for p99 in borne[0].values()) if borne else "–"


def _parameter(one: Ratio, digits: int) -> str:
    return f"{one.value:.{digits}f}, the fit's bound" if math.isinf(one.high) else one.said(digits)


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
    "Five points hardly tell σ from κ: their correlation over the resamples is in the table, and the interval of either is that of the sum more than of the one. Between the points the curve may be believed where the table does not say that the law does not describe them, beyond them not. σ and κ are at most 1 in the fit; at that bound there is no interval, for the bound is all that is known.",
    "The intervals are those of the blocks of one visit to each number of replicas; what changes between minutes is not in them.",
    "k6 takes a part of the processors that grows with the rate, so rates would be higher with a client elsewhere. Requests for a second of a processor leave it out.",
    "A knee lies between two rungs and is no finer; below 100 requests/s a rung has so few requests that their p99 is nearly the slowest of them.",
    "The idle work of the replicas (health checks, scrapes: about 1 ms of processor time a second each) is in the processor time of a request.",
    "The shop is small and in memory: what many years of sales or a million products change is not here.",
)
