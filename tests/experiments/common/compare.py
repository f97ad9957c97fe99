"""Two folders of one experiment held against each other: better, worse, or not to be told apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.quantiles import Ratio
from benchmarks.report import BenchmarkError
from tests.experiments.common import bare
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import Figure

BY_CHANCE = 0.05
"""So many of what is alike an interval of 95 % tells apart."""
LEAST = 1.03
"""What differs by less is not worth a word: an arm differs as much from itself (the harness' A/A)."""
WHATEVER_THE_MACHINE = ("", "MB an hour", "an hour")
"""Units of ratios, counts and growth; all others are of time or of a rate, and follow how fast the machine is."""


@dataclass(frozen=True)
class Difference:
    """A figure in both folders: b / a with its 95 % interval, and the verdict about b.

    `compared` is whether there could be one: a figure of time or rate has none where the machine was another, or may have been.
    """

    name: str
    unit: str
    a: float
    b: float
    ratio: Ratio
    word: str
    compared: bool


def compare(a: Folder, b: Folder) -> tuple[list[Difference], list[str]]:
    """Each figure that both have, and what differs between the two beside the figures. Raises BenchmarkError for what cannot be compared."""
    one, two = (_result(folder) for folder in (a, b))
    if one["experiment"] != two["experiment"]:
        raise BenchmarkError(f"{one['experiment']} and {two['experiment']} are different experiments")
    figures = {figure.name: figure for figure in _figures(two)}
    both = [(figure, figures[figure.name]) for figure in _figures(one) if figure.name in figures]
    another = _another_machine(a, b)
    differences = [
        _difference(*pair, compared=not another or pair[0].unit in WHATEVER_THE_MACHINE) for pair in both
    ]
    remarks = list(_remarks(one, two))
    return differences, remarks if all(one.compared for one in differences) else [another, *remarks]


def by_chance(differences: Sequence[Difference]) -> str:
    """How many are told apart, and how many would be if nothing had changed; one interval of many errs now and then."""
    apart = sum(one.word not in ("the same", "cannot tell") for one in differences)
    count = sum(one.compared for one in differences)
    return f"Told apart: {apart} of {count}; of as many that are alike, up to {BY_CHANCE * count:.1f} would be by chance."


def _result(folder: Folder) -> dict[str, Any]:
    try:
        return dict(folder.read("result.json"))
    except OSError as error:
        raise BenchmarkError(
            f"{folder.path} has no result.json; name a folder of a finished experiment"
        ) from error


def _figures(result: Mapping[str, Any]) -> list[Figure]:
    return [Figure.read(entry) for entry in result.get("figures", [])]


def _another_machine(a: Folder, b: Folder) -> str:
    """Why figures of time and rate of these two are not to be compared; nothing where a bare server took the same in both."""
    looks = {folder: bare.seen(folder) for folder in (a, b)}
    if unknown := [folder.path.name for folder, seen in looks.items() if len(seen) < 2]:
        return f"figures of time and rate are not compared, as {' and '.join(unknown)} did not see how fast the machine was before and after"
    every = [*looks[a], *looks[b]]
    if max(every) <= LEAST * min(every):
        return ""
    told = " and ".join(f"{min(seen):.3f} to {max(seen):.3f}" for seen in looks.values())
    return f"figures of time and rate are not compared, as one bare server took {told} ms (p50): the machine differed by more than {LEAST - 1:.0%}"


def _difference(a: Figure, b: Figure, *, compared: bool) -> Difference:
    ratio = _ratio(a, b)
    word = _word(a.better, ratio) if compared else "cannot tell"
    return Difference(a.name, a.unit, a.value, b.value, ratio, word, compared)


def _ratio(a: Figure, b: Figure) -> Ratio:
    """b / a; errors of independent estimates add up in squares, on the logarithm, each from half its interval's width.

    Where a figure is not above zero there are no logarithms, and where it is an end of its interval no half: the extremes
    of both intervals are taken, which is wider. A figure without an interval says nothing but that it is the same.
    """
    value = b.value / a.value if a.value else math.nan
    if not (_has_width(a) and _has_width(b)):
        same = a.value == b.value and a.low == a.high and b.low == b.high
        return Ratio(1.0, 1.0, 1.0) if same else Ratio(value, -math.inf, math.inf)
    if min(a.low, b.low) > 0 and all(one.low < one.value < one.high < math.inf for one in (a, b)):
        width = math.hypot(*(math.log(one.high / one.low) / 2 for one in (a, b)))
        return Ratio(value, value * math.exp(-width), value * math.exp(width))
    low = b.low / a.high if a.high > 0 else 0.0
    high = b.high / a.low if a.low > 0 else math.inf
    return Ratio(value, max(0.0, low), high)


def _has_width(figure: Figure) -> bool:
    """Values that were alike each time, or of which there was one, do not tell how far the next may be off."""
    return figure.low < figure.high and not (math.isinf(figure.low) and math.isinf(figure.high))


def _word(better: str, ratio: Ratio) -> str:
    if ratio.low > LEAST or (ratio.low > 1 and ratio.value > LEAST):
        return {"lower": "worse", "higher": "better"}.get(better, "greater")
    if ratio.high < 1 / LEAST or (ratio.high < 1 and ratio.value < 1 / LEAST):
        return {"lower": "better", "higher": "worse"}.get(better, "less")
    if ratio.low >= 1 / LEAST and ratio.high <= LEAST:
        return "the same"
    return "cannot tell"


def _remarks(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[str]:
    """What a reader should know before believing the table."""
    for name in sorted({*one["settings"], *two["settings"]}):
        here, there = one["settings"].get(name), two["settings"].get(name)
        if here != there:
            yield f"{name} was {here} and {there}"
    for name in (
        "processor",
        "processors",
        "system",
        "python",
        "granian",
        "envoy",
        "psycopg",
        "psycopg2",
        "postgresql",
        "k6",
        "memory_gb",
    ):
        here, there = one["machine"].get(name), two["machine"].get(name)
        if here != there:
            yield f"{name} was {here or 'not told'} and {there or 'not told'}"
    if any(result["settings"].get("draft") for result in (one, two)):
        yield "one of them is a draft, measured by a harness that had not proved itself"
