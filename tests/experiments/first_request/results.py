"""What the restarts say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quantiles import Ratio, quantile, quantile_interval
from tests.experiments.common.answers import Floats
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import Figure, Table, Verdict
from tests.experiments.first_request.trials import ARMS, Arm

MOST = 2.0
"""The first request may take so many times the steady p99."""
LAB_FIRST, LAB_LATER = 0.088, 0.007
PLACES: Mapping[str, int] = {"first": 0, "second": 1, "tenth": 9}


@dataclass(frozen=True)
class Found:
    """By arm, the seconds of each restart's requests (restarts × requests); by way, the seconds of steady ones."""

    trials: Mapping[Arm, Floats]
    steady: Mapping[str, Floats]

    def median(self, arm: Arm, place: str) -> Ratio:
        return quantile_interval(self.trials[arm][:, PLACES[place]], 0.5)

    def limit(self, way: str) -> float:
        """What a first request may take that way."""
        return MOST * quantile(self.steady[way], 0.99)


def read(folder: Folder) -> Found:
    documents = [folder.run(name).read("trials.json") for name in folder.done_runs()]
    by_name = {arm.name: arm for arm in ARMS}
    arms = [arm for arm in ARMS if any(one["arm"] == arm.name for one in documents)]
    return Found(
        {arm: np.array([trial for one in documents if one["arm"] == arm.name for trial in one["trials"]]) for arm in arms},
        {
            way: np.concatenate([one["steady"] for one in documents if by_name[one["arm"]].way == way])
            for way in dict.fromkeys(arm.way for arm in arms)
        },
    )  # fmt: skip


def title(arm: Arm) -> str:
    lost = {
        "replica": "replica killed",
        "gateway": "gateway killed",
        "edge": "edge killed",
        "connections": "database connections lost",
    }
    way = "direct" if arm.way == "direct" else "through the edge"
    return f"{lost[arm.cause]}, {way}" + ("" if arm.warm_up else ", no warm-up")


def verdicts(found: Found) -> list[Verdict]:
    told = [_within(found, arm) for arm in found.trials if arm.warm_up]
    replica = [arm for arm in found.trials if arm.cause == "replica"]
    for way in ("direct", "edge"):
        pair = {arm.warm_up: arm for arm in replica if arm.way == way}
        if len(pair) == 2:
            told.append(_warm_up_helps(found, pair[True], pair[False]))
    if found.trials:
        first = max(found.median(arm, "first").high for arm in found.trials if arm.warm_up)
        goal = f"the median first request below the lab's {LAB_FIRST * 1000:g} ms, after whatever was lost"
        told.append(Verdict(goal, f"at most {first * 1000:.1f} ms", first < LAB_FIRST))
    return told


def _within(found: Found, arm: Arm) -> Verdict:
    """Judged by the median of all restarts; how many of them were within is told beside it."""
    median, limit = found.median(arm, "first"), found.limit(arm.way)
    share = float(np.mean(found.trials[arm][:, 0] <= limit))
    words = f"{_ms(median)} ms against {limit * 1000:.1f} ms; {share:.0%} of {len(found.trials[arm])} restarts within"
    goal = f"{title(arm)}: the median first request ≤ {MOST:g} × the steady p99"
    return Verdict(goal, words, None if median.low <= limit < median.high else median.value <= limit)


def _warm_up_helps(found: Found, warm: Arm, cold: Arm) -> Verdict:
    a, b = found.median(warm, "first"), found.median(cold, "first")
    goal = (
        f"warm-up makes the first request faster, {'direct' if warm.way == 'direct' else 'through the edge'}"
    )
    told = None if a.low <= b.high and b.low <= a.high else a.value < b.value
    return Verdict(goal, f"{_ms(a)} ms with it, {_ms(b)} ms without", told)


def _ms(ratio: Ratio) -> str:
    return Ratio(*(value * 1000 for value in (ratio.value, ratio.low, ratio.high))).said(1)


def figures(found: Found) -> list[Figure]:
    return [_figure(found, arm, place) for arm in found.trials for place in ("first", "second")]


def _figure(found: Found, arm: Arm, place: str) -> Figure:
    median = found.median(arm, place)
    value, low, high = (seconds * 1000 for seconds in (median.value, median.low, median.high))
    return Figure(f"{title(arm)}: {place} request, median", "ms", value, low, high)


def tables(found: Found) -> list[Table]:
    rows = [
        [
            title(arm),
            *(_ms(found.median(arm, place)) for place in PLACES),
            f"{quantile(trials[:, 0], 0.9) * 1000:.1f}",
            f"{trials[:, 0].max() * 1000:.1f}",
            str(len(trials)),
        ]
        for arm, trials in found.trials.items()
    ]
    lab = ["the lab", f"{LAB_FIRST * 1000:g}", "", f"{LAB_LATER * 1000:g} (later)", "", "", ""]
    head = [
        "lost",
        "first, median",
        "second, median",
        "tenth, median",
        "first, p90",
        "first, longest",
        "restarts",
    ]
    steady = [
        [way, *(f"{quantile(seconds, share) * 1000:.2f}" for share in (0.5, 0.99)), f"{len(seconds):,}"]
        for way, seconds in found.steady.items()
    ]
    return [
        Table("Requests after a loss, ms with 95 %", head, [*rows, lab]),
        Table("With nothing lost, ms", ["way", "p50", "p99", "requests"], steady),
    ]


def spread(trials: Floats, place: str) -> Sequence[float]:
    """p5, median, p95."""
    return [quantile(trials[:, PLACES[place]], share) for share in (0.05, 0.5, 0.95)]
