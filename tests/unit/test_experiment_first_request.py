"""The first-request experiment: what it says of planted restarts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.experiments.common.answers import Floats
from tests.experiments.first_request import plots, results
from tests.experiments.first_request.results import Found
from tests.experiments.first_request.trials import ARMS, Arm


def restarts(first: float, count: int = 30) -> Floats:
    """The first request takes `first` seconds, give or take a tenth; the others one millisecond."""
    trials = np.full((count, 10), 0.001)
    trials[:, 0] = first * np.linspace(0.9, 1.1, count)
    return trials


def found(**first: float) -> Found:
    """A steady p99 of 2 ms either way, so a first request may take 4."""
    steady = {way: np.full(400, 0.002) for way in ("direct", "edge")}
    return Found({arm: restarts(first.get(arm.name.replace("-", "_"), 0.003)) for arm in ARMS}, steady)


def told(planted: Found, part: str) -> set[str]:
    return {verdict.word for verdict in results.verdicts(planted) if part in verdict.goal}


def test_first_requests_within_twice_the_p99_are_met() -> None:
    assert told(found(), "2 × the steady p99") == {"met"}


@pytest.mark.parametrize(("seconds", "word"), [(0.006, "missed"), (0.004, "cannot tell")])
def test_one_that_is_slower_is_missed_and_one_at_the_limit_is_not_told(seconds: float, word: str) -> None:
    assert told(found(edge_edge=seconds), "edge killed") == {word}


@pytest.mark.parametrize(("cold", "word"), [(0.020, "met"), (0.001, "missed"), (0.003, "cannot tell")])
def test_a_warm_up_helps_only_where_it_can_be_told(cold: float, word: str) -> None:
    assert told(found(replica_direct_cold=cold), "warm-up makes the first request faster, direct") == {word}


def test_a_cold_replica_is_held_to_no_goal() -> None:
    assert not [verdict for verdict in results.verdicts(found()) if "no warm-up: the median" in verdict.goal]


def test_every_arm_has_its_row_and_its_place_in_the_picture(tmp_path: Path) -> None:
    assert len(results.tables(found())[0].rows) == len(ARMS) + 1
    assert plots.draw(tmp_path / "requests.png", found()).is_file()
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    assert Arm("replica", "direct", warm_up=False).name == "replica-direct-cold"
