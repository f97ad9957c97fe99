"""What every experiment is, and how it is run: a plan of runs, one folder, progress, interruption, a report.

An experiment has a question; its runs are planned, made one by one, and written down; its conclusion is drawn from what
was written, so that it can be drawn again. A run that may not be believed is made again, and not counted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import requests
from rich.console import Console

from benchmarks.report import BenchmarkError, load_settings, machine
from localfaas.settings import Settings, SettingsError
from tests.experiments.common import bare, index, proof
from tests.experiments.common.folder import Folder, commit
from tests.experiments.common.report import Figure, Report, Table, Verdict, write

NOT_MADE, UNPROVEN, STOPPED = 1, 3, 130
"""Exit codes."""
_FAILURES = (BenchmarkError, SettingsError, subprocess.TimeoutExpired, requests.RequestException)
"""What a run may fail with; anything else is a mistake in the code."""


class Unproven(BenchmarkError):
    """The harness does not measure truly now; the message says what it missed."""


@dataclass(frozen=True)
class Step:
    """One run that is to be made, and about how long it takes."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Conclusion:
    """What the runs say. Figures are what two folders are compared by and the index follows over time."""

    verdicts: Sequence[Verdict]
    figures: Sequence[Figure]
    tables: Sequence[Table]
    pictures: Sequence[tuple[str, Path]] = ()
    threats: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else result.json should hold."""


class Experiment(ABC):
    """One question. Its docstring is what `--help` says."""

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    method: ClassVar[Sequence[str]]
    proven: ClassVar[bool] = True
    """Whether it needs a harness that has proved itself; only the proof does not."""
    pauses: ClassVar[Sequence[float]] = (2.0, 10.0, 30.0)
    """Seconds before a rejected run is made again, each time; after the last of these attempts the experiment gives up.

    What disturbs a machine for a second often does so in the next one as well.
    """

    def options(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027  most have none
        """Options beside those that all have."""

    @abstractmethod
    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        """What was asked for, as settings.json keeps it. Raises BenchmarkError for what cannot be."""

    @abstractmethod
    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        """The runs, in the order in which they are made."""

    def needless(self, step: Step, folder: Folder) -> bool:
        """Whether what was written down so far tells enough without this run."""
        return False

    @abstractmethod
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """What all runs need, such as a platform of their own."""

    @abstractmethod
    def run(self, stage: Any, step: Step, folder: Folder) -> Sequence[str]:
        """Make one run and write down what was seen; why it may not be believed, or nothing."""

    @abstractmethod
    def conclude(self, folder: Folder) -> Conclusion:
        """From what was written down; there is at least one finished run. Draws its pictures into the folder."""


def main(experiment: Experiment, arguments: Sequence[str]) -> int:
    """The command: 0 when it was concluded, whatever the verdicts; else NOT_MADE, UNPROVEN or STOPPED."""
    options = _parser(experiment).parse_args(arguments)
    _stop_at_a_signal()
    console = Console(highlight=False)
    folder = None
    try:
        settings = load_settings()
        begun = _taken_up(experiment, options, arguments) if options.resume else None
        draft = begun.settings["settings"].get("draft") if begun else options.draft
        if experiment.proven and not draft and not (begun and not left_of(experiment, begun)):
            prove(settings, console)
        folder = begun or _new(experiment, settings, options, arguments)
        _make_all(experiment, settings, folder, console)
        with console.status("drawing the conclusion"):
            told = conclude(experiment, folder)
    except _FAILURES as error:
        console.print(f"experiment: {error}", markup=False, soft_wrap=True)
        _say_how_to_go_on(console, experiment, folder)
        return UNPROVEN if isinstance(error, Unproven) else NOT_MADE
    except KeyboardInterrupt:
        console.print("\nStopped.")
        _say_how_to_go_on(console, experiment, folder)
        return STOPPED
    for one in told.verdicts:
        console.print(f"{one.word:>11}  {one.goal}: {one.found}", markup=False, soft_wrap=True)
    console.print(f"{folder.path / 'report.html'}", soft_wrap=True)
    return 0


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, being ended, and a terminal that is closed: all stop an experiment, so that it ends what it has started."""


def _stop_at_a_signal() -> None:
    """The first stops; those that follow are not to stop the stopping."""
    # A shell that starts a program in the background has it ignore the key; `nohup` means what it has it ignore.
    for number in _SIGNALS[:2] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else _SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, frame: object) -> None:
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _closed_in_any_case(stage: AbstractContextManager[Any]) -> Iterator[Any]:
    """What is going on may be stopped, but not that the stage is taken down."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        with stage as it:
            try:
                yield it
            finally:
                for number in _SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def seconds_of(experiment: Experiment, arguments: Sequence[str] = ()) -> float:
    """How long the experiment takes with these arguments, at most, about."""
    asked = _asked(experiment, _parser(experiment).parse_args(arguments))
    looking = 2 * bare.TAKES_SECONDS if experiment.proven and not asked["draft"] else 0.0
    return looking + sum(step.seconds for step in experiment.steps(asked))


def still_good(experiment: Experiment, state: Path, arguments: Sequence[str] = ()) -> Folder | None:
    """The latest result that these arguments would only bring again.

    It was made with the same settings, of this commit with nothing changed, on this machine since it started, and within
    the time for which the harness' proof holds. The proof itself is about the code that measures, whatever the commit.
    """
    if not (experiment.proven or proof.stands(state)):
        return None
    found = _of_late(experiment, state, arguments, "result.json", of_any_commit=not experiment.proven)
    return next(found, None)


def unfinished(experiment: Experiment, state: Path, arguments: Sequence[str] = ()) -> Folder | None:
    """The latest folder in which the same was begun, but not concluded, if it can be gone on in."""
    latest = next(_of_late(experiment, state, arguments, "settings.json"), None)
    return latest if latest and not (latest.path / "result.json").is_file() else None


def _of_late(
    experiment: Experiment, state: Path, arguments: Sequence[str], name: str, *, of_any_commit: bool = False
) -> Iterator[Folder]:
    """The folders with that file, the latest first, that would be of one piece with what is made now."""
    wanted = json.loads(json.dumps(_asked(experiment, _parser(experiment).parse_args(arguments))))
    here, now = commit(), datetime.now(UTC)
    if not here or here.endswith("+"):
        return
    for path in sorted((state / "experiments").glob(f"{experiment.name}-2*/{name}"), reverse=True):
        about = json.loads(path.read_text())
        here_too = of_any_commit or about.get("commit") == here
        if about.get("settings") == wanted and here_too and proof.is_of_late(about, now):
            yield Folder(path.parent)


def _asked(experiment: Experiment, options: argparse.Namespace) -> dict[str, Any]:
    """What settings.json says was asked for. Raises BenchmarkError for what cannot be."""
    return {**experiment.chosen(options), "full": options.full, "draft": options.draft}


def _parser(experiment: Experiment) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"make experiment name={experiment.name}",
        description=(experiment.__doc__ or "").partition("\n\n")[0],
    )
    parser.add_argument("--full", action="store_true", help="the long form, with more runs")
    parser.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="go on in this folder, or draw its conclusion anew"
    )
    if experiment.proven:
        parser.add_argument(
            "--draft",
            action="store_true",
            help="without the harness' proof, and with runs that reject themselves; no verdict counts then",
        )
    else:
        parser.set_defaults(draft=False)
    experiment.options(parser)
    return parser


def _new(
    experiment: Experiment, settings: Settings, options: argparse.Namespace, arguments: Sequence[str]
) -> Folder:
    """A fresh folder, which also keeps what was typed."""
    folder = Folder.new(settings.state, experiment.name, _asked(experiment, options))
    folder.write("settings.json", {**folder.settings, "arguments": list(arguments)})
    return folder


def _taken_up(experiment: Experiment, options: argparse.Namespace, arguments: Sequence[str]) -> Folder:
    """The folder that is to be gone on in. Raises BenchmarkError where what is added would not be of one piece with it."""
    folder = Folder(options.resume.absolute())
    if not (folder.path / "settings.json").is_file() or folder.settings["experiment"] != experiment.name:
        raise BenchmarkError(f"{options.resume} is not a folder of the experiment {experiment.name}")
    about = folder.settings
    alone = vars(_parser(experiment).parse_args([])) | {"resume": options.resume}
    asked = json.loads(json.dumps(_asked(experiment, options)))
    if vars(options) != alone and asked != about["settings"]:
        raise BenchmarkError(
            f"{options.resume} was begun with other settings, which stay as they are; give resume alone"
        )
    if left_of(experiment, folder):
        then, now = (
            {"commit": of, **{name: value for name, value in where.items() if name != "load_average"}}
            for of, where in ((about["commit"], about["machine"]), (commit(), machine()))
        )
        if changed := [name for name in then if then[name] != now.get(name)]:
            raise BenchmarkError(
                f"{options.resume} was begun with another {', '.join(changed)}, and runs of both are no one result; begin anew"
            )
    return folder


def _say_how_to_go_on(console: Console, experiment: Experiment, folder: Folder | None) -> None:
    if folder:
        console.print(
            f"Go on with: make experiment name={experiment.name} resume={folder.path}", soft_wrap=True
        )


def prove(settings: Settings, console: Console) -> None:
    """Have the harness prove itself, unless it has of late. Raises Unproven when it does not."""
    if proof.stands(settings.state):
        return
    # It is an experiment itself, made of what stands here.
    from tests.experiments.harness.experiment import EXPERIMENT

    brief = {**EXPERIMENT.briefly(), "full": False, "draft": False}
    minutes = sum(step.seconds for step in EXPERIMENT.steps(brief)) / 60
    console.print(
        f"The harness has not proved itself here of late; that comes first, for up to {minutes:.0f} minutes.",
        soft_wrap=True,
    )
    folder = Folder.new(settings.state, EXPERIMENT.name, brief)
    try:
        make_runs(EXPERIMENT, settings, folder, console)
    except _FAILURES as error:
        raise Unproven(
            f"the harness could not prove itself, so nothing else is measured: {error}\n"
            f"Go on with: make experiment name={EXPERIMENT.name} resume={folder.path}"
        ) from error
    conclude(EXPERIMENT, folder)
    if not proof.stands(settings.state):
        failed = [
            f"{one['goal']}: {one['found']}"
            for one in folder.read("result.json")["verdicts"]
            if one["word"] != "met"
        ]
        raise Unproven(
            "the harness does not measure truly on this machine now, so nothing else is measured:\n  "
            + "\n  ".join(failed)
            + f"\nWait until the machine is quiet (report: {folder.path / 'report.html'}), or try things out with --draft."
        )


def left_of(experiment: Experiment, folder: Folder) -> list[Step]:
    """The runs that are still to be made in the folder."""
    done = folder.done_runs()
    return [
        step
        for step in experiment.steps(folder.settings["settings"])
        if step.name not in done and not experiment.needless(step, folder)
    ]


def _make_all(experiment: Experiment, settings: Settings, folder: Folder, console: Console) -> None:
    """Every run that is not there yet, between two looks at how fast the machine is; a draft and the proof do without."""
    looked_at = (
        experiment.proven and not folder.settings["settings"].get("draft") and left_of(experiment, folder)
    )
    if looked_at:
        _look(folder, console)
    make_runs(experiment, settings, folder, console)
    if looked_at:
        _look(folder, console)


def _look(folder: Folder, console: Console) -> None:
    with _shown(console, "looking how fast the machine is"):
        bare.look(folder)


def make_runs(experiment: Experiment, settings: Settings, folder: Folder, console: Console) -> None:
    """Every run that is not there yet, with what is left to wait for."""
    chosen = folder.settings["settings"]
    left = left_of(experiment, folder)
    if not left:
        return
    pace = _Pace(left)
    with _shown(console, "preparing"), _closed_in_any_case(experiment.stage(settings, chosen)) as stage:
        for place, step in enumerate(left):
            if experiment.needless(step, folder):
                continue
            with _shown(console, f"{step.name}: run {place + 1} of {len(left)}, {pace.left(place)}"):
                seconds = _run_until_believed(experiment, stage, step, folder, console)
            pace.took(step, seconds)
            console.print(f"[green]✓[/green] {step.name} {seconds:.0f} s")


class _Pace:
    """How much time is left, by the plan and how the runs so far have kept to it."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._planned = self._taken = 0.0

    def took(self, step: Step, seconds: float) -> None:
        self._planned += step.seconds
        self._taken += seconds

    def left(self, place: int) -> str:
        factor = self._taken / self._planned if self._planned else 1.0
        seconds = factor * sum(step.seconds for step in self._steps[place:])
        return (
            f"about {seconds:.0f} s left in all"
            if seconds < 100
            else f"about {seconds / 60:.0f} min left in all"
        )


@contextmanager
def _shown(console: Console, text: str) -> Iterator[None]:
    """A line that moves in a terminal, and a plain one elsewhere."""
    if not console.is_terminal:
        console.print(text, markup=False, soft_wrap=True)
        yield
        return
    with console.status(text):
        yield


def _run_until_believed(
    experiment: Experiment, stage: Any, step: Step, folder: Folder, console: Console
) -> float:
    """Seconds of the attempt that counts; of a draft it is the first. Raises BenchmarkError when none does."""
    draft = folder.settings["settings"].get("draft")
    pauses = (0.0, *experiment.pauses)
    for attempt, pause in enumerate(pauses, 1):
        if pause:
            console.print(f"made again in {pause:g} s, as what disturbs a machine may go on for a while")
        time.sleep(pause)
        shutil.rmtree(folder.path / "runs" / step.name, ignore_errors=True)
        run = folder.run(step.name)
        started = time.monotonic()
        rejected = experiment.run(stage, step, run)
        seconds = time.monotonic() - started
        if rejected:
            console.print(f"[yellow]rejected[/yellow] {step.name}: {'; '.join(rejected)}", soft_wrap=True)
            folder.append("rejected.json", {"step": step.name, "attempt": attempt, "why": list(rejected)})
        if draft or not rejected:
            run.write("done.json", {"step": step.name, "seconds": round(seconds, 3), "attempt": attempt})
            return seconds
    raise BenchmarkError(
        f"{step.name} was rejected {len(pauses)} times; when the machine is quieter, go on where this stopped"
    )


def conclude(experiment: Experiment, folder: Folder) -> Conclusion:
    """Write result.json, the pictures and the report of what has been run, and the index of all."""
    if not folder.done_runs():
        raise BenchmarkError("no run was finished, so there is nothing to tell")
    about = folder.settings
    found = experiment.conclude(folder)
    verdicts = (
        [_doubted(one) for one in found.verdicts] if about["settings"].get("draft") else list(found.verdicts)
    )
    folder.write(
        "result.json",
        {
            **about,
            "title": experiment.title,
            "verdicts": [{**asdict(one), "word": one.word} for one in verdicts],
            "figures": [asdict(one) for one in found.figures],
            **found.more,
        },
    )
    write(_report(experiment, folder, found, verdicts), folder.path / "report.html")
    index.write(folder.path.parent)
    return Conclusion(verdicts, found.figures, found.tables, found.pictures, found.threats, found.more)


def command_of(name: str, arguments: Sequence[str]) -> str:
    """What is to be typed for an experiment with these arguments."""
    more = [one for one in arguments if one not in ("--full", "--draft")]
    words = ["make experiment", f"name={name}"]
    words += [f"{flag}=1" for flag in ("full", "draft") if f"--{flag}" in arguments]
    return " ".join([*words, *([f'more="{shlex.join(more)}"'] if more else [])])


def _doubted(verdict: Verdict) -> Verdict:
    return Verdict(verdict.goal, f"{verdict.found} (a draft: the harness was not proved)", None)


def _report(experiment: Experiment, folder: Folder, found: Conclusion, verdicts: Sequence[Verdict]) -> Report:
    about = folder.settings
    rejected = folder.read("rejected.json") if (folder.path / "rejected.json").is_file() else []
    became = "kept, as this is a draft" if about["settings"].get("draft") else "made again"
    repeated = [f"Rejected and {became}: {one['step']} ({'; '.join(one['why'])})." for one in rejected]
    for path in sorted((folder.path / "runs").rglob("left_out.json")):
        gone, run = json.loads(path.read_text()), path.parent.relative_to(folder.path / "runs")
        repeated.append(
            f"Left out of {run}, as the machine was not ours in their rounds: {gone['blocks']} of {gone['of']} blocks."
        )
    draft = ["A draft: the harness had not proved itself."] if about["settings"].get("draft") else []
    where = {**about["machine"], "commit": about["commit"], "at": about["at"], **about["settings"]}
    command = command_of(
        experiment.name, about.get("arguments") or (["--full"] if about["settings"].get("full") else [])
    )
    return Report(
        title=experiment.title,
        question=experiment.question,
        method=experiment.method,
        verdicts=verdicts,
        tables=found.tables,
        pictures=found.pictures,
        threats=[*draft, *found.threats, *repeated],
        about=[("again with", command), *((name, str(value)) for name, value in where.items())],
    )
