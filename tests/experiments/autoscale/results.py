"""What the finished runs say together: figures by shape and rule set, each goal's verdict, and how well they were foretold."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.quantiles import Ratio
from tests.experiments.autoscale.agreement import GOAL_SHARE, Agreement, compare
from tests.experiments.autoscale.measures import BOUND_SECONDS, Measures, Rise, measure, needed
from tests.experiments.autoscale.platform import FUNCTIONS
from tests.experiments.autoscale.plots import TITLES
from tests.experiments.autoscale.running import busy, steal, trajectories
from tests.experiments.autoscale.shapes import SHAPES
from tests.experiments.autoscale.simulator import Function
from tests.experiments.autoscale.trajectory import Answers, Trajectory, count_at
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import interval, said
from tests.experiments.common.report import Figure, Table, Verdict, at_most

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
    shape = SHAPES[run.read("about.json")["shape"]]
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
    lost, steps = sum(one.lost_at_steps_down for one in ours), sum(one.steps_down for one in ours)
    agreed = [one for run in runs for one in run.agreement.values()]
    return [
        _faster(runs),
        _at_most("at most 1 turn of the replicas between two changes of the load", [one.most_reversals for one in ours], 1),
        _at_most("never more than one replica above what the load has needed", [one.overshoot for one in ours], 1),
        Verdict(
            "no request lost when replicas are taken away", f"{lost} lost at {steps} steps down", lost == 0 if steps else None,
        ),
        Verdict(
            f"foretold within one replica for {GOAL_SHARE:.0%} of the time, each step within one notification",
            f"{min(one.share for one in agreed):.0%} of the time at worst; {sum(one.holds for one in agreed)} of {len(agreed)} runs hold",
            all(one.holds for one in agreed),
        ),
    ]  # fmt: skip


def _faster(runs: Sequence[Run]) -> Verdict:
    """Over each run's first jump, which finds both functions at their minimum; later ones may find replicas held.

    Where CE's function was not served while the load lasted, its time is at least that, and the ratio at most that:
    such a jump speaks for the goal if even so it is reached, and else says nothing.
    """
    goal = "from a jump of the load until it is served in at most 1/3 of the time of CE's rule"
    pairs = [
        (run.measures["ours"].rises[0], run.measures["ce"].rises[0])
        for run in runs
        if run.measures["ours"].rises
    ]
    known = [_seconds(ours) / max(1.0, _seconds(ce)) for ours, ce in pairs if ce.served_after is not None]
    bounds = [_seconds(ours) / ce.lasted for ours, ce in pairs if ce.served_after is None]
    reached = [bound for bound in bounds if bound <= GOAL_RATIO]
    if not known and not reached:
        return Verdict(goal, "no jump lasted long enough to tell", None)
    parts = [
        f"{said(known, 2)} of CE's time in {len(known)} jumps" if known else "",
        f"at most {max(reached):.2f} in {len(reached)} that CE's rule never served" if reached else "",
        f"{len(bounds) - len(reached)} were over too soon to tell" if len(bounds) > len(reached) else "",
        f"{missed} not served at all"
        if (missed := sum(ours.served_after is None for ours, _ in pairs))
        else "",
    ]
    ratios = [*known, *reached]
    whole = Ratio(statistics.mean(ratios), *interval(ratios))
    return Verdict(goal, "; ".join(filter(None, parts)), False if missed else at_most(whole, GOAL_RATIO))


def _seconds(rise: Rise) -> float:
    return rise.lasted if rise.served_after is None else rise.served_after


def _at_most(goal: str, values: Sequence[int], most: int) -> Verdict:
    return Verdict(goal, f"at most {max(values)} in {len(values)} runs", max(values) <= most)


def tables(runs: Sequence[Run]) -> list[Table]:
    names = dict.fromkeys(run.shape for run in runs)
    return [_table(name, [run for run in runs if run.shape == name]) for name in names]


ROWS: tuple[tuple[str, Any], ...] = (
    (f"seconds from the first jump until p99 ≤ {BOUND_SECONDS:g} s", lambda one: [rise.served_after for rise in one.rises[:1]]),
    ("the same, later jumps", lambda one: [rise.served_after for rise in one.rises[1:]]),
    ("seconds from the first jump until there are enough replicas", lambda one: [rise.enough_after for rise in one.rises[:1]]),
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
        [title, *cells]
        for title, of in ROWS
        if any(
            cells := [
                _cell([value for run in runs for value in of(run.measures[rules])]) for rules in FUNCTIONS
            ]
        )
    ]
    rows.append(
        ["foretold within one replica", *(said([100 * run.agreement[rules].share for run in runs]) + " %" for rules in FUNCTIONS)]
    )  # fmt: skip
    return Table(
        f"{SHAPES[name].title}, {len(runs)} runs", ["", *(TITLES[rules] for rules in FUNCTIONS)], rows
    )


def _cell(values: Sequence[float | None]) -> str:
    """None is a jump that was over before; nothing where there are no values."""
    reached = [value for value in values if value is not None]
    never = f"never in {len(values) - len(reached)} of {len(values)}" if len(reached) < len(values) else ""
    return ", ".join(filter(None, (said(reached) if reached else "", never)))


def figures(runs: Sequence[Run]) -> list[Figure]:
    """What two folders are compared by, of each shape: with three runs and more their interval, else their range."""
    return [
        Figure(f"{shape}, {TITLES[rules]}: {name}", unit, statistics.mean(values), *interval(values))
        for shape in dict.fromkeys(run.shape for run in runs)
        for rules in FUNCTIONS
        for name, unit, of in _FIGURES
        if (values := [float(of(run.measures[rules])) for run in runs if run.shape == shape])
    ]


_FIGURES: tuple[tuple[str, str, Any], ...] = (
    ("unserved", "s", lambda one: one.unserved_seconds),
    ("replica-seconds", "s", lambda one: one.replica_seconds),
    ("refused", "requests", lambda one: one.refused),
)


def samples(run: Run, function: Function) -> list[list[Any]]:
    """The run second by second, of both functions, under a head: what a spreadsheet wants of the raw data."""
    head = [
        "second",
        "function",
        "sent",
        "answered",
        "refused",
        "failed",
        "p99_seconds",
        "wanted",
        "ready",
        "needed",
        "alerts",
    ]
    rows: list[list[Any]] = [head]
    shape = SHAPES[run.shape]
    for rules, one in run.by_rules.items():
        answers = Answers(one.requests)
        for second in range(1, int(shape.duration) + 1):
            statuses = [request.status for request in answers.between(second - 1, second)]
            ok, refused = statuses.count(200), statuses.count(429)
            firing = sorted(
                {
                    name
                    for moment, name, on in one.alerts
                    if on and moment <= second < _ends(one, moment, name)
                }
            )
            rows.append(
                [
                    second,
                    rules,
                    round(shape.rate(second), 1),
                    ok,
                    refused,
                    len(statuses) - ok - refused,
                    round(answers.p99(second), 4),
                    count_at(one.wanted, second),
                    count_at(one.ready, second),
                    needed(shape.rate(second), function),
                    " ".join(firing),
                ]
            )
    return rows  # fmt: skip


def _ends(run: Trajectory, begun: float, name: str) -> float:
    """When the alert that began then was over."""
    return min(
        (moment for moment, title, on in run.alerts if title == name and not on and moment > begun),
        default=1e9,
    )


def as_json(runs: Sequence[Run]) -> dict[str, Any]:
    return {
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
    }
