"""An overload on one axis of time: what was sent, done and refused, how long it took, what was in flight and held."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from tests.experiments.common.answers import joined
from tests.experiments.overload.seen import REFUSALS, Seen

BIN_SECONDS = 0.5


def draw_overload(path: Path, seen: Seen) -> tuple[str, Path]:
    every = joined(list(seen.parts.values()))
    edges = np.arange(float(every.due.min()), float(every.due.max()) + BIN_SECONDS, BIN_SECONDS)
    refused, neither = np.isin(every.status, REFUSALS), ~every.ok & ~np.isin(every.status, REFUSALS)
    figure, axes = plt.subplots(3, 1, figsize=(8, 7), sharex=True, layout="constrained")
    for what, label, colour in (
        (every.due, "sent", "#95a5a6"), (every.ended[every.ok], "done", "#37a06a"),
        (every.ended[refused], "refused", "#e0a030"), (every.ended[neither], "neither", "#c0392b"),
    ):  # fmt: skip
        counts = np.histogram(what, edges)[0] / BIN_SECONDS
        axes[0].stairs(counts, edges - seen.began, label=label, color=colour)
    axes[0].axhline(seen.knee, color="black", linewidth=0.8, linestyle=":", label="knee")
    axes[0].set(ylabel="requests/s")
    for chosen, label, colour in (
        (every.ok, "done", "#37a06a"),
        (refused, "refused", "#e0a030"),
        (neither, "neither", "#c0392b"),
    ):
        axes[1].plot(
            every.due[chosen] - seen.began,
            every.took[chosen] * 1000,
            ".",
            markersize=2,
            alpha=0.4,
            label=label,
            color=colour,
        )
    axes[1].set(yscale="log", ylabel="ms")
    at = np.array([one.at for one in seen.held]) - seen.began
    axes[2].plot(at, [one.in_flight for one in seen.held], color="#3274d9", label="in flight")
    axes[2].axhline(seen.limit, color="black", linewidth=0.8, linestyle=":")
    axes[2].set(ylabel="in flight", xlabel="seconds from the overload")
    memory = axes[2].twinx()
    memory.plot(at, [one.own_bytes / 1e6 for one in seen.held], color="#7b4fb5")
    memory.set(ylabel="MB held", ylim=(0, None))
    for one in axes:
        one.axvspan(0, seen.ended - seen.began, color="#e0a030", alpha=0.08, linewidth=0)
        one.legend(frameon=False, fontsize=7, ncols=4, loc="upper left")
    axes[0].set_title(seen.name, fontsize=10, loc="left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return f"{seen.name}: what was sent, done and refused, how long it took, and what piled up", path
