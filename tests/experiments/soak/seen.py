"""What was written down of a soak: the answers by time, what went wrong where, what grew, and the books."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.quantiles import quantile
from tests.experiments.common.answers import Answers, joined
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.driving import Kept, load
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import IN_TENTHS, Limits, late, left_out, objections
from tests.experiments.soak import watching
from tests.experiments.soak.drift import Drift, of_programs, share, slope_of
from tests.experiments.soak.faults import Fault
from tests.experiments.soak.reckoning import PASSING, Document, Ledgers, differences
from tests.experiments.soak.watching import Held

WITH_FAULTS = replace(IN_TENTHS, wrong_answers=None, dropped=None)
BEFORE_SECONDS = 5.0
"""What was due so long before a fault may have met it: as long as a request has."""
AFTER_SECONDS = 10.0
"""After the program was there again; health checks and pools take a while to believe it."""
P99_MOST = 0.25
"""What the p99 of an action may grow in an hour, as a share of itself."""
ACKNOWLEDGED = {"sales": "till_sale", "orders": "checkout"}
Parts = Sequence[Mapping[str, Answers]]
"""By window of the run, the answers of each action that has some in it."""


@dataclass(frozen=True)
class Window:
    """Some seconds of the run: its middle (seconds from the beginning), requests and wrong answers a second, p99 in seconds."""

    at: float
    rate: float
    wrong: float
    p99: float
    p99_of: Mapping[str, float]
    """By action; of fewer than a hundred requests it is the slowest."""
    near_fault: bool
    disturbed: bool
    """The hypervisor had a part in it."""

    @property
    def quiet(self) -> bool:
        return not (self.near_fault or self.disturbed)


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
    """Why what it says of the answers may not be believed."""

    @property
    def late_away(self) -> list[str]:
        """Why its p99 may not be believed: it is told to milliseconds, and away from faults none keeps k6 from sending."""
        return late([one.where(~near(one.due, self.faults)) for one in self.arms.values()], Limits())

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
    parts = cut(arms, chosen["window_seconds"])
    disturbed, rejected = judged(parts, driven.ticks)
    windows = windows_of(parts, faults, chosen["window_seconds"], disturbed)
    settle = chosen["settle_seconds"]
    allowed = share(len({one.program for one in held}), len(arms))
    drifts = [
        *of_programs(held, settle, allowed),
        *of_answers([one for one in windows if one.at >= settle], list(arms), allowed),
    ]
    by_kind = {kind: [one for one in its if one.arm == arm] for kind, arm in ACKNOWLEDGED.items()}
    # Of what has no final answer, nobody knows; it may be there or not, but only so often.
    unanswered = {
        kind: len(arms[arm]) - sum(one.status not in PASSING for one in by_kind[kind])
        for kind, arm in ACKNOWLEDGED.items()
    }
    return Seen(
        float(joined(list(arms.values())).due.min()), arms, its, faults, held, windows, drifts, books,
        bool(folder.read("invariants.json")["holds"]),
        differences(by_kind["sales"], by_kind["orders"], unanswered, books),
        folder.read("blocks.json")["dropped"], rejected,
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


def cut(arms: Mapping[str, Answers], seconds: float) -> Parts:
    """By window of `seconds`, without what is left of the last."""
    began = min(float(one.due.min()) for one in arms.values())
    lasts = max(float(one.due.max()) for one in arms.values()) - began
    windows = []
    for place in range(int(lasts // seconds)):
        start = began + place * seconds
        within = {arm: one.between(start, start + seconds) for arm, one in arms.items()}
        windows.append({arm: one for arm, one in within.items() if len(one)})
    return windows


def judged(parts: Parts, ticks: Ticks) -> tuple[Container[int], list[str]]:
    """The windows that the hypervisor had a part in, and what speaks against the whole run, where windows are its rounds."""
    blocks = {f"{place} {arm}": one for place, window in enumerate(parts) for arm, one in window.items()}
    rounds = {name: int(name.partition(" ")[0]) for name in blocks}
    disturbed = left_out(blocks, rounds, ticks, WITH_FAULTS)
    return disturbed, objections(blocks, 0, ticks, WITH_FAULTS, open_blocks=blocks, rounds=rounds)


def windows_of(
    parts: Parts, faults: Sequence[Fault], seconds: float, disturbed: Container[int] = ()
) -> list[Window]:
    found = []
    for place, window in enumerate(parts):
        if window:
            within = joined(list(window.values()))
            found.append(
                Window(
                    (place + 0.5) * seconds,
                    len(within) / seconds,
                    float(np.sum(~within.ok)) / seconds,
                    quantile(within.seconds, 0.99),
                    {arm: quantile(one.seconds, 0.99) for arm, one in window.items()},
                    bool(near(within.due, faults).any()),
                    place in disturbed,
                )
            )
    return found


def of_answers(windows: Sequence[Window], actions: Sequence[str], allowed: float) -> list[Drift]:
    """Of each action's p99: of all together, that of the slowest action would hide the others."""
    return [_drift_of_p99([one for one in windows if one.quiet], action, allowed) for action in actions]


def _drift_of_p99(quiet: Sequence[Window], action: str, allowed: float) -> Drift:
    its = [one for one in quiet if action in one.p99_of]
    values = [one.p99_of[action] for one in its]
    holds = float(np.median(values)) if values else math.nan
    slope = slope_of([one.at for one in its], values, allowed)
    return Drift(action, "p99", holds, slope, P99_MOST * holds)
