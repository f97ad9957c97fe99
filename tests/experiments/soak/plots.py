"""One time axis: rate, wrong answers, p99, memory, descriptors and connections, with the faults marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from tests.experiments.soak.results import is_the_shops
from tests.experiments.soak.seen import Seen
from tests.experiments.soak.watching import Held

COLOURS = {"replica": "#e67e22", "postgres": "#8e44ad", "gateway": "#16a085", "edge": "#c0392b"}


def draw_soak(path: Path, seen: Seen) -> tuple[str, Path]:
    figure, grid = plt.subplots(6, 1, figsize=(10, 12), sharex=True, layout="constrained")
    minutes = [one.at / 60 for one in seen.windows]
    grid[0].plot(minutes, [one.rate for one in seen.windows], color="#3274d9", drawstyle="steps-mid")
    grid[1].plot(minutes, [one.wrong for one in seen.windows], color="#c0392b", drawstyle="steps-mid")
    grid[2].plot(minutes, [one.p99 * 1000 for one in seen.windows], color="#3274d9", linewidth=0.8)
    quiet = [one for one in seen.windows if one.quiet]
    grid[2].plot(
        [one.at / 60 for one in quiet],
        [one.p99 * 1000 for one in quiet],
        ".",
        color="#3274d9",
        label="away from faults",
    )
    grid[2].set_yscale("log")
    grid[2].yaxis.set_major_formatter("{x:g}")
    grid[2].yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    grid[2].yaxis.set_minor_formatter("{x:g}")
    grid[2].legend(frameon=False, fontsize=8)
    _by_group(grid[3], seen, lambda one: one.own_bytes / 1e6)
    _by_group(grid[4], seen, lambda one: one.descriptors)
    _by_group(grid[5], seen, lambda one: one.connections)
    labels = (
        "requests/s",
        "wrong answers/s",
        "p99 of all, ms",
        "memory of its own, MB",
        "descriptors",
        "TCP connections",
    )
    for axes, label in zip(grid, labels, strict=True):
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        if axes is not grid[2]:
            axes.set_ylim(0, None)
        for fault in seen.faults:
            axes.axvline(
                (fault.at - seen.began) / 60, color=COLOURS[fault.kind], linewidth=0.8, linestyle=":"
            )
    for fault in seen.faults:
        grid[0].annotate(
            fault.program, ((fault.at - seen.began) / 60, 1.02), xycoords=("data", "axes fraction"), fontsize=7,
            rotation=30, color=COLOURS[fault.kind],
        )  # fmt: skip
    grid[3].legend(frameon=False, fontsize=8, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.25))
    grid[5].set_xlabel("minutes")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return "The whole run on one time axis; dotted lines are faults.", path


def _by_group(axes: Axes, seen: Seen, value: Callable[[Held], float]) -> None:
    """The replicas together, what else serves each by itself, and what watches together."""
    sums: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for one in seen.held:
        sums[_group(one.program)][one.at] += value(one)
    for group in ("replicas", "postgres", "gateway", "edge", "what watches"):
        at: Sequence[float] = list(sums[group])
        axes.plot((np.array(at) - seen.began) / 60, list(sums[group].values()), linewidth=1, label=group)


def _group(program: str) -> str:
    if not is_the_shops(program):
        return "what watches"
    return "replicas" if program.rpartition("-")[2].isdigit() else program
