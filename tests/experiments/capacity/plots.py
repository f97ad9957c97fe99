"""Throughput, knee and the fitted law over replicas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tests.experiments.capacity.cells import Cell
from tests.experiments.capacity.law import Fit

COLUMNS = 3


def draw_cells(path: Path, cells: Sequence[Cell], fits: Mapping[str, Fit]) -> tuple[str, Path]:
    """One panel a subject; the picture's caption and file."""
    names = list(dict.fromkeys(one.subject for one in cells))
    columns = min(COLUMNS, len(names))
    lines = math.ceil(len(names) / columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(4 * columns, 3.2 * lines), layout="constrained", squeeze=False
    )
    for axes, name in zip(grid.flat, names, strict=False):
        _draw(axes, name, [one for one in cells if one.subject == name], fits.get(name))
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    grid[0][0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    caption = (
        "Requests a second over replicas: throughput of each closed block, the fitted law with the band of its resamples, "
        "and the knee of each visit, up to the lowest rate that was not borne."
    )
    return caption, path


def _draw(axes: Axes, name: str, cells: Sequence[Cell], fit: Fit | None) -> None:
    if fit:
        at = np.linspace(cells[0].replicas, cells[-1].replicas, 41)
        axes.plot(at, fit.at(at), color="#3274d9", linewidth=1.2, label="fitted law")
        if fit.band:
            low, high = np.array(list(fit.band.values())).T
            axes.fill_between(list(fit.band), low, high, color="#3274d9", alpha=0.2, linewidth=0)
    visits = [(one.replicas, visit) for one in cells for visit in one.visits]
    blocks = [(replicas, value) for replicas, visit in visits for value in visit.throughputs]
    axes.plot(*zip(*blocks, strict=True), ".", color="#3274d9", markersize=5, label="closed, a block")
    knees = [visit.knee for _, visit in visits]
    reach = [0.0 if math.isinf(knee.high) else knee.high - knee.value for knee in knees]
    axes.errorbar(
        [replicas for replicas, _ in visits], [knee.value for knee in knees], yerr=[[0.0] * len(knees), reach],
        fmt="s", color="#c0392b", markersize=4, capsize=3, linewidth=1, label="knee, open",
    )  # fmt: skip
    axes.set(title=name, xlabel="replicas", ylabel="requests/s", ylim=(0, None), xticks=range(1, 6))
    axes.spines[["top", "right"]].set_visible(False)
