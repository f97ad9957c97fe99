"""Do replicas follow the load? `make experiment name=autoscale`.

Two functions that are alike are loaded alike at the same time, on a platform of their own: this project's rules scale one,
OpenFaaS CE's rule the other. Ends in a folder below `<STATE_DIR>/experiments` with raw data, result.json, pictures and
report.html. Interrupted, it goes on with `resume=<folder>`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.report import BenchmarkError, is_quiet, load_settings, whole_number
from localfaas.settings import Settings
from tests.experiments.autoscale import results
from tests.experiments.autoscale.choice import candidates, outcome
from tests.experiments.autoscale.measures import BOUND_SECONDS
from tests.experiments.autoscale.platform import lay_out
from tests.experiments.autoscale.plots import draw_choice, draw_run
from tests.experiments.autoscale.rule_sets import shipped_thresholds
from tests.experiments.autoscale.running import run_once
from tests.experiments.autoscale.shapes import HIGH, LOW, SHAPES
from tests.experiments.autoscale.simulator import Function
from tests.experiments.common.folder import Folder
from tests.experiments.common.platforms import platform_of
from tests.experiments.common.report import Report, Verdict, write

SHORT, FULL = 1, 5
REST_SECONDS = 70
"""About what it takes until both functions are at rest again."""
SEEDS = range(1, 4)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # A shell that starts a program in the background has it ignore the key; being ended is being stopped, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    settings = load_settings()
    try:
        folder = Folder(options.resume) if options.resume else _begin(settings, options)
        _run_all(settings, folder, console)
        told = conclude(folder, console)
    except BenchmarkError as error:
        console.print(f"experiment: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(
            f"\nStopped. Go on with: make experiment name=autoscale resume={folder.path}", soft_wrap=True
        )
        return 130
    for one in told:
        console.print(f"{one.word:>11}  {one.goal}: {one.found}", markup=False, soft_wrap=True)
    console.print(f"{folder.path / 'report.html'}", soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make experiment name=autoscale", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--shapes", default=",".join(SHAPES), help="which shapes of load, by comma (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=whole_number(1, 20), default=SHORT, help="runs of each (default: %(default)s)"
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL} runs of each shape")
    parser.add_argument("--resume", type=Path, help="go on in this folder, or write its report anew")
    return parser


def _begin(settings: Settings, options: argparse.Namespace) -> Folder:
    shapes = [name for name in options.shapes.split(",") if name]
    unknown = [name for name in shapes if name not in SHAPES]
    if unknown or not shapes:
        raise BenchmarkError(f"there is no shape {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    repeats = FULL if options.full else options.repeats
    return Folder.new(settings.state, "autoscale", {"shapes": shapes, "repeats": repeats})


def _run_all(settings: Settings, folder: Folder, console: Console) -> None:
    """Every run that is not there yet; shapes come in turn, so that a change of the machine meets all alike."""
    wanted = folder.settings["settings"]
    names = [f"{shape}-{number}" for number in range(1, wanted["repeats"] + 1) for shape in wanted["shapes"]]
    left = [name for name in names if name not in folder.done_runs()]
    if not left:
        return
    if not is_quiet():
        console.print("[yellow]This machine is busy; figures will say more about its neighbours.[/yellow]")
    with tempfile.TemporaryDirectory() as directory, platform_of(lay_out(Path(directory)), settings) as own:
        for place, name in enumerate(left):
            shape = SHAPES[name.rpartition("-")[0]]
            minutes = sum(SHAPES[one.rpartition("-")[0]].duration + REST_SECONDS for one in left[place:]) / 60
            console.print(f"{name}: {shape.duration:.0f} s; about {minutes:.0f} min left in all")
            started = time.monotonic()
            run_once(own, shape, Function(), folder.run(name))
            console.print(f"[green]✓[/green] {name} {time.monotonic() - started:.0f} s")


def conclude(folder: Folder, console: Console) -> list[Verdict]:
    """Write result.json, the pictures and the report of what has been run; the verdicts."""
    function = Function()
    with console.status("reading the runs, and simulating them"):
        runs = [results.read_run(folder, name, function) for name in folder.done_runs()]
        if not runs:
            raise BenchmarkError("no run was finished, so there is nothing to tell")
        pictures = [_picture(folder, run, function) for run in runs]
        for run in runs:
            folder.run(run.name).write_csv("samples.csv", results.samples(run, function))
        outcomes = [outcome(name, one, function, SEEDS) for name, one in candidates(shipped_thresholds())]
        draw_choice(folder.path / "choice.png", outcomes)
    told = results.verdicts(runs)
    folder.write("result.json", results.as_json(runs))
    choice = (
        "What each choice of thresholds would cost and serve, by the simulator over all shapes.",
        folder.path / "choice.png",
    )
    write(_report(folder, runs, told, [*pictures, choice]), folder.path / "report.html")
    return told


def _picture(folder: Folder, run: results.Run, function: Function) -> tuple[str, Path]:
    path = folder.path / f"{run.name}.png"
    predicted = {rules: one.predicted for rules, one in run.agreement.items()}
    draw_run(path, SHAPES[run.shape], function, run.by_rules, predicted)
    return f"{SHAPES[run.shape].title}, run {run.name}", path


def _report(
    folder: Folder, runs: Sequence[results.Run], told: Sequence[Verdict], pictures: Sequence[tuple[str, Path]]
) -> Report:
    about = folder.settings
    spoilt = results.spoilt(runs)
    return Report(
        title="Do replicas follow the load?",
        question="How soon is a function served after its load has changed, with how many replicas, and is anything lost "
        "when they are taken away: by this project's scaling rules, and by OpenFaaS CE's?",
        method=[
            "Two functions alike, ours and ce, on one platform with one Prometheus and one Alertmanager; each is scaled by its own rules alone.",
            f"A request keeps one thread for 50 ms on average (lognormal, half as much again either way) and no processor; one replica has one thread. Load goes from {LOW:g} to {HIGH:g} requests a second.",
            "k6 sends the same open load to both through the function gateway, at the same time; a run in which it could not keep its pace is refused.",
            f"Served means that 99 of 100 requests of the last 5 s were answered 200 within {BOUND_SECONDS:g} s; needed is what the simulator says that takes.",
            "A simulator with the rules' own thresholds foretold each run from the shape alone: the median of 21 simulated runs.",
        ],
        verdicts=told,
        tables=results.tables(runs),
        pictures=pictures,
        threats=[
            "The work sleeps: on a machine whose processors are full more replicas would not help, and rules cannot know.",
            "Both functions share processors, gateway and Prometheus; their load is light (the share of the processors in use is in result.json).",
            "A replica starts within about two seconds here; on a cluster it takes longer, for both rules alike.",
            f"Runs: {len(runs)}; fewer than three of a shape give a range and no interval.",
            *([f"Disturbed by the hypervisor, to be repeated: {', '.join(spoilt)}."] if spoilt else []),
        ],
        about=[(name, str(value)) for name, value in {**about["machine"], "commit": about["commit"], "at": about["at"], **about["settings"]}.items()],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
