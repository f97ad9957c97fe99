"""Waiting for a condition and not for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.2
"""Between looks at what is waited for: what comes soon is seen soon, and who waits for long leaves the machine to others."""


def wait_for(condition: Callable[[], Any], seconds: float = 30, what: str = "the condition") -> Any:
    """Return the condition's first true value; fail after `seconds`."""
    deadline, pause = time.monotonic() + seconds, SHORTEST_PAUSE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError(f"{what} did not hold within {seconds} s")
