"""What a request leaves to be done when its answer is on the way: figures to be added up, lines to be logged.

One thread does it for all requests of the last half second, together: then the code is warm, and many lines
are one write. A request pays for putting it down alone (docs/decisions/0051-telemetry-that-costs-little.md).
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

PAUSE_SECONDS = 0.5
"""As late as a figure or a line may be; what a killed process takes with it."""
MOST = 10_000
"""With more than this waiting, whoever adds to it helps out."""

_log = logging.getLogger("magasin")


class Later:
    """Acts that wait; what an act returns, if anything, is written to standard output."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., str | None], tuple[Any, ...]]] = deque()
        self._awake = False
        self._wake = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def do(self, act: Callable[..., str | None], *arguments: Any) -> None:
        """Have `act(*arguments)` called soon, in another thread and after those before it."""
        self._waiting.append((act, arguments))
        if not self._awake:
            self._begin()
        elif len(self._waiting) > MOST:
            self.settle()

    def settle(self) -> None:
        """Do all that waits, and come back when it is done."""
        with self._turn:
            lines = [line for line in map(_done, iter(self._next, None)) if line]
            if lines:
                sys.stdout.write("".join(lines))
                sys.stdout.flush()

    def _next(self) -> tuple[Callable[..., str | None], tuple[Any, ...]] | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _begin(self) -> None:
        """Wake the thread, or start it: when nothing was done yet, or in a process that was forked from one that had."""
        self._awake = True
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="later", daemon=True)
            self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(PAUSE_SECONDS)
            self._awake = False  # before the last look, so that what comes after it wakes again
            try:
                self.settle()
            except OSError:  # nobody reads the log any more
                continue


def _done(waiting: tuple[Callable[..., str | None], tuple[Any, ...]]) -> str | None:
    act, arguments = waiting
    try:
        return act(*arguments)
    except Exception:
        _log.exception("something that a request left to be done could not be")
        return None


_later = Later()
do, settle = _later.do, _later.settle
atexit.register(settle)
