"""When a run may not be believed: the load was not sent as planned, the machine was not ours, or the answers were wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from tests.experiments.common.answers import JITTER_SECONDS, Answers, Floats
from tests.experiments.common.clocks import Ticks
from tests.experiments.common.quiet import MOST_STEAL


@dataclass(frozen=True)
class Limits:
    """What is still believed. None leaves a rule out, where the experiment itself is about that."""

    late_seconds: float | None = JITTER_SECONDS
    """No more than `late_share` of the requests may leave later than this after they were due."""
    late_share: float = 0.01
    steal: float | None = MOST_STEAL
    wrong_answers: int | None = 0
    """Answers that are not what they should be."""
    dropped: int | None = 0
    """Requests that were never sent, because too many were open."""


def objections(
    blocks: Mapping[str, Answers], dropped: int, ticks: Ticks, limits: Limits, *, open_blocks: Container[str]
) -> list[str]:
    """Each reason in words; none for a run that may be believed."""
    found = []
    if limits.dropped is not None and dropped > limits.dropped:
        found.append(f"{dropped} requests were not sent, as too many were open")
    if limits.late_seconds is not None:
        late = [one.late for name, one in blocks.items() if name in open_blocks]
        found += _late(np.concatenate([*late, []]), limits.late_seconds, limits.late_share)
    if limits.steal is not None and ticks.stolen() > limits.steal:
        found.append(
            f"the hypervisor took {ticks.stolen():.0%} of the processors (at most {limits.steal:.0%})"
        )
    if limits.wrong_answers is not None and (wrong := _wrong(blocks)).total() > limits.wrong_answers:
        kinds = ", ".join(f"{count} × {status or 'no answer'}" for status, count in wrong.most_common())
        found.append(f"answers that were not expected: {kinds}")
    return found


def _late(late: Floats, most: float, most_share: float) -> list[str]:
    share = float(np.mean(late > most)) if len(late) else 0.0
    if share <= most_share:
        return []
    return [f"{share:.1%} of the requests left more than {1000 * most:g} ms late (at most {most_share:.0%})"]


def _wrong(blocks: Mapping[str, Answers]) -> Counter[int]:
    return Counter(status for one in blocks.values() for status in one.status[~one.ok].tolist())
