"""The picture of the first requests."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from tests.experiments.first_request.results import LAB_FIRST, LAB_LATER, PLACES, Found, spread, title

_COLORS = ("#c0392b", "#e0a030", "#3274d9")


def draw(path: Path, found: Found) -> Path:
    """Median and nine tenths of each arm's first, second and tenth requests; lines for what the lab had."""
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(found.trials) + 1.6), layout="constrained")
    places = np.arange(len(found.trials))
    for number, (place, color) in enumerate(zip(PLACES, _COLORS, strict=True)):
        low, middle, high = np.array([spread(trials, place) for trials in found.trials.values()]).T * 1000
        axes.errorbar(
            middle, places + 0.2 * (number - 1), xerr=[middle - low, high - middle], fmt="o", color=color, capsize=2, label=place
        )  # fmt: skip
    axes.axvline(LAB_FIRST * 1000, color="k", linestyle="--", linewidth=1, label="the lab, first")
    axes.axvline(LAB_LATER * 1000, color="k", linestyle=":", linewidth=1, label="the lab, later")
    axes.set_yticks(places, [title(arm) for arm in found.trials])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="ms")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
