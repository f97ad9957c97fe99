"""Clocks beside a load: the processor time of groups of processes, and whether the machine was ours."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import cpu_seconds
from tests.experiments.common.folder import Folder
from tests.experiments.common.quiet import Processors

PERIOD_SECONDS = 0.1


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
    """Looks ten times a second while the block runs; `ticks` is complete afterwards. A group whose process has gone stands still."""

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self._last = dict.fromkeys(groups, 0.0)
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
        try:
            self._last[group] = cpu_seconds(self._groups[group])
        except OSError:
            self._groups[group] = []
        return self._last[group]
