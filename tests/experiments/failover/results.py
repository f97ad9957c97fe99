"""What the faults say together: against their goals, as figures and as tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks.quantiles import Ratio
from tests.experiments.common.intervals import interval, said
from tests.experiments.common.report import Figure, Table, Verdict, each_at_most, every
from tests.experiments.failover.faults import FAULTS, POST_CART, Fault
from tests.experiments.failover.seen import BACK_SECONDS, Seen, p99_of

OUT_SECONDS = 5.5
"""What kong.yml promises, two probes of an interval of 1 s and a timeout of 1.5 s each, and half a second to see it."""
IN_SECONDS = 3.0
"""The first probe that succeeds: an interval, and the timeout of one that was still waiting. A process has to start before."""
START_SECONDS = 2.0

ByFault = Mapping[Fault, Sequence[Seen]]


def by_fault(runs: Iterable[Seen], faults: Sequence[Fault] = FAULTS) -> ByFault:
    """In the order of `faults`."""
    found = list(runs)
    sorted_ = {fault: [one for one in found if one.fault == fault] for fault in faults}
    return {fault: some for fault, some in sorted_.items() if some}


def verdicts(seen: ByFault) -> list[Verdict]:
    told = [verdict for fault, runs in seen.items() for verdict in _about(fault, runs)]
    return [*told, *_about_books([one for runs in seen.values() for one in runs])]


def _about(fault: Fault, runs: Sequence[Seen]) -> Iterator[Verdict]:
    if fault.spares:
        yield _spares(fault, runs)
    if fault.rotation:
        yield _rotation(fault, runs)
    if fault.answers:
        yield _few_answers(fault, runs)
    if POST_CART not in fault.spares and fault.rotation and not fault.answers:
        yield _those_it_had(fault, runs)
    if not fault.spares:
        until = max(one.cost().until - held(one) for one in runs)
        returned = [_since(one, one.happened.returned) for one in runs]
        yield Verdict(
            f"{fault.title}: {BACK_SECONDS:g} s after it is over nothing fails any more",
            f"the last request that failed was due after {max(0.0, until):.1f} s",
            until <= BACK_SECONDS and (not _has_process(fault) or None not in returned),
        )


def _has_process(fault: Fault) -> bool:
    return bool(fault.program) and fault.replaced


def held(one: Seen) -> float:
    return one.happened.over - one.happened.at


def _since(one: Seen, moment: float | None) -> float | None:
    """Seconds from when it was over."""
    return None if moment is None else moment - one.happened.over


def _spares(fault: Fault, runs: Sequence[Seen]) -> Verdict:
    costs = [one.cost(flow) for one in runs for flow in fault.spares if flow in one.flows]
    failed, requests = sum(cost.failures for cost in costs), sum(cost.requests for cost in costs)
    whom = (
        "no request fails"
        if set(fault.flows) <= set(fault.spares)
        else f"none of {', '.join(fault.spares)} fails"
    )
    return Verdict(f"{fault.title}: {whom}", f"{failed} of {requests:,}", failed == 0)


def _rotation(fault: Fault, runs: Sequence[Seen]) -> Verdict:
    """A process that has to start is given that time."""
    most = IN_SECONDS + (0.0 if fault.end else START_SECONDS)
    left, back = _left(runs), _back(runs)
    in_time = every(_all_within(left, OUT_SECONDS), _all_within(back, most))
    return Verdict(
        f"{fault.title}: it leaves the rotation within {OUT_SECONDS:g} s and is back within {most:g} s",
        f"left after {_seconds(left)}, back after {_seconds(back)}",
        in_time,
    )


def _left(runs: Sequence[Seen]) -> list[float | None]:
    return [None if one.happened.left is None else one.happened.left - one.happened.at for one in runs]


def _back(runs: Sequence[Seen]) -> list[float | None]:
    """One that was well before the fault was over had not been ill for the edge any more."""
    return [
        None if one.happened.back is None else max(0.0, one.happened.back - one.happened.over) for one in runs
    ]


def _all_within(moments: Sequence[float | None], most: float) -> bool | None:
    known = [one for one in moments if one is not None]
    return each_at_most(known, most) if len(known) == len(moments) else False


def _seconds(moments: Sequence[float | None]) -> str:
    known = [one for one in moments if one is not None]
    never = len(moments) - len(known)
    if not known:
        return "never"
    ends = f"{min(known):.2f}" if len(known) == 1 else f"{min(known):.2f} to {max(known):.2f}"
    return f"{ends} s" + (f" ({never} times never)" if never else "")


def _few_answers(fault: Fault, runs: Sequence[Seen]) -> Verdict:
    """Three in a row to clients, and those that were on their way with the third; the same each time it comes back."""
    most = sum((fault.answers + len(fault.flows)) * (1 + one.happened.relapses) for one in runs)
    failed = sum(one.cost().failures for one in runs)
    relapses = sum(one.happened.relapses for one in runs)
    return Verdict(
        f"{fault.title}: clients see {fault.answers} of its answers, and those on their way, each time it is in the rotation",
        f"{failed} of at most {most}; it was taken back {relapses} times",
        failed <= most,
    )


def _those_it_had(fault: Fault, runs: Sequence[Seen]) -> Verdict:
    """A POST is not tried again once it was sent, so those may fail that were with it when it left: a third of what is due."""
    costs = [one.cost(POST_CART) for one in runs]
    failed = sum(cost.failures for cost in costs)
    most = sum(_caught(one) for one in runs)
    return Verdict(
        f"{fault.title}: of {POST_CART} no more fail than it may have caught",
        f"{failed} of at most {most} ({sum(cost.requests for cost in costs)} requests)",
        failed <= most,
    )


def _caught(one: Seen) -> int:
    """A third of what was due until it left, and four standard deviations of such a count (Poisson); one at least."""
    left = one.happened.left
    if left is None:
        return 0
    due = len(one.flows[POST_CART].between(one.happened.at, left))
    return math.ceil(due / 3 + 4 * math.sqrt(due / 3)) + 1


def _about_books(runs: Sequence[Seen]) -> Iterator[Verdict]:
    books = [one.books for one in runs if one.books]
    if not books:
        return
    acknowledged, insisted = sum(one.acknowledged for one in books), sum(one.insisted for one in books)
    missing, twice = sum(len(one.missing) for one in books), sum(len(one.twice) for one in books)
    yield Verdict(
        "every acknowledged till sale is there, once",
        f"{acknowledged:,} acknowledged, {insisted} of them not at the first try; {missing} missing, {twice} there twice",
        not missing and not twice,
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
        measured: Mapping[str, tuple[str, Callable[[Seen], float]]] = {
            "failed requests": ("", lambda one: float(one.cost().failures)),
            "failing until": ("s", lambda one: one.cost().until),
            "longest without a success": ("s", lambda one: one.longest_silence),
        }
        for name, (unit, of) in measured.items():
            values = [of(one) for one in runs]
            found.append(Figure(f"{fault.title}: {name}", unit, sum(values) / len(values), *interval(values)))
        if p99 := p99_of(runs, "during"):
            p99 = p99.times(1000)
            found.append(Figure(f"{fault.title}: p99 during", "ms", p99.value, p99.low, p99.high))
    return found


def tables(seen: ByFault) -> list[Table]:
    return [_by_fault(seen), _by_flow(seen)]


def _by_fault(seen: ByFault) -> Table:
    rows = [
        [
            fault.title,
            f"{sum(one.cost().failures for one in runs)} of {sum(one.cost().requests for one in runs):,}",
            _first([one.cost().first for one in runs]),
            said([one.cost().until for one in runs], 1),
            said([one.longest_silence for one in runs], 1),
            *(_ms(p99_of(runs, part)) for part in ("before", "during", "after")),
            _seconds([one.happened.returned and one.happened.returned - one.happened.over for one in runs]) if _has_process(fault) and not _stays(runs) else "",
            _seconds(_left(runs)) if fault.rotation else "",
            _seconds(_back(runs)) if fault.rotation else "",
        ]
        for fault, runs in seen.items()
    ]  # fmt: skip
    head = [
        "fault", "failed", "first failure after s", "failing until s", "longest without a success s",
        "p99 of all runs together, before, ms", "during", "after", "process back after", "left the rotation after", "back in it after",
    ]  # fmt: skip
    return Table("What each fault cost", head, rows)


def _ms(p99: Ratio | None) -> str:
    return p99.times(1000).said(0) if p99 else "–"


def _stays(runs: Sequence[Seen]) -> bool:
    """A frozen process is the same afterwards."""
    return all(one.happened.returned is None for one in runs)


def _first(moments: Sequence[float | None]) -> str:
    known = [one for one in moments if one is not None]
    return f"{min(known):.2f}" if known else "–"


def _by_flow(seen: ByFault) -> Table:
    rows = []
    for fault, runs in seen.items():
        for flow in fault.flows:
            costs = [one.cost(flow) for one in runs if flow in one.flows]
            if not costs:
                continue
            kinds: Counter[str] = sum((Counter(cost.failed) for cost in costs), Counter())
            rows.append(
                [
                    fault.title if flow == fault.flows[0] else "",
                    flow,
                    f"{sum(cost.requests for cost in costs):,}",
                    str(kinds.total()),
                    ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common()),
                    f"{max(cost.until for cost in costs):.1f}",
                    f"{max(cost.silence for cost in costs):.2f}",
                    f"{max(cost.slowest for cost in costs):.2f}",
                ]
            )
    head = [
        "fault",
        "request",
        "requests",
        "failed",
        "how",
        "failing until s",
        "longest without a success s",
        "slowest s",
    ]
    return Table("The same by request", head, rows)
