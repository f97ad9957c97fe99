"""The failover experiment: what it makes of planted failures, and how it judges them."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localfaas.settings import Settings
from localfaas.status import Row
from tests.experiments.common.answers import Answers
from tests.experiments.common.driving import Kept
from tests.experiments.common.platforms import is_back
from tests.experiments.failover import plots
from tests.experiments.failover.experiment import EXPERIMENT, RATES
from tests.experiments.failover.faults import BY_NAME, FAULTS, GET_CART, POST_CART, Happened, Program, targets
from tests.experiments.failover.results import by_fault, figures, tables, verdicts
from tests.experiments.failover.seen import Books, Seen, cost_of, objections, parts_of
from tests.experiments.failover.stage import held_together
from tests.support.waiting import wait_for

AT = 1_000.0
WELL = Books(acknowledged=50, insisted=2, missing=(), twice=(), invariants=True)


def answers(failing: Sequence[tuple[float, float]] = (), status: int = 503, took: float = 0.01) -> Answers:
    """Ten a second from three seconds before the fault until ten after it; all fail that are due in one of `failing`."""
    due = AT + np.arange(-3, 10, 0.1) + 0.05
    wrong = np.zeros(len(due), dtype=bool)
    for begin, end in failing:
        wrong |= (due >= AT + begin) & (due < AT + end)
    statuses = np.where(wrong, status, 200)
    return Answers(due, np.zeros(len(due)), np.full(len(due), took), statuses, ~wrong)


def happened(over: float = 0.0, turns: Sequence[tuple[float, bool]] = ()) -> Happened:
    return Happened("x-1", AT, AT + over, AT + 1.2, [(AT + at, inside) for at, inside in turns], shown=True)


def seen(
    name: str, failing: Sequence[tuple[float, float]] = (), status: int = 503, *, over: float = 0.0,
    turns: Sequence[tuple[float, bool]] = ((0.1, False), (1.5, True)), books: Books = WELL, flow: str = "",
) -> Seen:  # fmt: skip
    """All flows fail alike, or one alone."""
    fault = BY_NAME[name]
    flows = {one: answers(failing if flow in {"", one} else (), status) for one in fault.flows}
    return Seen(fault, happened(over, turns), flows, books if fault.program else None, ())


def words(*runs: Seen) -> dict[str, str]:
    return {one.goal.partition(": ")[2] or one.goal: one.word for one in verdicts(by_fault(runs))}


# What it cost


def test_a_planted_outage_is_measured() -> None:
    cost = cost_of(answers([(0, 2)]), happened())
    assert (cost.requests, cost.failed) == (100, {"503": 20})
    assert cost.first == pytest.approx(0.06)
    assert cost.until == pytest.approx(1.95)
    assert cost.silence == pytest.approx(2.06)


def test_the_longest_silence_counts_and_not_the_last() -> None:
    assert cost_of(answers([(0, 3), (5, 6)]), happened()).silence == pytest.approx(3.06)


def test_an_outage_that_does_not_end_is_silence_until_the_end() -> None:
    assert cost_of(answers([(4, 99)]), happened()).silence == pytest.approx(9.95 - 3.96)


def test_without_failures_nothing_is_told_of_them() -> None:
    cost = cost_of(answers(), happened())
    assert (cost.failures, cost.first, cost.until) == (0, None, 0.0)


def test_what_was_on_its_way_belongs_to_the_fault_and_what_was_answered_before_does_not() -> None:
    assert cost_of(answers([(-1, 0)], took=0.5), happened()).failures == 5


def test_no_answer_is_a_kind_of_its_own() -> None:
    assert cost_of(answers([(0, 1)], status=0), happened()).failed == {"no answer": 10}


def test_the_time_that_a_fault_is_held_belongs_to_it() -> None:
    assert [len(part) for part in parts_of(answers(), happened(over=3)).values()] == [30, 80, 20]
    assert [len(part) for part in parts_of(answers(), happened(over=6)).values()] == [30, 100, 0]


def test_the_p99_of_a_fault_is_that_of_all_its_runs_together() -> None:
    few, many = seen("replica-slow"), seen("replica-slow")
    due = np.linspace(AT, AT + 4.9, 1_000)
    slow = Answers(due, np.zeros(1_000), np.full(1_000, 2.0), np.full(1_000, 200), np.ones(1_000, dtype=bool))
    found = by_fault([few, few, replace(many, flows={GET_CART: slow})])
    [p99] = [one for one in figures(found) if one.name.endswith("p99 during")]
    assert p99.value == 2_000
    assert 0 < p99.low < 10
    row = dict(zip(tables(found)[0].head, tables(found)[0].rows[0], strict=True))
    assert row["during"].startswith("2000 ")


def test_the_p99_of_one_run_has_no_interval() -> None:
    [p99] = [one for one in figures(by_fault([seen("edge-killed")])) if one.name.endswith("p99 during")]
    assert (p99.low, p99.high) == (-np.inf, np.inf)


# How it is judged


def test_all_faults_that_end_well_meet_their_goals() -> None:
    runs = [seen(fault.name, turns=((0.1, False), (1.5, True)) if fault.rotation else ()) for fault in FAULTS]
    assert set(words(*runs).values()) == {"met"}


@pytest.mark.parametrize(
    ("failing", "word"), [([(0, 0.5)], "met"), ([(0, 4.9)], "met"), ([(0, 1), (6, 6.2)], "missed")]
)
def test_five_seconds_after_a_fault_nothing_may_fail(
    failing: Sequence[tuple[float, float]], word: str
) -> None:
    [found] = [word for goal, word in words(seen("edge-killed", failing)).items() if "5 s after" in goal]
    assert found == word


def test_a_process_that_does_not_come_back_misses_though_nothing_fails() -> None:
    run = seen("edge-killed")
    gone = replace(run, happened=replace(run.happened, returned=None))
    assert "missed" in words(gone).values()


def test_one_failed_get_misses_where_two_carts_are_left_and_one_post_does_not() -> None:
    one = [(0.0, 0.1)]
    assert "missed" in words(seen("cart-killed", one, 502, flow=GET_CART)).values()
    assert set(words(seen("cart-killed", one, 502, flow=POST_CART)).values()) == {"met"}


def test_posts_that_fail_after_the_replica_left_miss() -> None:
    assert "missed" in words(seen("cart-killed", [(0, 2)], 502, flow=POST_CART)).values()


@pytest.mark.parametrize(
    "turns", [(), ((6.0, False), (7.0, True)), ((0.1, False),), ((0.1, False), (9.0, True))]
)
def test_a_replica_that_leaves_late_or_never_or_does_not_return_misses(
    turns: Sequence[tuple[float, bool]],
) -> None:
    assert "missed" in words(seen("cart-killed", turns=turns)).values()


@pytest.mark.parametrize(
    ("left", "back", "of_three"),
    [(5.4, 25.5, "met"), (5.6, 25.5, "missed"), (0.1, 28.2, "missed"), (4.8, 27.6, "met")],
)
def test_of_one_run_it_cannot_be_told_what_lies_near_its_bound(
    left: float, back: float, of_three: str
) -> None:
    """It is to leave within 5.5 s, and to be back within 3 s of the end."""
    run = seen("cart-frozen", over=25.0, turns=((left, False), (back, True)))
    one, several = (
        next(word for goal, word in words(*runs).items() if "rotation" in goal) for runs in ([run], [run] * 3)
    )
    assert (one, several) == ("met" if left == 4.8 else "cannot tell", of_three)


def test_a_replica_that_answers_500_may_do_so_again_each_time_it_is_taken_back() -> None:
    once, twice = ((0.1, False), (3.2, True)), ((0.1, False), (1.0, True), (1.1, False), (3.2, True))
    failing = [(0.0, 0.5)]
    assert "met" not in {
        word for goal, word in words(seen("replica-500", failing, 500, over=3.0, turns=once)).items() if "clients see" in goal
    }  # fmt: skip
    assert set(words(seen("replica-500", failing, 500, over=3.0, turns=twice)).values()) == {"met"}


def test_nothing_may_fail_where_only_the_watchers_died() -> None:
    assert "missed" in words(seen("prometheus-killed", [(1.0, 1.1)])).values()


@pytest.mark.parametrize("wrong", [{"missing": ("k",)}, {"twice": ("k",)}, {"invariants": False}])
def test_books_that_do_not_hold_miss(wrong: dict[str, object]) -> None:
    assert "missed" in words(seen("api-killed", books=replace(WELL, **wrong))).values()  # type: ignore[arg-type]


def test_acknowledged_sales_are_looked_for_by_key_and_id() -> None:
    kept = [Kept("till sale", f"k{n}", 201, tries, f"s{n}") for n, tries in enumerate((1, 3, 1))]
    lost = Kept("till sale", "k9", 503, 20, None)
    assert held_together([*kept, lost], [("k0", "s0"), ("k1", "s1"), ("k1", "s1b"), ("k2", "other")]) == {
        "acknowledged": 3,
        "insisted": 1,
        "missing": ["k2"],
        "twice": ["k1"],
    }


# What is believed


def test_a_run_in_which_something_failed_before_is_rejected() -> None:
    assert objections(seen("edge-killed")) == []
    assert objections(seen("edge-killed", [(-1, -0.8)])) == ["8 requests failed before anything had happened"]


def test_a_run_in_which_the_fault_did_nothing_is_rejected() -> None:
    run = seen("edge-killed")
    idle = replace(run, happened=replace(run.happened, shown=False))
    assert objections(idle) == ["the fault was not seen to take effect"]


def test_a_run_that_ends_before_all_has_to_be_well_is_rejected() -> None:
    """Nothing fails of which nothing is asked."""
    assert objections(seen("edge-killed", over=4.5)) == []
    assert objections(seen("edge-killed", over=5.5)) == ["nothing was due any more 5 s after it was over"]


def test_whether_a_process_is_frozen_or_gone_is_seen(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        program = Program(Settings(tmp_path, tmp_path, 0), row("cart-1", pid=process.pid))
        assert (program.is_frozen(), program.is_gone()) == (False, False)
        program.signal(signal.SIGSTOP)
        wait_for(program.is_frozen, what="it to be frozen")
        program.signal(signal.SIGKILL)
        wait_for(program.is_gone, what="it to be gone")
    assert program.is_gone()


def row(program: str, pid: int = 10, state: str = "RUNNING", traffic: str = "yes") -> Row:
    return Row(program, state, traffic, pid, 8008, 1, 0, 1)


@pytest.mark.parametrize(
    ("now", "back"),
    [
        (row("cart-1", pid=11), True),
        (row("cart-1", pid=10), False),
        (row("cart-1", pid=0, state="BACKOFF"), False),
        (row("cart-1", pid=11, traffic="no"), False),
        (row("cart-2", pid=11), False),
    ],
)
def test_a_process_is_back_when_another_one_runs_and_takes_traffic(now: Row, back: bool) -> None:
    assert is_back([now], row("cart-1", pid=10)) is back


def test_a_fault_happens_to_its_program_and_to_none_whose_name_begins_alike() -> None:
    found = [
        row("cart-1"),
        row("cart-2", state="BACKOFF"),
        row("cartography"),
        row("postgres"),
        row("postgres-exporter"),
    ]
    assert [one.program for one in targets(found, "cart-")] == ["cart-1"]
    assert [one.program for one in targets(found, "postgres")] == ["postgres"]
    assert targets(found, "api") == []


# What is planned and shown


def test_every_fault_has_a_run_for_each_repeat_and_every_flow_a_rate() -> None:
    names = [fault.name for fault in FAULTS]
    steps = EXPERIMENT.steps({"faults": names, "repeats": 2})
    assert [step.name for step in steps] == [f"{name}-{number}" for number in (1, 2) for name in names]
    assert {flow for fault in FAULTS for flow in fault.flows} == set(RATES)


def test_each_fault_has_its_picture_and_its_rows(tmp_path: Path) -> None:
    runs = [seen("edge-killed", [(0, 1)], 0), seen("edge-killed"), seen("replica-slow", over=8.0)]
    found = by_fault(runs)
    assert [path.name for _, path in plots.draw(tmp_path, found)] == [
        "overview.png",
        "replica-slow.png",
        "edge-killed.png",
    ]
    assert all(path.stat().st_size > 10_000 for path in tmp_path.iterdir())
    costs, flows = tables(found)
    assert [line[0] for line in costs.rows] == [fault.title for fault in found]
    assert len(flows.rows) == sum(len(fault.flows) for fault in found)
    assert len({one.name for one in figures(found)}) == 4 * len(found)
    for table, line in itertools.chain.from_iterable(
        ((one, line) for line in one.rows) for one in (costs, flows)
    ):
        assert len(line) == len(table.head)
