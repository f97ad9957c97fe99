"""How much slower is the first request after something was started again, and what does warming up change?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.http_client import BadAnswerError
from benchmarks.own_platform import own_platform
from benchmarks.report import BenchmarkError
from localfaas.settings import Settings
from localfaas.supervisor import SupervisorError
from tests.experiments.common.driving import drive
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.quiet import MOST_STEAL, Processors
from tests.experiments.first_request import plots, results
from tests.experiments.first_request.trials import (
    ARMS,
    AT_ONCE,
    COLD,
    STEADY_REQUESTS,
    STEADY_WARM_SECONDS,
    WARM,
    Shop,
    steady_blocks,
    take,
    the_steady,
)

SHORT, FULL = 4, 17
"""Groups of AT_ONCE restarts of each arm: 12 and 51 restarts."""
SECONDS: Mapping[str, float] = {
    "replica": 7.0,
    "connections": 0.8,
    "at-once": 0.8,
    "gateway": 4.0,
    "edge": 4.0,
}
STEADY_ROUNDS = 1
STEADY = "steady"


class FirstRequest(Experiment):
    """How much slower is the first request after something was started again, and what does warming up change?"""

    name = "first_request"
    title = "The first request"
    question = (
        "After a replica, the function gateway, the edge or the connections to the database were lost and are back: how "
        "long do the first, the second and the tenth request take, direct and through the edge, with and without warm-up, "
        "against the lab's 88 ms first and 7 ms later?"
    )
    method = (
        "A read of one product (GET /7). kill -9 of the only replica of products, of the function gateway's or the edge's Envoy, or pg_terminate_backend of the replica's connections. As soon as it is ready, ten requests follow each other on a connection of their own: a replica when /_/ready answers 200 and it is in the rotation, an Envoy when it is live and listens, connections when /_/ready answers again, or, at once, without waiting for that.",
        "Warm-up is the setting warm_up of the functions. Groups of three restarts of each arm come in turn; half of the groups begin with warm-up, half without, and the two are compared group by group.",
        f"A client of ours on one socket takes the times, by the monotonic clock: from the first byte sent to the last received, without the connection. The steady p99 is the same client's, {STEADY_REQUESTS} requests before each arm with nothing broken, with its interval over groups. k6's, 100 requests a second in each group, without the {STEADY_WARM_SECONDS:g} s in which it opens its connections, stands beside it.",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {"groups": FULL if options.full else SHORT}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [step for number in range(1, chosen["groups"] + 1) for step in _group(number)]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Shop]:
        with own_platform(settings) as own:
            yield Shop(own)

    def run(self, stage: Shop, step: Step, folder: Folder) -> Sequence[str]:
        kind, _, _ = step.name.rpartition("-")
        before = Processors.now()
        try:
            if kind == STEADY:
                blocks = steady_blocks(stage, STEADY_ROUNDS)
                watch = {"platform": stage.processes()}
                return drive(folder, blocks, watch=watch, all_watched=True).rejected
            arm = next(arm for arm in ARMS if arm.name == kind)
            stage.deploy(warm_up=arm.warm_up)
            steady = the_steady(stage, arm.way)
            trials = [take(stage, arm) for _ in range(AT_ONCE)]
        except (OSError, BadAnswerError, BenchmarkError, SupervisorError) as error:
            return [f"a request was not answered: {error}"]
        folder.write("trials.json", {"arm": arm.name, "steady": steady, "trials": trials})
        steal = Processors.now().steal_since(before)
        return [f"the hypervisor took {steal:.0%} of the processors"] if steal > MOST_STEAL else []

    def conclude(self, folder: Folder) -> Conclusion:
        found = results.read(folder)
        return Conclusion(
            results.verdicts(found),
            results.figures(found),
            results.tables(found),
            [("First, second and tenth request: median and range of nine in ten.", plots.draw(folder.path / "requests.png", found))],
            threats=[
                "One client, one request at a time: a first request among many others waits for them as well.",
                "Asking a replica whether it is ready opens one of its connections and loads part of the code, also without warm-up; a replica that nobody asks is slower still.",
                "Only a read of products is asked for; what a function rehearses is warm, its writes are less so.",
                "The gateway and the edge have no warm-up: what one could gain at most is the second request's time.",
                "Processes start from files that are in memory; the first start after the machine's is slower.",
            ],
        )  # fmt: skip


def _group(number: int) -> list[Step]:
    """Every arm once; each group goes on as the one before ended, so that a deployment is needed only within."""
    arms = (*WARM, *COLD) if number % 2 else (*COLD, *WARM)
    steps = [Step(f"{arm.name}-{number}", SECONDS[arm.cause]) for arm in arms]
    return [Step(f"{STEADY}-{number}", 16.5), *steps]


EXPERIMENT = FirstRequest()
