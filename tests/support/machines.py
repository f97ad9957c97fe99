"""State machines of hypothesis against real functions, each beside a model of a few lines that must say the same.

In `make test` they are short and do the same each time. With VERIFY=1 they are long and at random, and what fails is
shown as the fewest steps that lead to it; VERIFY_RUNS says how often, 300 times if it says nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Factory = Callable[[], RuleBasedStateMachine]
"""Makes a machine at its beginning, with everything as new."""

VERIFY = os.environ.get("VERIFY") == "1"
LONG_RUNS, LONG_STEPS = int(os.environ.get("VERIFY_RUNS", "300")), 60
MOST_RUNS_TO_A_FAULT = 300

long_if_verified = pytest.mark.timeout(3600 if VERIFY else 180)
only_verified = pytest.mark.skipif(not VERIFY, reason="a fault that takes long to find: VERIFY=1")


def run_machine(make: Factory, *, runs: int, steps: int) -> None:
    """Take so many steps so many times, each time from the beginning; many more with VERIFY=1."""
    _run(
        make,
        max_examples=LONG_RUNS if VERIFY else runs,
        stateful_step_count=LONG_STEPS if VERIFY else steps,
        derandomize=not VERIFY,
        print_blob=VERIFY,
    )


def find_fault(make: Factory, *, steps: int = 30) -> None:
    """Passes once the machine has found that function and model differ; fails when it never does."""
    with pytest.raises(AssertionError):
        _run(
            make,
            max_examples=MOST_RUNS_TO_A_FAULT,
            stateful_step_count=steps,
            derandomize=True,
            phases=[Phase.generate],
        )


def _run(make: Factory, **chosen: Any) -> None:
    run_state_machine_as_test(
        make,  # type: ignore[arg-type]  # says class, and takes whatever makes one
        settings=settings(
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            **chosen,
        ),
    )


def told(response: Any) -> str:
    """`done`, or the code of the refusal."""
    return "done" if response.status_code < 300 else str(response.get_json()["code"])
