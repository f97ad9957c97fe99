"""The edge's benchmarks: what they ask of the edge, and how they judge what they saw."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.edge_faults import FAULTS, Trial, verdict
from benchmarks.edge_hostile import Finding
from benchmarks.open_load import Outcome

KILLED, FAILING = FAULTS[0], FAULTS[3]


def trial(fault: object = KILLED, out: float | None = 1.0, back: float | None = 1.0, lost: int = 0) -> Trial:
    answers = [Outcome("GET", 0.0, 1.0, 500, b"")] * lost + [Outcome("GET", 0.0, 1.0, 200, b"")] * 9
    return Trial(fault, out, back, 0, answers, {"GET": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (trial(), "met"),
        (trial(out=None), "missed: too late"),
        (trial(back=9.0), "missed: too late"),
        (trial(lost=1), "missed: lost GETs"),
        (trial(FAILING, lost=4), "met"),
        (trial(FAILING, lost=5), "missed: more than the threshold"),
    ],
)
def test_a_fault_is_judged_by_time_and_by_what_was_lost(found: Trial, expected: str) -> None:
    assert verdict(found) == expected


@pytest.mark.parametrize(("p99", "failures", "expected"), [(0.002, 0, "met"), (0.0021, 0, "missed")])
def test_an_attack_is_judged_by_what_a_good_client_felt(p99: float, failures: int, expected: str) -> None:
    assert Finding("", Counter(), 0.001, p99, failures, 1, 2, 1, 1).verdict == expected
    assert Finding("", Counter(), 0.001, p99, 3, 1, 2, 1, 1).verdict == "missed: 3 failures"
