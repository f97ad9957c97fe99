"""An overload against its goals, as figures and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from tests.experiments.common.report import (
    ONE_RUN,
    Figure,
    Table,
    Verdict,
    at_least,
    at_most,
    every,
    of_one_run,
)
from tests.experiments.overload.seen import Seen

KEPT_SHARE = 0.8
LEAST_TIMES = 3.0
"""An overload in which less was sent, because the client had no processor left, tells nothing."""
REFUSED_SECONDS = 1.0
BACK_SECONDS = 5.0
MOST_GROWTH = 1.5


def verdicts(seen: Sequence[Seen]) -> list[Verdict]:
    return [
        Verdict(verdict.goal, f"{verdict.found} ({why})", None) if (why := _undecided(one)) else verdict
        for one in seen
        for verdict in _about(one)
    ]


def _undecided(one: Seen) -> str:
    """Why nothing is decided, or nothing."""
    if not one.knee:
        return "no knee was found"
    return "" if one.offered >= LEAST_TIMES * one.knee else "too little was sent"


def _about(one: Seen) -> Iterator[Verdict]:
    name, share = one.name, one.share
    yield Verdict(
        f"{name}: at {LEAST_TIMES:g} to {one.times:g} times the knee at least {KEPT_SHARE:.0%} of the knee's right answers",
        f"{share:.0%}: {one.useful:.0f} of {one.knee:.0f} a second, with {one.offered:.0f} a second sent, {one.sent_times:.1f} times the knee",
        at_least(of_one_run(share), KEPT_SHARE),
    )
    yield Verdict(
        f"{name}: what is not done is refused, 429 or 503, and nothing times out or breaks",
        ", ".join(f"{count:,} × {kind}" for kind, count in one.kinds.most_common()) or "nothing was refused",
        one.late == 0,
    )
    yield Verdict(
        f"{name}: who is refused knows it within {REFUSED_SECONDS:g} s (p99)",
        f"{one.refused_p99:.2f} s, of {len(one.refused):,}",
        at_most(of_one_run(one.refused_p99), REFUSED_SECONDS) if len(one.refused) else None,
    )
    refused = sum(told.status in (429, 503) for told in one.told)
    yield Verdict(
        f"{name}: every refusal says when to come again (Retry-After)",
        f"{one.without_word} of {refused} looked at do not",
        one.without_word == 0 if refused else None,
    )
    yield Verdict(
        f"{name}: no more in flight than there is to be, and memory stays within {MOST_GROWTH:g} times",
        f"at most {one.most_in_flight:,} of {one.limit:,} in flight; {one.grown:.2f} times the memory",
        every(one.most_in_flight <= one.limit, at_most(of_one_run(one.grown), MOST_GROWTH)),
    )
    yield Verdict(
        f"{name}: {BACK_SECONDS:g} s after it all is as before, at half of the knee",
        f"after {one.recovered:.1f} s",
        at_most(of_one_run(one.recovered), BACK_SECONDS),
    )


def figures(seen: Sequence[Seen]) -> list[Figure]:
    found = []
    for one in seen:
        measured: Mapping[str, tuple[str, float, str]] = {
            "knee": ("requests/s", one.knee, "higher"),
            "useful in the overload": ("requests/s", one.useful, "higher"),
            "useful, share of the knee": ("", one.share, "higher"),
            "refusals, p99": ("s", one.refused_p99, "lower"),
            "in flight at most": ("", float(one.most_in_flight), "lower"),
            "memory, times": ("", one.grown, "lower"),
            "back after": ("s", one.recovered, "lower"),
        }
        found += [
            Figure(f"{one.name}: {name}", unit, value, -math.inf, math.inf, better)
            for name, (unit, value, better) in measured.items()
            if not math.isnan(value)
        ]
    return found


def tables(seen: Sequence[Seen]) -> list[Table]:
    head = [
        "", "knee, requests/s", "sent", "useful", "refused", "p99 of refusals, s", "neither", "in flight at most",
        "memory, times", "back after s",
    ]  # fmt: skip
    rows = [
        [
            one.name, f"{one.knee:.0f}", f"{one.offered:.0f}", f"{one.useful:.0f} ({one.share:.0%})",
            f"{len(one.refused) / one.seconds:.0f}", f"{one.refused_p99:.2f}", f"{one.late:,}",
            f"{one.most_in_flight:,}", f"{one.grown:.2f}", f"{one.recovered:.1f}",
        ]
        for one in seen
    ]  # fmt: skip
    return [Table("What an overload did", head, rows)]


THREATS = (
    f"Each subject has one run, and its figures have no interval: within {ONE_RUN:.0%} of its bound a goal is neither met nor missed.",
    "The client shares two processors with all that serves: what it takes to send so many requests is missing for answering them, so the useful share would be higher with a client elsewhere.",
    "The knee is found seconds before, on the same platform, between two rungs of a ladder.",
    "A client that is refused does not come again at once, as Retry-After asks; one that does would be a greater load of the same kind.",
    "A customer whose purchase is not over is told so (409) when the next one comes; that is not counted as a failure.",
    "Headers are looked at by clients of their own, some ten requests a second, as the load's client keeps none.",
)
