"""What was written down of a fault, and what it cost: failures, when, how long nothing succeeded, quantiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.quantiles import Ratio, block_quantile
from tests.experiments.common.answers import Answers, joined
from tests.experiments.common.driving import load
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import IN_TENTHS, Limits
from tests.experiments.failover.faults import BY_NAME, Fault, Happened

BACK_SECONDS = 5.0
"""What kong.yml promises, and what every fault is held to: so long after it nothing fails any more."""
WITH_FAULTS = replace(IN_TENTHS, wrong_answers=None)


@dataclass(frozen=True)
class Books:
    """Of the sales of a run: how many were acknowledged, how many of them after the first try; what is wrong with them."""

    acknowledged: int
    insisted: int
    missing: Sequence[str]
    twice: Sequence[str]
    invariants: bool

    @property
    def hold(self) -> bool:
        return self.invariants and not self.missing and not self.twice


@dataclass(frozen=True)
class Seen:
    """One fault, once: the answers by flow, what was done, and the books afterwards."""

    fault: Fault
    happened: Happened
    flows: Mapping[str, Answers]
    books: Books | None
    rejected: Sequence[str]

    @property
    def all(self) -> Answers:
        return joined(list(self.flows.values()))

    def cost(self, flow: str = "") -> Cost:
        """Of one flow, or of all together."""
        return cost_of(self.flows[flow] if flow else self.all, self.happened)

    @property
    def longest_silence(self) -> float:
        """Of the flow that was worst."""
        return max(self.cost(flow).silence for flow in self.flows)


@dataclass(frozen=True)
class Cost:
    """What came of the requests that a fault may have met: those answered after it. Seconds; moments from the fault on."""

    requests: int
    failed: Mapping[str, int]
    """By status, or `no answer`."""
    first: float | None
    """When the first failed answer came."""
    until: float
    """When the last request was due that failed; 0 where none did."""
    silence: float
    """The longest time without a success."""
    slowest: float

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


def cost_of(answers: Answers, happened: Happened) -> Cost:
    met = answers.where(answers.ended >= happened.at)
    wrong = met.where(~met.ok)
    failed = Counter(_kind(status) for status in wrong.status.tolist())
    return Cost(
        requests=len(met),
        failed=dict(failed.most_common()),
        first=float(wrong.ended.min()) - happened.at if len(wrong) else None,
        until=max(0.0, float(wrong.due.max()) - happened.at) if len(wrong) else 0.0,
        silence=_silence(met, happened.at),
        slowest=float(met.seconds.max()) if len(met) else 0.0,
    )


def _kind(status: int) -> str:
    return str(status) if status else "no answer"


def _silence(met: Answers, at: float) -> float:
    """Between one success and the next, from the fault until the last request was due."""
    successes = np.sort(met.ended[met.ok])
    last = float(met.due.max()) if len(met) else at
    ends = np.concatenate([[at], successes, [max(last, *successes[-1:], at)]])
    return float(np.diff(ends).max())


def p99_of(runs: Sequence[Seen], part: str) -> Ratio | None:
    """In seconds, of a part of all runs together, with an interval over runs, which one alone does not have; None where nothing was due."""
    parts = [parts_of(one.all, one.happened)[part].seconds for one in runs]
    its = [seconds for seconds in parts if len(seconds)]
    return block_quantile(its, 0.99) if its else None


def parts_of(answers: Answers, happened: Happened) -> dict[str, Answers]:
    """Those due `before` it, `during` it and in the BACK_SECONDS after it was over, and `after` that."""
    well = happened.over + BACK_SECONDS
    return {
        "before": answers.where(answers.due < happened.at),
        "during": answers.between(happened.at, well),
        "after": answers.after(well),
    }


def read(folder: Folder, by_name: Mapping[str, Fault] = BY_NAME, limits: Limits = WITH_FAULTS) -> Seen:
    driven = load(folder, limits)
    about = folder.read("fault.json")
    fault = by_name[about.pop("fault")]
    turns = [(at, inside) for at, inside in about.pop("turns")]
    books = Books(**folder.read("books.json")) if (folder.path / "books.json").is_file() else None
    flows = {arm: joined(driven.of(arm)) for arm in dict.fromkeys(driven.arms.values()) if driven.of(arm)}
    return Seen(fault, Happened(**about, turns=turns), flows, books, driven.rejected)


def objections(seen: Seen) -> list[str]:
    """Why this run tells nothing of its fault."""
    found = list(seen.rejected)
    if not seen.happened.at:
        return [*found, "nothing happened"]
    if not seen.happened.shown:
        found.append("the fault was not seen to take effect")
    if not len(seen.all.after(seen.happened.over + BACK_SECONDS)):
        found.append(f"nothing was due any more {BACK_SECONDS:g} s after it was over")
    early = seen.all.where(seen.all.ended < seen.happened.at)
    if wrong := int(np.sum(~early.ok)):
        found.append(f"{wrong} requests failed before anything had happened")
    return found
