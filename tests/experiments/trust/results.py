"""What hard faults say together: recovery, what was repeated, whom else it concerned, and the books."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.quantiles import Ratio, pooled, quantile_interval
from tests.experiments.common.answers import Floats, joined
from tests.experiments.common.folder import Folder
from tests.experiments.common.intervals import interval, said
from tests.experiments.common.report import Figure, Table, Verdict, at_most, every
from tests.experiments.failover import results as failover
from tests.experiments.failover import seen as failover_seen
from tests.experiments.failover.faults import Fault
from tests.experiments.failover.seen import BACK_SECONDS, Seen
from tests.experiments.trust.faults import BY_NAME, FAULTS, SETTLED_SECONDS, Hard

MOST_AMPLIFICATION = 1.1
MOST_SLOWER = 1.2


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
        its = [self.flows[flow] for flow in self.hard.others if flow in self.flows]
        if not its:
            return None
        answers = joined(its)
        over = self.happened.over + BACK_SECONDS
        until = self.happened.at - SETTLED_SECONDS
        calm = answers.between(until - (over - self.happened.at), until)
        during = answers.between(self.happened.at, over)
        return (during.seconds, calm.seconds) if len(calm) and len(during) else None

    @property
    def others_failed(self) -> int:
        return sum(self.cost(flow).failures for flow in self.hard.others if flow in self.flows)


ByFault = Mapping[Fault, Sequence[Tried]]


def slower(runs: Sequence[Tried]) -> Ratio | None:
    """The p99 of the others meanwhile, over theirs in the calm before: of all runs of a fault together.

    Its interval is as wide as those of both quantiles allow; of too few requests an end of it is not known.
    """
    known = [its for one in runs if (its := one.of_others)]
    if not known:
        return None
    during, calm = zip(*known, strict=True)
    became, was = (quantile_interval(pooled(blocks), 0.99) for blocks in (during, calm))
    return Ratio(
        became.value / was.value,
        max(0.0, became.low) / was.high,
        became.high / was.low if was.low > 0 else math.inf,
    )


def read(folder: Folder) -> Tried:
    seen = failover_seen.read(folder, BY_NAME)
    path = folder.path / "repeats.json"
    return Tried(**vars(seen), repeats=folder.read("repeats.json") if path.is_file() else None)


def by_fault(runs: Sequence[Tried]) -> ByFault:
    """In the order of FAULTS."""
    found: ByFault = {fault: [one for one in runs if one.fault == fault] for fault in FAULTS}
    return {fault: some for fault, some in found.items() if some}


def verdicts(seen: ByFault) -> list[Verdict]:
    runs = [one for some in seen.values() for one in some]
    return [
        *(_recovers(fault, some) for fault, some in seen.items()),
        *_amplification(runs),
        *_others(seen),
        *_books(runs),
    ]


def _recovers(fault: Fault, runs: Sequence[Tried]) -> Verdict:
    until = max(0.0, *(one.cost().until - failover.held(one) for one in runs))
    kinds = ", ".join(f"{count} × {kind}" for kind, count in _kinds(runs).items()) or "none"
    back = fault.replaced and any(one.happened.returned is None for one in runs)
    return Verdict(
        f"{fault.title}: {BACK_SECONDS:g} s after it is over nothing fails any more",
        f"failed: {kinds}, until {until:.1f} s after it"
        + ("; its process did not come back" if back else ""),
        until <= BACK_SECONDS and not back,
    )


def _kinds(runs: Sequence[Tried]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in runs:
        for kind, times in one.cost().failed.items():
            found[kind] = found.get(kind, 0) + times
    return found


def _amplification(runs: Sequence[Tried]) -> Iterator[Verdict]:
    yield from _worst(
        [(value, one.fault.title) for one in runs if (value := one.amplification) is not None],
        f"repeats on the way: at most {MOST_AMPLIFICATION:g} requests for each that was sent",
        MOST_AMPLIFICATION,
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
    """Missed where it surely is with one fault, met where it surely is with all."""
    known = [(times, fault.title) for fault, runs in seen.items() if (times := slower(runs))]
    if not known:
        return
    told = [at_most(times, MOST_SLOWER) for times, _ in known]
    above = [one for one, within in zip(known, told, strict=True) if within is False]
    worst, title = max(above or known, key=lambda one: one[0].value)
    yield Verdict(
        f"nor does the p99 of such requests become more than {MOST_SLOWER:g} times that of as long a calm before",
        f"surely above with {len(above)}, surely within with {told.count(True)} of {len(known)} faults; at most {worst.said()} ({title})",
        every(*told),
    )


def _worst(known: Sequence[tuple[float, str]], goal: str, most: float) -> Iterator[Verdict]:
    if not known:
        return
    worst, title = max(known)
    above = sum(value > most for value, _ in known)
    yield Verdict(
        goal, f"at most {worst:.2f} ({title}); above with {above} of {len(known)} faults", above == 0
    )


def _books(runs: Sequence[Tried]) -> Iterator[Verdict]:
    books = [one.books for one in runs if one.books]
    if not books:
        return
    wrong = list(dict.fromkeys(word for one in books for word in one.missing))
    acknowledged, insisted = sum(one.acknowledged for one in books), sum(one.insisted for one in books)
    yield Verdict(
        "after each fault every acknowledged sale, order and movement is there once, stock is its ledger, money is what the provider has",
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


def figures(seen: ByFault) -> list[Figure]:
    found = []
    for fault, runs in seen.items():
        measured: Mapping[str, tuple[str, Callable[[Tried], float | None]]] = {
            "failed requests": ("", lambda one: float(one.cost().failures)),
            "failing after it": ("s", lambda one: max(0.0, one.cost().until - failover.held(one))),
            "requests for each sent": ("", lambda one: one.amplification),
        }
        for name, (unit, of) in measured.items():
            values = [value for one in runs if (value := of(one)) is not None and math.isfinite(value)]
            if values:
                found.append(
                    Figure(f"{fault.title}: {name}", unit, sum(values) / len(values), *interval(values))
                )
        if times := slower(runs):
            found.append(
                Figure(f"{fault.title}: p99 of others, times", "", times.value, times.low, times.high)
            )
    return found


def tables(seen: ByFault) -> list[Table]:
    rows = [
        [
            fault.title,
            ", ".join(f"{count} × {kind}" for kind, count in _kinds(runs).items()) or "none",
            f"{sum(one.cost().requests for one in runs):,}",
            said([max(0.0, one.cost().until - failover.held(one)) for one in runs], 1),
            said([value for one in runs if (value := one.amplification) is not None], 2),
            ", ".join(runs[0].hard.others),
            f"{times.value:.2f}" if (times := slower(runs)) else "–",
        ]
        for fault, runs in seen.items()
    ]  # fmt: skip
    head = [
        "fault",
        "failed",
        "of requests",
        "failing after it, s",
        "requests for each sent",
        "others",
        "their p99, times that before",
    ]
    return [Table("What each fault cost", head, rows), *failover.tables(seen)[1:]]
