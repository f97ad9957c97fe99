"""What a soak has shown, against the goals, as figures, tables and threats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.quantiles import Ratio, quantile, quantile_interval
from tests.experiments.common.report import Figure, Table, Verdict
from tests.experiments.soak.drift import MOST, Drift
from tests.experiments.soak.faults import Fault
from tests.experiments.soak.seen import ACKNOWLEDGED, AFTER_SECONDS, BEFORE_SECONDS, P99_MOST, Seen, near
from tests.experiments.soak.watching import MEASURES

WARMING_MINUTES = 30
"""In a shorter run these grow because processes warm up: caches, buffers, files that PostgreSQL's backends keep open."""
WARMING = ("own_bytes", "descriptors")
SHOP = ("edge", "gateway", "postgres")
"""What serves beside the replicas; the rest watches."""
NAMES = {
    "own_bytes": "memory",
    "descriptors": "descriptors",
    "threads": "threads",
    "connections": "connections",
}


def verdicts(seen: Seen) -> list[Verdict]:
    return [
        *_about_books(seen),
        _if_believed(_about_failures(seen), seen.rejected),
        *(_about_drift(seen, measure) for measure in ("own_bytes", "descriptors", "connections", "threads")),
        _if_believed(_about_drift(seen, "p99"), [*seen.rejected, *seen.late_away]),
    ]


def _if_believed(verdict: Verdict, against: Sequence[str]) -> Verdict:
    """A run as long as this is not made again: books and programs tell the same, but its answers tell nothing."""
    if not against:
        return verdict
    return Verdict(verdict.goal, f"{verdict.found} (but {'; '.join(against)})", None)


def _about_books(seen: Seen) -> Iterator[Verdict]:
    books, wrong = seen.books, seen.differences
    counts = {
        kind: sum(one.value is not None for one in seen.kept if one.arm == arm)
        for kind, arm in ACKNOWLEDGED.items()
    }
    yield Verdict(
        "every acknowledged sale and order is there once, and no other",
        _told([*wrong["sales"], *wrong["orders"]])
        or f"{counts['sales']:,} sales and {counts['orders']:,} orders acknowledged, {len(books.sales):,} and {len(books.orders):,} there",
        not (wrong["sales"] or wrong["orders"]),
    )
    units = sum(its["sold"] for its in books.units.values())
    yield Verdict(
        "stock is its ledger, and what was received less what was sold, to the unit",
        _told(wrong["stock"]) or f"{units:,} units sold, none missing; inventory's invariants hold",
        not wrong["stock"] and seen.invariants_hold,
    )
    yield Verdict(
        "orders come to what the provider has captured, and sales to what was tendered, to the cent",
        _told(wrong["money"])
        or f"{books.captured_cents / 100:,.2f} and {books.tendered_cents / 100:,.2f} CAD",
        not wrong["money"],
    )
    yield Verdict(
        "nothing is left unsettled, and the ten rules of the books hold",
        _told([*wrong["settled"], *wrong["books"]]) or "all settled, all hold",
        not (wrong["settled"] or wrong["books"]),
    )


def _told(found: Sequence[str]) -> str:
    return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _about_failures(seen: Seen) -> Verdict:
    apart = seen.failed(None)
    total = int(np.sum(~seen.all.ok))
    dropped = f"; {seen.dropped} were not sent" if seen.dropped else ""
    return Verdict(
        f"no request fails but near a fault (from {BEFORE_SECONDS:g} s before it until {AFTER_SECONDS:g} s after the program is back)",
        f"{apart} elsewhere, {total - apart} near {len(seen.faults)} faults, of {len(seen.all):,}{dropped}",
        apart == 0 and not seen.dropped,
    )


def _about_drift(seen: Seen, measure: str) -> Verdict:
    its = [
        one for one in seen.drifts if one.measure == measure and (measure == "p99" or is_the_shops(one.of))
    ]
    words = {word: [one for one in its if one.word == word] for word in ("drifts", "cannot tell", "no drift")}
    told = [
        f"{len(some)} {'say' if len(some) > 1 else 'says'} {word}"
        + (
            f" ({', '.join(_grows(one) for one in some[:4])}{' …' if len(some) > 4 else ''})"
            if word != "no drift"
            else ""
        )
        for word, some in words.items()
        if some
    ]
    if measure == "p99":
        goal = f"away from faults the p99 of no action grows by more than {P99_MOST:.0%} of itself an hour"
    else:
        much = f"{MOST[measure]:.0%} of it" if measure == "own_bytes" else f"{MOST[measure]:g}"
        goal = f"{NAMES[measure]}: no program of the shop grows by more than {much} an hour"
    met = False if words["drifts"] else None if words["cannot tell"] else True
    if measure in WARMING and words["drifts"] and _minutes(seen) < WARMING_MINUTES:
        told.append(f"under {WARMING_MINUTES} minutes growth is not told from warming up")
        met = None
    return Verdict(goal, "; ".join(told), met)


def _minutes(seen: Seen) -> float:
    return float(np.ptp(seen.all.due)) / 60


def is_the_shops(program: str) -> bool:
    """Its replicas, gateway, edge and PostgreSQL."""
    return program in SHOP or program.rpartition("-")[2].isdigit()


def _grows(one: Drift) -> str:
    if not math.isfinite(one.slope.value):
        return f"{one.of} too few points"
    unit, digits = _unit(one.measure)
    value, low, high = (end / _scale(one.measure) for end in (one.slope.value, one.slope.low, one.slope.high))
    return f"{one.of} {value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f}) {unit}/h".replace(
        "  ", " "
    )


def _unit(measure: str) -> tuple[str, int]:
    return {"own_bytes": ("MB", 1), "p99": ("ms", 1)}.get(measure, ("", 1))


def _scale(measure: str) -> float:
    return {"own_bytes": 1e6, "p99": 1e-3}.get(measure, 1.0)


def figures(seen: Seen) -> list[Figure]:
    totals = {measure: _total_slope(seen, measure) for measure in MEASURES}
    found = [
        Figure(
            f"{NAMES[measure]}, all of the shop, growth",
            f"{_unit(measure)[0]} an hour".strip(),
            *_ends(one, measure),
        )
        for measure, one in totals.items()
    ]
    found += [
        Figure(f"{one.of}: p99 away from faults, growth", "ms an hour", *_ends(one.slope, "p99"))
        for one in seen.drifts
        if one.measure == "p99"
    ]
    away = seen.all.where(~near(seen.all.due, seen.faults))
    if len(away):
        found.append(
            Figure("p99 away from faults", "ms", *_ends(quantile_interval(away.seconds, 0.99), "p99"))
        )
    failed = float(np.sum(~seen.all.ok))
    found.append(Figure("wrong answers", "", failed, -math.inf, math.inf))
    return [one for one in found if math.isfinite(one.value)]


def _ends(one: Ratio, measure: str) -> tuple[float, float, float]:
    return one.value / _scale(measure), one.low / _scale(measure), one.high / _scale(measure)


def _total_slope(seen: Seen, measure: str) -> Ratio:
    """Slopes add up; of their intervals the squares of the halves do, as the programs' errors are independent."""
    its = [
        one.slope
        for one in seen.drifts
        if one.measure == measure and is_the_shops(one.of) and math.isfinite(one.slope.value)
    ]
    middle = sum(one.value for one in its)
    down = math.hypot(*(one.value - one.low for one in its))
    up = math.hypot(*(one.high - one.value for one in its))
    return Ratio(middle, middle - down, middle + up)


def tables(seen: Seen) -> list[Table]:
    faults = [
        [
            f"{(one.at - seen.began) / 60:.1f}", one.kind, one.program,
            "not back" if one.back is None else f"{one.back - one.at:.1f}", str(seen.failed(one)), _kinds(seen, one),
        ]
        for one in seen.faults
    ]  # fmt: skip
    actions = [
        [
            arm, f"{len(one):,}", str(int(np.sum(~one.ok))),
            *(f"{quantile(one.seconds, share) * 1000:.1f}" for share in (0.5, 0.99)), f"{one.seconds.max():.2f}",
        ]
        for arm, one in seen.arms.items()
    ]  # fmt: skip
    insisted = [one for one in seen.kept if one.tries > 1]
    again = f"{len(insisted)} of {len(seen.kept):,} purchases and sales were sent again, up to {max((one.tries for one in insisted), default=1)} times"
    drifts = [
        [
            one.of,
            NAMES.get(one.measure, one.measure),
            _held(one),
            _grows(one).removeprefix(f"{one.of} "),
            _bound(one),
            one.word,
        ]
        for one in seen.drifts
    ]
    return [
        Table(
            "Faults", ["minute", "what", "program", "back after s", "wrong answers near it", "which"], faults
        ),
        Table(
            f"Requests, over the whole run; {again}",
            ["action", "requests", "wrong", "p50 ms", "p99 ms", "longest s"],
            actions,
        ),
        Table(
            "Growth an hour",
            ["program or action", "what", "holds", "growth (95 % together)", "may", ""],
            drifts,
        ),
    ]


def _kinds(seen: Seen, fault: Fault) -> str:
    wrong = seen.all.where(~seen.all.ok)
    statuses, counts = np.unique(wrong.where(near(wrong.due, [fault])).status, return_counts=True)
    return ", ".join(
        f"{count} × {status or 'no answer'}"
        for status, count in zip(statuses.tolist(), counts.tolist(), strict=True)
    )


def _held(one: Drift) -> str:
    unit, _ = _unit(one.measure)
    return f"{one.holds / _scale(one.measure):.0f} {unit}".strip()


def _bound(one: Drift) -> str:
    unit, digits = _unit(one.measure)
    return f"{one.bound / _scale(one.measure):.{digits}f} {unit}".strip()


def threats(seen: Seen) -> list[str]:
    minutes = _minutes(seen)
    return [
        f"{minutes:.0f} minutes: what grows by less than the bound an hour, or only after days, is not seen."
        + (
            " So short a run sees the warming up of processes more than anything else."
            if minutes < WARMING_MINUTES
            else ""
        ),
        "Readings of one process follow from each other, so the intervals are too narrow where memory grows in steps.",
        "Of a program that was killed only its longest life counts; what a new process holds less than the old one is not told from what was freed.",
        "Load, shop and watcher share two processors; the watcher itself takes some hundredths of one.",
        "PostgreSQL is stopped in order and not with its power off; what a crash of the machine loses is not here.",
        *(f"The run itself, whose answers therefore tell nothing: {reason}." for reason in seen.rejected),
    ]
