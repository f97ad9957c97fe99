"""Time and processor time of some arms, interleaved: how they are kept, shown and written by what asks what a thing costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.quantiles import Block, Ratio, pooled, quantile, ratio_of_quantiles

_CPU_CLOCK_OF_PROCESS = 2


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time of processes and all their threads, by their clocks: clock_getcpuclockid(3), to the nanosecond."""
    return sum(time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS) for pid in pids)


@dataclass(frozen=True)
class Comparison:
    """An arm that is held against another, and how many times as much it may cost, if that was said."""

    arm: str
    reference: str
    goal: float | None = None


@dataclass(frozen=True)
class Measured:
    """Blocks of seconds, and of processor seconds a request, of each arm; and what is to be held against what."""

    what: str
    seconds: Mapping[str, Sequence[Block]]
    cpu: Mapping[str, Sequence[Block]]
    comparisons: Sequence[Comparison]

    def ratios(self) -> Iterator[tuple[str, Ratio, float | None]]:
        """Name, ratio of the p50 and goal of each comparison whose arms were both measured."""
        for unit, blocks in (("p50", self.seconds), ("CPU", self.cpu)):
            for one in self.comparisons:
                if {one.arm, one.reference} <= blocks.keys():
                    ratio = ratio_of_quantiles(blocks[one.arm], blocks[one.reference], 0.5)
                    yield f"{self.what}, {unit}: {one.arm} / {one.reference}", ratio, one.goal

    def quantiles(self) -> Iterator[tuple[str, dict[str, float]]]:
        """By arm, milliseconds and how many samples there are."""
        for name, blocks in self.seconds.items():
            samples = pooled(blocks)
            yield (
                f"{self.what} {name}",
                {
                    "p50": quantile(samples, 0.5) * 1000,
                    "p99": quantile(samples, 0.99) * 1000,
                    "cpu": quantile(pooled(self.cpu[name]), 0.5) * 1000,
                    "samples": len(samples),
                },
            )


def show(console: Console, measured: Sequence[Measured]) -> None:
    times = Table("arm", box=None, header_style="bold", pad_edge=False)
    for title in ("p50 ms", "p99 ms", "CPU ms a request", "samples"):
        times.add_column(title, justify="right")
    for name, found in (row for one in measured for row in one.quantiles()):
        times.add_row(name, *(f"{found[key]:.3f}" for key in ("p50", "p99", "cpu")), f"{found['samples']:,}")
    console.print(times)
    ratios = Table("ratio", "value (95 %)", "goal", "verdict", box=None, header_style="bold", pad_edge=False)
    for name, ratio, goal in (row for one in measured for row in one.ratios()):
        limit, verdict = ("", "") if goal is None else (f"≤ {goal:g}", ratio.holds(goal))
        ratios.add_row(name, ratio.said(3), limit, verdict)
    console.print(ratios)


def as_result(measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        "milliseconds": dict(row for one in measured for row in one.quantiles()),
        "ratios": [
            {"name": name, "value": ratio.value, "low": ratio.low, "high": ratio.high, "goal": goal}
            for one in measured
            for name, ratio, goal in one.ratios()
        ],
    }
