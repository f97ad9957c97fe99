"""When a run may not be believed: the load was not sent as planned, the machine was not ours, or the answers were wrong.

Where arms come in rounds, a round in which the machine was not ours is left out, of all arms alike and by the clocks alone;
a run that loses too many is not believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tests.experiments.common.answers import JITTER_SECONDS, Answers
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.quiet import MOST_STEAL

MOST_STEAL_IN_A_SECOND = 0.2
"""A neighbour of some seconds is nothing in the mean of a minute."""
MOST_OF_OTHERS = 0.15
"""Of all processor time, for what is neither watched nor k6. A platform that nobody asks takes 0.06; nothing else tells
of closed users that they shared the processors with a neighbour."""
MOST_LEFT_OUT = 0.2
"""Of the rounds of a run."""


@dataclass(frozen=True)
class Limits:
    """What is still believed. None leaves a rule out, where the experiment itself is about that."""

    late_seconds: float | None = JITTER_SECONDS
    """No more than `late_share` of the requests may leave later than this after they were due."""
    late_share: float = 0.01
    steal: float | None = MOST_STEAL
    others: float | None = MOST_OF_OTHERS
    wrong_answers: int | None = 0
    """Answers that are not what they should be."""
    dropped: int | None = 0
    """Requests that were never sent, because too many were open."""


IN_TENTHS = Limits(late_seconds=0.1, late_share=0.02)
"""For what is told to tenths of seconds or less closely, while processes that start keep the processors from k6."""


def objections(
    blocks: Mapping[str, Answers],
    dropped: int,
    ticks: Ticks,
    limits: Limits,
    *,
    open_blocks: Container[str],
    rounds: Mapping[str, int] | None = None,
) -> list[str]:
    """Each reason in words; none for a run that may be believed. `rounds` has the round of each block that is of one."""
    disturbed = left_out(blocks, rounds or {}, ticks, limits)
    found = []
    if limits.dropped is not None and dropped > limits.dropped:
        found.append(f"{dropped} requests were not sent, as too many were open")
    found += late(
        [
            one
            for name, one in blocks.items()
            if name in open_blocks and (rounds or {}).get(name) not in disturbed
        ],
        limits,
    )
    if not rounds:
        found += disturbances(ticks, limits)
    elif len(disturbed) > MOST_LEFT_OUT * len(set(rounds.values())):
        why = next(iter(disturbed.values()))
        found.append(f"{len(disturbed)} of {len(set(rounds.values()))} rounds were disturbed: {why}")
    if limits.wrong_answers is not None and (wrong := _wrong(blocks)).total() > limits.wrong_answers:
        kinds = ", ".join(f"{count} × {status or 'no answer'}" for status, count in wrong.most_common())
        found.append(f"answers that were not expected: {kinds}")
    return found


def left_out(
    blocks: Mapping[str, Answers], rounds: Mapping[str, int], ticks: Ticks, limits: Limits
) -> dict[int, str]:
    """The rounds in which the machine was not ours, and why; when a round was, its requests' plan tells."""
    found = {}
    for number in sorted(set(rounds.values())):
        due = [one.due for name, one in blocks.items() if rounds.get(name) == number]
        if due and (
            why := disturbances(
                ticks.between(min(one[0] for one in due), max(one[-1] for one in due)), limits
            )
        ):
            found[number] = why[0]
    return found


def disturbances(ticks: Ticks, limits: Limits) -> list[str]:
    """What the clocks say against the machine's having been ours."""
    if not len(ticks.at):
        return []
    found = []
    if limits.steal is not None and (took := ticks.stolen()) > limits.steal:
        found.append(f"the hypervisor took {took:.0%} of the processors (at most {limits.steal:.0%})")
    elif limits.steal is not None and (took := ticks.most_stolen()) > MOST_STEAL_IN_A_SECOND:
        found.append(
            f"in one second the hypervisor took {took:.0%} of the processors (at most {MOST_STEAL_IN_A_SECOND:.0%})"
        )
    if limits.others is not None and (took := ticks.of_others()) > limits.others:
        found.append(f"other work took {took:.0%} of the processors (at most {limits.others:.0%})")
    return found


def late(blocks: Iterable[Answers], limits: Limits) -> list[str]:
    """Whether too many requests of open blocks left late."""
    most, all_late = limits.late_seconds, np.concatenate([*(one.late for one in blocks), []])
    if most is None or not len(all_late) or (share := float(np.mean(all_late > most))) <= limits.late_share:
        return []
    return [
        f"{share:.1%} of the requests left more than {1000 * most:g} ms late (at most {limits.late_share:.0%})"
    ]


def _wrong(blocks: Mapping[str, Answers]) -> Counter[int]:
    return Counter(status for one in blocks.values() for status in one.status[~one.ok].tolist())
