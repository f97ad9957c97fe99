"""The experiment on capacity: the scalability law finds what was planted, and a knee is where the ladder says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.quantiles import Ratio
from tests.experiments.capacity import results
from tests.experiments.capacity.cells import SERVER, Cell, Rung, fits
from tests.experiments.capacity.experiment import rungs
from tests.experiments.capacity.law import Fit, fit, throughput
from tests.experiments.capacity.subjects import Part
from tests.experiments.common.driving import Request

COUNTS = (1, 2, 3, 4, 5)
SITE = Request("http://127.0.0.1/")


def planted(rate: float, contention: float, coherency: float, noise: float = 0.02) -> Fit:
    chance = np.random.default_rng(7)
    truth = throughput(COUNTS, rate, contention, coherency)
    return fit(
        {
            n: [x * (1 + noise * chance.standard_normal()) for _ in range(6)]
            for n, x in zip(COUNTS, truth, strict=True)
        }
    )


def test_the_law_finds_a_planted_curve() -> None:
    found = planted(1_000, 0.3, 0.05)
    for value, truth in ((found.rate, 1_000), (found.contention, 0.3), (found.coherency, 0.05)):
        assert value.low <= truth <= value.high
        assert value.value == pytest.approx(truth, rel=0.25)
    assert found.peak.low <= math.sqrt(0.7 / 0.05) <= found.peak.high
    assert found.misfit < 0.03


def test_replicas_that_do_not_meet_have_neither_contention_nor_coherency_nor_a_peak() -> None:
    found = planted(100, 0, 0, noise=0)
    assert found.contention.value == pytest.approx(0, abs=1e-3)
    assert found.coherency.value == pytest.approx(0, abs=1e-3)
    assert found.peak.value > 20


def test_contention_and_coherency_stand_for_each_other_and_it_says_so() -> None:
    assert planted(1_000, 0.5, 0.05).confusion < -0.5


def test_a_curve_that_does_not_follow_the_law_shows_by_how_much() -> None:
    found = fit({1: [100.0] * 3, 2: [200.0] * 3, 3: [50.0] * 3, 4: [210.0] * 3})
    assert found.misfit > 0.3


def test_two_numbers_of_replicas_tell_no_law() -> None:
    with pytest.raises(ValueError, match="3 numbers"):
        fit({1: [1.0, 1.0], 2: [2.0, 2.0]})


def cell(
    *borne: tuple[float, bool],
    throughputs: Sequence[float] = (100.0, 102.0, 98.0),
    cpu: float = 0.001,
    replicas: int = 1,
) -> Cell:
    ladder = [Rung(rate, {"products": 0.01}, held) for rate, held in borne]
    blocks = {group: [cpu / 4] * len(throughputs) for group in SERVER}
    return Cell("products", replicas, throughputs, blocks, ladder)


@pytest.mark.parametrize(
    ("ladder", "knee"),
    [
        ([(400, True), (600, True), (800, False)], (600, 800)),
        ([(400, True), (600, True)], (600, math.inf)),
        ([(400, False), (600, False)], (0, 400)),
        ([(400, False), (600, True), (800, False)], (600, 800)),
    ],
)
def test_the_knee_is_the_highest_rate_that_was_borne(
    ladder: list[tuple[float, bool]], knee: tuple[float, float]
) -> None:
    found = cell(*ladder).knee
    assert (found.low, found.high) == knee


def test_a_second_of_a_processor_is_shared_by_all_that_serve() -> None:
    assert cell(cpu=0.002).per_core.value == pytest.approx(500)


def words(*cells: Cell) -> list[str]:
    return [one.word for one in results.verdicts(cells)]


def test_goals_are_met_missed_or_not_told_by_their_intervals() -> None:
    one = cell((600, True), (800, False))
    assert words(one, cell(replicas=5)) == ["met", "met", "met"]
    assert words(one, cell(replicas=5, cpu=0.0015)) == ["met", "missed", "met"]
    assert words(one, cell(replicas=5, throughputs=(50.0, 52.0, 49.0))) == ["met", "met", "missed"]
    assert words(cell((300, True), (400, False)))[0] == "missed"
    assert words(cell((400, True), (500, False)))[0] == "cannot tell"


def test_a_block_without_a_right_answer_is_not_fitted() -> None:
    cells = [cell(replicas=n) for n in (1, 2)] + [cell(replicas=3, throughputs=(0.0, 90.0, 90.0))]
    assert fits(cells) == {}


def test_the_parts_of_a_rung_come_together_in_their_proportion_and_rungs_one_after_the_other() -> None:
    parts = [Part("looking", [(0.9, SITE)]), Part("buying", [(0.1, SITE)])]
    low_looking, low_buying, high_looking, high_buying = rungs(parts, [100, 200], 2.0)
    assert (low_looking.rate, low_buying.rate, high_looking.rate, high_buying.rate) == (90, 10, 180, 20)
    assert low_looking.start == low_buying.start
    assert high_looking.start is not None
    assert low_buying.start is not None
    assert high_looking.start >= low_buying.start + low_buying.seconds + low_buying.spread


def test_a_ratio_of_blocks_that_are_no_pairs_holds_the_truth() -> None:
    found = results._ratio_of_means([10.0, 11, 9, 10], [5.0, 5.5, 4.5, 5])
    assert isinstance(found, Ratio)
    assert found.low <= 2 <= found.high
