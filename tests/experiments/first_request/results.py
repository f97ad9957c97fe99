"""What the restarts say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.quantiles import Ratio, block_quantile, quantile, quantile_interval, ratio_of_quantiles
from tests.experiments.common.answers import Floats
from tests.experiments.common.driving import load
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import Figure, Table, Verdict
from tests.experiments.first_request.trials import ARMS, STEADY_WARM_SECONDS, WAYS, Arm, Cause, Way

MOST = 2.0
"""The first request may take so many times the steady p99."""
LAB_FIRST, LAB_LATER = 0.088, 0.007
PLACES: Mapping[str, int] = {"first": 0, "second": 1, "tenth": 9}


Groups = Mapping[int, Floats]
"""By number of the group, seconds: restarts × requests."""


@dataclass(frozen=True)
class Found:
    """What was seen of each arm; by way, the seconds of steady requests: of each group those of the client that times first ones, and k6's."""

    arms: Mapping[Arm, Groups]
    steady: Mapping[Way, Sequence[Floats]]
    steady_by_k6: Mapping[Way, Floats]

    def trials(self, arm: Arm) -> Floats:
        return np.concatenate(list(self.arms[arm].values()))

    def median(self, arm: Arm, place: str) -> Ratio:
        return quantile_interval(self.trials(arm)[:, PLACES[place]], 0.5)

    def limit(self, way: Way) -> Ratio:
        """What a first request may take that way, as far as the steady p99 is known: by the same client, over groups."""
        return block_quantile(self.steady[way], 0.99).times(MOST)

    def gain(self, arm: Arm) -> Ratio | None:
        """The median first request without warm-up by that with it, over pairs of groups; None where only one was measured."""
        cold = replace(arm, warm_up=False)
        if not arm.warm_up or cold not in self.arms or arm not in self.arms:
            return None
        pairs = sorted(self.arms[arm].keys() & self.arms[cold].keys())
        if not pairs:
            return None
        first = [[self.arms[one][number][:, 0] for number in pairs] for one in (cold, arm)]
        return ratio_of_quantiles(first[0], first[1], 0.5)


def read(folder: Folder) -> Found:
    arms: dict[Arm, dict[int, Floats]] = {}
    by_k6: dict[Way, list[Floats]] = {way: [] for way in WAYS}
    steady: dict[Way, dict[int, list[float]]] = {way: {} for way in WAYS}
    by_name = {arm.name: arm for arm in ARMS}
    for name in folder.done_runs():
        kind, _, number = name.rpartition("-")
        if kind not in by_name:
            driven = load(folder.run(name))
            for way in WAYS:
                by_k6[way] += [one.seconds for one in driven.of(way, STEADY_WARM_SECONDS)]
            continue
        told = folder.run(name).read("trials.json")
        arms.setdefault(by_name[kind], {})[int(number)] = np.array(told["trials"])
        steady[by_name[kind].way].setdefault(int(number), []).extend(told["steady"])
    return Found(
        arms={arm: arms[arm] for arm in ARMS if arm in arms},
        steady={
            way: [np.array(group) for group in groups.values()] for way, groups in steady.items() if groups
        },
        steady_by_k6={way: np.concatenate(found) for way, found in by_k6.items() if found},
    )


LOST: Mapping[Cause, str] = {
    "replica": "replica killed",
    "connections": "connections lost",
    "at-once": "connections lost, at once",
    "gateway": "gateway killed",
    "edge": "edge killed",
}


def title(arm: Arm) -> str:
    way = "direct" if arm.way == "direct" else "through the edge"
    return f"{LOST[arm.cause]}, {way}" + ("" if arm.warm_up else ", no warm-up")


def verdicts(found: Found) -> list[Verdict]:
    warm = [arm for arm in found.arms if arm.warm_up]
    told = [_within(found, arm) for arm in warm]
    told += [_warm_up_helps(arm, gain) for arm in warm if (gain := found.gain(arm))]
    if warm:
        first = max((found.median(arm, "first") for arm in warm), key=lambda one: one.high)
        goal = f"the median first request below the lab's {LAB_FIRST * 1000:g} ms, whatever was lost"
        told.append(Verdict(goal, f"at most {_ms(first)} ms", first.high < LAB_FIRST))
    return told


def _within(found: Found, arm: Arm) -> Verdict:
    """Judged by the median of all restarts, and by both intervals; how many of them were within is told beside it."""
    median, limit, first = found.median(arm, "first"), found.limit(arm.way), found.trials(arm)[:, 0]
    words = f"{_ms(median)} ms against {_ms(limit)} ms; {np.mean(first <= limit.value):.0%} of {len(first)} restarts within"
    goal = f"{title(arm)}: the median first request ≤ {MOST:g} × the steady p99"
    met = True if median.high <= limit.low else False if median.low > limit.high else None
    return Verdict(goal, words, met)


def _warm_up_helps(arm: Arm, gain: Ratio) -> Verdict:
    met = None if gain.low <= 1 <= gain.high else gain.value > 1
    return Verdict(
        f"{title(arm)}: the first request is faster with warm-up", f"{gain.said(1)} times as fast", met
    )


def _ms(ratio: Ratio) -> str:
    return ratio.times(1000).said(1)


def figures(found: Found) -> list[Figure]:
    return [_figure(found, arm, place) for arm in found.arms for place in PLACES]


def _figure(found: Found, arm: Arm, place: str) -> Figure:
    median = found.median(arm, place)
    value, low, high = (seconds * 1000 for seconds in (median.value, median.low, median.high))
    return Figure(f"{title(arm)}: {place} request, median", "ms", value, low, high)


def tables(found: Found) -> list[Table]:
    head = [
        "lost", "first, median", "second, median", "tenth, median", "first, p90", "first, longest",
        "without warm-up / with", "restarts",
    ]  # fmt: skip
    lab = ["the lab", f"{LAB_FIRST * 1000:g}", "", f"{LAB_LATER * 1000:g} (later)", "", "", "", ""]
    steady = [
        [way, client, *(f"{quantile(seconds, share) * 1000:.2f}" for share in (0.5, 0.99)), f"{len(seconds):,}"]
        for client, by_way in (
            ("the same, one after the other", {way: np.concatenate(groups) for way, groups in found.steady.items()}),
            ("k6, 100/s", found.steady_by_k6),
        )
        for way, seconds in by_way.items()
    ]  # fmt: skip
    return [
        Table("Requests after a loss, ms with 95 %", head, [*(_row(found, arm) for arm in found.arms), lab]),
        Table("With nothing lost, ms", ["way", "client", "p50", "p99", "requests"], steady),
    ]


def _row(found: Found, arm: Arm) -> list[str]:
    first, gain = found.trials(arm)[:, 0], found.gain(arm)
    return [
        title(arm),
        *(_ms(found.median(arm, place)) for place in PLACES),
        f"{quantile(first, 0.9) * 1000:.1f}",
        f"{first.max() * 1000:.1f}",
        gain.said(1) if gain else "",
        str(len(first)),
    ]


def spread(trials: Floats, place: str) -> Sequence[float]:
    """p5, median, p95."""
    return [quantile(trials[:, PLACES[place]], share) for share in (0.05, 0.5, 0.95)]
