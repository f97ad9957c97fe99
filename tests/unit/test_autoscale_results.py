"""What the autoscaling experiment says of its runs, above all where it cannot tell."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.report import PROJECT
from localfaas.settings import Settings
from tests.experiments.autoscale import results, running, sending
from tests.experiments.autoscale.agreement import Agreement
from tests.experiments.autoscale.measures import Measures, Rise
from tests.experiments.autoscale.results import Run, samples, verdicts
from tests.experiments.autoscale.rule_sets import openfaas_ce, ours, shipped_thresholds
from tests.experiments.autoscale.shapes import SHAPES, Shape
from tests.experiments.autoscale.simulator import Function, simulate
from tests.experiments.common.folder import Folder

AGREED = Agreement(share=1.0, furthest=0.0, notification_interval=20.0, predicted=())


def measures(*served_after: float | None, lasted: float = 60.0, lost: int = 0, down: int = 1) -> Measures:
    rises = tuple(Rise(at=30.0, lasted=lasted, served_after=one, enough_after=one) for one in served_after)
    return Measures(rises, 0, 0, 1, 1, 0, 0, lost, down, 0, 0, 100)


def run(mine: Measures, theirs: Measures) -> Run:
    return Run("step-1", "step", {}, {"ours": mine, "ce": theirs}, {"ours": AGREED, "ce": AGREED}, 0.0, 0.2)


@pytest.mark.parametrize(
    ("mine", "theirs", "word"),
    [
        ([16.0], [100.0], "met"),
        ([40.0], [100.0], "missed"),
        ([19.0], [None], "met"),
        ([21.0], [None], "cannot tell"),
        ([None], [50.0], "missed"),
        ([33.0], [100.0], "met"),
        ([40.0, 0.0, 0.0], [100.0, 100.0, 100.0], "missed"),
        ([], [], "cannot tell"),
    ],
)
def test_a_jump_speaks_for_the_goal_only_where_it_lasted_long_enough(
    mine: list[float | None], theirs: list[float | None], word: str
) -> None:
    """A third of 60 s is 20; replicas that are still there from an earlier jump prove nothing."""
    assert verdicts([run(measures(*mine), measures(*theirs))] * 3)[0].word == word


def test_jumps_whose_interval_has_a_third_in_it_tell_nothing() -> None:
    runs = [run(measures(mine), measures(100.0)) for mine in (16.0, 19.0, 32.0)]
    assert verdicts(runs)[0].word == "cannot tell"


@pytest.mark.parametrize(("lost", "down", "word"), [(0, 1, "met"), (1, 1, "missed"), (0, 0, "cannot tell")])
def test_one_lost_request_is_one_too_many_and_without_a_step_down_nothing_is_told(
    lost: int, down: int, word: str
) -> None:
    mine = measures(10.0, lost=lost, down=down)
    told = {one.goal: one.word for one in verdicts([run(mine, measures(50.0))])}
    assert told["no request lost when replicas are taken away"] == word


def test_a_table_says_never_where_it_never_came_to_that() -> None:
    (table,) = results.tables([run(measures(16.0), measures(None)), run(measures(18.0), measures(90.0))])
    first = next(row for row in table.rows if row[0].startswith("seconds from the first jump until p99"))
    assert first[1:] == ["17 (16 to 18)", "90, never in 1 of 2"]


def test_samples_have_every_second_of_both_functions() -> None:
    function, shape = Function(maximum=2), SHAPES["spike"]
    by_rules = {
        rules.name: simulate(shape, function, rules, seed=1)
        for rules in (ours(shipped_thresholds()), openfaas_ce())
    }
    head, *rows = samples(Run("spike-1", "spike", by_rules, {}, {}, 0.0, 0.0), function)
    assert len(rows) == 2 * int(shape.duration)
    mine = [dict(zip(head, row, strict=True)) for row in rows if row[1] == "ours"]
    answered = sum(one["answered"] for one in mine)
    assert answered == pytest.approx(sum(one.status == 200 for one in by_rules["ours"].requests), abs=5)
    assert any("hold" in one["alerts"] for one in mine)
    assert mine[-1]["alerts"] == ""


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_request_is_due_once_the_rate_has_brought_as_many(shape: Shape) -> None:
    count = 400
    moments = [shape.due(number) for number in range(count)]
    step = 0.001
    brought, at = 0.0, 0
    for tick in range(int(shape.duration / step)):
        while at < count and moments[at] <= tick * step:
            assert brought == pytest.approx(at + 1, abs=0.2)
            at += 1
        brought += step * shape.rate(tick * step)
    assert at == count


def driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: float) -> tuple[Folder, list[str]]:
    """A run of the step in which every tenth request leaves so late; each takes 50 ms."""

    def sent(script: Path, output: Path, environment: Any) -> None:
        rows = ["metric_name,timestamp,metric_value,scenario,status,extra_tags,metadata"]
        rows.append("load_began,0,1000000,,,,")
        for name in ("ours", "ce"):
            for number in range(200):
                left = 1000 + SHAPES["step"].due(number) + 0.25 + (late if number % 10 == 9 else 0.0)
                rows.append(f"answer,{round(1e6 * (left + 0.05))},50,{name},200,ok=1,i={number}&d=250.000")
        output.write_text("\n".join(rows) + "\n")

    monkeypatch.setattr(sending.k6, "start", sent)
    monkeypatch.setattr(sending.k6, "finish", lambda *_: None)
    monkeypatch.setattr(running, "wait_for_rest", lambda _: None)
    monkeypatch.setattr(running, "recorded", lambda *_: {'ALERTS{alertstate="firing"}': []})
    monkeypatch.setattr(running, "Watch", lambda *_: nullcontext(SimpleNamespace(seen=[])))
    folder = Folder(tmp_path)
    return folder, running.run_once(Settings(PROJECT, tmp_path), SHAPES["step"], Function(), folder)


def test_a_request_counts_from_when_it_was_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, reasons = driven(tmp_path, monkeypatch, 0.5)
    assert reasons == ["10.0% of the requests left more than 100 ms late (at most 2%)"]
    for one in running.trajectories(folder).values():
        assert sorted(round(request.seconds, 3) for request in one.requests) == [0.05] * 180 + [0.55] * 20
    assert {path.name for path in tmp_path.iterdir()} >= {"answers.csv.gz", "samples.hlog"}


def test_a_run_that_was_sent_in_time_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert driven(tmp_path, monkeypatch, 0.05)[1] == []
