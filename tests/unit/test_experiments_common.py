"""The common ground of the experiments: what is believed, how runs are made again, and how two are told apart."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.quantiles import FEWEST_BLOCKS, Ratio, over_blocks, quantile, quantile_interval
from benchmarks.report import PROJECT, BenchmarkError, machine
from localfaas.settings import Settings
from tests.experiments import __main__ as laboratory
from tests.experiments.__main__ import ORDER, names
from tests.experiments.common import answers, bare, index, proof
from tests.experiments.common.answers import Answers
from tests.experiments.common.clocks import CLIENT, Clocks, Ticks
from tests.experiments.common.compare import by_chance, compare
from tests.experiments.common.driving import Block, Driven, Request, interleaved, load
from tests.experiments.common.experiment import (
    NOT_MADE,
    STOPPED,
    UNPROVEN,
    Conclusion,
    Experiment,
    Step,
    conclude,
    main,
    make_runs,
    still_good,
    unfinished,
)
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import interval, said
from tests.experiments.common.report import Figure, Verdict, at_least, at_most, every
from tests.experiments.common.validity import Limits, objections

QUIET = Ticks(np.arange(0.0, 5.0, 0.1), {}, np.zeros(50), np.full(50, 0.3))


def block(count: int = 200, late: float = 0.0, status: int = 200) -> Answers:
    zeros = np.zeros(count)
    return Answers(
        np.arange(count) / 100,
        zeros + late,
        zeros + 0.002,
        np.full(count, status),
        np.full(count, status == 200),
    )


# What is believed


@pytest.mark.parametrize(
    ("blocks", "dropped", "ticks", "word"),
    [
        ({"b": block(late=0.02)}, 0, QUIET, "left more than 10 ms late"),
        ({"b": block(status=500)}, 0, QUIET, "200 × 500"),
        ({"b": block(status=0)}, 0, QUIET, "200 × no answer"),
        ({"b": block()}, 3, QUIET, "3 requests were not sent"),
        ({"b": block()}, 0, Ticks(QUIET.at, {}, np.full(50, 0.2), QUIET.busy), "the hypervisor took 20%"),
    ],
)
def test_a_spoilt_run_is_not_believed(
    blocks: dict[str, Answers], dropped: int, ticks: Ticks, word: str
) -> None:
    (reason,) = objections(blocks, dropped, ticks, Limits(), open_blocks={"b"})
    assert word in reason


def busy(own: float = 0.3, seconds: float = 10.0, **spells: float) -> Ticks:
    """Two processors, `own` of whose time k6 takes, with what `steal` and `others` take in the second from 4 on."""
    at = np.arange(0.0, seconds, 0.1)
    then = (at >= 4) & (at < 5)
    steal, others = (spells.get(name, 0.0) * then for name in ("steal", "others"))
    return Ticks(at, {CLIENT: own * 2 * at}, steal, own + steal + others)


def test_a_second_that_was_stolen_is_not_lost_in_the_mean() -> None:
    ticks = busy(seconds=20, steal=0.4)
    assert ticks.stolen() < 0.05
    (reason,) = objections({"b": block()}, 0, ticks, Limits(), open_blocks={"b"})
    assert "in one second the hypervisor took 40% of the processors" in reason


def test_a_neighbour_is_what_no_group_accounts_for() -> None:
    """Ten seconds of two processors, three quarters busy: 15 s, of which 6 are the hops' and 4 k6's."""
    at = np.linspace(0.0, 10.0, 101)
    groups = {"replica": 0.4 * at, "PostgreSQL": 0.2 * at, CLIENT: 0.4 * at}
    ticks = Ticks(at, groups, np.zeros(101), np.full(101, 0.75))
    assert ticks.of_others(2) == pytest.approx(0.25)
    (reason,) = objections({"b": block()}, 0, ticks, Limits(), open_blocks={"b"})
    assert reason == "other work took 25% of the processors (at most 15%)"


def test_nobody_is_a_neighbour_where_not_all_is_watched() -> None:
    assert Ticks(QUIET.at, {"replica": QUIET.at}, QUIET.steal, QUIET.busy).of_others(2) == 0


def in_rounds(folder: Folder, ticks: Ticks, rounds: int = 10, silent: str = "") -> Driven:
    """A run of two arms with a block of half a second each in every round, read back."""
    arms = {f"b{place}": ("a", "b")[place % 2] for place in range(2 * rounds)}
    found = {
        name: replace(block(50), due=place / 2 + np.arange(50) / 100)
        for place, name in enumerate(arms)
        if name != silent
    }
    answers.write(folder.path / "answers.csv.gz", found)
    ticks.write(folder)
    rounds_of = {name: place // 2 for place, name in enumerate(arms)}
    folder.write("blocks.json", {"arms": arms, "rates": {}, "dropped": 0, "rounds": rounds_of})
    return load(folder)


@pytest.mark.parametrize("spell", ["steal", "others"])
def test_a_round_in_which_the_machine_was_not_ours_is_left_out_of_all_arms(
    tmp_path: Path, spell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    driven = in_rounds(Folder(tmp_path), busy(**{spell: 0.4}))
    assert driven.rejected == []
    assert driven.left_out == {"b8", "b9"}
    for arm in ("a", "b"):
        assert [int(one.due[0]) for one in driven.of(arm)] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_run_that_loses_more_than_a_fifth_of_its_rounds_is_not_believed(tmp_path: Path) -> None:
    quiet = busy()
    (reason,) = in_rounds(Folder(tmp_path), replace(quiet, steal=np.where(quiet.at >= 7, 0.1, 0.0))).rejected
    assert reason == "3 of 10 rounds were disturbed: the hypervisor took 10% of the processors (at most 5%)"


def test_arms_keep_the_same_rounds_where_one_of_them_is_silent(tmp_path: Path) -> None:
    driven = in_rounds(Folder(tmp_path), busy(), silent="b7")
    assert [len(driven.of(arm)) for arm in ("a", "b")] == [9, 9]
    assert driven.rejected == ["nothing came back of b (b7)"]


def test_a_process_that_has_gone_counts_with_what_it_took() -> None:
    works = "print(sum(range(10**6)), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", works], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with Clocks({"gone": [child.pid], "here": []}) as clocks:
            clocks.follow("here", os.getpid())
            child.communicate(b"\n")
            clocks._look()
    gone, here = (clocks.ticks.groups[name] for name in ("gone", "here"))
    assert gone[-1] >= gone[0] > 0
    assert here[-1] > 0


def test_a_clean_run_is_believed() -> None:
    assert objections({"b": block()}, 0, QUIET, Limits(), open_blocks={"b"}) == []


def test_a_closed_block_cannot_be_late() -> None:
    assert objections({"b": block(late=0.5)}, 0, QUIET, Limits(), open_blocks=()) == []


# Answers


def test_a_request_that_left_late_counts_from_when_it_was_due() -> None:
    mixed = Answers(
        np.zeros(2), np.array([0.004, 0.3]), np.array([0.002, 0.002]), np.full(2, 200), np.full(2, True)
    )
    assert mixed.seconds.tolist() == [0.002, 0.302]


def test_answers_are_read_back_as_they_were(tmp_path: Path) -> None:
    written = {"b0": block(7), "b1": block(3, late=0.25, status=503)}
    answers.write(tmp_path / "answers.csv.gz", written)
    read = answers.read(tmp_path / "answers.csv.gz")
    assert list(read) == list(written)
    for name, one in written.items():
        for column in ("due", "late", "took", "status", "ok"):
            assert np.allclose(getattr(read[name], column), getattr(one, column), atol=1e-6)


def test_histograms_are_read_by_hdrhistograms_own_reader(tmp_path: Path) -> None:
    answers.write_histograms(tmp_path / "samples.hlog", {"b0": block(200, late=0.5)}, {"b0": "edge"})
    reader = HistogramLogReader(str(tmp_path / "samples.hlog"), HdrHistogram(1, 120_000_000, 3))
    histogram = reader.get_next_interval_histogram()
    reader.close()
    assert histogram.get_total_count() == 200
    assert histogram.get_tag() == "edge"
    assert abs(histogram.get_value_at_percentile(50) - 502_000) < 1_000


# Statistics


def test_the_interval_of_a_median_is_le_boudecs() -> None:
    """His table A.1: of 100 samples, the 40th and the 61st."""
    found = quantile_interval(np.arange(1, 101), 0.5)
    assert (found.value, found.low, found.high) == (50, 40, 61)


def test_the_interval_of_a_quantile_holds_the_truth_19_times_of_20() -> None:
    chance = np.random.default_rng(1)
    truth = -np.log(1 - 0.9)
    intervals = [quantile_interval(chance.exponential(size=300), 0.9) for _ in range(400)]
    assert 0.92 <= np.mean([one.low <= truth <= one.high for one in intervals]) <= 0.99


def test_too_few_samples_leave_an_end_open() -> None:
    assert quantile_interval(range(1, 20), 0.99).high == np.inf


@given(st.lists(st.integers(1, 1000), min_size=FEWEST_BLOCKS, max_size=30))
def test_a_figure_over_blocks_lies_within_what_was_measured(values: list[int]) -> None:
    found = over_blocks([[[value] for value in values]], lambda arms: quantile(arms[0], 0.5), resamples=50)
    assert min(values) <= found.low <= found.high <= max(values)


# Plans


def test_arms_take_turns_in_random_order() -> None:
    arms = {name: Block(name, Request("http://127.0.0.1/"), 1, rate=10) for name in ("a", "b", "c")}
    rounds = [{one.arm for one in interleaved(arms, 4)[start : start + 3]} for start in range(0, 12, 3)]
    assert rounds == [{"a", "b", "c"}] * 4
    assert [one.round for one in interleaved(arms, 2)] == [0, 0, 0, 1, 1, 1]


def test_a_block_is_either_open_or_closed() -> None:
    with pytest.raises(ValueError, match="needs a rate or users"):
        Block("a", Request("http://127.0.0.1/"), 1)


# Runs


class Counting(Experiment):
    """An experiment of the tests."""

    name = "counting"
    title = "How many?"
    question = "How many?"
    method = ("One counts.",)
    pauses = (0.0, 0.0)

    def __init__(self, spoilt: Mapping[str, int]) -> None:
        self.left, self.made = dict(spoilt), list[str]()

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [Step("one", 1), Step("two", 1)]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[None]:
        yield

    def run(self, stage: None, step: Step, folder: Folder) -> Sequence[str]:
        self.made.append(step.name)
        folder.write("count.json", len(self.made))
        self.left[step.name] = self.left.get(step.name, 0) - 1
        return ["spoilt"] if self.left[step.name] >= 0 else []

    def conclude(self, folder: Folder) -> Conclusion:
        counts = [folder.run(name).read("count.json") for name in folder.done_runs()]
        return Conclusion([Verdict("some", str(sum(counts)), True)], [figure(sum(counts))], [])


def figure(value: float, spread: float = 0.01, better: str = "lower") -> Figure:
    return Figure("count", "", value, value * (1 - spread), value * (1 + spread), better)


def made(tmp_path: Path, experiment: Experiment, **settings: Any) -> Folder:
    folder = Folder.new(tmp_path, experiment.name, settings)
    make_runs(experiment, Settings(PROJECT, tmp_path), folder, Console(quiet=True))
    return folder


def test_a_rejected_run_is_made_again_and_not_counted(tmp_path: Path) -> None:
    folder = made(tmp_path, Counting({"one": 2}))
    assert folder.done_runs() == ["one", "two"]
    assert folder.run("one").read("count.json") == 3
    assert [entry["why"] for entry in folder.read("rejected.json")] == [["spoilt"], ["spoilt"]]


def test_a_run_that_is_always_rejected_ends_the_experiment(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="two was rejected 3 times"):
        made(tmp_path, Counting({"two": 3}))


def test_an_interrupted_experiment_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError):
        made(tmp_path, Counting({"two": 3}))
    (path,) = (tmp_path / "experiments").iterdir()
    again = Counting({})
    make_runs(again, Settings(PROJECT, tmp_path), Folder(path), Console(quiet=True))
    assert again.made == ["two"]
    assert Folder(path).done_runs() == ["one", "two"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Types a command for an experiment that keeps its folders in `tmp_path`; the keys for stopping stay as they are."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setattr(bare, "look", lambda folder: folder.append(bare.FILE, {"p50_ms": 0.2}))
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield main
    for number, handler in kept.items():
        signal.signal(number, handler)


def the_folder(tmp_path: Path) -> Folder:
    (path,) = (tmp_path / "experiments").glob("counting-*")
    return Folder(path)


def stopped(tmp_path: Path, typed: Callable[..., int], *arguments: str) -> Folder:
    """The folder of an experiment that did not get beyond its first run."""
    assert typed(Counting({"two": 3}), arguments) == NOT_MADE
    return the_folder(tmp_path)


def test_a_folder_is_gone_on_in_with_its_own_settings_alone(
    tmp_path: Path, typed: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    prove(tmp_path)
    folder = stopped(tmp_path, typed)
    for other in ("--draft", "--full"):
        assert typed(Counting({}), ["--resume", str(folder.path), other]) == NOT_MADE
    assert "was begun with other settings" in capsys.readouterr().out
    assert typed(Counting({}), ["--resume", str(folder.path)]) == 0


def test_a_draft_stays_one_and_asks_for_no_proof(tmp_path: Path, typed: Callable[..., int]) -> None:
    class Failing(Counting):
        def run(self, stage: None, step: Step, folder: Folder) -> Sequence[str]:
            raise BenchmarkError("no")

    assert typed(Failing({}), ["--draft"]) == NOT_MADE
    folder = the_folder(tmp_path)
    assert typed(Counting({}), ["--resume", str(folder.path)]) == 0
    assert [one["word"] for one in folder.read("result.json")["verdicts"]] == ["cannot tell"]


@pytest.mark.parametrize("what", ["commit", "processor"])
def test_runs_of_two_commits_or_machines_are_no_one_result(
    tmp_path: Path, typed: Callable[..., int], capsys: pytest.CaptureFixture[str], what: str
) -> None:
    prove(tmp_path)
    folder = stopped(tmp_path, typed)
    about = folder.settings
    changed = (
        {"commit": "another"} if what == "commit" else {"machine": {**about["machine"], what: "another"}}
    )
    folder.write("settings.json", {**about, **changed})
    assert typed(Counting({}), ["--resume", str(folder.path)]) == NOT_MADE
    assert f"was begun with another {what}" in capsys.readouterr().out


def test_a_conclusion_is_drawn_anew_without_a_proof(tmp_path: Path, typed: Callable[..., int]) -> None:
    folder = made(tmp_path, Counting({}), draft=False)
    folder.write("settings.json", {**folder.settings, "commit": "another"})
    assert typed(Counting({}), ["--resume", str(folder.path)]) == 0


def test_a_report_tells_the_whole_command(tmp_path: Path, typed: Callable[..., int]) -> None:
    class Choosing(Counting):
        def options(self, parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--subjects")

    assert typed(Choosing({}), ["--full", "--draft", "--subjects", "a,b"]) == 0
    command = "make experiment name=counting full=1 draft=1 more=&#34;--subjects a,b&#34;"
    assert command in (the_folder(tmp_path).path / "report.html").read_text()


class Staged(Counting):
    """Is sent a signal in its second run, and again while its stage is taken down."""

    closed = False

    def __init__(self, number: signal.Signals) -> None:
        super().__init__({})
        self.number = number

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[None]:
        try:
            yield
        finally:
            os.kill(os.getpid(), self.number)
            self.closed = True

    def run(self, stage: None, step: Step, folder: Folder) -> Sequence[str]:
        if step.name == "two":
            os.kill(os.getpid(), self.number)
        return super().run(stage, step, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_an_experiment_once_and_its_stage_is_taken_down(
    tmp_path: Path, typed: Callable[..., int], capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    prove(tmp_path)
    staged = Staged(number)
    assert typed(staged, []) == STOPPED
    assert staged.closed
    folder = the_folder(tmp_path)
    assert f"resume={folder.path}" in capsys.readouterr().out.replace("\n", "")
    again = Counting({})
    assert typed(again, ["--resume", str(folder.path)]) == 0
    assert again.made == ["two"]


def test_a_signal_while_the_stage_is_taken_down_after_all_runs_changes_nothing(
    tmp_path: Path, typed: Callable[..., int]
) -> None:
    class Late(Staged):
        run = Counting.run

    prove(tmp_path)
    late = Late(signal.SIGINT)
    assert typed(late, []) == 0
    assert late.closed


def test_what_is_started_to_outlive_its_terminal_does(tmp_path: Path, typed: Callable[..., int]) -> None:
    prove(tmp_path)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    staged = Staged(signal.SIGHUP)
    assert typed(staged, []) == 0
    assert staged.made == ["one", "two"]


def test_a_run_is_left_out_once_those_before_tell_enough(tmp_path: Path) -> None:
    class Satisfied(Counting):
        def needless(self, step: Step, folder: Folder) -> bool:
            return step.name == "two" and folder.done_runs() == ["one"]

    assert made(tmp_path, Satisfied({})).done_runs() == ["one"]


def test_a_conclusion_is_a_result_a_report_and_a_line_of_the_index(tmp_path: Path) -> None:
    folder = made(tmp_path, Counting({}))
    conclude(Counting({}), folder)
    assert folder.read("result.json")["figures"][0]["value"] == 3
    assert "How many?" in (folder.path / "report.html").read_text()
    assert f'href="{folder.path.name}/report.html"' in (folder.path.parent / "index.html").read_text()


def test_a_report_says_what_was_left_out(tmp_path: Path) -> None:
    folder = made(tmp_path, Counting({}))
    folder.run("one").write("left_out.json", {"blocks": 2, "of": 20})
    conclude(Counting({}), folder)
    said = "Left out of one, as the machine was not ours in their rounds: 2 of 20 blocks."
    assert said in (folder.path / "report.html").read_text()


def test_no_verdict_of_a_draft_counts(tmp_path: Path) -> None:
    told = conclude(Counting({}), made(tmp_path, Counting({}), draft=True))
    assert [one.word for one in told.verdicts] == ["cannot tell"]


def test_a_draft_keeps_a_rejected_run_and_its_report_says_so(tmp_path: Path) -> None:
    spoilt = Counting({"one": 3})
    folder = made(tmp_path, spoilt, draft=True)
    assert (spoilt.made, folder.done_runs()) == (["one", "two"], ["one", "two"])
    conclude(Counting({}), folder)
    assert "Rejected and kept, as this is a draft: one (spoilt)." in (folder.path / "report.html").read_text()


# Which there are


def test_an_experiment_is_known_by_its_folder(tmp_path: Path) -> None:
    assert set(ORDER) == set(names())
    for name in ("mine/experiment.py", "common/experiment.py", "notes/mine.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert names(tmp_path) == [*ORDER, "mine"]


# The proof


class Harness(Counting):
    """Concludes under the name of what proves the harness."""

    name = proof.NAME


def prove(state: Path, word: str = "met", **changed: str) -> None:
    folder = Folder.new(state, "harness", {})
    about = folder.settings
    document = {**about, "proof": {**about["proof"], **changed}, "verdicts": [{"word": word}]}
    folder.write("result.json", document)


def test_a_proof_stands_until_it_is_old_or_the_code_or_the_machine_is_another(tmp_path: Path) -> None:
    assert not proof.stands(tmp_path)
    prove(tmp_path)
    assert proof.stands(tmp_path)
    assert not proof.stands(tmp_path, datetime.now(UTC) + timedelta(hours=13))


@pytest.mark.parametrize(
    "changed", [{"word": "missed"}, {"code": "another"}, {"boot": "another"}, {"k6": "another"}]
)
def test_a_proof_that_failed_or_is_about_something_else_does_not_stand(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    prove(tmp_path, **changed)
    assert not proof.stands(tmp_path)


def test_a_conclusion_drawn_anew_does_not_renew_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, Harness({}))
    conclude(Harness({}), folder)
    assert proof.stands(tmp_path)
    monkeypatch.setattr(proof, "_CODE", ("load.js",))
    conclude(Harness({}), folder)
    assert not proof.stands(tmp_path)


def test_a_harness_that_cannot_be_made_ends_as_one_that_failed(
    tmp_path: Path,
    typed: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Spoilt(Harness):
        def briefly(self) -> dict[str, Any]:
            return {}

    monkeypatch.setattr("tests.experiments.harness.experiment.EXPERIMENT", Spoilt({"two": 9}))
    assert typed(Counting({}), []) == UNPROVEN
    assert "Go on with: make experiment name=harness resume=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("of_ladder", "made"),
    [(UNPROVEN, ["harness", "ladder"]), (STOPPED, ["harness", "ladder"]), (0, names())],
)
def test_nothing_is_asked_after_a_harness_that_failed_or_a_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of_ladder: int, made: list[str]
) -> None:
    asked: list[str] = []

    def answer(experiment: Experiment, _: Sequence[str]) -> int:
        asked.append(experiment.name)
        return of_ladder if experiment.name == "ladder" else 0

    monkeypatch.setattr(laboratory, "main", answer)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert laboratory.run_all([]) == of_ladder
    assert asked == made


@pytest.mark.parametrize(("second", "code"), [(0, 0), (NOT_MADE, NOT_MADE)])
def test_what_could_not_be_made_is_tried_once_more_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, second: int, code: int
) -> None:
    asked: list[str] = []

    def answer(experiment: Experiment, _: Sequence[str]) -> int:
        asked.append(experiment.name)
        return 0 if experiment.name != "balance" else second if "balance" in asked[:-1] else NOT_MADE

    monkeypatch.setattr(laboratory, "main", answer)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert laboratory.run_all([]) == code
    assert asked == [*laboratory.names(), "balance"]


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A checkout of the commit `one`, or of another."""

    def at(name: str) -> None:
        for module in ("experiment", "folder"):
            monkeypatch.setattr(f"tests.experiments.common.{module}.commit", lambda: name)

    at("one")
    return at


def conclude_counting(tmp_path: Path, **settings: Any) -> Folder:
    folder = made(tmp_path, Counting({}), **{"full": False, "draft": False, **settings})
    conclude(Counting({}), folder)
    return folder


def test_a_result_is_good_until_the_commit_is_another_or_files_differ_from_it(
    tmp_path: Path, unchanged: Callable[[str], None]
) -> None:
    assert still_good(Counting({}), tmp_path) is None
    folder = conclude_counting(tmp_path)
    assert still_good(Counting({}), tmp_path) == folder
    for other in ("two", "one+", ""):
        unchanged(other)
        assert still_good(Counting({}), tmp_path) is None


def test_a_proof_is_good_with_any_commit_and_goes_on_with_its_own_alone(
    tmp_path: Path, unchanged: Callable[[str], None]
) -> None:
    class Proof(Counting):
        name, proven = "harness", False

    folder = made(tmp_path, Proof({}), full=False, draft=False)
    unchanged("two")
    assert unfinished(Proof({}), tmp_path) is None
    conclude(Proof({}), folder)
    assert still_good(Proof({}), tmp_path) == folder


@pytest.mark.parametrize("settings", [{"full": True}, {"draft": True}, {"more": 1}])
def test_a_result_of_other_settings_is_another(
    tmp_path: Path, unchanged: Callable[[str], None], settings: dict[str, Any]
) -> None:
    conclude_counting(tmp_path, **settings)
    assert still_good(Counting({}), tmp_path) is None


def test_a_result_is_good_only_as_long_as_a_proof(tmp_path: Path, unchanged: Callable[[str], None]) -> None:
    folder = conclude_counting(tmp_path)
    early = datetime.now(UTC) - timedelta(hours=13)
    for changed in ({"at": early.isoformat()}, {"proof": {"code": "another"}}):
        Folder(folder.path).write("result.json", {**folder.read("result.json"), **changed})
        assert still_good(Counting({}), tmp_path) is None


def test_what_was_made_is_not_made_again_unless_it_is_asked_for(
    tmp_path: Path, unchanged: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(experiment: Experiment, _: Sequence[str]) -> int:
        ran.append(experiment.name)
        return 0

    monkeypatch.setattr(laboratory, "names", lambda: ["counting"])
    monkeypatch.setattr(laboratory, "experiment", lambda name: Counting({}))
    monkeypatch.setattr(laboratory, "main", run)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    conclude_counting(tmp_path)
    assert laboratory.run_all([]) == 0
    assert ran == []
    assert laboratory.run_all(["--anew"]) == 0
    assert ran == ["counting"]


def test_what_was_begun_is_gone_on_with_and_the_whole_is_estimated(
    tmp_path: Path,
    unchanged: Callable[[str], None],
    typed: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prove(tmp_path)
    folder = stopped(tmp_path, typed)
    capsys.readouterr()
    again = Counting({})
    monkeypatch.setattr(again, "steps", lambda chosen: [Step("one", 90), Step("two", 90)])
    monkeypatch.setattr(laboratory, "names", lambda: ["counting"])
    monkeypatch.setattr(laboratory, "experiment", lambda name: again)
    assert unfinished(again, tmp_path, ["--full"]) is None
    assert laboratory.run_all([]) == 0
    assert again.made == ["two"]
    assert (folder.path / "result.json").is_file()
    assert "1 of 1 are to be made, in up to 3 minutes." in capsys.readouterr().out
    assert laboratory.run_all([]) == 0
    assert "0 of 1 are to be made" in capsys.readouterr().out


# Two runs


def finished(tmp_path: Path, name: str, *figures: Figure, **settings: Any) -> Folder:
    folder = Folder(tmp_path / "experiments" / name)
    folder.path.mkdir(parents=True)
    about = {"experiment": "counting", "title": "How many?", "at": "2020-01-01T00:00:00+00:00", "commit": "c"}
    entries = [vars(one) for one in figures]
    folder.write(
        "result.json", {**about, "machine": {}, "settings": settings, "verdicts": [], "figures": entries}
    )
    return folder


@pytest.mark.parametrize(
    ("before", "after", "better", "word"),
    [
        (10.0, 12.0, "lower", "worse"),
        (10.0, 8.0, "lower", "better"),
        (10.0, 12.0, "higher", "better"),
        (10.0, 8.0, "higher", "worse"),
        (10.0, 12.0, "", "greater"),
        (10.0, 10.05, "lower", "the same"),
    ],
)
def test_runs_that_differ_are_told_apart(
    tmp_path: Path, before: float, after: float, better: str, word: str
) -> None:
    a = finished(tmp_path, "a", figure(before, better=better))
    b = finished(tmp_path, "b", figure(after, better=better))
    assert [one.word for one in compare(a, b)[0]] == [word]


def test_what_noise_could_explain_is_not_told_apart(tmp_path: Path) -> None:
    a, b = finished(tmp_path, "a", figure(10, 0.2)), finished(tmp_path, "b", figure(11, 0.2))
    ((difference,), _) = compare(a, b)
    assert difference.word == "cannot tell"
    assert difference.ratio.low < 1 < difference.ratio.high


ENDLESS = (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ((1.0, *ENDLESS), (2.0, *ENDLESS), "cannot tell"),
        ((1.0, *ENDLESS), (1.0, *ENDLESS), "cannot tell"),
        ((1.0, 0.9, 1.1), (2.0, *ENDLESS), "cannot tell"),
        ((1.22, 1.22, 1.22), (1.38, 1.38, 1.38), "cannot tell"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "the same"),
        ((0.0, 0.0, 0.0), (3.0, 3.0, 3.0), "cannot tell"),
    ],
)
def test_a_figure_without_an_interval_is_not_told_apart(
    tmp_path: Path, before: tuple[float, ...], after: tuple[float, ...], word: str
) -> None:
    a, b = (
        finished(tmp_path, name, Figure("count", "", *its)) for name, its in (("a", before), ("b", after))
    )
    assert [one.word for one in compare(a, b)[0]] == [word]


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ((650, 650, 850), (850, 850, 1050), "cannot tell"),
        ((650, 650, 850), (1050, 1050, 1250), "better"),
        ((650, 650, np.inf), (1050, 1050, 1250), "cannot tell"),
        ((650, 650, 850), (1050, 1050, np.inf), "better"),
    ],
)
def test_intervals_that_end_at_their_value_are_told_apart_only_where_they_do_not_meet(
    tmp_path: Path, before: tuple[float, ...], after: tuple[float, ...], word: str
) -> None:
    a, b = (
        finished(tmp_path, name, Figure("count", "", *its, "higher"))
        for name, its in (("a", before), ("b", after))
    )
    assert [one.word for one in compare(a, b)[0]] == [word]


def test_few_repeats_have_no_interval_and_a_table_shows_their_range() -> None:
    assert interval([3.0]) == interval([3.0, 4.0]) == ENDLESS
    assert interval([2.0, 3.0, 4.0]) == pytest.approx((0.516, 5.484), abs=0.001)
    assert (said([3.0]), said([3.0, 4.0], 1)) == ("3", "3.5 (3.0 to 4.0)")


def test_what_differs_beside_the_figures_is_said(tmp_path: Path) -> None:
    a, b = finished(tmp_path, "a", figure(1), full=True), finished(tmp_path, "b", figure(1), full=False)
    assert compare(a, b)[1] == ["full was True and False"]


def test_another_k6_or_database_is_said(tmp_path: Path) -> None:
    assert machine()["k6"].startswith("v") and machine()["postgresql"][0].isdigit()
    a, b = finished(tmp_path, "a", figure(1)), finished(tmp_path, "b", figure(1))
    b.write("result.json", {**b.read("result.json"), "machine": {"k6": "v1.1.0", "postgresql": "18.6"}})
    assert compare(a, b)[1] == ["postgresql was not told and 18.6", "k6 was not told and v1.1.0"]


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ([0.300, 0.304], [0.302, 0.308], "worse"),
        ([0.300, 0.304], [0.470, 0.472], "cannot tell"),
        ([0.300, 0.304], [0.301, 0.320], "cannot tell"),
        ([0.300, 0.304], [], "cannot tell"),
        ([0.300], [0.300, 0.304], "cannot tell"),
    ],
)
def test_time_and_rates_are_told_apart_only_where_a_bare_server_took_the_same(
    tmp_path: Path, before: list[float], after: list[float], word: str
) -> None:
    def of(name: str, took: list[float], value: float) -> Folder:
        figures = [
            replace(figure(value), name=unit, unit=unit)
            for unit in ("ms", "s", "requests/s", "", "MB an hour")
        ]
        folder = finished(tmp_path, name, *figures)
        for one in took:
            folder.append(bare.FILE, {"p50_ms": one})
        return folder

    differences, remarks = compare(of("a", before, 10), of("b", after, 12))
    words = {one.unit: one.word for one in differences}
    assert {words.pop(unit) for unit in ("", "MB an hour")} == {"worse"}
    assert set(words.values()) == {word}
    assert len(remarks) == (word == "cannot tell")


def test_it_is_said_why_time_was_not_compared(tmp_path: Path) -> None:
    a, b = (finished(tmp_path, name, Figure("p50", "ms", 10, 9, 11)) for name in ("a", "b"))
    for one in (0.19, 0.2):
        a.append(bare.FILE, {"p50_ms": one})
    assert "as b did not see how fast the machine was" in compare(a, b)[1][0]
    for one in (0.47, 0.46):
        b.append(bare.FILE, {"p50_ms": one})
    assert "took 0.190 to 0.200 and 0.460 to 0.470 ms" in compare(a, b)[1][0]


def test_how_fast_the_machine_is_is_seen_before_the_runs_and_after(
    tmp_path: Path, typed: Callable[..., int]
) -> None:
    prove(tmp_path)
    folder = stopped(tmp_path, typed)
    assert bare.seen(folder) == [0.2]
    for _ in range(2):  # the second time no run is left to be made
        assert typed(Counting({}), ["--resume", str(folder.path)]) == 0
        assert bare.seen(folder) == [0.2] * 3


def test_a_draft_does_not_look_how_fast_the_machine_is(tmp_path: Path, typed: Callable[..., int]) -> None:
    assert typed(Counting({}), ["--draft"]) == 0
    assert bare.seen(the_folder(tmp_path)) == []


def test_of_many_figures_some_are_told_apart_by_chance(tmp_path: Path) -> None:
    many = [Figure(str(number), "", 10, 9.9, 10.1) for number in range(84)]
    a = finished(tmp_path, "a", *many)
    b = finished(tmp_path, "b", *many[:-2], *(replace(one, value=20, low=19, high=21) for one in many[-2:]))
    assert by_chance(compare(a, b)[0]) == (
        "Told apart: 2 of 84; of as many that are alike, up to 4.2 would be by chance."
    )
    in_time = [
        finished(tmp_path, name, *many, replace(many[0], name="p50", unit="ms")) for name in ("c", "d")
    ]
    assert by_chance(compare(*in_time)[0]).startswith("Told apart: 0 of 84;")


def test_another_experiment_cannot_be_compared(tmp_path: Path) -> None:
    a, b = finished(tmp_path, "a", figure(1)), finished(tmp_path, "b", figure(1))
    b.write("result.json", {**b.read("result.json"), "experiment": "other"})
    with pytest.raises(BenchmarkError, match="different experiments"):
        compare(a, b)


def test_the_index_passes_over_what_is_not_a_result_of_today(tmp_path: Path) -> None:
    finished(tmp_path, "a", figure(1))
    old = tmp_path / "experiments" / "old"
    old.mkdir()
    (old / "result.json").write_text(json.dumps({"experiment": "counting", "verdicts": []}))
    assert "How many?" in index.write(tmp_path / "experiments").read_text()


@pytest.mark.parametrize(
    ("found", "up_to", "from_"),
    [
        (Ratio(2, 1, 3), True, False),
        (Ratio(5, 4.5, 6), False, True),
        (Ratio(3.9, 3.5, 4.2), None, None),
        (Ratio(3, -np.inf, np.inf), None, None),
    ],
)
def test_a_goal_is_judged_by_the_whole_interval(found: Ratio, up_to: bool | None, from_: bool | None) -> None:
    assert at_most(found, 4) is up_to
    assert at_least(found, 4) is from_


@pytest.mark.parametrize(
    ("parts", "all_"), [((True, True), True), ((True, None), None), ((None, False), False)]
)
def test_all_is_met_only_where_every_part_is(parts: tuple[bool | None, ...], all_: bool | None) -> None:
    assert every(*parts) is all_


def drawn(tmp_path: Path) -> str:
    return index.write(tmp_path / "experiments").read_text()


def test_the_index_follows_figures_of_all_runs_but_drafts(tmp_path: Path) -> None:
    finished(tmp_path, "a", figure(1), Figure("other", "", 5, 4, 6), full=True)
    finished(tmp_path, "b", figure(2), rounds=3)
    finished(tmp_path, "c", figure(9), draft=True)
    page = drawn(tmp_path)
    assert page.count("<circle") == 3
    assert page.count('<circle class="full"') == 2
    assert "5 (4–6)" in page
    assert "<title>2 (1.98–2.02): 2020-01-01T00:00:00+00:00, c, short, rounds 3</title>" in page


def test_a_figure_without_an_interval_has_no_bracket(tmp_path: Path) -> None:
    finished(tmp_path, "a", Figure("count", "", 3, *ENDLESS), Figure("knee", "", 650, 650, np.inf))
    page = drawn(tmp_path)
    assert "<td>3</td>" in page
    assert "<td>650 (650 or more)</td>" in page


def test_a_result_is_json_and_its_endless_ends_are_read_back(tmp_path: Path) -> None:
    a = finished(tmp_path, "a", Figure("knee", "", 650.0, 650.0, np.inf, "higher"))
    b = finished(tmp_path, "b", Figure("knee", "", 1050.0, 1050.0, 1250.0, "higher"))
    document = json.loads((a.path / "result.json").read_text(), parse_constant=pytest.fail)
    assert document["figures"][0]["high"] is None
    assert [one.word for one in compare(a, b)[0]] == ["cannot tell"]


def test_what_is_stopped_while_it_is_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.write("result.json", {"a": 1})

    def stop(path: Path, _: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.write("result.json", {"a": 2})
    assert folder.read("result.json") == {"a": 1}


def test_a_ratio_says_its_interval() -> None:
    assert Ratio(1.2345, 1.1, 1.3).said(2) == "1.23 (1.10–1.30)"
