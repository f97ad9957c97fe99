"""A client that does no harm, in a process of its own, and what it sees of the edge while others do."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, MutableSequence
from functools import partial
from itertools import islice
from multiprocessing.sharedctypes import Synchronized

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.report import BenchmarkError

PACE_SECONDS = 0.005
MOST_ANSWERS = 200_000
START_SECONDS = 20.0
_CONTEXT = multiprocessing.get_context("spawn")


class GoodClient:
    """Asks for a cart every PACE_SECONDS while the block runs, in a process of its own: attackers share only processors.

    Each answer is kept as the moment it came and the seconds since it was due, negative for a failure.
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
        answers = at_pace(partial(_is_answered, client, request))
        for place, (moment, taken) in enumerate(islice(answers, MOST_ANSWERS)):
            moments[place], seconds[place] = moment, taken
            count.value = place + 1


def at_pace(ask: Callable[[], bool]) -> Iterator[tuple[float, float]]:
    """Ask every PACE_SECONDS; the moment of each answer and the seconds since it was due, negative for a failure.

    What comes due while an answer is waited for is asked right after it, so that a long stall is as many slow answers.
    """
    due = time.monotonic()
    while True:
        due += PACE_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        answered = ask()
        now = time.monotonic()
        yield now, now - due if answered else -1.0


def _is_answered(client: KeepAlive, request: bytes) -> bool:
    try:
        return client.send(request).status == 200
    except (OSError, BadAnswerError):
        return False
