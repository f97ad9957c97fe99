"""What does the shop do with five times the load that it can bear?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.own_platform import own_platform
from benchmarks.report import BenchmarkError
from localfaas.edge.clusters import AT_ONCE, TO_GATEWAY, WAITING
from localfaas.settings import Settings
from localfaas.supervisor import Supervisor
from localfaas.up import gateway_client
from tests.experiments.capacity.cells import TO_ITS_LIMIT, read_visit
from tests.experiments.capacity.experiment import measure
from tests.experiments.capacity.subjects import JOURNEY, SUBJECTS, Part, parts_of
from tests.experiments.common.driving import Block, drive
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.shop import Shop, replicas_of
from tests.experiments.overload import results
from tests.experiments.overload.plots import draw_overload
from tests.experiments.overload.seen import read
from tests.experiments.overload.watching import PATIENCE_SECONDS, Watching

TIMES = 5.0
CALM_SHARE = 0.5
CALM_SECONDS, AFTER_SECONDS = 4.0, 9.0
SECONDS = 60.0
"""Of overload. A queue counts as standing after five, in which whoever is refused may have waited for as long: they are not to be
one in a hundred of all."""
LADDER: Mapping[str, Any] = {"blocks": 2, "rungs": [0.45, 0.6, 0.75, 0.9], "rung_seconds": 1.5}
PREPARE_SECONDS = 20.0
MOST_OPEN = 1000
"""Requests that the client may have open at once, more than may be in flight; each is a user of k6's with a memory of its own."""
CUSTOMERS = 300
"""With fifty the next purchase of each changed the cart of the one that still waited, which got nowhere.

Each of MOST_OPEN users of k6 reads them all: with thousands it does not begin within two minutes."""
REFUSED_WITHIN = 0.5
"""There are connections for as many requests as are due within this, and for those that wait, MOST_OPEN at most."""
ASKED_BY_THE_EDGE = "cart"
SHORT, FULL = ("sales", "checkout"), (JOURNEY, "products", "sales", "checkout")
"""Of the short ones so much can be sent that something is decided; two processors are too few for that with the others."""


class Overload(Experiment):
    """What does the shop do with five times the load that it can bear?

    On a platform of its own, as stack.yml has it; nothing scales it.
    """

    name = "overload"
    title = "What does the shop do with five times what it can bear?"
    question = (
        "When five times as many requests come as can be answered: is as much done as before, are the others refused early and "
        "politely, does nothing pile up, and is all well again soon after?"
    )
    method = (
        f"The knee is looked for first, as the experiment capacity does: closed users for the throughput, then a ladder of open rates ({', '.join(f'{share:g}' for share in LADDER['rungs'])} of it); the rung below the lowest that is not borne.",
        f"Then one open run: {CALM_SHARE:.0%} of the knee for {CALM_SECONDS:g} s, {TIMES:g} times the knee, and {CALM_SHARE:.0%} of it again for {AFTER_SECONDS:g} s. Visitors do the actions of the journey `shop` in their proportions, as in capacity, `sales` is asked for quotes; a request has {PATIENCE_SECONDS:g} s.",
        f"At most {MOST_OPEN:,} requests are open at once; what cannot be sent for that reason is not sent. What was really sent is told.",
        f"Where less than {results.LEAST_TIMES:g} times the knee could be sent, nothing is decided.",
        "Useful: right answers that came during the overload, without its first second. Refused: 429 and 503, timed from when the request left.",
        "Beside it a client that looks at headers asks some ten times a second; what is in flight (inside of the edge, or with the replicas of the function that is asked at the gateway) and the memory of all programs (anonymous and shared, by PSS) are read twice a second.",
        "Back: the last request after the overload that failed or took longer than its bound (0.1 s, a purchase 1 s) from when it left, one in a hundred aside.",
    )

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--subjects", default="", help=f"which, by comma, of {', '.join(SUBJECTS)}")

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        names = [name for name in options.subjects.split(",") if name]
        if unknown := [name for name in names if name not in SUBJECTS]:
            raise BenchmarkError(f"there is no {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
        return {
            "subjects": names or list(FULL if options.full else SHORT),
            "seconds": SECONDS,
        }

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        length = PREPARE_SECONDS + CALM_SECONDS + chosen["seconds"] + AFTER_SECONDS
        return [Step(subject, length) for subject in chosen["subjects"]]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Shop]:
        self._chosen = chosen
        with own_platform(settings) as own:
            Supervisor(own).stop("alertmanager")
            shop = Shop(own)
            shop.open(customers=CUSTOMERS)
            yield shop

    def run(self, stage: Shop, step: Step, folder: Folder) -> Sequence[str]:
        subject, seconds = step.name, self._chosen["seconds"]
        function = "" if subject == JOURNEY else subject
        if rejected := measure(stage, subject, folder, LADDER):
            return rejected
        knee = read_visit(folder, subject).knee.value
        if not knee:
            return ["not even the lowest rate was borne, so there is no knee"]
        parts, limit = parts_of(subject, stage), most_in_flight(stage.settings, function)
        folder.write(
            "overload.json",
            {
                "times": TIMES, "calm_seconds": CALM_SECONDS, "seconds": seconds,
                "limit": limit,
                "parts": [{"name": part.name, "bound_seconds": part.bound_seconds} for part in parts],
            },
        )  # fmt: skip
        over = Folder(folder.path / "over")
        over.path.mkdir(exist_ok=True)
        looked_at = [request for _, request in parts[0].requests]
        with Watching(stage.settings, looked_at, function) as watching:
            driven = drive(over, load_of(parts, knee, seconds, limit if function else 0), limits=TO_ITS_LIMIT)
        folder.write("watched.json", watching.as_json())
        return [*driven.rejected, *([] if watching.held else ["nobody counted what is in flight"])]

    def conclude(self, folder: Folder) -> Conclusion:
        seen = [read(folder.run(name), name) for name in folder.done_runs()]
        return Conclusion(
            results.verdicts(seen),
            results.figures(seen),
            results.tables(seen),
            [draw_overload(folder.path / f"{one.subject}.png", one) for one in seen],
            threats=results.THREATS,
        )


def load_of(parts: Sequence[Part], knee: float, seconds: float, waiting: int) -> list[Block]:
    """Calm, overload, calm, of each part at its share; the requests of all blocks of a part are of one arm.

    `waiting` requests may be in line: they hold a connection each for seconds, and the others need theirs beside them.
    """
    blocks = []
    for part in parts:
        start = 0.3
        for times, length in ((CALM_SHARE, CALM_SECONDS), (TIMES, seconds), (CALM_SHARE, AFTER_SECONDS)):
            rate = times * knee * part.share
            # Displaced requests of one block would meet those of the next.
            blocks.append(
                Block(
                    part.name, part.requests, length, rate=rate, start=start, patience=PATIENCE_SECONDS,
                    connections=round(min(MOST_OPEN * part.share, waiting + rate * REFUSED_WITHIN)) + 30,
                )
            )  # fmt: skip
            start += length
    return blocks


def most_in_flight(settings: Settings, function: str = "") -> int:
    """What the edge may give to the gateway and to the replicas that it asks itself, and what may wait for these.

    Where a function is asked at the gateway: what that may give to its replicas.
    """
    replicas = replicas_of(settings)
    if not function:
        return TO_GATEWAY + AT_ONCE * len(replicas[ASKED_BY_THE_EDGE]) + WAITING
    client = gateway_client(settings)
    try:
        each = int(client.describe(function)["envVars"]["max_inflight"])
    finally:
        client.close()
    return each * len(replicas[function])


EXPERIMENT = Overload()
