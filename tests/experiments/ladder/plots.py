"""The ladder's pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quantiles import quantile
from tests.experiments.ladder.results import (
    FEWEST_BEYOND,
    HOPS,
    LAB_DIRECT,
    LAB_GATEWAY,
    LEVELS,
    QUANTILES,
    USERS,
    Found,
    arm,
    is_known,
)
from tests.experiments.ladder.stage import DIRECT, EDGE, RUNGS

SAME = 1.1
"""Arrivals are random: rates closer than this are those of one plan."""
_COLORS = ("#3274d9", "#37a06a", "#e0a030", "#c0392b", "#7b4fb5")


def draw(directory: Path, found: Found) -> list[tuple[str, Path]]:
    """Caption and file of each picture that can be drawn of what there is."""
    if not found.rungs[arm(EDGE, "steady")]:
        return []
    _rungs(directory / "rungs.png", found)
    _processor_time(directory / "processor-time.png", found)
    drawn = [
        ("Quantiles by rung at the same rate; beside them what the lab measured.", directory / "rungs.png"),
        ("Processor time of one request, by hop.", directory / "processor-time.png"),
    ]
    if found.rungs[arm(EDGE, LEVELS[-1])]:
        _shares(directory / "shares.png", found)
        drawn.append(
            (
                f"p50 and p99 at shares of each rung's own saturation, by {USERS} closed users; a point is there where {FEWEST_BEYOND} requests or more took longer.",
                directory / "shares.png",
            )
        )
    return drawn


def _rungs(path: Path, found: Found) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    places = np.arange(len(RUNGS))
    for color, share in zip(_COLORS, QUANTILES, strict=False):
        taken = [np.concatenate(found.rungs[arm(rung, "steady")]) for rung in RUNGS]
        if not all(is_known(one, share) for one in taken):
            continue
        values = [quantile(one, share) * 1000 for one in taken]
        axes.plot(places, values, "o-", color=color, label=f"p{share * 100:g}")
    axes.plot(
        [RUNGS.index(DIRECT), RUNGS.index(EDGE)],
        [LAB_DIRECT * 1000, LAB_GATEWAY * 1000],
        "k*",
        markersize=10,
        label="the lab, mean",
    )
    axes.set_yscale("log")
    axes.set_xticks(places, RUNGS, rotation=20, ha="right")
    axes.set_ylabel("ms")
    axes.legend(frameon=False, ncols=3)
    _finish(figure, axes, path)


def at_shares(found: Found, rung: str) -> dict[float, str]:
    """By the share of its saturation that a rung was really given, in percent, the level; one of those at about the same rate.

    Where k6 could not send as planned there is none.
    """
    levels: dict[float, str] = {}
    for level in LEVELS[1:]:
        if not found.was_sent(arm(rung, level)):
            continue
        share = 100 * found.rates[arm(rung, level)] / found.saturation[rung]
        if all(share > SAME * lower for lower in levels):
            levels[share] = level
    return levels


def curves(found: Found, share: float) -> dict[str, dict[float, float]]:
    """By rung and share of its saturation in percent, that quantile in ms where it is known."""
    taken = {
        rung: {
            at: np.concatenate(found.rungs[arm(rung, level)]) for at, level in at_shares(found, rung).items()
        }
        for rung in RUNGS
    }
    return {
        rung: {at: quantile(one, share) * 1000 for at, one in its.items() if is_known(one, share)}
        for rung, its in taken.items()
    }


def _shares(path: Path, found: Found) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, share in zip(panels, (0.5, 0.99), strict=True):
        drawn = curves(found, share)
        for rung, color in zip(RUNGS, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(RUNGS))), strict=True):
            axes.plot(
                list(drawn[rung]), list(drawn[rung].values()), "o-", color=color, label=rung, markersize=4
            )
        if not any(drawn.values()):
            axes.text(0.5, 0.5, "not known of so few requests", transform=axes.transAxes, ha="center")
        axes.set(xlabel="% of the rung's saturation", ylabel=f"p{share * 100:g}, ms", yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _processor_time(path: Path, found: Found) -> None:
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    bottom = np.zeros(len(RUNGS))
    for hop, color in zip(HOPS, _COLORS, strict=True):
        values = np.array([found.cpu[arm(rung, "steady")].get(hop, 0.0) * 1e6 for rung in RUNGS])
        axes.bar(range(len(RUNGS)), values, bottom=bottom, color=color, label=hop)
        bottom += values
    axes.set_xticks(range(len(RUNGS)), RUNGS, rotation=20, ha="right")
    axes.set_ylabel("µs of processor time a request")
    axes.legend(frameon=False)
    _finish(figure, axes, path)


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
