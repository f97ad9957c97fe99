"""How much does each function, and a visit to the shop, bear with one to five replicas?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.own_platform import own_platform
from benchmarks.report import BenchmarkError
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.supervisor import Supervisor
from tests.experiments.capacity import cells, results
from tests.experiments.capacity.plots import draw_cells
from tests.experiments.capacity.subjects import (
    FLOWING_SECONDS,
    IMMEDIATE_SECONDS,
    SHORT,
    SUBJECTS,
    Part,
    parts_of,
)
from tests.experiments.common.driving import GAP_SECONDS, Block, drive
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.shop import Shop, backends, replicas_of

USERS = 16
"""Enough to keep five replicas busy, and fewer than one may let wait (64)."""
PATIENCE_SECONDS = 5.0
LADDERS = 2
CLIMB, CLIMBS = 1.15, 6
"""By how much each rung above the ladder is higher, and how many there are at most: more than twice its top."""
SCALING_SECONDS = 12.0
BRIEF: Mapping[str, Any] = {
    "replicas": [1, 2, 3, 5],
    "visits": 2,
    "blocks": 2,
    "rungs": [0.65, 0.85, 1.05],
    "rung_seconds": 1.5,
}
FULL: Mapping[str, Any] = {
    "replicas": [1, 2, 3, 4, 5], "visits": 2, "blocks": 3, "rungs": [0.4, 0.6, 0.75, 0.9, 1.0, 1.1], "rung_seconds": 1.5,
}  # fmt: skip


@dataclass
class Stage:
    """The shop, and how many replicas it has now."""

    shop: Shop
    functions: Sequence[str]
    replicas: int = 0

    def have(self, replicas: int) -> None:
        """So many replicas of each function that is measured, and every connection to the database made."""
        if replicas == self.replicas:
            return
        self.shop.scale(self.functions, replicas)
        self.replicas = replicas


class Capacity(Experiment):
    """How much does each function, and a visit to the shop, bear with one to five replicas?

    On a platform of its own whose replicas nobody scales but the experiment.
    """

    name = "capacity"
    title = "How much does each function bear, and what do more replicas bring?"
    question = (
        "How many requests a second does each function and a visitor's journey bear with one to five replicas, how many "
        "for a second of a processor, and does the universal scalability law tell it?"
    )
    method = (
        "A typical request of each domain through the function gateway, and the actions of the journey `shop` (tests/load/scenario.json) in their proportion through the edge; goods in plenty, 40 of them in turn, 100 customers in turn.",
        "A visit is three actions. An action is timed and counted as one request, also where it is two, one after the other; a purchase goes without the look at its order, which would be a third.",
        "All functions that work on a request have the same number of replicas; nothing else scales them. The numbers of them are visited on the way up and again on the way down (the table says how often), so that what changes steadily with time is the same for all.",
        f"Throughput: {USERS} closed users ask as fast as they are answered, in blocks of {cells.BLOCK_SECONDS:g} s ({cells.block_seconds('checkout'):g} s for purchases); the first {cells.WARM_SECONDS:g} s of each do not count.",
        f"Knee: open rates from a share of that throughput to all of it, in rising order; a rate is borne where its p99, from when requests were due, is at most {IMMEDIATE_SECONDS * 1000:g} ms ({FLOWING_SECONDS:g} s for a purchase), with every request sent and rightly answered. The knee lies between the rung below the lowest that was not borne and that one; that is no interval of 95 %. Where the highest rate is borne, the ladder goes on in steps of 15 % until one is not.",
        "Requests for a second of a processor: right answers over the processor time of the replicas, the gateway, the edge and PostgreSQL in the closed blocks. k6's own is left out.",
        "X(N) = λN / (1 + σ(N − 1) + κN(N − 1)), Gunther's universal scalability law, by least squares of logarithms (scipy); intervals by a parametric bootstrap from the scatter of visits. σ and κ are at most 1 there. Whether the law holds is the F test of lack of fit.",
        "Intervals are drawn over visits: Student's, of their logarithms, whose scatter about the mean of a number of replicas is pooled over all numbers (analysis of variance); of the worst of several subjects all intervals hold together with 95 % (Bonferroni). Of one visit there are none.",
    )

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--subjects", default="", help=f"which, by comma, of {', '.join(SUBJECTS)}")

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        names = [name for name in options.subjects.split(",") if name]
        if unknown := [name for name in names if name not in SUBJECTS]:
            raise BenchmarkError(f"there is no {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
        return {
            "subjects": names or list(SUBJECTS if options.full else SHORT),
            **(FULL if options.full else BRIEF),
        }

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        closed = 7.0 + chosen["blocks"] * (cells.BLOCK_SECONDS + 0.3)
        ladder = 3.0 + len(chosen["rungs"]) * (chosen["rung_seconds"] + 0.5)
        steps, before = [], 0
        for name, replicas in order(chosen["subjects"], chosen["replicas"], _visits(chosen)):
            steps.append(Step(name, closed + ladder + (SCALING_SECONDS if replicas != before else 0)))
            before = replicas
        return steps

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        self._chosen = chosen
        with own_platform(settings) as own:
            Supervisor(own).stop("alertmanager")
            shop = Shop(own)
            shop.open()
            shop.sold_lately()
            needed = {function for name in chosen["subjects"] for function in SUBJECTS[name].functions}
            yield Stage(shop, sorted(needed))

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        subject, replicas, *_ = step.name.split("-")
        stage.have(int(replicas))
        return measure(stage.shop, subject, folder, self._chosen)

    def conclude(self, folder: Folder) -> Conclusion:
        found = cells.read_cells(folder)
        fitted = cells.fits(found)
        return Conclusion(
            results.verdicts(found),
            results.figures(found, fitted),
            results.tables(found, fitted),
            [draw_cells(folder.path / "capacity.png", found, fitted)],
            threats=results.THREATS,
            more={"cells": results.as_json(found)},
        )


def order(subjects: Sequence[str], replicas: Sequence[int], visits: int) -> Iterator[tuple[str, int]]:
    """The runs and their numbers of replicas: up, down again, and so on, each way the one before backwards."""
    way = [(subject, number) for number in replicas for subject in subjects]
    for visit in range(visits):
        for subject, number in way[::-1] if visit % 2 else way:
            yield f"{subject}-{number}" + (f"-{visit + 1}" if visit else ""), number


def _visits(chosen: Mapping[str, Any]) -> int:
    """Folders of before this was chosen have one."""
    return int(chosen.get("visits", 1))


def measure(shop: Shop, subject: str, folder: Folder, chosen: Mapping[str, Any]) -> Sequence[str]:
    """One subject with the replicas that there are: closed blocks, then the ladder of open rates below what they brought."""
    parts = parts_of(subject, shop)
    warm, closed, ladder = (_part_of(folder, name) for name in ("warm", "closed", "ladder"))
    requests = [one for part in parts for one in part.requests]
    block = Block(subject, requests, cells.block_seconds(subject), users=USERS, patience=PATIENCE_SECONDS)
    # Every connection to the database is made before its process is looked for, and each has done its work a few times.
    drive(warm, [replace(block, seconds=warm_seconds(shop.settings, subject))])
    driven = drive(
        closed, [block] * chosen["blocks"], watch=watched(shop.settings, subject), limits=cells.TO_ITS_LIMIT
    )
    if driven.rejected:
        return driven.rejected
    most = float(np.mean(cells.throughputs(driven, subject)))
    rates = [max(1.0, float(f"{share * most:.3g}")) for share in chosen["rungs"]]
    seconds, ladders = chosen["rung_seconds"], {"ladder": rates}

    def write() -> Sequence[cells.Rung]:
        folder.write(
            "cell.json",
            {"ladders": ladders, "rung_seconds": seconds, "parts": [_told(part) for part in parts]},
        )
        return cells.read_rungs(folder)

    # Where not even the lowest rate was borne something else was going on; once more, and then that is what is told.
    for _ in range(LADDERS):
        rejected = drive(ladder, rungs(parts, rates, seconds), limits=cells.TO_ITS_LIMIT).rejected
        found = write()
        if rejected or found[0].borne:
            break

    def borne(rate: float) -> bool:
        nonlocal rejected
        name = f"climb-{len(ladders)}"
        rejected = drive(
            _part_of(folder, name), rungs(parts, [rate], seconds), limits=cells.TO_ITS_LIMIT
        ).rejected
        ladders[name] = [rate]
        return write()[-1].borne and not rejected

    if not rejected:
        climb(rates[-1], all(one.borne for one in found), borne)
    return rejected


def climb(rate: float, borne: bool, bears: Callable[[float], bool]) -> None:
    """Ask for ever higher rates until one is not borne, CLIMBS at most."""
    for _ in range(CLIMBS):
        if not borne:
            return
        rate = float(f"{rate * CLIMB:.3g}")
        borne = bears(rate)


def warm_seconds(settings: Settings, subject: str) -> float:
    """Longer with more replicas where a request goes through many functions, of each of which it warms one."""
    functions = SUBJECTS[subject].functions
    most = max(len(found) for name, found in replicas_of(settings).items() if name in functions)
    return cells.BLOCK_SECONDS * (most if len(functions) > 2 else 1)


def rungs(parts: Sequence[Part], rates: Sequence[float], seconds: float) -> list[Block]:
    """One after the other; the parts of one side by side."""
    blocks, start = [], 0.3
    for rate in rates:
        rung = [
            Block(
                cells.arm_of(rate, part.name), part.requests, seconds, rate=rate * part.share, start=start, patience=PATIENCE_SECONDS
            )
            for part in parts
        ]  # fmt: skip
        blocks += rung
        start += seconds + max(one.spread for one in rung) + GAP_SECONDS
    return blocks


def _told(part: Part) -> dict[str, Any]:
    return {"name": part.name, "share": part.share, "bound_seconds": part.bound_seconds}


def _part_of(folder: Folder, name: str) -> Folder:
    part = Folder(folder.path / name)
    part.path.mkdir(exist_ok=True)
    return part


def watched(settings: Settings, subject: str) -> dict[str, list[int]]:
    """The processes that serve, by group."""
    replicas = replicas_of(settings)
    programs = {row.program: row.pid for row in rows(settings)}
    return {
        "replicas": [pid for function in SUBJECTS[subject].functions for pid in replicas[function]],
        "gateway": [programs["gateway"]],
        "edge": [programs["edge"]],
        "postgres": backends(programs["postgres"]),
    }


EXPERIMENT = Capacity()
