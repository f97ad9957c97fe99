"""The experiment on capacity: the scalability law finds what was planted, and a knee is where the ladder says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from tests.experiments.capacity import cells, experiment, results
from tests.experiments.capacity.cells import SERVER, Cell, Rung, Visit, fits
from tests.experiments.capacity.experiment import EXPERIMENT, climb, order, rungs
from tests.experiments.capacity.law import Fit, fit, throughput
from tests.experiments.capacity.plots import draw_cells
from tests.experiments.capacity.subjects import SUBJECTS, Part
from tests.experiments.capacity.visits import Visits
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.driving import Block, Driven, Request
from tests.experiments.common.folder import Folder
from tests.experiments.common.shop import Shop

COUNTS = (1, 2, 3, 4, 5)
SITE = Request("http://127.0.0.1/")


def planted(rate: float, contention: float, coherency: float, noise: float = 0.02) -> Fit:
    chance = np.random.default_rng(7)
    truth = throughput(COUNTS, rate, contention, coherency)
    visits = {
        n: [x * (1 + noise * chance.standard_normal()) for _ in range(6)]
        for n, x in zip(COUNTS, truth, strict=True)
    }
    return fit(Visits(visits), resamples=100)


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
    found = fit(Visits({1: [100.0], 2: [200.0], 3: [50.0], 4: [210.0]}))
    assert found.misfit > 0.3


def test_points_further_from_the_curve_than_visits_scatter_do_not_follow_the_law() -> None:
    def of(*throughputs: float) -> Fit:
        measured = zip((1, 2, 3, 5), throughputs, strict=True)
        return fit(Visits({n: [0.98 * x, x, 1.02 * x] for n, x in measured}), resamples=20)

    assert of(693, 575, 583, 596).follows is False
    assert of(*throughput((1, 2, 3, 5), 693, 0.9, 0.03)).follows is True
    assert planted(1_000, 0.3, 0.05).follows is True
    three = Visits({1: [100.0, 101.0], 2: [150.0, 151.0], 3: [170.0, 171.0]})
    assert fit(three, resamples=20).follows is None


def test_a_parameter_at_the_fits_bound_has_no_interval() -> None:
    measured = ((1, 1699), (2, 1612), (3, 1553), (5, 1570))
    found = fit(Visits({n: [0.98 * x, x, 1.02 * x] for n, x in measured}), resamples=20)
    assert found.contention.value == pytest.approx(1)
    assert (found.contention.low, found.contention.high) == (-math.inf, math.inf)
    assert found.coherency.high < 1
    [law] = [table for table in results.tables([], {"orders": found}) if "law" in table.title]
    assert "1.00, the fit's bound" in law.rows[0]


def test_two_numbers_of_replicas_tell_no_law() -> None:
    with pytest.raises(ValueError, match="3 numbers"):
        fit(Visits({1: [1.0, 1.0], 2: [2.0, 2.0]}))


def test_of_one_visit_to_each_number_the_law_is_drawn_and_no_interval_is_known() -> None:
    found = fit(Visits({n: [x] for n, x in ((1, 100.0), (2, 150.0), (3, 170.0), (4, 175.0))}))
    assert all(
        (one.low, one.high) == (-math.inf, math.inf) for one in (found.rate, found.contention, found.peak)
    )
    assert found.follows is None
    assert not found.band
    [law] = [table for table in results.tables([], {"orders": found}) if "law" in table.title]
    assert not any("(" in shown or "bound" in shown or "inf" in shown for shown in law.rows[0])


LADDER = ((600.0, True), (800.0, False))


def visit(
    *borne: tuple[float, bool],
    throughput: float = 100.0,
    cpu: float = 0.001,
    scatter: Sequence[float] = (1, 1, 1),
) -> Visit:
    ladder = [Rung(rate, {"products": 0.01}, held) for rate, held in borne or LADDER]
    blocks = [throughput * share for share in scatter]
    return Visit(blocks, {group: [share * cpu / 4 for share in scatter] for group in SERVER}, ladder)


def cell(
    *ladder: tuple[float, bool], replicas: int = 1, throughputs: Sequence[float] = (99.0, 101.0),
    cpu: Sequence[float] = (0.00101, 0.00099),
) -> Cell:  # fmt: skip
    """With a visit for each throughput and processor time."""
    both = zip(throughputs, cpu, strict=True)
    return Cell("products", replicas, [visit(*ladder, throughput=one, cpu=other) for one, other in both])


def once(
    *ladder: tuple[float, bool], replicas: int = 1, throughput: float = 100.0, cpu: float = 0.001
) -> Cell:
    return cell(*ladder, replicas=replicas, throughputs=[throughput], cpu=[cpu])


@pytest.mark.parametrize(
    ("ladder", "knee"),
    [
        ([(400, True), (600, True), (800, False)], (600, 800)),
        ([(400, True), (600, True)], (600, math.inf)),
        ([(400, False), (600, False)], (0, 400)),
        ([(400, False), (600, True), (800, False)], (0, 400)),
        ([(400, True), (600, False), (800, True), (920, False)], (400, 600)),
    ],
)
def test_the_knee_is_below_the_lowest_rate_that_was_not_borne(
    ladder: list[tuple[float, bool]], knee: tuple[float, float]
) -> None:
    found = visit(*ladder).knee
    assert (found.value, found.low, found.high) == (knee[0], *knee)


def test_the_knees_of_several_visits_are_told_from_the_lowest_to_the_highest() -> None:
    both = [visit((400, True), (600, False)), visit((400, True), (500, True), (700, False))]
    found = Cell("products", 1, both).knee
    assert (found.value, found.low, found.high) == (450, 400, 700)


def test_a_knee_is_no_figure_with_an_interval() -> None:
    told = {one.name: one for one in results.figures([cell(), cell(replicas=5)], {})}
    knee, throughput = (told[f"{name}, products, 1 replica"] for name in ("knee", "throughput"))
    assert (knee.value, knee.low, knee.high) == (600, -math.inf, math.inf)
    assert 90 < throughput.low < throughput.value < throughput.high < 110


def test_a_second_of_a_processor_is_shared_by_all_that_serve() -> None:
    assert cells.per_core([once(cpu=0.002)]).mean(1).value == pytest.approx(500)


def words(*its: Cell) -> list[str]:
    return [one.word for one in results.verdicts(its)]


def test_goals_are_met_missed_or_not_told_by_their_intervals() -> None:
    one = cell()
    assert words(one, cell(replicas=5)) == ["met", "met", "met"]
    assert words(one, cell(replicas=5, cpu=(0.00151, 0.00149))) == ["met", "missed", "met"]
    assert words(one, cell(replicas=5, throughputs=(50.0, 51.0))) == ["met", "met", "missed"]
    assert words(cell((300, True), (400, False)))[0] == "missed"
    assert words(cell((400, True), (500, False)))[0] == "cannot tell"


def test_visits_that_lie_further_apart_than_their_blocks_decide_nothing() -> None:
    """Each visit's blocks are alike, and the two visits are a fifth apart."""
    far = cell(replicas=5, throughputs=(63.0, 77.0))
    assert words(cell(throughputs=(90.0, 110.0)), far)[-1] == "cannot tell"


@pytest.mark.parametrize(
    ("throughput", "cpu", "word"),
    [
        (100, 0.0010, "met"),
        (87, 0.00116, "cannot tell"),
        (75, 0.00135, "cannot tell"),
        (70, 0.0015, "missed"),
    ],
)
def test_one_visit_tells_only_what_is_more_than_a_tenth_from_its_bound(
    throughput: float, cpu: float, word: str
) -> None:
    its = once(), once(replicas=5, throughput=throughput, cpu=cpu)
    assert words(*its)[1:] == [word, word]
    assert all("one visit" in one.found for one in results.verdicts(its)[1:])


def test_one_visit_whose_blocks_scatter_tells_no_more_than_they_do() -> None:
    its = [Cell("products", number, [visit(scatter=(0.8, 1, 1.2))]) for number in (1, 5)]
    assert words(*its)[1:] == ["cannot tell", "cannot tell"]


@pytest.mark.parametrize(
    ("ladder", "word"), [(((500, True), (700, False)), "cannot tell"), (((540, True), (700, False)), "met")]
)
def test_a_knee_tells_only_what_is_more_than_a_tenth_from_its_rungs(
    ladder: Sequence[tuple[float, bool]], word: str
) -> None:
    assert words(cell(*ladder))[0] == word


def test_a_block_without_a_right_answer_is_not_fitted() -> None:
    silent = Cell("products", 3, [visit(throughput=90.0, scatter=(0, 1, 1))] * 2)
    assert fits([*(cell(replicas=n) for n in (1, 2)), silent]) == {}
    assert len(fits([cell(replicas=n) for n in (1, 2, 3)])) == 1


def test_every_number_is_visited_up_and_down_again_and_as_late_as_the_others_in_the_mean() -> None:
    names = [name for name, _ in order(("products", "journey"), (1, 2), 2)]
    assert names == [
        "products-1", "journey-1", "products-2", "journey-2", "journey-2-2", "products-2-2", "journey-1-2", "products-1-2",
    ]  # fmt: skip
    assert {names.index(name) + names.index(f"{name}-2") for name in names[:4]} == {7}


def test_a_folder_of_one_visit_is_planned_and_read_as_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = {"subjects": ["products"], "replicas": [1, 2], "blocks": 3, "rungs": [0.65], "rung_seconds": 1.5}
    assert [step.name for step in EXPERIMENT.steps(chosen)] == ["products-1", "products-2"]
    monkeypatch.setattr(cells, "read_visit", lambda *_: visit())
    folder = Folder(tmp_path)
    for name in ("products-2", "products-1", "products-2-2"):
        folder.run(name).write("done.json", {})
    found = [(one.subject, one.replicas, len(one.visits)) for one in cells.read_cells(folder)]
    assert found == [("products", 1, 1), ("products", 2, 2)]


@pytest.mark.parametrize("of", [once, cell])
def test_cells_are_told_and_drawn_whether_visited_once_or_twice(
    of: Callable[..., Cell], tmp_path: Path
) -> None:
    its = [of(replicas=number) for number in (1, 2, 3, 5)]
    fitted = fits(its)
    [first, *_] = results.tables(its, fitted)
    assert [row[:3] for row in first.rows] == [
        ["products", str(n), str(len(its[0].visits))] for n in (1, 2, 3, 5)
    ]
    _, picture = draw_cells(tmp_path / "capacity.png", its, fitted)
    assert picture.stat().st_size > 10_000
    assert [len(cast(list[float], one["throughputs"])) for one in results.as_json(its)] == [
        3 * len(its[0].visits)
    ] * 4


def test_the_parts_of_a_rung_come_together_in_their_proportion_and_rungs_one_after_the_other() -> None:
    parts = [Part("looking", [(0.9, SITE)]), Part("buying", [(0.1, SITE)])]
    low_looking, low_buying, high_looking, high_buying = rungs(parts, [100, 200], 2.0)
    assert (low_looking.rate, low_buying.rate, high_looking.rate, high_buying.rate) == (90, 10, 180, 20)
    assert low_looking.start == low_buying.start
    assert high_looking.start is not None
    assert low_buying.start is not None
    assert high_looking.start >= low_buying.start + low_buying.seconds + low_buying.spread


def test_a_ratio_of_visits_holds_the_truth() -> None:
    visits = Visits({1: [5.0, 5.5, 4.5, 5], 2: [10.0, 11, 9, 10]})
    found = visits.ratio(2, 1, 0.95)
    assert found.value == pytest.approx(2, rel=0.01)
    assert found.low <= 2 <= found.high
    wider = visits.ratio(2, 1, 0.995)
    assert wider.low < found.low
    assert wider.high > found.high


def test_how_far_visits_lie_apart_is_told_by_all_numbers_together() -> None:
    """Student has 12.7 standard errors for one degree of freedom, and 4.3 for two."""
    alone, both = Visits({1: [98.0, 102.0]}).mean(1), Visits({1: [98.0, 102.0], 2: [147.0, 153.0]}).mean(1)
    assert alone.low < both.low < both.value < both.high < alone.high
    assert math.log(both.high / both.value) == pytest.approx(4.303 * 0.02, rel=0.01)
    once = Visits({1: [100.0], 2: [150.0]}).mean(1)
    assert (once.value, once.low, once.high) == (pytest.approx(100), -math.inf, math.inf)


def test_a_visit_that_brought_nothing_leaves_nothing_known() -> None:
    found = Visits({1: [1.0, 1.0], 5: [0.0, 1.0]}).ratio(5, 1, 0.95)
    assert found.low < 1e-6
    assert found.high > 1e6


@pytest.mark.parametrize(
    ("bears", "driven", "climbed"),
    [
        (lambda rate: rate <= 130, ["ladder", "climb-1", "climb-2"], {"climb-1": [121], "climb-2": [139]}),
        (lambda rate: rate > 100, ["ladder", "ladder"], {}),
        (lambda rate: rate != 85, ["ladder"], {}),
    ],
    ids=["the ladder is borne", "the lowest is not", "one in the middle is not"],
)
def test_rungs_above_a_ladder_that_is_borne_are_asked_for_and_written_down(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bears: Callable[[float], bool],
    driven: list[str],
    climbed: dict[str, list[float]],
) -> None:
    asked: list[str] = []

    def drive(folder: Folder, blocks: Sequence[Block], **_: object) -> Driven:
        asked.append(folder.path.name)
        return Driven({}, {}, Ticks(np.array([]), {}, np.array([]), np.array([])), ())

    def read_rungs(folder: Folder) -> list[Rung]:
        ladders = folder.read("cell.json")["ladders"]
        return [Rung(rate, {"products": 0.01}, bears(rate)) for rates in ladders.values() for rate in rates]

    monkeypatch.setattr(experiment, "drive", drive)
    monkeypatch.setattr(experiment, "parts_of", lambda *_: [Part("products", [(1.0, SITE)])])
    monkeypatch.setattr(experiment, "warm_seconds", lambda *_: 1.0)
    monkeypatch.setattr(experiment, "watched", lambda *_: {})
    monkeypatch.setattr(cells, "throughputs", lambda *_: [100.0])
    monkeypatch.setattr(cells, "read_rungs", read_rungs)
    shop = cast(Shop, SimpleNamespace(settings=None))
    chosen = {"blocks": 3, "rungs": [0.65, 0.85, 1.05], "rung_seconds": 1.5}
    assert experiment.measure(shop, "products", Folder(tmp_path), chosen) == ()
    assert asked == ["warm", "closed", *driven]
    written = Folder(tmp_path).read("cell.json")["ladders"]
    assert written == {"ladder": [65, 85, 105], **climbed}


def test_the_worst_of_many_subjects_has_to_be_further_off_than_one_alone() -> None:
    most = (73.5, 74.5)
    alone = [cell(), cell(replicas=5, throughputs=most)]
    many = [replace(one, subject=name) for name in list(SUBJECTS)[:8] for one in alone]
    assert words(*alone)[-1] == "missed"
    assert words(*many)[-1] == "cannot tell"


def test_the_best_of_several_is_not_chosen_by_the_luck_of_its_visits() -> None:
    """Each number of replicas is held against the most, and all of them have to leave enough."""
    low = cell(replicas=5, throughputs=(69.5, 70.5))
    shares = results.kept_shares([cell(), cell(replicas=2, throughputs=(49.5, 50.5)), low])
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
