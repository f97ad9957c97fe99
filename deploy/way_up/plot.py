"""How long visitors wait, over the load, for each plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from deploy.way_up.measured import Measured
from deploy.way_up.plans import Plan
from deploy.way_up.shop import Shop
from deploy.way_up.simulation import LOOKING_SECONDS, quantile, simulate

mpl.use("Agg")
from matplotlib import pyplot as plt

LOADS = (1, 3, 10, 20, 30, 60, 100, 150, 200, 400, 1000, 1500, 2000)
"""Times the present load."""
VISITS = 1500
SHOWN_SECONDS = 2.0


def draw(file: Path, ways: Sequence[Plan], visits: Shop, known: Measured, *, once: float, seed: int) -> None:
    """Each plan up to the first load that it does not bear."""
    figure, axes = plt.subplots(figsize=(7.5, 4.2))
    for plan in ways:
        loads, waits = [], []
        for load in LOADS:
            run = simulate(plan, visits, known, once * load, visits=VISITS, seed=seed)
            loads.append(load)
            waits.append(min(quantile(run.looking, 0.99), SHOWN_SECONDS) * 1000)
            if not run.borne:
                break
        axes.plot(loads, waits, marker="o", markersize=3, label=plan.name)
    axes.axhline(LOOKING_SECONDS * 1000, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel=f"load, times {once:g} visits/s", ylabel="p99 of looking, ms")
    axes.set_title("Simulated from measured processor times; no measurement", fontsize=9)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
