"""What the finished runs say together: figures by shape and rule set, each goal's verdict, and how well they were foretold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.experiments.autoscale.agreement import GOAL_SHARE, Agreement, compare
from tests.experiments.autoscale.measures import BOUND_SECONDS, Measures, Rise, measure
from tests.experiments.autoscale.platform import FUNCTIONS
from tests.experiments.autoscale.plots import TITLES
from tests.experiments.autoscale.running import busy, steal, trajectories
from tests.experiments.autoscale.shapes import SHAPES
from tests.experiments.autoscale.simulator import Function
from tests.experiments.autoscale.trajectory import Trajectory
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import said
from tests.experiments.common.quiet import MOST_STEAL
from tests.experiments.common.report import Table, Verdict

GOAL_RATIO = 1 / 3


@dataclass(frozen=True)
class Run:
    """One finished run of both functions."""

    name: str
    shape: str
    by_rules: Mapping[str, Trajectory]
    measures: Mapping[str, Measures]
    agreement: Mapping[str, Agreement]
    steal: float
    busy: float


def read_run(folder: Folder, name: str, function: Function) -> Run:
    run = folder.run(name)
    shape = SHAPES[run.read("done.json")["shape"]]
    by_rules = trajectories(run)
    return Run(
        name,
        shape.name,
        by_rules,
        {rules: measure(one, shape, function) for rules, one in by_rules.items()},
        {rules: compare(one, shape, function) for rules, one in by_rules.items()},
        steal(run),
        busy(run),
    )


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """One for each goal, and whether the simulator may be believed."""
    ours = [run.measures["ours"] for run in runs]
    lost = sum(one.lost_at_steps_down for one in ours)
    agreed = [one for run in runs for one in run.agreement.values()]
    return [
        _faster(runs),
        _at_most("at most 1 turn of the replicas between two changes of the load", [one.most_reversals for one in ours], 1),
        _at_most("never more than one replica above what the load has needed", [one.overshoot for one in ours], 1),
        Verdict(
            "no request lost when replicas are taken away", f"{lost} lost at {sum(one.steps_down for one in ours)} steps down", lost == 0,
        ),
        Verdict(
            f"foretold within one replica for {GOAL_SHARE:.0%} of the time, each step within one notification",
            f"{min(one.share for one in agreed):.0%} of the time at worst; {sum(one.holds for one in agreed)} of {len(agreed)} runs hold",
            all(one.holds for one in agreed),
        ),
    ]  # fmt: skip


def _faster(runs: Sequence[Run]) -> Verdict:
    """The ratio over all jumps of the load that lasted long enough to tell.

    Where CE's function was never served while the load lasted, its time is that at least, and the ratio that at most:
    a jump counts if it was served by CE's rule, or if even so the goal is reached.
    """
    pairs = [
        pair
        for run in runs
        for pair in zip(run.measures["ours"].rises, run.measures["ce"].rises, strict=True)
    ]
    known = [
        (ours, theirs)
        for ours, theirs in pairs
        if theirs.served_after is not None or _ratio(ours, theirs) <= GOAL_RATIO
    ]
    ratios = [_ratio(*pair) for pair in known]
    unserved = sum(ours.served_after is None for ours, _ in pairs)
    goal = "from a jump of the load until it is served in at most 1/3 of the time of CE's rule"
    if not ratios:
        return Verdict(goal, "no jump lasted long enough to tell", None)
    short = (
        f"; {len(pairs) - len(known)} more were over before CE's rule had served them"
        if len(known) < len(pairs)
        else ""
    )
    missed = f"; {unserved} were not served at all" if unserved else ""
    found = f"{said(ratios, 2)} of CE's time over {len(known)} jumps{short}{missed}"
    return Verdict(goal, found, statistics.mean(ratios) <= GOAL_RATIO and not unserved)


def _ratio(ours: Rise, theirs: Rise) -> float:
    return _seconds(ours) / max(1.0, _seconds(theirs))


def _seconds(rise: Rise) -> float:
    return rise.lasted if rise.served_after is None else rise.served_after


def _at_most(goal: str, values: Sequence[int], most: int) -> Verdict:
    return Verdict(goal, f"at most {max(values)} in {len(values)} runs", max(values) <= most)


def tables(runs: Sequence[Run]) -> list[Table]:
    names = dict.fromkeys(run.shape for run in runs)
    return [_table(name, [run for run in runs if run.shape == name]) for name in names]


ROWS: tuple[tuple[str, Any], ...] = (
    (f"seconds until p99 ≤ {BOUND_SECONDS:g} s after each jump", lambda one: [_seconds(rise) for rise in one.rises]),
    ("seconds until there are enough replicas", lambda one: [math.inf if rise.enough_after is None else rise.enough_after for rise in one.rises]),
    (f"seconds with p99 > {BOUND_SECONDS:g} s", lambda one: [one.unserved_seconds]),
    ("seconds with too few replicas", lambda one: [one.short_seconds]),
    ("replica-seconds beyond need", lambda one: [one.surplus_replica_seconds]),
    ("replicas beyond need, most", lambda one: [one.overshoot]),
    ("turns between two changes of the load, most", lambda one: [one.most_reversals]),
    ("refused (429)", lambda one: [one.refused]),
    ("failed", lambda one: [one.failed]),
    ("lost at steps down", lambda one: [one.lost_at_steps_down]),
    ("requests", lambda one: [one.requests]),
)  # fmt: skip


def _table(name: str, runs: Sequence[Run]) -> Table:
    """Means over runs, with their interval (three runs and more) or range."""
    rows = [
        [title, *(said([value for run in runs for value in of(run.measures[rules])]) for rules in FUNCTIONS)]
        for title, of in ROWS
    ]
    rows.append(
        ["foretold within one replica", *(said([100 * run.agreement[rules].share for run in runs]) + " %" for rules in FUNCTIONS)]
    )  # fmt: skip
    return Table(
        f"{SHAPES[name].title}, {len(runs)} runs", ["", *(TITLES[rules] for rules in FUNCTIONS)], rows
    )


def spoilt(runs: Sequence[Run]) -> list[str]:
    """Runs that the hypervisor disturbed."""
    return [run.name for run in runs if run.steal > MOST_STEAL]


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "verdicts": [{**asdict(one), "word": one.word} for one in verdicts(runs)],
        "runs": {
            run.name: {
                "measures": {rules: asdict(one) for rules, one in run.measures.items()},
                "agreement": {
                    rules: {"share": one.share, "furthest_seconds": one.furthest, "holds": one.holds}
                    for rules, one in run.agreement.items()
                },
                "steal": run.steal,
                "busy": run.busy,
            }
            for run in runs
        },
    }
