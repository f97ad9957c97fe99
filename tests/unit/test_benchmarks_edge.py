"""How the benchmark of hostile clients judges what it saw."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.edge_hostile import Finding


@pytest.mark.parametrize(("p99", "failures", "expected"), [(0.002, 0, "met"), (0.0021, 0, "missed")])
def test_an_attack_is_judged_by_what_a_good_client_felt(p99: float, failures: int, expected: str) -> None:
    assert Finding("", Counter(), 0.001, p99, failures, 1, 2, 1, 1).verdict == expected
    assert Finding("", Counter(), 0.001, p99, 3, 1, 2, 1, 1).verdict == "missed: 3 failures"
