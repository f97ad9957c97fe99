"""Pictures: one column for each rule, one time axis, load over replicas over p99 over alerts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.experiments.autoscale.choice import Outcome
from tests.experiments.autoscale.measures import BOUND_SECONDS, needed
from tests.experiments.autoscale.shapes import Shape
from tests.experiments.autoscale.simulator import Function
from tests.experiments.autoscale.trajectory import Answers, Trajectory, count_at

TITLES = {"ours": "this project's rules", "ce": "OpenFaaS CE's rule"}
BLUE, GREY, RED, GREEN = "#1f5fa8", "#8a8f98", "#c0392b", "#2e8b57"
HIGHEST_SECONDS = 10.0
mpl.rcParams.update(
    {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "magasin"}
)


def draw_run(
    path: Path,
    shape: Shape,
    function: Function,
    runs: Mapping[str, Trajectory],
    predicted: Mapping[str, Sequence[int]],
) -> None:
    """Write one run's picture, with what the simulator foretold as a dotted line."""
    figure = Figure(figsize=(9.5, 6.4), layout="constrained")
    axes = figure.subplots(
        4, len(runs), sharex=True, sharey="row", height_ratios=(2, 2, 2, 1.3), squeeze=False
    )
    for column, (name, run) in enumerate(runs.items()):
        seconds = range(int(shape.duration) + 1)
        _draw_load(axes[0][column], shape, run, seconds)
        _draw_replicas(axes[1][column], shape, function, run, predicted.get(name, ()))
        _draw_p99(axes[2][column], run, seconds)
        _draw_alerts(axes[3][column], run, shape.duration)
        axes[0][column].set_title(f"{shape.title}: {TITLES.get(name, name)}", fontweight="bold")
        axes[3][column].set_xlabel("seconds")
        axes[3][column].set_xlim(0, shape.duration)
    for row, label in enumerate(("requests a second", "replicas", "p99, seconds", "alerts firing")):
        axes[row][0].set_ylabel(label)
    figure.savefig(path, dpi=100)


def _draw_load(axis: Any, shape: Shape, run: Trajectory, seconds: range) -> None:
    answers = Answers(run.requests)
    good = [sum(one.status == 200 for one in answers.between(second - 1, second)) for second in seconds]
    bad = [sum(one.status != 200 for one in answers.between(second - 1, second)) for second in seconds]
    axis.plot(seconds, [shape.rate(second) for second in seconds], color=GREY, label="sent")
    axis.plot(seconds, good, color=BLUE, linewidth=0.9, label="answered 200")
    axis.plot(seconds, bad, color=RED, linewidth=0.9, label="refused (429) or failed")
    axis.legend(loc="upper right", fontsize=6, frameon=False)
    axis.set_ylim(bottom=0)


def _draw_replicas(
    axis: Any, shape: Shape, function: Function, run: Trajectory, predicted: Sequence[int]
) -> None:
    fine = [tick / 2 for tick in range(int(shape.duration) * 2 + 1)]
    axis.fill_between(
        fine, [needed(shape.rate(moment), function) for moment in fine],
        step="post", color=GREY, alpha=0.25, linewidth=0, label="needed",
    )  # fmt: skip
    axis.step(fine, [count_at(run.ready, moment) for moment in fine], where="post", color=BLUE, label="ready")
    if predicted:
        axis.step(range(len(predicted)), predicted, where="post", color=RED, linestyle=":", label="foretold")
    axis.set_yticks(range(6))
    axis.set_ylim(0, 5.4)
    axis.legend(loc="upper right", fontsize=6, frameon=False)


def _draw_p99(axis: Any, run: Trajectory, seconds: range) -> None:
    """Endless (some were refused or failed) is drawn at the top."""
    answers = Answers(run.requests)
    values = [answers.p99(second) for second in seconds]
    shown = [min(value, HIGHEST_SECONDS) for value in values]
    axis.plot(seconds, shown, color=BLUE, linewidth=0.9)
    lost = [value if math.isinf(value) else math.nan for value in values]
    axis.plot(
        seconds, [HIGHEST_SECONDS if math.isinf(one) else math.nan for one in lost], color=RED, linewidth=3
    )
    axis.axhline(BOUND_SECONDS, color=GREEN, linewidth=0.8, linestyle="--")
    axis.set_yscale("log")
    axis.set_ylim(0.04, HIGHEST_SECONDS * 1.3)


def _draw_alerts(axis: Any, run: Trajectory, duration: float) -> None:
    names = sorted({name for _, name, _ in run.alerts})
    for row, name in enumerate(names):
        begun: float | None = None
        for moment, title, on in [*run.alerts, (duration, name, False)]:
            if title != name:
                continue
            if on:
                begun = moment
            elif begun is not None:
                axis.barh(row, moment - begun, left=begun, height=0.6, color=BLUE)
                begun = None
    labels = {"APIHighInvocationRate": "high rate"}
    # Both columns share their rows' axis, so names are written beside the bars and not on it.
    for row, name in enumerate(names):
        axis.text(0.01 * duration, row, labels.get(name, name), va="center", fontsize=6, color="#333")
    axis.set_ylim(-0.6, 4.6)
    axis.set_yticks([])


def draw_choice(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write what each choice of thresholds costs, against what it serves; choices that come to the same share a point."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    places: dict[tuple[float, float], list[str]] = {}
    for one in outcomes:
        places.setdefault((one.surplus_replica_seconds, one.unserved_seconds), []).append(one.choice)
    for number, ((surplus, unserved), choices) in enumerate(sorted(places.items()), 1):
        colour = RED if "as shipped" in choices else BLUE
        label = f"{number}  {', '.join(choices)}"
        axis.scatter(surplus, unserved, color=colour, s=30, zorder=3, label=label)
        axis.annotate(
            str(number),
            (surplus, unserved),
            fontsize=7,
            color=colour,
            xytext=(4, 4),
            textcoords="offset points",
        )
    axis.set_xlabel("replica-seconds beyond need, mean of a run")
    axis.set_ylabel("seconds not served, mean of a run")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7, frameon=False, handletextpad=0.2)
    figure.savefig(path, dpi=100)
