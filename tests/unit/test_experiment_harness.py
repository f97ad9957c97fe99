"""An arm against itself: how many runs it takes until the ratio is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import PROJECT
from tests.experiments.common import answers
from tests.experiments.common import proof as the_proof
from tests.experiments.common.answers import Answers
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.driving import Driven
from tests.experiments.common.experiment import Step
from tests.experiments.common.folder import Folder
from tests.experiments.harness import experiment, others
from tests.experiments.harness.experiment import EXPERIMENT, FEWEST_RUNS, PAIRS
from tests.experiments.harness.server import known_server

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


def answered(seconds: list[float], late: float = 0.0) -> Answers:
    """One a hundredth of a second; every tenth leaves so late."""
    count = len(seconds)
    leave = np.where(np.arange(count) % 10 == 9, late, 0.0)
    return Answers(
        np.arange(count) / 100, leave, np.array(seconds), np.full(count, 200), np.full(count, True)
    )


TOOK = [0.002, 0.01, 0.05] * 40
RECORD = [[number / 100, number / 100 + took] for number, took in enumerate(TOOK)]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A proof of known delays and of requests that leave late, which k6 with common/load.js has measured well."""
    folder = Folder.new(tmp_path, "harness", {"aa_runs": 0, "full": False})
    for name in ("delays", "late"):
        folder.run(name).write("record.json", {"delays": RECORD})
        folder.run(name).write("done.json", {})
    late = Driven({}, {"b0": answered(TOOK)}, Ticks(NONE, {}, NONE, NONE), ["5% left more than 10 ms late"])
    monkeypatch.setattr(experiment, "load", lambda *_: late)
    return folder


def by_script(run: Folder, off: float = 0.0, late: float = 0.0) -> None:
    part = Folder(run.path / others.SCRIPT)
    part.path.mkdir()
    part.write("record.json", RECORD)
    answers.write(part.path / others.ANSWERS, {"a": answered([took + off for took in TOOK], late)})


def words(folder: Folder, part: str) -> list[str]:
    return [one.word for one in EXPERIMENT.conclude(folder).verdicts if part in one.goal]


@pytest.mark.parametrize(
    ("alone", "script", "said"),
    [
        (0.001, 0.001, ["met", "met", "met"]),
        (0.003, 0.0, ["met", "missed", "met"]),
        (0.0, 0.003, ["met", "met", "missed"]),
    ],
)
def test_each_client_is_held_to_what_the_server_did(
    kept: Folder, alone: float, script: float, said: list[str]
):
    run = kept.run("delays")
    run.write(others.ALONE, {"asked": TOOK, "seconds": [took + alone for took in TOOK], "record": RECORD})
    by_script(run, off=script)
    assert words(kept, "known delays") == said


def test_a_proof_of_one_client_is_still_read(kept: Folder):
    assert words(kept, "") == ["met", "met"]


@pytest.mark.parametrize(("late", "word"), [(0.5, "met"), (0.05, "missed")])
def test_autoscales_script_must_reject_what_left_late(kept: Folder, late: float, word: str):
    by_script(kept.run("late"), late=late)
    assert words(kept, "autoscale's script, k6 stopped") == [word]


def test_a_request_alone_takes_at_least_what_the_server_took(tmp_path: Path):
    with known_server() as port:
        others.ask_alone(Folder(tmp_path), port, [0.002, 0.02, 0.002])
    asked, truth, measured = others.alone(Folder(tmp_path))
    assert asked.tolist() == [0.002, 0.02, 0.002]
    assert len(truth) == len(measured) == 3
    assert (measured >= truth - 0.001).all()


def test_a_proof_is_about_every_client_that_takes_times():
    code = {(Path(the_proof.__file__).parent / name).resolve() for name in the_proof._CODE}
    scripts = {*(PROJECT / "tests" / "experiments").glob("*/*.js"), PROJECT / "benchmarks" / "http_client.py"}
    assert scripts <= code
