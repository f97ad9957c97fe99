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
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.quiet import MOST_STEAL, Processors
from tests.experiments.first_request import plots, results
from tests.experiments.first_request.trials import ARMS, AT_ONCE, Arm, Shop, take, the_steady

SHORT, FULL = 2, 10
"""Groups of AT_ONCE restarts of each arm."""
SECONDS_A_GROUP = 9.0


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
        "A read of one product (GET /7). kill -9 of the only replica of products, of the function gateway's or the edge's Envoy, or pg_terminate_backend of the replica's connections. As soon as it says that it is ready (/_/ready; an Envoy when it is live and listens), ten requests follow each other on a connection of their own.",
        "Warm-up is the setting warm_up of the functions: a new replica asks itself before it takes requests. With and without it the function is deployed anew; groups of arms come in turn.",
        "A client of ours on one socket takes the times, by the monotonic clock: from the first byte sent to the last received. Before each group 200 requests with nothing broken give the steady p99.",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {"groups": FULL if options.full else SHORT}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [
            Step(f"{arm.name}-{number}", SECONDS_A_GROUP)
            for number in range(1, chosen["groups"] + 1)
            for arm in ARMS
        ]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Shop]:
        with own_platform(settings) as own:
            yield Shop(own)

    def run(self, stage: Shop, step: Step, folder: Folder) -> Sequence[str]:
        arm = _arm(step.name)
        before = Processors.now()
        try:
            stage.deploy(warm_up=arm.warm_up)
            steady = the_steady(stage, arm.way)
            trials = [take(stage, arm) for _ in range(AT_ONCE)]
        except (OSError, BadAnswerError, BenchmarkError) as error:
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
                "The replica's readiness is asked for by the platform and by this experiment, which opens one of its connections.",
                "The gateway and the edge have no warm-up of their own, so there is nothing to be switched off.",
                "Processes start from files that are in memory; the first start after the machine's is slower.",
            ],
        )  # fmt: skip


def _arm(step: str) -> Arm:
    name = step.rpartition("-")[0]
    return next(arm for arm in ARMS if arm.name == name)


EXPERIMENT = FirstRequest()
