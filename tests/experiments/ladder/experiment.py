"""What does each hop cost a read of one product, and where do figures such as the lab's come from?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from localfaas.settings import Settings
from tests.experiments.common.driving import Block, Request, closed, drive, interleaved
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.ladder import plots, results
from tests.experiments.ladder.stage import DIRECT, EDGE, RUNGS, Stage, built

STEADY_RATE = 200.0
"""At which all rungs are held against each other."""
SHARES = (0.1, 0.3, 0.5, 0.7)
"""Of each rung's own saturation."""
MOST_RATE = 1_500.0
"""k6 has two processors in common with what it asks; above this its own work is most of what is seen."""
USERS = 16
CROWDS = (1, 10, 30)
"""Closed users at once, as a load that waits for each answer has them."""
BLOCK_SECONDS = 1.5
SHORT, FULL = 3, 12
"""Rounds."""


class Ladder(Experiment):
    """What does each hop cost a read of one product, and where do figures such as 5.47 and 21.12 ms come from?

    A bare server, Flask, Flask with a read, the function, the function gateway, the edge without plugins and with all.
    """

    name = "ladder"
    title = "What does each hop cost?"
    question = (
        "What does a read of one product cost on each rung from a bare server to the edge, in time and processor time, at "
        "the same rate and at shares of what each can bear; and what makes the figures of the lab, 5.47 ms direct and 21.12 ms through its gateway?"
    )
    method = (
        "Seven rungs: granian with one fixed answer; Flask; Flask and one prepared read; the products function (GET /7); the same through the function gateway; through an edge whose kong.yml has no plugin; through the platform's edge with all of kong.yml.",
        f"First {USERS} closed users find what each rung can bear. Then open load at {STEADY_RATE:g} requests a second for all rungs alike, and at 10, 30, 50 and 70 % of each one's own saturation (never above {MOST_RATE:g} a second), in blocks of {BLOCK_SECONDS:g} s in random order, round by round.",
        "Processor time is that of each hop's processes during its blocks, by their own clocks; k6 is left out.",
        "Ablations at the same steady rate: a connection per request (by the client, and from the proxy to its upstream), an access log, TLS, each plugin alone before an upstream that answers by itself; and closed users, 1, 10 and 30 at once.",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {"rounds": FULL if options.full else SHORT}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        block = BLOCK_SECONDS + 0.45
        rungs = len(RUNGS) * (1 + len(SHARES)) * block + 6
        saturation = len(RUNGS) * (2 + 0.4) + 8
        rounds = range(1, chosen["rounds"] + 1)
        return [
            Step("saturation", saturation),
            *(step for number in rounds for step in (Step(f"rungs-{number}", rungs), Step(f"ablations-{number}", 25 * block + 6))),
        ]  # fmt: skip

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        with built(settings) as stage:
            yield stage

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        kind, _, number = step.name.partition("-")
        if kind == "saturation":
            blocks = [closed(name, request, USERS, 2.0) for name, request in stage.rungs.items()]
        elif kind == "rungs":
            blocks = interleaved(
                _at_rates(stage.rungs, results.saturations(Folder(folder.path.parent.parent))), 1, int(number)
            )
        else:
            blocks = interleaved(_ablations(stage), 1, int(number))
        return drive(folder, blocks, watch=stage.watched()).rejected

    def conclude(self, folder: Folder) -> Conclusion:
        found = results.read(folder)
        pictures = plots.draw(folder.path, found)
        return Conclusion(
            results.verdicts(found),
            results.figures(found),
            results.tables(found),
            pictures,
            threats=[
                "k6, both Envoys, the replica and PostgreSQL share two processors: where they are full, a hop is charged for the waiting of all.",
                f"Below {MOST_RATE:g} requests a second only; a bare server can do several times as much, which is told as its saturation by {USERS} users and is then k6's limit as well.",
                "The lab's machine, images and load are not known; what is said of them follows from what the same changes do here. Bridges and network address translation of containers could not be run.",
            ],
        )


def _at_rates(rungs: Mapping[str, Request], saturations: Mapping[str, float]) -> dict[str, Block]:
    """Each rung at the steady rate and at each share of its own saturation; arms are named `rung @ rate`."""
    rates = {
        name: {
            "steady": STEADY_RATE,
            **{f"{share:.0%}": min(MOST_RATE, share * saturations[name]) for share in SHARES},
        }
        for name in rungs
    }
    return {
        results.arm(name, level): Block(results.arm(name, level), rungs[name], BLOCK_SECONDS, rate=rate)
        for name, levels in rates.items()
        for level, rate in levels.items()
    }


def _ablations(stage: Stage) -> dict[str, Block]:
    open_ = {**{name: stage.rungs[name] for name in (DIRECT, EDGE)}, **stage.ablations}
    crowds = {
        results.crowd(name, users): closed(
            results.crowd(name, users), stage.rungs[name], users, BLOCK_SECONDS
        )
        for name in (DIRECT, EDGE)
        for users in CROWDS
    }
    return {
        **{name: Block(name, request, BLOCK_SECONDS, rate=STEADY_RATE) for name, request in open_.items()},
        **crowds,
    }


EXPERIMENT = Ladder()
