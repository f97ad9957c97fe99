"""Can the shop be trusted when lines are bad, PostgreSQL has no means, any process hangs, or all of them die?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, ClassVar

from benchmarks.report import BenchmarkError
from localfaas.settings import Settings
from tests.experiments.common.driving import drive_only, kept
from tests.experiments.common.experiment import Conclusion, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import ONE_RUN, Verdict
from tests.experiments.failover import plots
from tests.experiments.failover.experiment import (
    AFTER_SECONDS,
    PATIENCE_SECONDS,
    RATES,
    Failover,
    load_of,
)
from tests.experiments.failover.faults import (
    CANCEL,
    CHECKOUT,
    MOVEMENT,
    PAGE,
    REPORT,
    SIGN_IN,
    Fault,
    Happening,
)
from tests.experiments.failover.seen import BACK_SECONDS, objections
from tests.experiments.trust import results
from tests.experiments.trust.counts import count, repeats
from tests.experiments.trust.faults import (
    BY_NAME,
    DISK_FULL,
    FAULTS,
    FLOWS,
    SETTLED_SECONDS,
    WARM_SECONDS,
    Hard,
)
from tests.experiments.trust.stage import KEPT, Stage, built, may_mount

ALL_RATES: Mapping[str, float] = {
    **RATES, CHECKOUT: 2.0, PAGE: 80.0, MOVEMENT: 2.0, REPORT: 1.0, SIGN_IN: 0.5, CANCEL: 0.5,
}  # fmt: skip
"""So many pages that where these alone are others their p99 within BACK_SECONDS is not one of the slowest few: from 368 on it
has an upper end by order statistics."""
OLDER = "These runs are older than what is asked for now"
NO_DISK = "A full disk is left out: no file system can be mounted for it here, which takes root with the right to mount."


class Trust(Failover):
    """Can the shop be trusted when lines are bad, PostgreSQL has no means, any process hangs, or all of them die?

    Bad lines, want, and every process killed, ended and frozen, one after the other, under an open load.
    """

    name = "trust"
    title = "Can the shop be trusted when the worst happens?"
    question = (
        "When the line to the database, the gateway or the payment provider is slow, cut, reset or silent; when PostgreSQL has no "
        "connection or no disk left; when any process is frozen or ended, or all are killed at once: what fails, until when, how often "
        "is a request repeated, do others wait, and is anything lost that was acknowledged?"
    )
    faults: ClassVar[Sequence[Fault]] = FAULTS
    method = (
        "As failover: a platform of its own with three replicas of cart and one of every other function, open load through the edge: "
        + ", ".join(f"{name} {rate:g} a second" for name, rate in ALL_RATES.items())
        + f"; a request has {PATIENCE_SECONDS:g} s. A till sale goes without its quote; a purchase is a line put into a cart and the checkout, timed as one.",
        f"Each fault is a run of its own: {WARM_SECONDS:g} s in which the client opens its connections, a calm as long as what is judged after it, the fault, {BACK_SECONDS:g} s in which all has to be well again, and {AFTER_SECONDS:g} s more.",
        "A run in which the fault was not seen to take effect (a process gone or stopped, something held back on its line, the last block taken) is made again.",
        "Lines lead through a proxy of the experiment's own (tests/support/bad_network.py) while it is their turn: functions have its address in their secrets or settings, the edge and the gateway among their endpoints.",
        "PostgreSQL without a connection: the database takes none of any function, and those that were open are ended. Without disk: its directory is a file system of 600 MB in memory, of which the last block is taken.",
        "All killed, and supervisord killed, count as over once `up` has returned, and are told from the kill as well. While everything starts, the client itself has hardly a processor: requests that leave late or never are no objection to these runs.",
        "Requests for each sent: repeats by the edge, the gateway and functions that call others that reached a function, over what clients sent from the fault until 5 s after it, and one. Where the edge or the gateway died nothing was counted, so the goal is missed or cannot be told.",
        "Others are flows that have no need of what fell sick: their p99 from the fault until 5 s after it, over that of as long a calm just before, without sign-ins, reports and cancels, which are few and slow; each of all runs of a fault together. Over all faults together the geometric mean of these ratios is told, with Student's interval; of one fault what is off by more than calms differ by themselves: the ratio of each fault's calm to the next one's, by Student's t for the root mean square of their logarithms, with 95 % for all faults together (Bonferroni).",
        f"Of one run of a fault, repeats within {ONE_RUN:.0%} of their bound cannot be told; what fails after it, and the books, are counts of what must not be, and exact.",
        "Who cancels has bought just before, in the same request.",
        "Who buys, sells, cancels or takes in goods asks again with the same Idempotency-Key, every second for up to 20 s. After each run every answer of all runs is held to the tables: documents by their keys, movements and cancels by their ids, stock, its ledger, money, and what the provider has taken and given back.",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        chosen = super().chosen(options)
        if not may_mount() and DISK_FULL in chosen["faults"]:
            chosen["faults"] = [name for name in chosen["faults"] if name != DISK_FULL]
            chosen["left_out"] = [DISK_FULL]
        if not chosen["faults"]:
            raise BenchmarkError(NO_DISK)
        return chosen

    def before(self, fault: Fault) -> float:
        return WARM_SECONDS + fault.hold_seconds + BACK_SECONDS + SETTLED_SECONDS

    def seconds(self, fault: Fault) -> float:
        assert isinstance(fault, Hard)
        return super().seconds(fault) + fault.help_seconds

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Any]:
        with built(settings) as stage:
            yield stage

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:  # type: ignore[override]
        fault = BY_NAME[step.name.rpartition("-")[0]]
        with stage.victim(fault) as (victim, program):
            before = count(stage.settings)
            happening = Happening(fault, victim, program, stage.settings, self.before(fault))
            happening.start()
            try:
                drive_only(folder, load_of(stage.requests(), ALL_RATES, self.seconds(fault)))
            finally:
                happening.stop()
            led = stage.is_led(fault)
            folder.write("repeats.json", repeats(before, count(stage.settings)))
        folder.write("fault.json", {"fault": fault.name, **asdict(happening.seen)})
        seen = results.read(folder)
        asked = {flow: len(seen.flows[flow]) for flow in KEPT if flow in seen.flows}
        folder.write("books.json", stage.books(kept(folder), asked))
        found = objections(seen)
        return found if led else [*found, "the way led past the bad line in the end"]

    def conclude(self, folder: Folder) -> Conclusion:
        seen = results.by_fault([results.read(folder.run(name)) for name in folder.done_runs()])
        asked = {flow for runs in seen.values() for one in runs for flow in one.flows}
        unasked = [flow for flow in FLOWS if flow not in asked]
        untold = left_out(folder.settings["settings"])
        return Conclusion(
            [*results.verdicts(seen), *untold],
            results.figures(seen),
            results.tables(seen),
            plots.draw(folder.path, seen),
            threats=[
                *(one.found for one in untold),
                *([f"{OLDER}: without {', '.join(unasked)}."] if unasked else []),
                "A proxy has TCP's view of a bad network: on this machine no packet is ever lost, and what was swallowed arrives in the end.",
                "How far a p99 moves by itself is taken from calms of two runs, which are farther apart than a calm and its fault; the logarithms of their ratios are taken for normal.",
                "Everything is on one machine: a process that starts again takes processor time from those that serve.",
                "A clock that steps is not among the faults, as the system's is everybody's: tests/e2e/test_clock_steps.py has it, with a clock of the processes' own.",
            ],
        )


def left_out(chosen: Mapping[str, Any]) -> list[Verdict]:
    """Of what could not be brought about here nothing can be told."""
    return [Verdict(BY_NAME[name].goal, NO_DISK, None) for name in chosen.get("left_out", ())]


EXPERIMENT = Trust()
