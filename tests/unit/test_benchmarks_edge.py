"""How the benchmark of hostile clients sees and judges what a good client felt."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice

import pytest

from benchmarks import good_client
from benchmarks.edge_hostile import Finding, as_result, p99_of
from benchmarks.good_client import PACE_SECONDS, at_pace


def finding(calm: float, p99: float, failures: int = 0) -> Finding:
    return Finding("", Counter(), calm, p99, failures, 1, 2, 1, 1)


@pytest.mark.parametrize(("p99", "failures", "expected"), [(0.002, 0, "met"), (0.0021, 0, "missed")])
def test_an_attack_is_judged_by_what_a_good_client_felt(p99: float, failures: int, expected: str) -> None:
    assert finding(0.001, p99, failures).verdict == expected
    assert finding(0.001, p99, 3).verdict == "missed: 3 failures"


def test_failures_are_the_slowest() -> None:
    assert p99_of([0.001] * 99 + [-1.0]) == 0.001
    assert p99_of([0.001] * 98 + [-1.0] * 2) == math.inf


def test_a_calm_that_was_none_is_no_measure() -> None:
    found = finding(math.inf, 0.001)
    assert found.verdict.startswith("cannot tell")
    assert (as_result(found)["calm_p99"], as_result(found)["ratio"]) == (None, None)


class Clock:
    """Time that passes only while somebody sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_stall_is_as_many_slow_answers_as_were_due_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(good_client, "time", clock)
    stalls = iter([0.0, 20 * PACE_SECONDS])

    def ask() -> bool:
        clock.sleep(next(stalls, 0.0))
        return True

    taken = [seconds for _, seconds in islice(at_pace(ask), 30)]
    assert sum(seconds > PACE_SECONDS / 2 for seconds in taken) == 20
    assert max(taken) == pytest.approx(20 * PACE_SECONDS)
