"""Who gets the requests when one of three replicas is slow, and what a client sees of it, by balancing algorithm."""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import yaml

from benchmarks.own_edge import OwnEdge, own_edge
from benchmarks.quantiles import Ratio, block_quantile
from benchmarks.replicas import Replica, three_replicas
from localfaas.edge.errors import KongConfigError
from localfaas.edge.parse import parse
from localfaas.envoy import admin_request
from localfaas.settings import Settings
from tests.experiments.common.answers import Answers, Floats
from tests.experiments.common.driving import Block, Request, drive, interleaved, load
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import interval
from tests.experiments.common.report import Figure, Table, Verdict, at_least, at_most, every

ALGORITHMS: Mapping[str, Mapping[str, str]] = {
    "round-robin": {},
    "least-connections": {},
    "consistent-hashing": {"hash_on": "header", "hash_on_header": "Idempotency-Key"},
}
"""With what each needs beside its name; the load gives every request a key of its own, so the ring is asked all round."""
OTHERS = ("latency",)
"""What Kong 3.9 has beside them."""
FAST_SECONDS, SLOW_SECONDS = 0.002, 0.020
DELAYS = {
    "alike": (FAST_SECONDS, FAST_SECONDS, FAST_SECONDS),
    "one slow": (FAST_SECONDS, FAST_SECONDS, SLOW_SECONDS),
}
RATE = 400.0
BLOCKS_IN_RUN = 2
ROUNDS_SHORT, ROUNDS_FULL = 5, 20
RUN_SECONDS = 8.5
WARM_SECONDS = 0.1
LARGEST_SHARE = 0.36
"""Of three that are alike, by round-robin and least-connections; the ring deals out its keys less evenly."""
MOST_P99_SECONDS = SLOW_SECONDS + 0.010
SHARES = (0.5, 0.9, 0.99)
COLOURS = ("#3274d9", "#8ab8ff", "#c0392b")


@dataclass(frozen=True)
class Stage:
    own: OwnEdge
    replicas: Sequence[Replica]


@dataclass(frozen=True)
class Expected:
    """The slow replica's share: about `share`, to `within`."""

    share: float
    within: float
    why: str


class Balance(Experiment):
    """Who gets the requests when one of three replicas is slow? Each algorithm of the embedded edge, on the same three."""

    name = "balance"
    title = "Who gets the requests when one of three replicas is slow?"
    question = "Which share does each of three replicas get, and what p99 does a client see, when one is slow, under each balancing algorithm?"
    method = (
        f"An edge of its own has an upstream for each algorithm; all have the same three replicas, which answer {FAST_SECONDS * 1000:g} ms after they were asked, or, where one is slow, the third after {SLOW_SECONDS * 1000:g} ms.",
        f"Runs with all alike and runs with one slow take turns. Within a run the algorithms have {BLOCKS_IN_RUN} blocks each of 1 s in random order, at {RATE:g} requests a second, as independent callers send them.",
        "The edge counts requests by upstream and replica. A run counts only where its sums are, replica by replica, what the replicas took themselves, and, algorithm by algorithm, the answers that came back.",
        "Consistent hashing has a key of its own for each request. There are no retries and no health checks.",
        "A share's interval is over runs (Student's t), that of a quantile over blocks (bootstrap).",
    )

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {"rounds": ROUNDS_FULL if options.full else ROUNDS_SHORT}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [
            Step(f"{case}-{number:02d}", RUN_SECONDS)
            for number in range(1, chosen["rounds"] + 1)
            for case in DELAYS
        ]

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        with own_edge() as own, three_replicas() as replicas:
            own.load(kong_yml([replica.port for replica in replicas]), {})
            yield Stage(own, replicas)

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        case, _, number = step.name.partition("-")
        for replica, seconds in zip(stage.replicas, DELAYS[case], strict=True):
            replica.slow(seconds)
        arms = {name: _block(name, stage.own.port) for name in ALGORITHMS}
        before, took = counted(stage), [replica.taken for replica in stage.replicas]
        driven = drive(folder, interleaved(arms, BLOCKS_IN_RUN, seed=int(number)), all_watched=True)
        counts = {name: [new - old for new, old in zip(now, before[name], strict=True)] for name, now in counted(stage).items()}  # fmt: skip
        taken = [replica.taken - old for replica, old in zip(stage.replicas, took, strict=True)]
        folder.write("counts.json", {"counts": counts, "taken": taken, "refused": refusals(OTHERS)})
        answered = {
            name: sum(len(its) for block, its in driven.blocks.items() if driven.arms[block] == name)
            for name in ALGORITHMS
        }
        return [*driven.rejected, *disagreements(counts, taken, answered)]

    def conclude(self, folder: Folder) -> Conclusion:
        names = sorted(folder.done_runs())
        seen = {case: _seen(folder, [name for name in names if name.startswith(case)]) for case in DELAYS}
        seen = {case: by for case, by in seen.items() if by}
        picture = folder.path / "balance.png"
        _draw(picture, seen)
        refused: Mapping[str, str] = folder.run(names[0]).read("counts.json")["refused"]
        return Conclusion(
            verdicts(seen),
            [figure for case, by in seen.items() for name, one in by.items() for figure in one.figures(case, name)],
            [
                _shares_table(seen),
                _latencies_table(seen),
                Table("Algorithms of Kong 3.9 that the edge refuses", ["algorithm", "its words"], list(refused.items())),
            ],
            [("Left: each replica's share; the line is what was expected of the third where it is slow. Right: which share of the requests took longer.", picture)],
            threats=[
                "The replicas wait and do not work: a slow one takes any number at once. One that is slow because it is busy would slow down further with each request it gets.",
                "The edge's Envoy has one thread; with several, each would take turns and count for itself.",
                "The ring depends on the replicas' ports, which are others whenever the experiment begins or is resumed, so the shares of consistent hashing differ, too.",
                "Load, edge and replicas share the processors.",
            ],
        )  # fmt: skip


def kong_yml(ports: Sequence[int], algorithms: Mapping[str, Mapping[str, str]] = ALGORITHMS) -> str:
    """An upstream for each algorithm with the same targets, reached by its name as path."""
    targets = [{"target": f"127.0.0.1:{port}"} for port in ports]
    return yaml.safe_dump(
        {
            "_format_version": "3.0",
            "upstreams": [
                {"name": name, "algorithm": name, "targets": targets, **more}
                for name, more in algorithms.items()
            ],
            "services": [
                {"name": name, "host": name, "port": 80, "protocol": "http", "retries": 0, "routes": [{"name": name, "paths": [f"/{name}"]}]}
                for name in algorithms
            ],
        }
    )  # fmt: skip


def refusals(algorithms: Sequence[str]) -> dict[str, str]:
    """Those of them that the edge refuses, with its own words."""
    refused = {}
    for name in algorithms:
        try:
            parse(kong_yml([80], {name: {}}))
        except KongConfigError as error:
            refused[name] = "; ".join(fault.text for fault in error.faults)
    return refused


def counted(stage: Stage) -> dict[str, list[int]]:
    """Requests so far by algorithm and replica, as the edge's Envoy counts them."""
    text = admin_request(stage.own.edge.settings.envoy_admin_socket("edge"), "GET", "/clusters")
    return counts_in(text, [replica.port for replica in stage.replicas])


def counts_in(text: str, ports: Sequence[int]) -> dict[str, list[int]]:
    """From Envoy's `/clusters`: lines such as `round-robin@60000::127.0.0.1:8000::rq_total::12`."""
    fields = (line.split("::") for line in text.splitlines())
    found = {(one[0].partition("@")[0], one[1]): int(one[3]) for one in fields if one[2:3] == ["rq_total"]}
    return {name: [found[name, f"127.0.0.1:{port}"] for port in ports] for name in ALGORITHMS}


def disagreements(
    counts: Mapping[str, Sequence[int]], taken: Sequence[int], answered: Mapping[str, int]
) -> list[str]:
    """Where the edge's counts are not what the replicas took or what came back."""
    sums = [sum(column) for column in zip(*counts.values(), strict=True)]
    found = [] if sums == list(taken) else [f"the edge counted {sums}, the replicas {list(taken)}"]
    return found + [
        f"{name}: the edge counted {sum(counts[name])} requests, {count} were answered"
        for name, count in answered.items()
        if sum(counts[name]) != count
    ]


def fewest_open(rate: float, delays: Sequence[float], requests: int = 40_000) -> list[float]:
    """Each replica's share where each request goes to the one with the fewest open, one of them at random on a tie.

    A simulation of Poisson arrivals; replicas hold a request for their delay, any number at once.
    """
    chance = random.Random(0)
    open_, got = [0] * len(delays), [0] * len(delays)
    ends: list[tuple[float, int]] = []
    now = 0.0
    for _ in range(requests):
        now += chance.expovariate(rate)
        while ends and ends[0][0] <= now:
            open_[heapq.heappop(ends)[1]] -= 1
        least = min(open_)
        chosen = chance.choice([place for place, count in enumerate(open_) if count == least])
        open_[chosen] += 1
        got[chosen] += 1
        heapq.heappush(ends, (now + delays[chosen], chosen))
    return [count / requests for count in got]


def expectations() -> dict[str, Expected]:
    """Of the slow replica's share, by algorithm; written before the first run."""
    return {
        "round-robin": Expected(1 / 3, 0.01, "a third, slow or not"),
        "least-connections": Expected(fewest_open(RATE, DELAYS["one slow"])[-1], 0.03, "as a simulation says"),
        "consistent-hashing": Expected(1 / 3, 0.06, "its part of the ring, about a third"),
    }  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One algorithm in one case."""

    counts: Sequence[Sequence[int]]
    """By run and replica."""
    blocks: Sequence[Floats]
    """Seconds of the answers."""

    @property
    def shares(self) -> list[Ratio]:
        """Each replica's, of all runs together."""
        table = np.array(self.counts, dtype=float)
        by_run = table / table.sum(axis=1, keepdims=True)
        value = table.sum(axis=0) / table.sum()
        return [
            Ratio(float(value[place]), *interval(by_run[:, place].tolist())) for place in range(len(value))
        ]

    @property
    def largest(self) -> Ratio:
        """The share that may be largest, as far as it is known."""
        return max(self.shares, key=lambda one: one.high)

    def milliseconds(self, share: float) -> Ratio:
        return block_quantile(self.blocks, share).times(1000)

    def figures(self, case: str, name: str) -> list[Figure]:
        p99, share = self.milliseconds(0.99), self.shares[-1]
        return [
            Figure(f"{name}, {case}: p99", "ms", p99.value, p99.low, p99.high),
            Figure(f"{name}, {case}: share of the third replica", "", share.value, share.low, share.high, ""),
        ]


ByCase = Mapping[str, Mapping[str, Seen]]
"""What was seen, by case and algorithm."""


def _block(name: str, port: int) -> Block:
    return Block(name, Request(f"http://127.0.0.1:{port}/{name}", method="POST", key=True), 1.0, rate=RATE)


def _seen(folder: Folder, runs: Sequence[str]) -> dict[str, Seen]:
    if not runs:
        return {}
    counts = [folder.run(name).read("counts.json")["counts"] for name in runs]
    driven = [load(folder.run(name)) for name in runs]
    blocks: Mapping[str, list[Answers]] = {
        name: [block for one in driven for block in one.of(name, WARM_SECONDS)] for name in ALGORITHMS
    }
    return {
        name: Seen([one[name] for one in counts], [block.seconds for block in blocks[name]])
        for name in ALGORITHMS
    }


def verdicts(seen: ByCase) -> list[Verdict]:
    alike, slow = seen.get("alike", {}), seen.get("one slow", {})
    even = [_evenly(name, one) for name, one in alike.items() if name != "consistent-hashing"]
    return even + [verdict for name, one in slow.items() for verdict in _with_one_slow(name, one)]


def _evenly(name: str, seen: Seen) -> Verdict:
    goal = f"{name}: none of three that are alike gets more than {LARGEST_SHARE:g}"
    return Verdict(goal, seen.largest.said(3), at_most(seen.largest, LARGEST_SHARE))


def _with_one_slow(name: str, seen: Seen) -> list[Verdict]:
    expected, share, p99 = expectations()[name], seen.shares[-1], seen.milliseconds(0.99)
    return [
        Verdict(
            f"{name}: the slow one gets {expected.share:.3f} ± {expected.within:g} ({expected.why})",
            share.said(3),
            every(
                at_least(share, expected.share - expected.within),
                at_most(share, expected.share + expected.within),
            ),
        ),
        Verdict(
            f"{name}: p99 is that of the slow one, {SLOW_SECONDS * 1000:g} to {MOST_P99_SECONDS * 1000:g} ms",
            f"{p99.said(1)} ms",
            every(at_least(p99, SLOW_SECONDS * 1000), at_most(p99, MOST_P99_SECONDS * 1000)),
        ),
    ]


def _shares_table(seen: ByCase) -> Table:
    rows = [
        [name, case, *(share.said(3) for share in by[name].shares), f"{np.sum(by[name].counts):,}"]
        for name in ALGORITHMS
        for case, by in seen.items()
    ]
    head = ["algorithm", "replicas", "first", "second", "third (the slow one)", "requests"]
    return Table("Shares (95 %)", head, rows)


def _latencies_table(seen: ByCase) -> Table:
    rows = [
        [name, case, *(by[name].milliseconds(share).said() for share in SHARES)]
        for name in ALGORITHMS
        for case, by in seen.items()
    ]
    return Table(
        "What a client sees, ms (95 %)", ["algorithm", "replicas", *(f"p{s * 100:g}" for s in SHARES)], rows
    )


def _draw(path: Path, seen: ByCase) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    _draw_shares(left, seen)
    _draw_latencies(right, seen)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_shares(axes: Any, seen: ByCase) -> None:
    rows = [(name, case) for name in ALGORITHMS for case in seen]
    expected = expectations()
    for row, (name, case) in enumerate(rows):
        begin = 0.0
        for place, share in enumerate(seen[case][name].shares):
            slow = case == "one slow" and place == 2
            colour = COLOURS[place] if place < 2 or slow else "#c9d1d9"
            axes.barh(row, share.value, left=begin, color=colour, height=0.7)
            axes.text(begin + share.value / 2, row, f"{share.value:.2f}", ha="center", va="center", fontsize=8, color="white" if slow or place == 0 else "black")  # fmt: skip
            begin += share.value
        if case == "one slow":
            axes.plot([1 - expected[name].share] * 2, [row - 0.45, row + 0.45], color="black", linewidth=1.5)
    axes.set_yticks(range(len(rows)), [f"{name}, {case}" for name, case in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the requests: first, second, third replica (red: slow)")


def _draw_latencies(axes: Any, seen: ByCase) -> None:
    for place, name in enumerate(ALGORITHMS):
        for case, by in seen.items():
            taken = np.sort(np.concatenate(by[name].blocks)) * 1000
            longer = 1 - np.arange(1, len(taken) + 1) / len(taken)
            style = "-" if case == "one slow" else ":"
            axes.plot(taken, longer, style, color=f"C{place}", linewidth=1.3, label=f"{name}, {case}")
    axes.axhline(0.01, color="#888", linewidth=0.6)
    axes.annotate("p99", (1, 0.01), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axes.set(xscale="log", yscale="log", ylim=(1e-3, 1), xlabel="ms", ylabel="share that took longer")
    axes.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, fontsize=7, loc="upper right")


EXPERIMENT = Balance()
