"""Do replicas follow the load, by this project's rules and by OpenFaaS CE's?"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import BenchmarkError, whole_number
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
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.platforms import platform_of

SHORT, FULL = 1, 5
REST_SECONDS = 70
"""About what it takes until both functions are at rest again."""
SEEDS = range(1, 4)


class Autoscale(Experiment):
    """Do replicas follow the load, by this project's rules and by OpenFaaS CE's?

    Two functions that are alike are loaded alike at the same time, on a platform of their own: this project's rules
    scale one, OpenFaaS CE's rule the other.
    """

    name = "autoscale"
    title = "Do replicas follow the load?"
    question = (
        "How soon is a function served after its load has changed, with how many replicas, and is anything lost "
        "when they are taken away: by this project's scaling rules, and by OpenFaaS CE's?"
    )
    method = (
        "Two functions alike, ours and ce, on one platform with one Prometheus and one Alertmanager; each is scaled by its own rules alone.",
        f"A request keeps one thread for 50 ms on average (lognormal, half as much again either way) and no processor; one replica has one thread. Load goes from {LOW:g} to {HIGH:g} requests a second.",
        "k6 sends the same open load to both through the function gateway, at the same time; times count from when a request was due, and a run that was sent late is refused.",
        f"Served means that 99 of 100 requests of the last 5 s were answered 200 within {BOUND_SECONDS:g} s; needed is what the simulator says that takes.",
        "A simulator with the rules' own thresholds foretold each run from the shape alone: the median of 21 simulated runs.",
    )

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--shapes", default=",".join(SHAPES), help="which shapes of load, by comma (default: %(default)s)"
        )
        parser.add_argument(
            "--repeats",
            type=whole_number(1, 20),
            help=f"runs of each (default: {SHORT}, and {FULL} with --full)",
        )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        shapes = [name for name in options.shapes.split(",") if name]
        unknown = [name for name in shapes if name not in SHAPES]
        if unknown or not shapes:
            raise BenchmarkError(f"there is no shape {', '.join(unknown)}; there are {', '.join(SHAPES)}")
        return {"shapes": shapes, "repeats": options.repeats or (FULL if options.full else SHORT)}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        """Shapes come in turn, so that a change of the machine meets all alike."""
        return [
            Step(f"{shape}-{number}", SHAPES[shape].duration + REST_SECONDS)
            for number in range(1, chosen["repeats"] + 1)
            for shape in chosen["shapes"]
        ]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Settings]:
        with (
            tempfile.TemporaryDirectory() as directory,
            platform_of(lay_out(Path(directory)), settings) as own,
        ):
            yield own

    def run(self, stage: Settings, step: Step, folder: Folder) -> Sequence[str]:
        return run_once(stage, SHAPES[step.name.rpartition("-")[0]], Function(), folder)

    def conclude(self, folder: Folder) -> Conclusion:
        function = Function()
        runs = [results.read_run(folder, name, function) for name in folder.done_runs()]
        pictures = [_picture(folder, run, function) for run in runs]
        for run in runs:
            folder.run(run.name).write_csv("samples.csv", results.samples(run, function))
        outcomes = [outcome(name, one, function, SEEDS) for name, one in candidates(shipped_thresholds())]
        draw_choice(folder.path / "choice.png", outcomes)
        choice = (
            "What each choice of thresholds would cost and serve, by the simulator over all shapes.",
            folder.path / "choice.png",
        )
        return Conclusion(
            results.verdicts(runs),
            results.figures(runs),
            results.tables(runs),
            [*pictures, choice],
            threats=[
                "The work sleeps: on a machine whose processors are full more replicas would not help, and rules cannot know.",
                "Both functions share processors, gateway and Prometheus; their load is light (the share of the processors in use is in result.json).",
                "A replica starts within about two seconds here; on a cluster it takes longer, for both rules alike.",
                f"Runs: {len(runs)}; fewer than three of a shape give a range and no interval.",
            ],
            more={"runs": results.as_json(runs)},
        )


def _picture(folder: Folder, run: results.Run, function: Function) -> tuple[str, Path]:
    path = folder.path / f"{run.name}.png"
    predicted = {rules: one.predicted for rules, one in run.agreement.items()}
    draw_run(path, SHAPES[run.shape], function, run.by_rules, predicted)
    return f"{SHAPES[run.shape].title}, run {run.name}", path


EXPERIMENT = Autoscale()
