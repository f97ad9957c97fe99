"""A constant, bounded load on the edge: each flow sends its request at a fixed pace, whatever became of the last one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from benchmarks.http_client import BadAnswerError, KeepAlive

WORKERS_PER_FLOW = 4
ANSWER_TIMEOUT_SECONDS = 25.0
"""More than the edge's own 20 s, so that the edge's answer is seen and not our impatience."""
LONGEST_LOAD_SECONDS = 1800.0


@dataclass(frozen=True)
class Flow:
    """One kind of request: its method and path as shown in tables, and its bytes.

    With several requests each connection sends one of them, and no two send the same.
    """

    method: str
    path: str
    requests: tuple[bytes, ...]


@dataclass(frozen=True)
class Event:
    """One request of a flow, in seconds of the monotonic clock; status 0 means that no answer came."""

    flow: Flow
    started: float
    ended: float
    status: int
    fault: str = ""

    @property
    def failed(self) -> bool:
        return not 200 <= self.status < 300


class ConstantLoad:
    """`rate` requests a second of each flow, from a few keep-alive connections each, while the block runs."""

    def __init__(self, port: int, flows: Sequence[Flow], rate: float) -> None:
        self.flows = tuple(flows)
        self._port = port
        self._interval = WORKERS_PER_FLOW / rate
        self._events: list[Event] = []
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(flow, index), daemon=True)
            for flow in flows
            for index in range(WORKERS_PER_FLOW)
        ]

    def __enter__(self) -> ConstantLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(ANSWER_TIMEOUT_SECONDS)

    def events_since(self, moment: float) -> list[Event]:
        """Requests that had not ended at `moment`, of those that have ended by now."""
        # Events are appended as they end, so the latest are last; a list copies whole under the interpreter lock.
        lately = itertools.takewhile(lambda event: event.ended >= moment, reversed(self._events.copy()))
        return list(lately)[::-1]

    def _work(self, flow: Flow, index: int) -> None:
        begun = time.monotonic()
        due = begun + index * self._interval / WORKERS_PER_FLOW
        with KeepAlive(self._port, ANSWER_TIMEOUT_SECONDS) as client:
            while not self._done.wait(max(0.0, due - time.monotonic())):
                self._events.append(_attempt(client, flow, flow.requests[index % len(flow.requests)]))
                due = max(due + self._interval, time.monotonic())
                if due - begun > LONGEST_LOAD_SECONDS:
                    return


def _attempt(client: KeepAlive, flow: Flow, request: bytes) -> Event:
    started = time.monotonic()
    try:
        reply = client.send(request)
    except (OSError, BadAnswerError) as exc:
        return Event(flow, started, time.monotonic(), 0, f"{type(exc).__name__}: {exc}"[:120])
    return Event(flow, started, time.monotonic(), reply.status)
