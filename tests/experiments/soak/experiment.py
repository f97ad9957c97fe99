"""Does anything grow, and do the books agree, after an hour of trade with faults?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from benchmarks.own_platform import own_platform
from benchmarks.report import whole_number
from localfaas.settings import Settings
from localfaas.supervisor import Supervisor
from tests.experiments.common.answers import JITTER_SECONDS
from tests.experiments.common.driving import Block, Request, drive_only, kept
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.journey import actions_of_a_visit
from tests.experiments.common.shop import FUNCTIONS, Shop
from tests.experiments.common.validity import MOST_LEFT_OUT, Limits
from tests.experiments.soak import reckoning, results
from tests.experiments.soak.faults import KINDS, Faults, moments
from tests.experiments.soak.plots import draw_soak
from tests.experiments.soak.seen import WITH_FAULTS, read
from tests.experiments.soak.watching import Watching

SHORT_MINUTES, FULL_MINUTES = 10, 60
REPLICAS = 2
VISITS: Mapping[str, float] = {"shop": 6.0, "store_day": 2.0}
"""Visits a second: about a twentieth of what the platform bears, so that what is seen is time and not load."""
PATIENCE_SECONDS = 5.0
INSIST_SECONDS = 60.0
OUTAGE_SECONDS = 15.0
"""There are connections for as many requests as are due within this; more would be opened one by one for minutes."""
KEPT = {"checkout": "order_id", "till_sale": "sale_id"}
PREPARE_SECONDS = 60.0


class Soak(Experiment):
    """Does anything grow, and do the books agree, after an hour of trade with faults?

    On a platform of its own with two replicas of each function, at a steady open load, with a fault every few minutes. It is one run: what is stopped before its end begins anew.
    """

    name = "soak"
    title = "Does anything grow, and do the books agree, after an hour with faults?"
    question = (
        "With trade going on and a fault every few minutes: do memory, descriptors, connections and the slow answers grow, "
        "does anything fail but near a fault, and is every sale and order there once, with its stock and its money?"
    )
    method = (
        "The journeys `shop` and `store_day` of tests/load/scenario.json through the edge, each action at its share of "
        + " and ".join(f"{rate:g} visits a second ({name})" for name, rate in VISITS.items())
        + f", open; a request has {PATIENCE_SECONDS:g} s. An action is timed and counted as one request, also where it is two, one after the other; a purchase goes without the look at its order, which would be a third.",
        f"Who buys or sells sends an Idempotency-Key, and the same again every second for up to {INSIST_SECONDS:g} s until there is a final answer; only the first answer counts as a request. What fails before that, at a quote or a line of a cart, is not gone on with.",
        f"Faults in turn: {', '.join(KINDS)}. A replica, the gateway and the edge are killed with SIGKILL; PostgreSQL is stopped and started. Nobody helps.",
        f"{REPLICAS} replicas of each function; scaling by alerts is off, so that the processes stay the same.",
        "Each program's memory (anonymous and shared, by PSS: pages of files depend on who else maps them), descriptors, threads and TCP connections are read every few seconds; of each, the longest life between two deaths counts, without its first minutes.",
        "The p99 of each action is taken over windows of a minute (15 s in a run of half an hour or less) that no fault and no hypervisor had a part in; in one with fewer than a hundred requests it is the slowest.",
        "Drift an hour: Theil and Sen's slope with its interval (scipy), all intervals together to 95 % (Bonferroni). No drift: the interval is below the bound; drifts: it is above; else it cannot be told.",
        f"A run as long as this is not made again: where more than {WITH_FAULTS.late_share:.0%} of the requests left over {1000 * (WITH_FAULTS.late_seconds or 0):g} ms late, or the hypervisor had a part in more than {MOST_LEFT_OUT:.0%} of the windows, its rounds, failures and p99 cannot be told; the p99 neither where more than {Limits().late_share:.0%} of those away from faults left over {1000 * JITTER_SECONDS:g} ms late. The books and what programs hold stand.",
        "At the end, once maintenance has finished what was interrupted, the answers are held to the tables: documents by their keys, stock, its ledger, money, and the provider's ledger.",
    )

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--minutes",
            type=whole_number(1, 600),
            help=f"how long (default: {SHORT_MINUTES}, and {FULL_MINUTES} with --full)",
        )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        minutes = options.minutes or (FULL_MINUTES if options.full else SHORT_MINUTES)
        return {"minutes": minutes, **schedule(60.0 * minutes)}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [Step("soak", 60 * chosen["minutes"] + PREPARE_SECONDS)]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Shop]:
        self._chosen = chosen
        with own_platform(settings) as own:
            Supervisor(own).stop("alertmanager")
            shop = Shop(own)
            shop.open(customers=50)
            shop.scale(FUNCTIONS, REPLICAS)
            yield shop

    def run(self, stage: Shop, step: Step, folder: Folder) -> Sequence[str]:
        seconds = 60.0 * self._chosen["minutes"]
        faults = Faults(stage.settings, self._chosen["faults"])
        watching = Watching(stage.settings, folder.path / "held.csv", self._chosen["look_seconds"])
        for thread in (watching, faults):
            thread.start()
        try:
            drive_only(folder, load_of(stage, seconds))
        finally:
            for thread in (faults, watching):
                thread.stop()
        folder.write("faults.json", faults.as_json())
        folder.write("books.json", asdict(reckoning.read(stage.settings)))
        folder.write("invariants.json", stage.done("GET", "/inventory/invariants", token=stage.head))
        folder.write("kept.json", [asdict(one) for one in kept(folder)])
        return ()

    def conclude(self, folder: Folder) -> Conclusion:
        seen = read(folder.run("soak"), folder.settings["settings"])
        pictures = [draw_soak(folder.path / "soak.png", seen)]
        return Conclusion(
            results.verdicts(seen), results.figures(seen), results.tables(seen), pictures, results.threats(seen),
            {"reckoning": seen.differences},
        )  # fmt: skip


def schedule(seconds: float) -> dict[str, Any]:
    """When faults happen, and how often programs are looked at, for a run of that length."""
    every = min(240.0, max(12.0, seconds / 5))
    return {
        "faults": moments(seconds, every, every * 0.75),
        "look_seconds": 10.0 if seconds > 1800 else 3.0,
        "settle_seconds": min(300.0, seconds / 5),
        "window_seconds": 60.0 if seconds > 1800 else 15.0,
    }


def load_of(shop: Shop, seconds: float) -> list[Block]:
    """Each action at its rate, all at once."""
    rates: dict[str, float] = {}
    for journey, visits in VISITS.items():
        for action, times in actions_of_a_visit(journey).items():
            rates[action] = rates.get(action, 0.0) + visits * times
    return [
        Block(
            action, insisted_on(action, shop.action(action)), seconds, rate=rate, start=1.0, patience=PATIENCE_SECONDS,
            connections=round(rate * OUTAGE_SECONDS) + 5,
        )
        for action, rate in rates.items()
    ]  # fmt: skip


def insisted_on(action: str, request: Request) -> Request:
    return replace(request, keep=KEPT[action], insist=INSIST_SECONDS) if action in KEPT else request


EXPERIMENT = Soak()
