"""The picture of the first requests."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from tests.experiments.first_request.results import LAB_FIRST, LAB_LATER, LOST, PLACES, Found, spread, title

_COLORS = ("#c0392b", "#e0a030", "#3274d9")


def draw(path: Path, found: Found) -> Path:
    """Median and nine tenths of each arm's first, second and tenth requests; hollow without warm-up; the goal, and the lab's."""
    arms = sorted(found.arms, key=lambda arm: (list(LOST).index(arm.cause), arm.way, not arm.warm_up))
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(arms) + 1.8), layout="constrained")
    for row, arm in enumerate(arms):
        for number, (place, color) in enumerate(zip(PLACES, _COLORS, strict=True)):
            low, middle, high = np.array(spread(found.trials(arm), place)) * 1000
            axes.errorbar(
                middle, row + 0.2 * (number - 1), xerr=[[middle - low], [high - middle]], fmt="o", color=color,
                mfc=color if arm.warm_up else "white", capsize=2, label=place if row == 0 else None,
            )  # fmt: skip
        limit = found.limit(arm.way).value * 1000
        goal = "2 × the steady p99" if row == 0 else None
        axes.plot([limit, limit], [row - 0.4, row + 0.4], color="#2e8b57", label=goal)
    axes.axvline(LAB_FIRST * 1000, color="k", linestyle="--", linewidth=1, label="the lab, first")
    axes.axvline(LAB_LATER * 1000, color="k", linestyle=":", linewidth=1, label="the lab, later")
    axes.set_yticks(range(len(arms)), [title(arm) for arm in arms])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="ms")
    axes.legend(frameon=False, fontsize=8, ncols=6, loc="lower center", bbox_to_anchor=(0.35, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
