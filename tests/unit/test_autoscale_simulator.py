"""The simulator of the autoscaling experiment, and the figures that are made of runs: what must be so whatever the rules."""

from __future__ import annotations

import math
import statistics

import pytest

from tests.experiments.autoscale.agreement import compare, step_times
from tests.experiments.autoscale.measures import measure, most_reversals, overshoot
from tests.experiments.autoscale.rule_sets import openfaas_ce, ours, seconds, shipped_thresholds
from tests.experiments.autoscale.shapes import SHAPES, Shape, Stage
from tests.experiments.autoscale.simulator import Function, simulate
from tests.experiments.autoscale.trajectory import Answers, Request, Trajectory, count_at

FUNCTION = Function()
QUIET = Shape("quiet", "Quiet", 8.0, (Stage(200, 8.0),))
OURS, CE = ours(shipped_thresholds()), openfaas_ce()


def test_the_same_seed_is_the_same_run() -> None:
    one, other = (simulate(SHAPES["spike"], FUNCTION, OURS, seed=7) for _ in range(2))
    assert (one.wanted, one.requests) == (other.wanted, other.requests)


def test_requests_come_as_often_as_the_shape_says() -> None:
    run = simulate(QUIET, FUNCTION, None, seed=1)
    assert len(run.requests) == pytest.approx(8 * 200, rel=0.1)


def test_a_lone_replica_waits_as_queueing_theory_says() -> None:
    """M/G/1 at half load: the mean wait is rho s (1 + c²) / (2 (1 - rho)) (Pollaczek and Khinchine)."""
    shape = Shape("half", "Half", 10.0, (Stage(4000, 10.0),))
    run = simulate(shape, Function(max_inflight=10_000), None, seed=3)
    wait = statistics.mean(one.seconds for one in run.requests) - FUNCTION.mean_seconds - FUNCTION.hop_seconds
    expected = 0.5 * FUNCTION.mean_seconds * (1 + FUNCTION.variation**2) / (2 * 0.5)
    assert wait == pytest.approx(expected, rel=0.15)


def test_what_does_not_fit_is_refused_and_nothing_is_lost() -> None:
    shape = Shape("flood", "Flood", 100.0, (Stage(30, 100.0),))
    run = simulate(shape, FUNCTION, None, seed=1)
    statuses = {one.status for one in run.requests}
    assert statuses == {200, 429}
    refused = sum(one.status == 429 for one in run.requests)
    assert len(run.requests) - refused == pytest.approx(30 / FUNCTION.mean_seconds, rel=0.1)


def test_with_little_load_our_rules_change_nothing_and_ces_climb_to_the_top() -> None:
    """Eight requests a second are less than half of what one replica can do, and more than five."""
    assert simulate(QUIET, FUNCTION, OURS, seed=1).wanted == [(0.0, 1)]
    assert simulate(QUIET, FUNCTION, CE, seed=1).wanted[-1][1] == FUNCTION.maximum


@pytest.mark.parametrize("seed", (1, 2))
def test_a_step_is_served_in_a_third_of_ces_time_without_overshoot_or_flapping(seed: int) -> None:
    shape = SHAPES["step"]
    mine, theirs = (measure(simulate(shape, FUNCTION, rules, seed), shape, FUNCTION) for rules in (OURS, CE))
    served, ce_served = mine.rises[0].served_after, theirs.rises[0].served_after
    assert served is not None
    assert served <= (ce_served if ce_served is not None else theirs.rises[0].lasted) / 3
    assert (mine.overshoot <= 1, mine.most_reversals <= 1) == (True, True)
    assert (mine.failed, mine.lost_at_steps_down) == (0, 0)


def test_a_run_agrees_with_the_simulator_that_made_it() -> None:
    run = simulate(SHAPES["spike"], FUNCTION, OURS, seed=1000)
    assert compare(Trajectory(run.shape, "ours", *_rest(run)), SHAPES["spike"], FUNCTION).share > 0.9


def test_a_run_that_did_something_else_does_not_agree() -> None:
    stuck = simulate(SHAPES["step"], FUNCTION, None, seed=1, replicas=5)
    found = compare(Trajectory("step", "ours", *_rest(stuck)), SHAPES["step"], FUNCTION)
    assert not found.holds


def _rest(run: Trajectory) -> tuple[list[Request], list[tuple[float, int]], list[tuple[float, int]], list[tuple[float, str, bool]]]:  # fmt: skip
    return run.requests, run.wanted, run.ready, run.alerts


def test_turns_are_counted_between_changes_of_the_load() -> None:
    wanted = [(0.0, 1), (10.0, 2), (20.0, 3), (30.0, 1), (40.0, 2)]
    assert most_reversals(wanted, [5.0]) == 2
    assert most_reversals(wanted, [5.0, 35.0]) == 1


def test_overshoot_is_measured_against_the_most_that_was_needed_since_the_minimum() -> None:
    """A count that is held after the load has fallen is not overshoot; one that rises beyond its peak is."""
    assert overshoot([1, 3, 3, 3], [1, 3, 1, 1], 1) == 0
    assert overshoot([1, 3, 5, 5], [1, 3, 3, 1], 1) == 2
    assert overshoot([1, 3, 1, 3], [1, 3, 1, 1], 1) == 2


def test_refused_requests_count_as_endless() -> None:
    answers = Answers([Request(1.0, 0.1, 200)] * 90 + [Request(1.0, 0.0, 429)] * 10)
    assert answers.p99(2.0) == math.inf
    assert math.isnan(answers.p99(20.0))


def test_seconds_in_which_nobody_is_answered_are_not_served() -> None:
    """Silent from 100 s to 120 s: the windows of 5 s that end from 105 s to 120 s have no answer."""
    moments = [moment / 10 for moment in range(20, 2000) if not 1000 <= moment < 1200]
    run = Trajectory("quiet", "ours", [Request(at, 0.1, 200) for at in moments], [(0.0, 1)], [(0.0, 1)], [])
    assert measure(run, QUIET, FUNCTION).unserved_seconds == 16


def test_steps_have_names_and_times() -> None:
    assert step_times([(0.0, 1), (5.0, 2), (9.0, 1)]) == [("2 up", 5.0), ("1 down", 9.0)]
    assert count_at([(0.0, 1), (5.0, 2)], 4.9) == 1


def test_durations_are_prometheus() -> None:
    assert [seconds(text) for text in ("5s", "1m", "4d", "1h30m")] == [5, 60, 345600, 5400]
