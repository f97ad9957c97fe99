"""Which server, how many threads, which pool size and which driver suit one read of a product?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.own_platform import own_platform
from localfaas.settings import Settings
from tests.experiments.common.driving import Block, Driven, Request, drive, interleaved, load
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import Figure, Table
from tests.experiments.harness.experiment import AA_RATE
from tests.experiments.servers.arms import COMPARISONS, HYPOTHESES, Answer, Comparison
from tests.experiments.servers.plots import draw
from tests.experiments.servers.results import MEASURES, Measured, measured, slowest
from tests.experiments.servers.running import environment_of_replica, running

PRODUCT_ID = 7
USERS = 8
BLOCK_SECONDS = 1.0
SHARE_OF_SLOWEST = 0.5
MOST_RATE = AA_RATE
"""The harness has proved that it sends so many in time; the small application bears more than twice as many."""
ROUNDS_SHORT, ROUNDS_FULL = 3, 10
_STARTING_SECONDS, _ARM_SECONDS = 10.0, 1.0
_BLOCK_AND_GAP_SECONDS = 2 * BLOCK_SECONDS + 0.7


@dataclass(frozen=True)
class Stage:
    replica: Mapping[str, str]
    """The environment of the platform's own replica of products."""
    rounds: int


class Servers(Experiment):
    """Which server, how many threads, which pool size and which driver suit one read of a product?

    What was expected is written down beforehand, and said to have held or not.
    """

    name = "servers"
    title = "Which server, how many threads, which pool, which driver?"
    question = (
        "Which server, how many threads, which pool size and which driver suit one read of a product best?"
    )
    method = (
        "The application of the products function, in a process of its own for each arm, with the environment of a replica and the database of a platform of its own: under waitress, under gunicorn's sync and gthread workers (one worker), and under granian as the template runs it, with 1, 2, 4 and 8 threads. gunicorn makes a gthread worker of a sync one with more threads, so sync has one arm.",
        "Pools of 1, 2, 4 and 8 connections for four threads of granian. psycopg2 against psycopg 3 in a small application that does nothing else: the same statement, prepared, the same queue of connections.",
        f"Saturation: {USERS} users who ask again as soon as they are answered, in blocks of {BLOCK_SECONDS:g} s. Half load: requests come as a Poisson process does, at half of what the slowest arm of the comparison serves, so that all arms of it are asked alike; at most {MOST_RATE:g} a second, up to which the harness is proved.",
        "Arms of one comparison run beside each other, and each has its block once a round, in random order. Intervals (95 %) are drawn over rounds; ratios over the same rounds of both arms.",
        "Each hypothesis is a ratio with bounds, from before any figure that it judges was told: it held where the whole interval lies within them, it did not where the whole interval lies outside, and else it cannot be told.",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {"rounds": ROUNDS_FULL if options.full else ROUNDS_SHORT}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [
            Step(
                one.name,
                _STARTING_SECONDS
                + len(one.arms) * (_ARM_SECONDS + chosen["rounds"] * _BLOCK_AND_GAP_SECONDS),
            )
            for one in COMPARISONS
        ]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        with own_platform(settings) as own:
            yield Stage(environment_of_replica(own), chosen["rounds"])

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        comparison = _comparison(step.name)
        names = [arm.name for arm in comparison.arms]
        path = f"/{PRODUCT_ID}"
        with running(comparison.arms, stage.replica, path, folder.path / "arms.log") as arms:
            watch = {name: one.pids for name, one in arms.items()}
            asked = {
                name: Request(f"http://127.0.0.1:{one.port}{path}", contains=f'"product_id":{PRODUCT_ID},')
                for name, one in arms.items()
            }
            full = {name: Block(name, asked[name], BLOCK_SECONDS, users=USERS) for name in names}
            closed = drive(_part(folder, "closed"), interleaved(full, stage.rounds), watch=watch)
            if closed.rejected:
                return closed.rejected
            rate = min(MOST_RATE, round(SHARE_OF_SLOWEST * slowest(closed, names)))
            calm = {name: Block(name, asked[name], BLOCK_SECONDS, rate=rate) for name in names}
            half = drive(_part(folder, "half"), interleaved(calm, stage.rounds, seed=1), watch=watch)
        folder.write("rate.json", {"half": rate})
        return half.rejected

    def conclude(self, folder: Folder) -> Conclusion:
        done = folder.done_runs()
        found = {one: _read(folder, one) for one in COMPARISONS if one.name in done}
        picture = folder.path / "servers.png"
        draw(picture, found)
        answers = list(_answers(found, folder.settings["at"]))
        return Conclusion(
            verdicts=[answer for answer, _ in answers],
            figures=[figure for one, its in found.items() for figure in _figures(one, its)],
            tables=[_table(one, its, folder.run(one.name).read("rate.json")["half"]) for one, its in found.items()],
            pictures=[("Requests a second at saturation, and p99 at half load; lines are 95 % intervals.", picture)],
            threats=[
                "k6, PostgreSQL and the arm share the processors: at saturation the rate says what they leave each other. Processor time a request is the arm's alone.",
                "Two processes of the same code differ by some percent, by where their memory lies; a ratio within 5 % of 1 says nothing.",
                "Other work on the machine is seen only when requests leave late or the hypervisor takes time; it can raise a p99, and change what threads gain, without that.",
                "Three rounds are few, and Student's interval of them is wide. The long form has ten rounds.",
                "One row by its key is the least that a function does. Functions that wait on other functions want threads for the time in which they wait.",
            ],
            more={"hypotheses": [told for _, told in answers]},
        )  # fmt: skip


def _comparison(name: str) -> Comparison:
    return next(one for one in COMPARISONS if one.name == name)


def _part(folder: Folder, name: str) -> Folder:
    part = Folder(folder.path / name)
    part.path.mkdir(exist_ok=True)
    return part


def _read(folder: Folder, comparison: Comparison) -> Measured:
    run = folder.run(comparison.name)
    return measured(comparison, _loaded(run, "closed"), _loaded(run, "half"))


def _loaded(run: Folder, name: str) -> Driven:
    return load(Folder(run.path / name))


def _answers(found: Mapping[Comparison, Measured], began: str) -> Iterator[tuple[Answer, dict[str, Any]]]:
    """Of the hypotheses whose arms were measured, and that were there when the run began."""
    of_arm = {arm.name: its for one, its in found.items() for arm in one.arms}
    for one in HYPOTHESES:
        if one.arm not in of_arm or one.written > began:
            continue
        ratio = of_arm[one.arm].ratio(one.measure, one.arm, one.reference)
        title = MEASURES[one.measure].title
        said = f"{title}, {one.arm} / {one.reference}: {ratio.said()}, expected {one.bounds}"
        answer = Answer(one.says, said, one.judged(ratio))
        yield answer, {**asdict(one), "high": one.bounds, "ratio": asdict(ratio), "word": answer.word}


def _figures(comparison: Comparison, its: Measured) -> Iterator[Figure]:
    for name, measure in MEASURES.items():
        for arm in comparison.arms:
            value = its.value(name, arm.name)
            yield Figure(f"{measure.title}, {arm.name}", measure.unit, value.value, value.low, value.high, measure.better)  # fmt: skip


def _table(comparison: Comparison, its: Measured, half: float) -> Table:
    rows = [
        [arm.name, its.value("rate", arm.name).said(0), *(its.value(name, arm.name).said() for name in ("p50", "p99", "cpu"))]
        for arm in comparison.arms
    ]  # fmt: skip
    head = ["arm", "requests a second at saturation", "p50 ms", "p99 ms", "CPU ms a request, at saturation"]
    return Table(f"{comparison.title} (half load: {half:g} requests a second)", head, rows)


EXPERIMENT = Servers()
