"""What does each fault cost the shop's clients, and for how long?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, ClassVar

from localfaas.settings import Settings
from tests.experiments.common.driving import Block, Request, drive_only, kept
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import ONE_RUN
from tests.experiments.failover import plots, results
from tests.experiments.failover.faults import (
    BY_NAME,
    FAULTS,
    GET_CART,
    GET_PRODUCT,
    POST_CART,
    TILL_SALE,
    Fault,
    Happening,
)
from tests.experiments.failover.seen import BACK_SECONDS, objections, read
from tests.experiments.failover.stage import Stage, built

RATES: Mapping[str, float] = {GET_CART: 30.0, POST_CART: 20.0, GET_PRODUCT: 30.0, TILL_SALE: 10.0}
PATIENCE_SECONDS = 25.0
"""More than the edge's own 20 s, so that the edge's answer is seen and not the client's impatience."""
OUTAGE_SECONDS = 8.0
"""There are connections for as many requests as are due within this; where clients insist, each holds one for as long as that."""
FEWEST_CONNECTIONS = 50
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 2.5
PREPARE_SECONDS = 4.0
SHORT, FULL = 1, 3


class Failover(Experiment):
    """What does each fault cost the shop's clients, and for how long?

    One process after the other is killed, ended, frozen, stopped, slowed or made to fail, under an open load.
    """

    name = "failover"
    faults: ClassVar[Sequence[Fault]] = FAULTS
    title = "What does each fault cost?"
    question = (
        "When a replica, a gateway, the edge, the database or what watches them dies, hangs, is slow or fails: which requests "
        "fail, from when until when, how long does nothing succeed, what becomes of the p99, and is anything lost that was acknowledged?"
    )
    method: ClassVar[Sequence[str]] = (
        "A platform of its own with three replicas of cart and one of every other function. Open load through the edge: "
        + ", ".join(f"{name} {rate:g} a second" for name, rate in RATES.items())
        + f"; a request has {PATIENCE_SECONDS:g} s. A till sale goes without its quote.",
        f"Each fault is a run of its own: {BEFORE_SECONDS:g} s of calm, the fault, {BACK_SECONDS:g} s in which all has to be well again, and {AFTER_SECONDS:g} s more. Nobody helps, unless the fault says how long it lasts. Before the next, everything must be well.",
        "Replicas that are slow or answer 500 are three small ones behind an edge of their own with the project's kong.yml, asked for carts only.",
        "A request fails that is not answered with the status and content it should have. It belongs to the moment at which it was due.",
        "A till sale that has no final answer is asked for again with its Idempotency-Key, every second for up to 20 s; only its first answer counts as a request. After each run every acknowledged sale is looked for in the tables, and inventory's invariants are asked for.",
        "Whether a replica is in the rotation is what the edge's Admin API says of it; a process is back when supervisord calls another one running, which is never before it has lived for a second.",
        f"Of one run of a fault, a time in the rotation or out of it within {ONE_RUN:.0%} of its bound cannot be told; what fails is counted, and exact.",
    )

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--only",
            action="append",
            choices=[fault.name for fault in self.faults],
            help="this fault alone; give it again for more",
        )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {
            "repeats": FULL if options.full else SHORT,
            "faults": [fault.name for fault in self.faults if not options.only or fault.name in options.only],
        }

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        by_name = {fault.name: fault for fault in self.faults}
        return [
            Step(f"{name}-{number}", self.seconds(by_name[name]) + PREPARE_SECONDS)
            for number in range(1, chosen["repeats"] + 1)
            for name in chosen["faults"]
        ]

    def seconds(self, fault: Fault) -> float:
        """How long the load lasts."""
        return self.before(fault) + fault.hold_seconds + BACK_SECONDS + AFTER_SECONDS

    def before(self, fault: Fault) -> float:
        """How much of that is calm and comes first."""
        return BEFORE_SECONDS

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        with built(settings) as stage:
            yield stage

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        fault = BY_NAME[step.name.rpartition("-")[0]]
        victim, program = stage.victim(fault)
        happening = Happening(fault, victim, program, stage.edge(fault), self.before(fault))
        happening.start()
        try:
            drive_only(folder, load_of(stage.requests(fault), RATES, self.seconds(fault)))
        finally:
            happening.stop()
        folder.write("fault.json", {"fault": fault.name, **asdict(happening.seen)})
        if fault.program:
            folder.write("books.json", stage.books(folder.read("plan.json")["id"], kept(folder)))
        return objections(read(folder))

    def conclude(self, folder: Folder) -> Conclusion:
        seen = results.by_fault(read(folder.run(name)) for name in folder.done_runs())
        return Conclusion(
            results.verdicts(seen),
            results.figures(seen),
            results.tables(seen),
            plots.draw(folder.path, seen),
            threats=[
                "Everything is on one machine: a process that starts again has its files in memory, and takes processor time from those that serve.",
                "k6 keeps connections and, as most HTTP libraries do, itself asks once more when one that lay idle turns out to be gone; that does not count as a failure.",
                "Faults come one at a time, and in a calm; a process that dies twice in a row is not told here.",
                "Bad lines, a full disk, and all processes at once are in the experiment trust; a machine that is gone is another fault.",
            ],
        )


def load_of(requests: Mapping[str, Request], rates: Mapping[str, float], seconds: float) -> list[Block]:
    """All flows side by side."""
    return [
        Block(
            flow, request, seconds, rate=rates[flow], start=0.3, patience=PATIENCE_SECONDS,
            connections=max(FEWEST_CONNECTIONS, round(rates[flow] * (OUTAGE_SECONDS + request.insist))),
        )
        for flow, request in requests.items()
    ]  # fmt: skip


EXPERIMENT = Failover()
