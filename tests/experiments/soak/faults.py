"""Faults in turn, every few minutes: a replica is killed, PostgreSQL restarted, the gateway killed, the edge killed."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from localfaas.settings import Settings
from localfaas.status import Row, rows
from localfaas.supervisor import Supervisor, SupervisorError
from tests.experiments.common.platforms import is_back

KINDS = ("replica", "postgres", "gateway", "edge")
VICTIMS = ("products", "checkout", "sales", "cart", "inventory", "orders", "payments", "reports")
"""Whose replica it is, in turn."""
BACK_SECONDS = 60.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Fault:
    """What was done when (Unix time), and when the program was there again; None: not within BACK_SECONDS."""

    kind: str
    program: str
    at: float
    back: float | None


def moments(seconds: float, every: float, first: float) -> list[float]:
    """When faults happen, in seconds from the beginning; the last `every` of the run stays quiet."""
    return [first + every * place for place in range(1000) if first + every * place <= seconds - every]


class Faults(threading.Thread):
    """Brings them about, beside the load; `done` grows as they are over."""

    def __init__(self, settings: Settings, at: Sequence[float]) -> None:
        super().__init__(daemon=True)
        self.done: list[Fault] = []
        self._settings = settings
        self._moments = at
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        self.join(BACK_SECONDS)

    def run(self) -> None:
        began, victims = time.monotonic(), itertools.cycle(VICTIMS)
        for moment, kind in zip(self._moments, itertools.cycle(KINDS), strict=False):
            if self._stopped.wait(max(0.0, began + moment - time.monotonic())):
                return
            self.done.append(self._bring_about(kind, victims))

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.done]

    def _bring_about(self, kind: str, victims: Iterator[str]) -> Fault:
        victim = _victim(rows(self._settings), kind, victims)
        at = time.time()
        if kind == "postgres":
            supervisor = Supervisor(self._settings)
            supervisor.stop(victim.program)
            supervisor.wait_stopped([victim.program], BACK_SECONDS)
            supervisor.start(victim.program)
        else:
            os.kill(victim.pid, signal.SIGKILL)
        return Fault(kind, victim.program, at, self._back(victim))

    def _back(self, victim: Row) -> float | None:
        deadline = time.monotonic() + BACK_SECONDS
        while time.monotonic() < deadline:
            try:
                if is_back(rows(self._settings), victim):
                    return time.time()
            except SupervisorError:
                pass
            time.sleep(POLL_SECONDS)
        return None


def _victim(found: Sequence[Row], kind: str, victims: Iterator[str]) -> Row:
    if kind != "replica":
        return next(row for row in found if row.program == kind)
    function = next(victims)
    return next(row for row in found if row.program.rpartition("-")[0] == function and row.traffic == "yes")
