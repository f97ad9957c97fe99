"""Driving: blocks of load sent by k6, what came back, whose processor time it took, and whether that may be believed."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.report import BenchmarkError
from tests.experiments.common import answers, k6
from tests.experiments.common.answers import Answers
from tests.experiments.common.clocks import CLIENT, OWN, Clocks, Ticks, family
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import Limits, left_out, objections

SCRIPT = Path(__file__).with_name("load.js")
GAP_SECONDS = 0.3
"""Between one block and the next, so that the last answers of one do not meet the first requests of the other."""
ARRIVALS_IN_SPREAD = 20
"""Requests are displaced by up to the time in which so many are due: within that, they come as a Poisson process does."""
PATIENCE_SECONDS = 1.0
"""A request that is not answered by then counts as not answered; an experiment with faults says how long it waits."""
OPEN_SECONDS = 0.1
"""Unless told otherwise there are connections for as many requests as are due within this.

Each has its turn, so idle ones cost nothing but their number, of which a replica takes about a thousand.
"""
START_SECONDS = 30.0
SHORTEST_SECONDS = 1.0
"""k6 knows no shorter ones."""


@dataclass(frozen=True)
class Request:
    """What is asked, and what has to come back. With `key` each POST bears an Idempotency-Key of its own.

    `$name` in address, headers and body (there in quotes) is taken from `turns`, one after the other. `first`, which may have
    one of its own, is sent before, by the same caller; what turns leave open becomes what its JSON answer has there, and all
    are timed as one. `keep` names a field of the answer that is written to k6.log (`kept`
    reads it), after the request was sent again with its key for up to `insist` seconds until it had a final answer.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    statuses: Sequence[int] = (200,)
    contains: str = ""
    key: bool = False
    turns: Sequence[Mapping[str, Any]] = ()
    first: Request | None = None
    keep: str = ""
    insist: float = 0.0


@dataclass(frozen=True)
class Block:
    """Load on one arm for some seconds: `rate` requests a second, or `users` who ask as fast as they are answered.

    `request` is what all of them ask, or several requests, each with its weight.
    `connections` is how many requests may be open at once; without it, enough for answers within OPEN_SECONDS.
    """

    arm: str
    request: Request | Sequence[tuple[float, Request]]
    seconds: float
    rate: float | None = None
    users: int | None = None
    connections: int | None = None
    patience: float = PATIENCE_SECONDS
    start: float | None = None
    """Seconds from the beginning of the run; without it, after the block before."""
    round: int | None = None
    """Of which round it is, where all arms have a block in each; `interleaved` counts them."""

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.users is None):
            raise ValueError(f"a block of {self.arm} needs a rate or users")
        if self.seconds < SHORTEST_SECONDS:
            raise ValueError(f"a block of {self.arm} lasts less than {SHORTEST_SECONDS:g} s")

    @property
    def requests(self) -> list[tuple[float, Request]]:
        """Each with its share of all."""
        several = [(1.0, self.request)] if isinstance(self.request, Request) else list(self.request)
        whole = sum(weight for weight, _ in several)
        return [(weight / whole, request) for weight, request in several]

    @property
    def insist(self) -> float:
        return max(request.insist for _, request in self.requests)

    @property
    def spread(self) -> float:
        return min(1.0, ARRIVALS_IN_SPREAD / self.rate) if self.rate else 0.0


@dataclass(frozen=True)
class Driven:
    """What a run brought: by block its arm and answers, in the order in which they were sent; and the clocks beside it."""

    arms: Mapping[str, str]
    blocks: Mapping[str, Answers]
    ticks: Ticks
    rejected: Sequence[str]
    """Why this run may not be believed; empty for one that may."""
    left_out: frozenset[str] = frozenset()
    """Blocks of rounds in which the machine was not ours, or of which, in a draft, an arm has no answer."""

    def of(self, arm: str, warm_seconds: float = 0.0) -> list[Answers]:
        """The blocks of an arm that are not left out, each without what was due in its first `warm_seconds`."""
        chosen = [
            self.blocks[name]
            for name, its in self.arms.items()
            if its == arm and name in self.blocks and name not in self.left_out
        ]
        return [one.after(float(one.due.min()) + warm_seconds) for one in chosen]


def interleaved(arms: Mapping[str, Block], rounds: int, seed: int = 0) -> list[Block]:
    """Each arm's block once a round, in random order within the round, so that what the machine does meets all alike."""
    chance = random.Random(seed)
    names = list(arms)
    return [
        replace(arms[name], round=number)
        for number in range(rounds)
        for name in chance.sample(names, len(names))
    ]


def seconds_of(blocks: Iterable[Block]) -> float:
    """How long driving these takes at most, about."""
    plan = _laid_out(list(blocks))
    return (
        max(start + block.seconds + block.spread + block.patience + block.insist for start, block in plan)
        + 3.0
    )


def drive(
    folder: Folder,
    blocks: Sequence[Block],
    *,
    watch: Mapping[str, Sequence[int]] | None = None,
    limits: Limits | None = None,
    threads: int = 0,
    all_watched: bool = False,
) -> Driven:
    """Send the blocks, write what came of them into `folder`, and read it back.

    `watch` names groups of processes whose time is taken. With `all_watched` they, and what this process has started, are
    all that works for the experiment: what is taken besides was others' work. Raises BenchmarkError when k6 fails or cannot begin.
    """
    drive_only(folder, blocks, watch=watch, threads=threads, all_watched=all_watched)
    driven = load(folder, limits)
    if driven.left_out:
        folder.write("left_out.json", {"blocks": len(driven.left_out), "of": len(driven.arms)})
    return driven


def drive_only(
    folder: Folder,
    blocks: Sequence[Block],
    *,
    watch: Mapping[str, Sequence[int]] | None = None,
    threads: int = 0,
    all_watched: bool = False,
) -> None:
    """As `drive`, without reading back; whoever calls goes on beside it in a thread of their own."""
    plan = _laid_out(blocks)
    named = {f"b{place:04d}": item for place, item in enumerate(plan)}
    planned = folder.path / "plan.json"
    document = {
        "id": f"{time.time_ns():x}",
        "blocks": [_as_json(name, start, block) for name, (start, block) in named.items()],
    }
    planned.write_text(json.dumps(document))
    output = folder.path / "k6.csv"
    environment = {"PLAN": str(planned)} | ({"GOMAXPROCS": str(threads)} if threads else {})
    groups = dict(watch or {})
    if all_watched:
        watched = {pid for pids in groups.values() for pid in pids}
        groups |= {OWN: [pid for pid in family() if pid not in watched], CLIENT: []}
    with Clocks(groups) as clocks:
        process = k6.start(SCRIPT, output, environment)
        if all_watched:
            clocks.follow(CLIENT, process.pid)
        k6.finish(process, output, seconds_of(blocks) + START_SECONDS)
    rates = {name: block.rate for name, (_, block) in named.items() if block.rate}
    found, dropped = answers.from_k6(output, rates)
    output.unlink()
    answers.write(folder.path / "answers.csv.gz", found)
    answers.write_histograms(
        folder.path / "samples.hlog", found, {name: block.arm for name, (_, block) in named.items()}
    )
    clocks.ticks.write(folder)
    folder.write(
        "blocks.json",
        {
            "arms": {name: block.arm for name, (_, block) in named.items()},
            "rates": rates,
            "dropped": dropped,
            "rounds": {name: block.round for name, (_, block) in named.items() if block.round is not None},
        },
    )


def load(folder: Folder, limits: Limits | None = None) -> Driven:
    """What an earlier `drive` wrote."""
    about = folder.read("blocks.json")
    found = answers.read(folder.path / "answers.csv.gz")
    ticks = Ticks.read(folder)
    silent = [name for name in about["arms"] if name not in found]
    limits, rounds = limits or Limits(), about.get("rounds", {})
    rejected = objections(found, about["dropped"], ticks, limits, open_blocks=about["rates"], rounds=rounds)
    rejected += [f"nothing came back of {about['arms'][name]} ({name})" for name in silent]
    spoilt = {*left_out(found, rounds, ticks, limits), *(rounds[name] for name in silent if name in rounds)}
    gone = frozenset(name for name, number in rounds.items() if number in spoilt)
    return Driven(about["arms"], found, ticks, rejected, gone)


@dataclass(frozen=True)
class Kept:
    """The final answer to a request that was insisted on; `value` is the field that was to be kept, None unless it succeeded."""

    arm: str
    key: str
    status: int
    tries: int
    value: Any


def kept(folder: Folder) -> list[Kept]:
    """What the requests with `keep` brought in an earlier `drive`."""
    arms = folder.read("blocks.json")["arms"]
    found = []
    for line in (folder.path / "k6.log").read_text().splitlines():
        if match := _KEPT.search(line):
            about = json.loads(match[1].replace('\\"', '"'))
            found.append(Kept(arms[about.pop("block")], **about))
    return found


_KEPT = re.compile(r'msg="kept (\{.*\})"')


def closed(arm: str, request: Request, users: int, seconds: float) -> Block:
    return Block(arm, request, seconds, users=users)


def _laid_out(blocks: Sequence[Block]) -> list[tuple[float, Block]]:
    if not blocks:
        raise BenchmarkError("there is nothing to send")
    plan, clock = [], GAP_SECONDS
    for block in blocks:
        start = clock if block.start is None else block.start
        plan.append((start, block))
        clock = max(clock, start + block.seconds + block.spread + GAP_SECONDS)
    return plan


def _as_json(name: str, start: float, block: Block) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": name, "start": start, "seconds": block.seconds, "spread": block.spread, "patience": block.patience,
        "insist": block.insist,
        "requests": [{"weight": share} | asdict(request) for share, request in block.requests],
    }  # fmt: skip
    if block.users:
        return about | {"users": block.users}
    assert block.rate is not None
    enough = math.ceil(block.rate * (block.spread + OPEN_SECONDS)) + 10
    return about | {"rate": block.rate, "connections": block.connections or enough}
