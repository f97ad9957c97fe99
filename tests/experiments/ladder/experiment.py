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
from tests.experiments.common.validity import MOST_OF_OTHERS, Limits
from tests.experiments.ladder import plots, results
from tests.experiments.ladder.results import CROWDS, USERS
from tests.experiments.ladder.stage import DIRECT, EDGE, RUNGS, Stage, built

STEADY_RATE = 200.0
"""At which all rungs are held against each other."""
SHARES = (0.1, 0.3, 0.5, 0.7)
"""Of each rung's own saturation, which is what USERS get out of it and no knee."""
MOST_RATE = 1_500.0
"""k6 has two processors in common with what it asks; above this its own work is most of what is seen."""
BLOCK_SECONDS = 1.0
SATURATION_ROUNDS, RUNG_ROUNDS, ABLATION_ROUNDS = 3, 6, 4
"""Of a run."""
SHORT, FULL = 1, 4
"""Runs of each kind."""
TAIL_SECONDS = 3.0
"""Of a block in the long form, which is to tell of a p99.9 at the same rate though a fifth of the rounds be left out."""
NAIVE_RATE = 50.0
"""What the naive stack bears easily."""
NEAR_FULL = Limits(late_seconds=None)
"""Near saturation k6 waits for a processor, too; each arm is held to results.MOST_LATE by itself."""
CONNECTIONS = 200
"""Near saturation requests wait; those that could not be sent would be missing."""


class Ladder(Experiment):
    """What does each hop cost a read of one product, and where do figures such as 5.47 and 21.12 ms come from?

    A bare server, Flask, Flask with a read, the function, the function gateway, the edge without plugins and with all.
    """

    name = "ladder"
    title = "What does each hop cost?"
    question = (
        "What does a read of one product cost on each rung from a bare server to the edge, in time and processor time, at "
        f"the same rate and at shares of what {USERS} closed users get out of each; and what makes the figures of the lab, 5.47 ms direct and 21.12 ms through its gateway?"
    )
    method = (
        "Seven rungs: granian with one fixed answer; Flask; Flask and one prepared read; the products function (GET /7); the same through the function gateway; through an edge whose kong.yml has no plugin; through the platform's edge with all of kong.yml.",
        f"First {USERS} closed users tell each rung's saturation: what they get out of it, which is no knee, as nothing is asked of their times. Then open load at {STEADY_RATE:g} requests a second for all rungs alike, and at 10, 30, 50 and 70 % of each one's own saturation (never above {MOST_RATE:g} a second), in blocks of {BLOCK_SECONDS:g} s (of {TAIL_SECONDS:g} s in the long form, for p99.9) in random order, round by round.",
        f"Processor time is that of each hop's processes during its blocks, by their own clocks; k6 is left out. Rounds in which other work took more than {MOST_OF_OTHERS:.0%} of the processors are left out.",
        "Ablations at the same steady rate: a connection per request (by the client, and from the proxy to its upstream), an access log, TLS, each plugin alone before an upstream that answers by itself.",
        f"A naive stack beside it, at {NAIVE_RATE:g} requests a second: the same read under the server that Flask has for development, a connection to the database per request, two proxies that write each request down and open a connection for each. It and the shop are asked by {', '.join(map(str, CROWDS[:-1]))} and {CROWDS[-1]} closed users as well.",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {
            "runs": FULL if options.full else SHORT,
            "steady_seconds": TAIL_SECONDS if options.full else BLOCK_SECONDS,
            "share_seconds": TAIL_SECONDS if options.full else BLOCK_SECONDS,
        }

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        rungs = len(RUNGS)
        rounds = range(1, chosen["runs"] + 1)
        return [
            Step("saturation", SATURATION_ROUNDS * rungs * (BLOCK_SECONDS + 0.3) + 6),
            *(
                step
                for number in rounds
                for step in (
                    Step(f"rungs-{number}", RUNG_ROUNDS * rungs * (_seconds(chosen, "steady") + 0.4) + 6),
                    Step(f"shares-{number}", len(SHARES) * rungs * (_seconds(chosen, "share") + 0.4) + 6),
                    Step(f"ablations-{number}", ABLATION_ROUNDS * 34 * (BLOCK_SECONDS + 0.4) + 6),
                )
            ),
        ]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        with built(settings) as stage:
            yield stage

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        kind, _, number = step.name.partition("-")
        whole, limits = Folder(folder.path.parent.parent), None
        if kind == "saturation":
            full = {name: closed(name, one, USERS, BLOCK_SECONDS) for name, one in stage.rungs.items()}
            blocks = interleaved(full, SATURATION_ROUNDS)
        elif kind == "rungs":
            seconds = _seconds(whole.settings["settings"], "steady")
            blocks = interleaved(_steady(stage, seconds), RUNG_ROUNDS, int(number))
        elif kind == "shares":
            seconds = _seconds(whole.settings["settings"], "share")
            arms = _at_shares(stage.rungs, results.saturations(whole), seconds)
            blocks, limits = interleaved(arms, 1, int(number)), NEAR_FULL
        else:
            blocks = interleaved(_ablations(stage), ABLATION_ROUNDS, int(number))
        return drive(folder, blocks, watch=stage.watched(), limits=limits, all_watched=True).rejected

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
                "The lab's machine, images and load are not known; what is said of them follows from what the same changes do here. Bridges and network address translation of containers could not be run, nor a watchdog that starts a process for each request.",
                f"The shares are of what {USERS} closed users get out of a rung, whatever it takes them; a knee, the most that is borne within a given time, is another figure. There a p99.9 is told of arms with {results.FEWEST_BEYOND * 1000:,} requests: in the long form those asked at some {results.FEWEST_BEYOND * 1000 / (FULL * (TAIL_SECONDS - results.WARM_SECONDS)):.0f} a second or more, in the short form none.",
                f"At shares of the saturation up to {results.MOST_LATE:.0%} of an arm's requests may leave over 10 ms late, as k6 waits for a processor there like all others; they count from when they were due. Of an arm with more nothing is told.",
                "With one run an ablation has four blocks of a second, of which Student's interval is wide; the long form has sixteen.",
            ],
        )


def _seconds(chosen: Mapping[str, Any], kind: str) -> float:
    """How long a block is at the same rate (`steady`) or at a share; folders of before it was chosen have the short one."""
    return float(chosen.get(f"{kind}_seconds", BLOCK_SECONDS))


def _steady(stage: Stage, seconds: float) -> dict[str, Block]:
    names = {results.arm(name, "steady"): request for name, request in stage.rungs.items()}
    return {name: Block(name, request, seconds, rate=STEADY_RATE) for name, request in names.items()}


def _at_shares(
    rungs: Mapping[str, Request], saturations: Mapping[str, float], seconds: float
) -> dict[str, Block]:
    """Each rung at each share of its own saturation; arms are named `rung @ share`."""
    arms = [(name, share, results.arm(name, f"{share:.0%}")) for name in rungs for share in SHARES]
    return {
        arm: Block(
            arm, rungs[name], seconds, rate=min(MOST_RATE, share * saturations[name]), connections=CONNECTIONS
        )
        for name, share, arm in arms
    }  # fmt: skip


def _ablations(stage: Stage) -> dict[str, Block]:
    open_ = {**{name: stage.rungs[name] for name in (DIRECT, EDGE)}, **stage.ablations}
    asked = {**stage.rungs, **stage.naive}
    crowds = {
        results.crowd(name, users): (asked[name], users) for name in results.CROWDED for users in CROWDS
    }
    return {
        **{name: Block(name, request, BLOCK_SECONDS, rate=STEADY_RATE) for name, request in open_.items()},
        **{
            name: Block(name, request, BLOCK_SECONDS, rate=NAIVE_RATE)
            for name, request in stage.naive.items()
        },
        **{name: closed(name, request, users, BLOCK_SECONDS) for name, (request, users) in crowds.items()},
    }


EXPERIMENT = Ladder()
