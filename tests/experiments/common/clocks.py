"""Clocks beside a load: the processor time of groups of processes, and whether the machine was ours."""

from __future__ import annotations

import contextlib
import csv
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.cost import cpu_seconds
from tests.experiments.common.folder import Folder
from tests.experiments.common.quiet import Processors

PERIOD_SECONDS = 0.1
OWN, CLIENT = "own processes", "k6"
"""Groups that are there where all that works for an experiment is watched: what it started itself, and the load generator."""


@dataclass(frozen=True)
class Ticks:
    """Looks at the clocks: when (Unix time), the processor seconds of each group so far, steal and busy shares since the last."""

    at: NDArray[np.float64]
    groups: Mapping[str, NDArray[np.float64]]
    steal: NDArray[np.float64]
    busy: NDArray[np.float64]

    def spent(self, group: str, start: float, end: float) -> float:
        """Processor seconds of a group between two moments, between looks by straight lines."""
        before, after = np.interp([start, end], self.at, self.groups[group])
        return float(after - before)

    def stolen(self) -> float:
        """The share of all processor time that the hypervisor took."""
        return float(np.average(self.steal, weights=np.diff(self.at, prepend=self.at[0] - PERIOD_SECONDS)))

    def most_stolen(self) -> float:
        """The same of the worst second."""
        second = np.floor(self.at - self.at[0]).astype(int)
        lengths = np.diff(self.at, prepend=self.at[0] - PERIOD_SECONDS)
        length, stolen = (np.bincount(second, one) for one in (lengths, lengths * self.steal))
        whole = length > 0.5  # what is left of the last second is no second
        return float(np.max(stolen[whole] / length[whole], initial=0.0))

    def of_others(self, processors: int | None = None) -> float:
        """The share of all processor time that was neither stolen nor taken by a group; 0 unless all are watched."""
        if CLIENT not in self.groups or len(self.at) < 2:
            return 0.0
        lengths = np.diff(self.at)
        every = (processors or os.cpu_count() or 1) * float(lengths.sum())
        busy = float(np.dot((self.busy - self.steal)[1:], lengths) / lengths.sum())
        return busy - sum(float(spent[-1] - spent[0]) for spent in self.groups.values()) / every

    def between(self, start: float, end: float) -> Ticks:
        """The looks from `start` to `end`."""
        chosen = (self.at >= start) & (self.at <= end)
        groups = {name: spent[chosen] for name, spent in self.groups.items()}
        return Ticks(self.at[chosen], groups, self.steal[chosen], self.busy[chosen])

    def write(self, folder: Folder) -> None:
        names = list(self.groups)
        rows = np.column_stack([self.at, self.steal, self.busy, *(self.groups[name] for name in names)])
        folder.write_csv("clocks.csv", [["at", "steal", "busy", *names], *rows.tolist()])

    @classmethod
    def read(cls, folder: Folder) -> Ticks:
        with (folder.path / "clocks.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        columns = np.array(rows, dtype=float).reshape(-1, len(head)).T
        return cls(columns[0], dict(zip(head[3:], columns[3:], strict=True)), columns[1], columns[2])


class Clocks:
    """Looks ten times a second while the block runs; `ticks` is complete afterwards. A process that has gone counts with what it took."""

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self._last: dict[int, float] = {}
        self._rows: list[list[float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Clocks:
        self._before = Processors.now()
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(10)
        self._look()

    def follow(self, group: str, pid: int) -> None:
        """Look at a process as well that has just begun."""
        self._groups[group] = [*self._groups[group], pid]

    @property
    def ticks(self) -> Ticks:
        columns = np.array(self._rows).T
        return Ticks(columns[0], dict(zip(self._groups, columns[3:], strict=True)), columns[1], columns[2])

    def _look_on(self) -> None:
        while not self._done.wait(PERIOD_SECONDS):
            self._look()

    def _look(self) -> None:
        now = Processors.now()
        self._rows.append(
            [
                time.time(),
                now.steal_since(self._before),
                now.busy_since(self._before),
                *map(self._clock, self._groups),
            ]
        )
        self._before = now

    def _clock(self, group: str) -> float:
        for pid in self._groups[group]:
            with contextlib.suppress(OSError):
                self._last[pid] = cpu_seconds([pid])
        return sum(self._last.get(pid, 0.0) for pid in self._groups[group])


def family(pid: int | None = None) -> list[int]:
    """A process, or this one, and all that it has started."""
    here = psutil.Process(pid)
    return [here.pid, *(child.pid for child in here.children(recursive=True))]
