"""The experiment on capacity: the scalability law finds what was planted, and a knee is where the ladder says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from benchmarks.quantiles import Ratio
from tests.experiments.capacity import cells, experiment, results
from tests.experiments.capacity.cells import SERVER, Cell, Rung, fits
from tests.experiments.capacity.experiment import climb, rungs
from tests.experiments.capacity.law import Fit, fit, throughput
from tests.experiments.capacity.subjects import SUBJECTS, Part
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.driving import Block, Driven, Request
from tests.experiments.common.folder import Folder
from tests.experiments.common.shop import Shop

COUNTS = (1, 2, 3, 4, 5)
SITE = Request("http://127.0.0.1/")


def planted(rate: float, contention: float, coherency: float, noise: float = 0.02) -> Fit:
    chance = np.random.default_rng(7)
    truth = throughput(COUNTS, rate, contention, coherency)
    return fit(
        {
            n: [x * (1 + noise * chance.standard_normal()) for _ in range(6)]
            for n, x in zip(COUNTS, truth, strict=True)
        },
        resamples=100,
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


def test_points_further_from_the_curve_than_their_blocks_scatter_do_not_follow_the_law() -> None:
    def of(*throughputs: float) -> Fit:
        measured = zip((1, 2, 3, 5), throughputs, strict=True)
        return fit({n: [0.98 * x, x, 1.02 * x] for n, x in measured}, resamples=20)

    assert of(693, 575, 583, 596).follows is False
    assert of(*throughput((1, 2, 3, 5), 693, 0.9, 0.03)).follows is True
    assert planted(1_000, 0.3, 0.05).follows is True
    assert fit({1: [100.0, 101.0], 2: [150.0, 151.0], 3: [170.0, 171.0]}, resamples=20).follows is None


def test_a_parameter_at_the_fits_bound_has_no_interval() -> None:
    found = fit(
        {n: [0.98 * x, x, 1.02 * x] for n, x in ((1, 1699), (2, 1612), (3, 1553), (5, 1570))}, resamples=20
    )
    assert found.contention.value == pytest.approx(1)
    assert (found.contention.low, found.contention.high) == (-math.inf, math.inf)
    assert found.coherency.high < 1
    [law] = [table for table in results.tables([], {"orders": found}) if "law" in table.title]
    assert "1.00, the fit's bound" in law.rows[0]


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


def words(*its: Cell) -> list[str]:
    return [one.word for one in results.verdicts(its)]


def test_goals_are_met_missed_or_not_told_by_their_intervals() -> None:
    one = cell((600, True), (800, False))
    assert words(one, cell(replicas=5)) == ["met", "met", "met"]
    assert words(one, cell(replicas=5, cpu=0.0015)) == ["met", "missed", "met"]
    assert words(one, cell(replicas=5, throughputs=(50.0, 52.0, 49.0))) == ["met", "met", "missed"]
    assert words(cell((300, True), (400, False)))[0] == "missed"
    assert words(cell((400, True), (500, False)))[0] == "cannot tell"


def test_a_block_without_a_right_answer_is_not_fitted() -> None:
    its = [cell(replicas=n) for n in (1, 2)] + [cell(replicas=3, throughputs=(0.0, 90.0, 90.0))]
    assert fits(its) == {}


def test_the_parts_of_a_rung_come_together_in_their_proportion_and_rungs_one_after_the_other() -> None:
    parts = [Part("looking", [(0.9, SITE)]), Part("buying", [(0.1, SITE)])]
    low_looking, low_buying, high_looking, high_buying = rungs(parts, [100, 200], 2.0)
    assert (low_looking.rate, low_buying.rate, high_looking.rate, high_buying.rate) == (90, 10, 180, 20)
    assert low_looking.start == low_buying.start
    assert high_looking.start is not None
    assert low_buying.start is not None
    assert high_looking.start >= low_buying.start + low_buying.seconds + low_buying.spread


def test_a_ratio_of_blocks_that_are_no_pairs_holds_the_truth() -> None:
    found = results.ratio_of_means([10.0, 11, 9, 10], [5.0, 5.5, 4.5, 5], 0.95)
    assert isinstance(found, Ratio)
    assert found.value == pytest.approx(2, rel=0.01)
    assert found.low <= 2 <= found.high
    wider = results.ratio_of_means([10.0, 11, 9, 10], [5.0, 5.5, 4.5, 5], 0.995)
    assert wider.low < found.low
    assert wider.high > found.high


def test_rungs_above_the_ladder_are_asked_for_and_written_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def drive(folder: Folder, blocks: Sequence[Block], **_: object) -> Driven:
        asked.append(folder.path.name)
        return Driven({}, {}, Ticks(np.array([]), {}, np.array([]), np.array([])), ())

    def read_rungs(folder: Folder) -> list[Rung]:
        ladders = folder.read("cell.json")["ladders"]
        return [Rung(rate, {"products": 0.01}, rate <= 130) for rates in ladders.values() for rate in rates]

    monkeypatch.setattr(experiment, "drive", drive)
    monkeypatch.setattr(experiment, "parts_of", lambda *_: [Part("products", [(1.0, SITE)])])
    monkeypatch.setattr(experiment, "warm_seconds", lambda *_: 1.0)
    monkeypatch.setattr(experiment, "watched", lambda *_: {})
    monkeypatch.setattr(cells, "throughputs", lambda *_: [100.0])
    monkeypatch.setattr(cells, "read_rungs", read_rungs)
    shop = cast(Shop, SimpleNamespace(settings=None))
    chosen = {"blocks": 3, "rungs": [0.65, 1.05], "rung_seconds": 1.5}
    assert experiment.measure(shop, "products", Folder(tmp_path), chosen) == ()
    assert asked == ["warm", "closed", "ladder", "climb-1", "climb-2"]
    written = Folder(tmp_path).read("cell.json")["ladders"]
    assert written == {"ladder": [65, 105], "climb-1": [121], "climb-2": [139]}


def test_of_what_was_not_answered_or_asked_once_no_ratio_is_known() -> None:
    for above, below in (([0.0, 1.0], [1.0, 1.0]), ([1.0], [1.0])):
        found = results.ratio_of_means(above, below, 0.95)
        assert (found.low, found.high) == (-math.inf, math.inf)


def test_the_worst_of_many_subjects_has_to_be_further_off_than_one_alone() -> None:
    best, most = (100.0, 102.0, 98.0), (74.0, 75.5, 72.5)
    alone = [cell(), cell(replicas=5, throughputs=most)]
    many = [
        replace(one, subject=name)
        for name in list(SUBJECTS)[:8]
        for one in (cell(throughputs=best), cell(replicas=5, throughputs=most))
    ]
    assert words(*alone)[-1] == "missed"
    assert words(*many)[-1] == "cannot tell"


def test_the_best_of_several_is_not_chosen_by_the_luck_of_its_blocks() -> None:
    """Each number of replicas is held against the most, and all of them have to leave enough."""
    low = cell(replicas=5, throughputs=(70.0, 71.0, 69.0))
    shares = results.kept_shares([cell(), cell(replicas=2, throughputs=(50.0, 51.0, 49.0)), low])
    assert shares["products"].value == pytest.approx(0.7, rel=0.01)


@pytest.mark.parametrize(
    ("bears", "asked"), [(100, []), (110, [115]), (120, [115, 132]), (9_999, [115, 132, 152, 175, 201, 231])]
)
def test_a_ladder_whose_top_is_borne_goes_on_until_a_rung_is_not(bears: float, asked: list[float]) -> None:
    climbed: list[float] = []

    def borne(rate: float) -> bool:
        climbed.append(rate)
        return rate <= bears

    climb(100, bears > 100, borne)
    assert climbed == asked


def test_visits_are_told_by_the_actions_that_one_is() -> None:
    journey = replace(cell((300, True), (450, False)), subject="journey")
    [visits] = [table for table in results.tables([journey], {}) if table.title.startswith("Visits")]
    assert visits.title.endswith("of 3 actions each")
    assert visits.rows == [["1", "100 to 150"]]
