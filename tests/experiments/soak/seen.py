"""What was written down of a soak: the answers by time, what went wrong where, what grew, and the books."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quantiles import quantile
from tests.experiments.common.answers import Answers, joined
from tests.experiments.common.driving import Kept, load
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import Limits
from tests.experiments.soak import watching
from tests.experiments.soak.drift import Drift, of_programs, share, slope_of
from tests.experiments.soak.faults import Fault
from tests.experiments.soak.reckoning import PASSING, Document, Ledgers, differences
from tests.experiments.soak.watching import Held

WITH_FAULTS = Limits(late_seconds=None, wrong_answers=None, dropped=None)
BEFORE_SECONDS = 5.0
"""What was due so long before a fault may have met it: as long as a request has."""
AFTER_SECONDS = 10.0
"""After the program was there again; health checks and pools take a while to believe it."""
P99_MOST = 0.25
"""What the p99 may grow in an hour, as a share of itself."""
ACKNOWLEDGED = {"sales": "till_sale", "orders": "checkout"}


@dataclass(frozen=True)
class Window:
    """Some seconds of the run: its middle (seconds from the beginning), requests and wrong answers a second, p99 in seconds."""

    at: float
    rate: float
    wrong: float
    p99: float
    near_fault: bool


@dataclass(frozen=True)
class Seen:
    began: float
    arms: Mapping[str, Answers]
    kept: Sequence[Kept]
    faults: Sequence[Fault]
    held: Sequence[Held]
    windows: Sequence[Window]
    drifts: Sequence[Drift]
    books: Ledgers
    invariants_hold: bool
    differences: Mapping[str, Sequence[str]]
    dropped: int
    rejected: Sequence[str]

    @property
    def all(self) -> Answers:
        return joined(list(self.arms.values()))

    def failed(self, fault: Fault | None) -> int:
        """Wrong answers near a fault, or near none."""
        wrong = self.all.where(~self.all.ok)
        if fault:
            return int(np.sum(near(wrong.due, [fault])))
        return int(np.sum(~near(wrong.due, self.faults)))


def read(folder: Folder, chosen: Mapping[str, Any]) -> Seen:
    driven = load(folder, WITH_FAULTS)
    arms = {arm: joined(driven.of(arm)) for arm in dict.fromkeys(driven.arms.values())}
    faults = [Fault(**one) for one in folder.read("faults.json")]
    its = [Kept(**one) for one in folder.read("kept.json")]
    books = _ledgers(folder.read("books.json"))
    held = watching.read(folder.path / "held.csv")
    everything = joined(list(arms.values()))
    began = float(everything.due.min())
    windows = windows_of(everything, faults, chosen["window_seconds"])
    settle = chosen["settle_seconds"]
    allowed = share(len({one.program for one in held}))
    drifts = [
        *of_programs(held, settle),
        _drift_of_p99([one for one in windows if one.at >= settle], allowed),
    ]
    by_kind = {kind: [one for one in its if one.arm == arm] for kind, arm in ACKNOWLEDGED.items()}
    # Of what has no final answer, nobody knows; it may be there or not, but only so often.
    unanswered = {
        kind: len(arms[arm]) - sum(one.status not in PASSING for one in by_kind[kind])
        for kind, arm in ACKNOWLEDGED.items()
    }
    return Seen(
        began, arms, its, faults, held, windows, drifts, books, bool(folder.read("invariants.json")["holds"]),
        differences(by_kind["sales"], by_kind["orders"], unanswered, books),
        folder.read("blocks.json")["dropped"], driven.rejected,
    )  # fmt: skip


def _ledgers(about: Mapping[str, Any]) -> Ledgers:
    sales, orders = ([Document(**one) for one in about[kind]] for kind in ("sales", "orders"))
    return Ledgers(**{**about, "sales": sales, "orders": orders})


def near(due: np.ndarray[Any, Any], faults: Sequence[Fault]) -> np.ndarray[Any, Any]:
    """Whether what was due then may have met a fault."""
    found = np.zeros(len(due), dtype=bool)
    for fault in faults:
        end = math.inf if fault.back is None else fault.back + AFTER_SECONDS
        found |= (due >= fault.at - BEFORE_SECONDS) & (due <= end)
    return found


def windows_of(answers: Answers, faults: Sequence[Fault], seconds: float) -> list[Window]:
    began = float(answers.due.min())
    found = []
    for place in range(int(np.ptp(answers.due) // seconds)):
        start = began + place * seconds
        within = answers.between(start, start + seconds)
        if len(within):
            found.append(
                Window(
                    (place + 0.5) * seconds,
                    len(within) / seconds,
                    float(np.sum(~within.ok)) / seconds,
                    quantile(within.seconds, 0.99),
                    bool(near(within.due, faults).any()),
                )
            )
    return found


def _drift_of_p99(windows: Sequence[Window], allowed: float) -> Drift:
    quiet = [one for one in windows if not one.near_fault]
    values = [one.p99 for one in quiet]
    holds = float(np.median(values)) if values else math.nan
    slope = slope_of([one.at for one in quiet], values, allowed)
    return Drift("all requests", "p99", holds, slope, P99_MOST * holds)
