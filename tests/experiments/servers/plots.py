"""Bars of the rate and of the p99, one for each arm, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.quantiles import Ratio
from tests.experiments.servers.arms import Comparison
from tests.experiments.servers.results import MEASURES, Measured

COLOURS = {"waitress": "#8a8f98", "sync": "#e0a030", "gthread": "#2e8b57", "granian": "#1f5fa8"}
_SHOWN = ("rate", "p99")
_ARM_INCHES, _REST_INCHES = 0.27, 0.75


def draw(path: Path, found: Mapping[Comparison, Measured]) -> None:
    """One row of pictures a comparison, as high as it has arms; both scales begin at zero."""
    heights = [_ARM_INCHES * len(one.arms) + _REST_INCHES for one in found]
    figure = Figure(figsize=(9.5, sum(heights)), layout="constrained")
    axes = figure.subplots(len(found), len(_SHOWN), squeeze=False, height_ratios=heights)
    for row, (comparison, its) in zip(axes, found.items(), strict=True):
        for axis, measure in zip(row, _SHOWN, strict=True):
            _bars(axis, comparison, measure, [its.value(measure, arm.name) for arm in comparison.arms])
        row[0].set_title(comparison.title, loc="left", fontsize=9, fontweight="bold")
        row[1].tick_params(labelleft=False)
    figure.savefig(path, dpi=110)


def _bars(axis: Any, comparison: Comparison, measure: str, values: Sequence[Ratio]) -> None:
    places = range(len(values))
    # An interval of quantiles over blocks need not hold the quantile of all.
    ends = [
        [max(0.0, one.value - one.low) for one in values],
        [max(0.0, one.high - one.value) for one in values],
    ]
    axis.barh(
        places, [one.value for one in values], height=0.7, xerr=ends,
        color=[COLOURS[arm.server] if arm.application != "psycopg 3" else "#7fb0e0" for arm in comparison.arms],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333"},
    )  # fmt: skip
    most = max(max(one.value, one.high) for one in values)
    for place, one in zip(places, values, strict=True):
        text = f"{one.value:,.0f}" if measure == "rate" else f"{one.value:.2f}"
        axis.annotate(text, (max(one.value, one.high), place), (4, 0), textcoords="offset points", va="center", fontsize=7)  # fmt: skip
    axis.set_yticks(places, [arm.name for arm in comparison.arms], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.12 * most)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlabel(f"{MEASURES[measure].title}, {MEASURES[measure].unit}", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
