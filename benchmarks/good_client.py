"""A client that does no harm, in a process of its own, and what it sees of the edge while others do."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import MutableSequence
from multiprocessing.sharedctypes import Synchronized

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.report import BenchmarkError

PACE_SECONDS = 0.005
MOST_ANSWERS = 200_000
START_SECONDS = 20.0
_CONTEXT = multiprocessing.get_context("spawn")


class GoodClient:
    """Asks for a cart every PACE_SECONDS while the block runs, in a process of its own: attackers share only processors.

    Each answer is kept as the moment it came and the seconds it took, negative for a failure.
    """

    def __init__(self, port: int) -> None:
        self._count = _CONTEXT.Value("i", 0)
        self._moments = _CONTEXT.RawArray("d", MOST_ANSWERS)
        self._seconds = _CONTEXT.RawArray("d", MOST_ANSWERS)
        shared = (self._count, self._moments, self._seconds)
        self._process = _CONTEXT.Process(target=_ask_all_the_time, args=(port, *shared), daemon=True)

    def __enter__(self) -> GoodClient:
        self._process.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._count.value and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def answers(self, since: float, until: float) -> list[float]:
        """Those that came in between. Raises BenchmarkError when there are too few to say anything."""
        count = self._count.value
        kept = zip(self._moments[:count], self._seconds[:count], strict=True)
        found = [seconds for moment, seconds in kept if since <= moment < until]
        if len(found) < 100:
            raise BenchmarkError(f"the good client got {len(found)} answers only")
        return found


def _ask_all_the_time(
    port: int, count: Synchronized[int], moments: MutableSequence[float], seconds: MutableSequence[float]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = render_request("localhost", "GET", "/api/cart")
    with KeepAlive(port) as client:
        for place in range(MOST_ANSWERS):
            time.sleep(PACE_SECONDS)
            seconds[place] = _seconds_of(client, request)
            moments[place] = time.monotonic()
            count.value = place + 1


def _seconds_of(client: KeepAlive, request: bytes) -> float:
    try:
        reply = client.send(request)
    except (OSError, BadAnswerError):
        return -1.0
    return reply.seconds if reply.status == 200 else -1.0
