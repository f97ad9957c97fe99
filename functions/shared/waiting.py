"""How long a request waited between the gateway and here, and whether that was too long, by two clocks that need not agree.

OpenFaaS' gateway says in `X-Start-Time` when it took a request (Unix time in nanoseconds). Its clock may be another
machine's, and it may have been forged where an edge passes a client's header on, so a time is believed only while it can be
true: docs/decisions/0102-waiting-by-two-clocks.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_WAIT_SECONDS = 5.0
"""What the time budget leaves between the gateway's 15 s and a function's 10 s.

A request that has waited for longer is refused before anything is done for it: its caller may not be there any more when it
is done, and those behind it would wait for it.
"""
SHORT_WAIT_SECONDS = 0.5
STANDING_WAIT_SECONDS = 1.0
"""When nobody has waited less than the first for LONGEST_WAIT_SECONDS, the queue only makes everybody late: nobody then waits
for longer than the second. After K. Nichols and V. Jacobson, Controlling Queue Delay (ACM Queue 10(5), 2012)."""
AGREEING_SECONDS = 1.0
"""Clocks that differ by less are taken to agree."""
DISPROVED_SECONDS = 2.0
"""Refusing takes milliseconds. Who comes when everybody was refused for so long cannot have waited: it is the clocks that differ."""
FARTHEST_SECONDS = 60.0
"""The gateway gives a request up long before; a start further away than this, back or ahead, is no start."""


def seconds_since(start_time: str, now: float) -> float | None:
    """Seconds from `X-Start-Time` until `now`, below zero for what is still to come; None for nonsense."""
    if not (start_time.isascii() and start_time.isdigit()):
        return None
    seconds = now - int(start_time[:20]) / 1e9
    return seconds if -FARTHEST_SECONDS < seconds < FARTHEST_SECONDS else None


class Waits:
    """What one replica knows of its requests' waiting.

    By how much the gateway's clock is behind this one (ahead: below zero) is told by the first request, which finds nobody
    before it, and again by all requests of DISPROVED_SECONDS, should none of them be possible. A request that is possible
    with clocks that agree is taken to say that they do, so no forged one can have others refused for long.

    Threads may call it at once: one that overtakes another costs a request's judgement at most.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._behind: float | None = None
        self._long_since: float | None = None
        """Since when nobody has waited for a short time only."""
        self._impossible_since: float | None = None
        self._least = 0.0
        """The smallest of the offsets that were impossible since then."""

    def judge(self, start_time: str) -> tuple[float | None, bool]:
        """Seconds that a request has waited, None where nobody can say, and whether it is to be refused for that."""
        offset = seconds_since(start_time, self._clock())
        if offset is None:
            return None, False
        now, behind = self._monotonic(), self._behind
        if behind is None:
            self._behind = behind = 0.0 if abs(offset) <= AGREEING_SECONDS else offset
        waited = offset - behind
        limit = self._limit(waited, now)
        if -AGREEING_SECONDS <= waited <= limit:
            self._impossible_since = None
        elif -AGREEING_SECONDS <= offset <= limit:
            waited = self._believe(0.0, offset)
        elif self._is_disproved(offset, now):
            waited = self._believe(self._least, offset)
        return max(0.0, waited), waited > limit

    def _limit(self, waited: float, now: float) -> float:
        if waited < SHORT_WAIT_SECONDS:
            self._long_since = None
            return LONGEST_WAIT_SECONDS
        since = self._long_since
        if since is None:
            self._long_since = since = now
        stands = now - since > LONGEST_WAIT_SECONDS
        return STANDING_WAIT_SECONDS if stands else LONGEST_WAIT_SECONDS

    def _is_disproved(self, offset: float, now: float) -> bool:
        since = self._impossible_since
        if since is None:
            self._impossible_since, self._least = now, offset
            return False
        self._least = min(self._least, offset)
        return now - since > DISPROVED_SECONDS

    def _believe(self, behind: float, offset: float) -> float:
        self._behind, self._long_since, self._impossible_since = behind, None, None
        return offset - behind
