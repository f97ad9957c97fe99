"""An arm against itself: how many runs it takes until the ratio is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.experiments.common.answers import Answers
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.driving import Driven
from tests.experiments.common.experiment import Step
from tests.experiments.common.folder import Folder
from tests.experiments.harness import experiment
from tests.experiments.harness.experiment import EXPERIMENT, FEWEST_RUNS, PAIRS

NONE = np.zeros(0)
NEXT = Step("a-a-9", 1)


def run(noise: float, ratio: float, seed: int) -> Driven:
    """Pairs of blocks whose medians scatter by `noise`; those of the second arm are `ratio` times as long."""
    chance = np.random.default_rng(seed)
    arms = {f"b{place}": ("a", "a again")[place % 2] for place in range(2 * PAIRS)}
    zeros = np.zeros(40)
    blocks = {
        name: Answers(
            np.linspace(0, 1, 40), zeros,
            0.0004 * np.exp(chance.normal(0, noise)) * (ratio if arm == "a again" else 1) * chance.uniform(0.9, 1.1, 40),
            np.full(40, 200), zeros == 0,
        )
        for name, arm in arms.items()
    }  # fmt: skip
    return Driven(arms, blocks, Ticks(NONE, {}, NONE, NONE), [])


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder in which so many runs of that kind are done."""

    def planted(runs: int, noise: float = 0.02, ratio: float = 1.0, *, full: bool = False) -> Folder:
        folder = Folder.new(tmp_path / f"{runs} {noise} {full}", "harness", {"aa_runs": runs, "full": full})
        for number in range(runs):
            folder.run(f"a-a-{number}").write("done.json", {})
        monkeypatch.setattr(
            experiment, "load", lambda one: run(noise, ratio, int(one.path.name.rpartition("-")[2]))
        )
        return folder

    return planted


def test_few_runs_do_where_blocks_are_alike_and_more_are_made_where_they_differ(proof):
    assert EXPERIMENT.needless(NEXT, proof(FEWEST_RUNS))
    assert not EXPERIMENT.needless(NEXT, proof(FEWEST_RUNS - 1))
    assert not EXPERIMENT.needless(NEXT, proof(FEWEST_RUNS, noise=0.3))


def test_no_other_run_is_left_out(proof):
    assert not EXPERIMENT.needless(Step("stall", 1), proof(FEWEST_RUNS))


def test_the_long_form_wants_to_know_better(proof):
    assert EXPERIMENT.needless(NEXT, proof(FEWEST_RUNS, noise=0.06))
    assert not EXPERIMENT.needless(NEXT, proof(FEWEST_RUNS, noise=0.06, full=True))


@pytest.mark.parametrize(
    ("noise", "ratio", "met"), [(0.02, 1.0, True), (0.02, 1.05, False), (0.4, 1.0, False)]
)
def test_a_ratio_that_is_off_or_not_known_proves_nothing(proof, noise: float, ratio: float, met: bool):
    [verdict] = EXPERIMENT.conclude(proof(FEWEST_RUNS, noise, ratio)).verdicts
    assert verdict.met is met


def test_the_proof_says_how_fast_the_machine_was(proof):
    assert EXPERIMENT.conclude(proof(FEWEST_RUNS)).more == {"bare_p50_ms": pytest.approx(0.4, abs=0.02)}
