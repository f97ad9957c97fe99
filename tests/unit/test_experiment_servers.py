"""The experiment `servers`: its arms and hypotheses fit each other, and a hypothesis is judged by the whole interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quantiles import Ratio
from tests.experiments.common import answers
from tests.experiments.common.answers import Answers
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.folder import Folder
from tests.experiments.servers.arms import COMPARISONS, HYPOTHESES, LATER, Answer, Hypothesis
from tests.experiments.servers.experiment import EXPERIMENT
from tests.experiments.servers.results import MEASURES, Measured, rate
from tests.experiments.servers.serve import SERVERS

ARMS = {arm.name: (comparison.name, arm) for comparison in COMPARISONS for arm in comparison.arms}


def test_arms_have_names_of_their_own_and_a_server() -> None:
    assert len(ARMS) == sum(len(one.arms) for one in COMPARISONS)
    assert {arm.server for _, arm in ARMS.values()} == set(SERVERS)


@pytest.mark.parametrize("one", HYPOTHESES, ids=lambda one: one.says)
def test_a_hypothesis_is_about_two_arms_of_one_comparison(one: Hypothesis) -> None:
    assert one.measure in MEASURES
    assert one.arm != one.reference
    assert ARMS[one.arm][0] == ARMS[one.reference][0]
    assert 0 <= one.low < one.high
    assert one.low > 0 or math.isfinite(one.high), "nothing could refute it"


@pytest.mark.parametrize("name", [one.name for one in COMPARISONS])
def test_every_comparison_has_a_hypothesis(name: str) -> None:
    assert any(ARMS[one.arm][0] == name for one in HYPOTHESES)


@pytest.mark.parametrize(
    ("ratio", "word"),
    [
        (Ratio(1.0, 0.96, 1.04), "held"),
        (Ratio(1.0, 0.90, 1.04), "cannot tell"),
        (Ratio(1.0, -math.inf, math.inf), "cannot tell"),
        (Ratio(0.8, 0.70, 0.94), "did not hold"),
        (Ratio(1.2, 1.06, 1.30), "did not hold"),
    ],
)
def test_the_whole_interval_decides(ratio: Ratio, word: str) -> None:
    about = Hypothesis("the same within a twentieth", "rate", "a", "b", low=0.95, high=1.05)
    assert Answer(about.says, "", about.judged(ratio)).word == word


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [(1.1, math.inf, "at least 1.1"), (0, 1.1, "at most 1.1"), (0.95, 1.05, "0.95 to 1.05")],
)
def test_bounds_are_said_in_words(low: float, high: float, bounds: str) -> None:
    assert Hypothesis("", "rate", "a", "b", low, high).bounds == bounds


def test_the_rate_counts_answers_over_the_time_in_which_they_came() -> None:
    took = np.full(101, 0.004)
    block = Answers(np.arange(101) / 100, np.zeros(101), took, np.full(101, 200), np.ones(101, dtype=bool))
    assert rate(block) == pytest.approx(100)


def test_quantiles_are_in_milliseconds_and_ratios_are_of_the_same_rounds() -> None:
    rounds = [np.full(50, 0.002 * factor) for factor in (1, 2, 3)]
    slower = [2 * one for one in rounds]
    found = Measured({"p50": {"a": rounds, "b": slower}})
    assert found.value("p50", "a").value == pytest.approx(4.0)
    ratio = found.ratio("p50", "b", "a")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))


def test_the_conclusion_is_drawn_from_what_was_written(tmp_path: Path) -> None:
    folder = begun(tmp_path, "2026-11-28T20:00:00+00:00")
    pools = next(one for one in COMPARISONS if one.name == "pools")
    run = folder.run("pools")
    rates = {"pool of 1": 500.0, "pool of 2": 1000.0, "pool of 4": 1000.0, "pool of 8": 1000.0}
    for part in ("closed", "half"):
        _plant(run, part, rates)
    run.write("rate.json", {"half": 250})
    run.write("done.json", {})

    found = EXPERIMENT.conclude(folder)

    assert [one.word for one in found.verdicts] == ["held"] * 3
    [table] = found.tables
    assert [row[:2] for row in table.rows] == [
        [name, f"{rate:.0f} ({rate:.0f}–{rate:.0f})"] for name, rate in rates.items()
    ]
    assert len(found.figures) == len(MEASURES) * len(pools.arms)
    [(_, picture)] = found.pictures
    assert picture.stat().st_size > 10_000
    assert len(found.more["hypotheses"]) == 3


@pytest.mark.parametrize("began", ["2026-11-28T20:00:00+00:00", "2026-11-29T20:00:00+00:00"])
def test_a_hypothesis_judges_no_run_that_was_there_before_it(tmp_path: Path, began: str) -> None:
    folder = begun(tmp_path, began)
    servers = next(one for one in COMPARISONS if one.name == "servers")
    run = folder.run("servers")
    for part in ("closed", "half"):
        _plant(run, part, dict.fromkeys((arm.name for arm in servers.arms), 100.0))
    run.write("rate.json", {"half": 50})
    run.write("done.json", {})
    its = [one for one in HYPOTHESES if ARMS[one.arm][0] == "servers" and one.written <= began]
    assert [one.goal for one in EXPERIMENT.conclude(folder).verdicts] == [one.says for one in its]
    assert any(one.written for one in its) == (began > LATER)


def test_every_number_of_threads_is_held_against_one() -> None:
    held = {(one.measure, one.arm, one.reference) for one in HYPOTHESES}
    for server in ("waitress", "gthread", "granian"):
        for count in (2, 4, 8):
            assert ("rate", f"{server}, {count} threads", f"{server}, 1 thread") in held


def begun(path: Path, at: str) -> Folder:
    folder = Folder(path)
    folder.write("settings.json", {"at": at})
    return folder


def _plant(run: Folder, part: str, rates: Mapping[str, float]) -> None:
    """Two rounds of every arm, a second each, as `drive` writes them."""
    folder = Folder(run.path / part)
    folder.path.mkdir()
    blocks, arms = {}, {}
    for place, (name, per_second) in enumerate([*rates.items()] * 2):
        count = int(per_second)
        blocks[f"b{place}"] = Answers(
            2 * place + np.arange(count) / per_second,
            np.zeros(count),
            np.full(count, 0.002),
            np.full(count, 200),
            np.ones(count, dtype=bool),
        )
        arms[f"b{place}"] = name
    answers.write(folder.path / "answers.csv.gz", blocks)
    at = np.arange(0.0, 60.0, 0.1)
    Ticks(at, dict.fromkeys(rates, 0.4 * at), 0 * at, 0 * at).write(folder)
    folder.write("blocks.json", {"arms": arms, "rates": {}, "dropped": 0})
