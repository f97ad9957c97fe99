"""The first-request experiment: what it says of planted restarts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.common import answers
from tests.experiments.common.answers import Answers, Floats
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.folder import Folder
from tests.experiments.first_request import plots, results
from tests.experiments.first_request.experiment import EXPERIMENT
from tests.experiments.first_request.results import Found
from tests.experiments.first_request.trials import ARMS, WAYS, Arm, Way


def restarts(first: float, count: int = 30) -> Floats:
    """The first request takes `first` seconds, give or take a tenth; the others one millisecond."""
    trials = np.full((count, 10), 0.001)
    trials[:, 0] = first * np.linspace(0.9, 1.1, count)
    return trials


def found(**first: float) -> Found:
    """A steady p99 of 2 ms either way, so a first request may take 4; six groups of five restarts."""
    steady: dict[Way, list[Floats]] = {way: [np.full(200, 0.002)] * 6 for way in WAYS}
    chance = np.random.default_rng(1)
    groups = {
        arm: dict(enumerate(chance.permutation(restarts(first.get(arm.name.replace("-", "_"), 0.003))).reshape(6, 5, 10)))
        for arm in ARMS
    }  # fmt: skip
    return Found(groups, steady, {way: np.full(400, 0.003) for way in WAYS})


def told(planted: Found, part: str) -> set[str]:
    return {verdict.word for verdict in results.verdicts(planted) if part in verdict.goal}


def test_first_requests_within_twice_the_p99_are_met() -> None:
    assert told(found(), "2 × the steady p99") == {"met"}


@pytest.mark.parametrize(("seconds", "word"), [(0.006, "missed"), (0.004, "cannot tell")])
def test_one_that_is_slower_is_missed_and_one_at_the_limit_is_not_told(seconds: float, word: str) -> None:
    assert told(found(edge_edge=seconds), "edge killed") == {word}


@pytest.mark.parametrize(("seconds", "word"), [(0.003, "met"), (0.005, "cannot tell"), (0.009, "missed")])
def test_the_limit_is_known_no_better_than_the_steady_p99(seconds: float, word: str) -> None:
    """In three of six groups 10 of 200 steady requests take 4 ms and not 2, so the limit is 4 or 8 ms."""
    quick = np.full(200, 0.002)
    slow = np.append(quick[10:], np.full(10, 0.004))
    steady = dict.fromkeys(WAYS, [quick, slow] * 3)
    assert told(replace(found(edge_edge=seconds), steady=steady), "edge killed") == {word}


def test_opening_connections_is_no_part_of_what_k6_sees(tmp_path: Path) -> None:
    folder = Folder.new(tmp_path, "first_request", {"groups": 1})
    run = folder.run("steady-1")
    due = np.arange(260) / 100
    block = Answers(due, 0 * due, np.where(due < 0.5, 0.050, 0.002), np.full(260, 200), due >= 0)
    answers.write(run.path / "answers.csv.gz", dict.fromkeys(WAYS, block))
    Ticks(due, {}, 0 * due, 0 * due).write(run)
    run.write("blocks.json", {"arms": {way: way for way in WAYS}, "rates": {}, "dropped": 0})
    run.write("done.json", {})
    assert results.read(folder).steady_by_k6["edge"].max() == pytest.approx(0.002)


@pytest.mark.parametrize(("cold", "word"), [(0.020, "met"), (0.001, "missed"), (0.003, "cannot tell")])
def test_a_warm_up_helps_only_where_it_can_be_told(cold: float, word: str) -> None:
    assert told(found(replica_direct_cold=cold), "replica killed, direct: the first request is faster") == {
        word
    }


def test_a_cold_replica_is_held_to_no_goal() -> None:
    assert not [verdict for verdict in results.verdicts(found()) if "no warm-up: the median" in verdict.goal]


def test_every_arm_has_its_row_and_its_place_in_the_picture(tmp_path: Path) -> None:
    assert len(results.tables(found())[0].rows) == len(ARMS) + 1
    assert plots.draw(tmp_path / "requests.png", found()).is_file()
    assert len({arm.name for arm in ARMS}) == len(ARMS)


def test_warm_up_is_switched_once_in_a_group_and_not_between_groups() -> None:
    by_name = {arm.name: arm for arm in ARMS}
    steps = [step.name.rpartition("-")[0] for step in EXPERIMENT.steps({"groups": 4})]
    warm = [by_name[name].warm_up for name in steps if name in by_name]
    assert sum(one != other for one, other in pairwise(warm)) == 4
    assert all(steps.count(name) == 4 for name in by_name)


def test_a_gain_needs_both_halves_of_a_pair() -> None:
    whole = found(replica_direct_cold=0.009)
    gain = whole.gain(Arm("replica", "direct"))
    assert gain is not None
    assert gain.low <= 3 <= gain.high
    half = {arm: groups for arm, groups in whole.arms.items() if arm.warm_up}
    assert Found(half, whole.steady, whole.steady_by_k6).gain(Arm("replica", "direct")) is None
