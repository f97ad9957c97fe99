"""Each fault on one axis of time: rate of answers, errors, times; and all of them below each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm

from benchmarks.quantiles import quantile
from tests.experiments.common.answers import Answers
from tests.experiments.failover.faults import CANCEL, CHECKOUT, FLOWS, MOVEMENT, PAGE, REPORT, SIGN_IN
from tests.experiments.failover.results import ByFault
from tests.experiments.failover.seen import Seen

BIN_SECONDS = 0.5
COLOURS = dict(
    zip(
        (*FLOWS, CHECKOUT, PAGE, MOVEMENT, SIGN_IN, REPORT, CANCEL),
        ("#3274d9", "#7b4fb5", "#37a06a", "#e0a030", "#c0392b", "#95a5a6", "#16a085", "#d35400", "#5d4037", "#e377c2"),
        strict=True,
    )
)  # fmt: skip
KINDS = {500: "#c0392b", 502: "#e67e22", 503: "#f1c40f", 504: "#8e44ad", 0: "#2c3e50", 429: "#7f8c8d"}
OTHER = "#95a5a6"
OVERVIEW = (-3.0, 10.0)


def draw(directory: Path, seen: ByFault) -> list[tuple[str, Path]]:
    """Caption and file of each."""
    overview = directory / "overview.png"
    _draw_overview(overview, seen)
    found = [
        ("All faults at 0: which share of the requests failed, and the p99, by when they were due.", overview)
    ]
    for fault, runs in seen.items():
        path = directory / f"{fault.name}.png"
        draw_one(path, runs[0])
        found.append((fault.title[0].upper() + fault.title[1:], path))
    return found


def draw_one(path: Path, seen: Seen) -> None:
    """One fault once. Answers by when they came, errors and times by when the request was due."""
    figure, axes = plt.subplots(3, 1, figsize=(8, 6), sharex=True, layout="constrained")
    at, answers = seen.happened.at, seen.all
    edges = whole_bins(float(answers.due.min()) - at, float(answers.due.max()) - at)
    _draw_rates(axes[0], seen, edges)
    _draw_errors(axes[1], answers, at, edges)
    _draw_times(axes[2], seen, edges)
    for one in axes:
        _mark(one, seen)
        one.spines[["top", "right"]].set_visible(False)
    axes[0].set_title(seen.fault.title, fontsize=10, loc="left")
    axes[0].legend(frameon=False, fontsize=7, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    axes[2].set(xlabel="seconds from the fault", xlim=(edges[0], edges[-1]))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def whole_bins(first: float, last: float) -> np.ndarray[Any, Any]:
    """Edges of bins that are full from end to end, one edge at the fault."""
    return np.arange(np.ceil(first / BIN_SECONDS), np.floor(last / BIN_SECONDS) + 1) * BIN_SECONDS


def _draw_rates(axes: Axes, seen: Seen, edges: np.ndarray[Any, Any]) -> None:
    for flow, answers in seen.flows.items():
        good = answers.ended[answers.ok] - seen.happened.at
        rates = np.histogram(good, edges)[0] / BIN_SECONDS
        axes.stairs(rates, edges, color=COLOURS[flow], label=flow, linewidth=1.2)
    axes.set(ylabel="good answers/s", ylim=(0, None))


def _draw_errors(axes: Axes, answers: Answers, at: float, edges: np.ndarray[Any, Any]) -> None:
    wrong = answers.where(~answers.ok)
    bottom = np.zeros(len(edges) - 1)
    for status in sorted(set(wrong.status.tolist())):
        its = wrong.due[wrong.status == status] - at
        rates = np.histogram(its, edges)[0] / BIN_SECONDS
        label = str(status) if status else "no answer"
        axes.bar(
            edges[:-1], rates, BIN_SECONDS, bottom, align="edge", color=KINDS.get(status, OTHER), label=label
        )
        bottom += rates
    if len(wrong):
        axes.legend(frameon=False, fontsize=7)
    axes.set(ylabel="failed/s", ylim=(0, max(1.0, float(bottom.max()) * 1.1)))


def _draw_times(axes: Axes, seen: Seen, edges: np.ndarray[Any, Any]) -> None:
    at = seen.happened.at
    for flow, answers in seen.flows.items():
        axes.plot(answers.due - at, answers.seconds * 1000, ".", markersize=2, alpha=0.5, color=COLOURS[flow])
    wrong = seen.all.where(~seen.all.ok)
    axes.plot(wrong.due - at, wrong.seconds * 1000, "x", markersize=4, color=KINDS[500], label="failed")
    values = np.array(p99_by_time(seen.all, at, edges)) * 1000
    label = f"p99 of {BIN_SECONDS:g} s"
    axes.stairs(values, edges, baseline=None, color="black", linewidth=1.2, label=label)
    axes.set(yscale="log", ylabel="ms")
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.15))


def _mark(axes: Axes, seen: Seen) -> None:
    happened = seen.happened
    axes.axvline(0, color="#c0392b", linewidth=1)
    if happened.over > happened.at:
        axes.axvline(happened.over - happened.at, color="#37a06a", linewidth=1)
    if happened.returned:
        axes.axvline(happened.returned - happened.at, color="#37a06a", linewidth=1, linestyle=":")


def p99_by_time(answers: Answers, at: float, edges: np.ndarray[Any, Any]) -> list[float]:
    """Of what was due between one edge and the next, seconds from `at`; NaN where nothing was."""
    parts = [answers.between(at + begin, at + end) for begin, end in itertools.pairwise(edges)]
    return [quantile(part.seconds, 0.99) if len(part) else np.nan for part in parts]


def _draw_overview(path: Path, seen: ByFault) -> None:
    """A row for each fault, all its runs together."""
    edges = np.arange(OVERVIEW[0], OVERVIEW[1] + BIN_SECONDS / 2, BIN_SECONDS)
    failing = np.array([_over_time(runs, edges, _share) for runs in seen.values()])
    p99 = np.array([_over_time(runs, edges, _p99) for runs in seen.values()])
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.32 * len(seen) + 1.4), sharey=True, layout="constrained")
    left = axes[0].pcolormesh(
        edges, range(len(seen) + 1), failing * 100, cmap="Reds", norm=PowerNorm(0.5, 0, 100)
    )
    right = axes[1].pcolormesh(
        edges, range(len(seen) + 1), p99 * 1000, cmap="viridis", norm=LogNorm(10, 20_000)
    )
    for one in axes:
        one.axvline(0, color="#c0392b", linewidth=1)
        one.set(xlabel="due, seconds from the fault")
    axes[0].set_yticks(np.arange(len(seen)) + 0.5, [fault.title for fault in seen], fontsize=8)
    axes[0].invert_yaxis()
    figure.colorbar(left, ax=axes[0], label="failed, %")
    figure.colorbar(right, ax=axes[1], label="p99, ms")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _over_time(runs: Sequence[Seen], edges: np.ndarray[Any, Any], of: Any) -> list[float]:
    found = []
    for begin, end in itertools.pairwise(edges):
        parts = [one.all.between(one.happened.at + begin, one.happened.at + end) for one in runs]
        found.append(of([part for part in parts if len(part)]))
    return found


def _share(parts: Sequence[Answers]) -> float:
    total = sum(len(part) for part in parts)
    return sum(int(np.sum(~part.ok)) for part in parts) / total if total else np.nan


def _p99(parts: Sequence[Answers]) -> float:
    return quantile(np.concatenate([part.seconds for part in parts]), 0.99) if parts else np.nan
