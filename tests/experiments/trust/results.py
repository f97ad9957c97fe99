"""What hard faults say together: recovery, what was repeated, whom else it concerned, and the books."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from benchmarks.quantiles import LEVEL, Ratio, pooled, quantile
from tests.experiments.common.answers import Floats
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import interval, said
from tests.experiments.common.report import Figure, Table, Verdict, at_most, each_at_most, every
from tests.experiments.failover import results as failover
from tests.experiments.failover import seen as failover_seen
from tests.experiments.failover.faults import CANCEL, Fault
from tests.experiments.failover.seen import BACK_SECONDS, WITH_FAULTS, Seen
from tests.experiments.trust.faults import BY_NAME, FAULTS, SETTLED_SECONDS, Hard

MOST_AMPLIFICATION = 1.1
MOST_SLOWER = 1.2
WHILE_ALL_STARTS = replace(WITH_FAULTS, late_seconds=None, dropped=None)
"""The client has hardly a processor then, and its requests pile up: that is what is told."""


@dataclass(frozen=True)
class Tried(Seen):
    """One fault, once, and how often anything was repeated on its way; None where a process that counts has died."""

    repeats: int | None = None

    @property
    def hard(self) -> Hard:
        assert isinstance(self.fault, Hard)
        return self.fault

    @property
    def amplification(self) -> float | None:
        """Requests sent while it lasted and BACK_SECONDS longer, with those that were repeated, over those sent."""
        if self.repeats is None:
            return None
        sent = len(self.all.between(self.happened.at, self.happened.over + BACK_SECONDS))
        return 1 + self.repeats / max(1, sent)

    @property
    def of_others(self) -> tuple[Floats, Floats] | None:
        """How long the others took meanwhile and in as long a calm just before, in seconds; None where either is unknown."""
        during = self._seconds(self.hard.others, self.happened.at, self.happened.over + BACK_SECONDS)
        calm = self.calm(self.hard.others)
        return (during, calm) if len(calm) and len(during) else None

    def calm(self, flows: Sequence[str]) -> Floats:
        """How long these took in the calm before the fault, as long as what is judged after it; seconds."""
        until = self.happened.at - SETTLED_SECONDS
        return self._seconds(flows, until - (self.happened.over + BACK_SECONDS - self.happened.at), until)

    def _seconds(self, flows: Sequence[str], start: float, end: float) -> Floats:
        its = [self.flows[flow].between(start, end).seconds for flow in flows if flow in self.flows]
        return np.concatenate([*its, []])

    @property
    def others_failed(self) -> int:
        without_need = (*self.hard.others, *self.hard.spares)
        return sum(self.cost(flow).failures for flow in without_need if flow in self.flows)


ByFault = Mapping[Fault, Sequence[Tried]]


def slower(runs: Sequence[Tried]) -> float | None:
    """The p99 of the others meanwhile, over theirs in the calm before: of all runs of a fault together."""
    known = [its for one in runs if (its := one.of_others)]
    if not known:
        return None
    during, calm = (quantile(pooled(blocks), 0.99) for blocks in zip(*known, strict=True))
    return during / calm


def calms_differ(seen: ByFault, faults: int = 1) -> float:
    """The factor by which two calms differ at most in their p99: one pair with 95 %, or `faults` pairs together (Bonferroni).

    Requests of one busy moment are slow together, so their number does not tell how far a p99 is off. Each fault's calm
    is held to that of the next, of the same flows. The logarithms of these ratios, which stand for normal ones around 0,
    have Student's t for their root mean square. Endless where there is no pair.
    """
    logs = []
    for some, following in itertools.pairwise(seen.values()):
        calms = [pooled([one.calm(some[0].hard.others) for one in runs]) for runs in (some, following)]
        if all(calms):
            one, other = (quantile(its, 0.99) for its in calms)
            logs.append(math.log(one / other))
    if not logs:
        return math.inf
    far = stats.t.ppf(1 - (1 - LEVEL) / 2 / faults, len(logs))
    return math.exp(far * math.sqrt(np.mean(np.square(logs))))


def read(folder: Folder) -> Tried:
    helped = BY_NAME[folder.read("fault.json")["fault"]].help_seconds
    seen = failover_seen.read(folder, BY_NAME, WHILE_ALL_STARTS if helped else WITH_FAULTS)
    path = folder.path / "repeats.json"
    return Tried(**vars(seen), repeats=folder.read("repeats.json") if path.is_file() else None)


def by_fault(runs: Sequence[Tried]) -> ByFault:
    """In the order of FAULTS."""
    found: ByFault = {fault: [one for one in runs if one.fault == fault] for fault in FAULTS}
    return {fault: some for fault, some in found.items() if some}


def verdicts(seen: ByFault) -> list[Verdict]:
    runs = [one for some in seen.values() for one in some]
    return [
        *(_recovers(some) for some in seen.values()),
        *_amplification(seen),
        *_others(seen),
        *_books(runs),
    ]


def _recovers(runs: Sequence[Tried]) -> Verdict:
    fault = runs[0].hard
    until = max(0.0, *(one.cost().until - failover.held(one) for one in runs))
    kinds = ", ".join(f"{count} × {kind}" for kind, count in _kinds(runs).items()) or "none"
    after = f"{until:.1f} s after it"
    if fault.help_seconds:
        since = max(one.cost().until for one in runs)
        last = f"{until:.1f} s after" if until else "before"
        after = f"{since:.1f} s after its beginning, {last} {fault.ends}"
    gone = fault.replaced and any(one.happened.returned is None for one in runs)
    return Verdict(
        fault.goal,
        f"failed: {kinds}, until {after}" + ("; its process did not come back" if gone else ""),
        until <= BACK_SECONDS and not gone,
    )


def _kinds(runs: Sequence[Tried]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in runs:
        for kind, times in one.cost().failed.items():
            found[kind] = found.get(kind, 0) + times
    return found


def _amplification(seen: ByFault) -> Iterator[Verdict]:
    """Of a fault that was not counted nothing is known, so none of them is met then."""
    by_title = {fault.title: [one.amplification for one in runs] for fault, runs in seen.items()}
    known = {
        title: its
        for title, values in by_title.items()
        if (its := [value for value in values if value is not None])
    }
    uncounted = sum(None in values for values in by_title.values())
    goal = f"repeats on the way: at most {MOST_AMPLIFICATION:g} requests for each that was sent"
    if not known:
        yield Verdict(goal, "not counted, as a process that counts died", None)
        return
    # A run in which nothing is repeated has 1, so what is held to its bound is what comes beside it.
    told = [
        each_at_most([value - 1 for value in values], MOST_AMPLIFICATION - 1) for values in known.values()
    ]
    worst, title = max((max(values), title) for title, values in known.items())
    near = f", too near to be told with {told.count(None)}" if None in told else ""
    gone = f"; not counted with {uncounted}, in which a process that counts died" if uncounted else ""
    yield Verdict(
        goal,
        f"at most {worst:.2f} ({title}); above with {told.count(False)}{near} of {len(known)} faults{gone}",
        every(*told, *([None] if uncounted else [])),
    )


def _others(seen: ByFault) -> Iterator[Verdict]:
    concerned = [one for runs in seen.values() for one in runs if one.hard.others]
    if not concerned:
        return
    failed = {one.fault.title: one.others_failed for one in concerned if one.others_failed}
    yield Verdict(
        "no request fails that has no need of what fell sick",
        "; ".join(f"{count} ({title})" for title, count in failed.items())
        or f"none, with {len(concerned)} faults",
        not failed,
    )
    yield from _waiting(seen)


def _waiting(seen: ByFault) -> Iterator[Verdict]:
    """Missed where it is over all faults, or with one by more than calms differ; met where it is neither and each one's is within."""
    known = [(times, fault.title) for fault, runs in seen.items() if (times := slower(runs)) is not None]
    if not known:
        return
    by_itself = calms_differ(seen, len(known))
    told = [at_most(Ratio(times, times / by_itself, times * by_itself), MOST_SLOWER) for times, _ in known]
    worst, title = max(known)
    over_all = _geometric_mean([times for times, _ in known])
    differ = (
        f"calms differ by up to {by_itself:.2f} times by themselves"
        if math.isfinite(by_itself)
        else "there is one calm, which does not tell how they differ by themselves"
    )
    yield Verdict(
        f"nor does the p99 of such requests become more than {MOST_SLOWER:g} times that of as long a calm before",
        f"{over_all.said()} times over all; by itself above with {told.count(False)}, within with {told.count(True)} of {len(known)} faults, not to be told with the others: {differ}; at most {worst:.2f} times ({title})",
        every(at_most(over_all, MOST_SLOWER), *told),
    )


def _geometric_mean(values: Sequence[float]) -> Ratio:
    """Each of a fault and a calm of its own, so they are independent; its interval is Student's, of their logarithms."""
    logs = [math.log(value) for value in values]
    ends = (sum(logs) / len(logs), *interval(logs))
    return Ratio(*(math.exp(end) if math.isfinite(end) else end for end in ends))


def _books(runs: Sequence[Tried]) -> Iterator[Verdict]:
    books = [one.books for one in runs if one.books]
    if not books:
        return
    wrong = list(dict.fromkeys(word for one in books for word in one.missing))
    acknowledged, insisted = sum(one.acknowledged for one in books), sum(one.insisted for one in books)
    yield Verdict(
        f"after each fault every acknowledged {_documents(runs)} is there once, stock is its ledger, money is what the provider has",
        "; ".join(wrong[:3])
        or f"{acknowledged:,} acknowledged, {insisted} of them not at the first try; nothing amiss",
        not wrong,
    )
    broken = sum(not one.invariants for one in books)
    yield Verdict(
        "inventory's invariants hold after each fault",
        f"after {len(books) - broken} of {len(books)}",
        not broken,
    )


def _documents(runs: Sequence[Tried]) -> str:
    """Older runs have no cancels."""
    return (
        "sale, order, cancel and movement"
        if any(CANCEL in one.flows for one in runs)
        else "sale, order and movement"
    )


def figures(seen: ByFault) -> list[Figure]:
    found = []
    by_itself = calms_differ(seen)
    for fault, runs in seen.items():
        measured: Mapping[str, tuple[str, Callable[[Tried], float | None]]] = {
            "failed requests": ("", lambda one: float(one.cost().failures)),
            "failing until": ("s", lambda one: one.cost().until),
            "failing after it": ("s", lambda one: max(0.0, one.cost().until - failover.held(one))),
            "requests for each sent": ("", lambda one: one.amplification),
        }
        for name, (unit, of) in measured.items():
            values = [value for one in runs if (value := of(one)) is not None and math.isfinite(value)]
            if values:
                found.append(
                    Figure(f"{fault.title}: {name}", unit, sum(values) / len(values), *interval(values))
                )
        if (times := slower(runs)) is not None:
            found.append(
                Figure(
                    f"{fault.title}: p99 of others, times", "", times, times / by_itself, times * by_itself
                )
            )
    return found


def tables(seen: ByFault) -> list[Table]:
    rows = [
        [
            fault.title,
            ", ".join(f"{count} × {kind}" for kind, count in _kinds(runs).items()) or "none",
            f"{sum(one.cost().requests for one in runs):,}",
            said([one.cost().until for one in runs], 1),
            said([max(0.0, one.cost().until - failover.held(one)) for one in runs], 1),
            said([value for one in runs if (value := one.amplification) is not None], 2),
            ", ".join(runs[0].hard.others),
            "–" if (times := slower(runs)) is None else f"{times:.2f}",
        ]
        for fault, runs in seen.items()
    ]  # fmt: skip
    head = [
        "fault",
        "failed",
        "of requests",
        "failing until, s from its beginning",
        "failing after it, s",
        "requests for each sent",
        "others",
        "their p99, times that before",
    ]
    return [Table("What each fault cost", head, rows), *failover.tables(seen)[1:]]
