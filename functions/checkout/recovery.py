"""What was interrupted: checkouts that a process left half-way are finished or undone."""

from __future__ import annotations

import logging

import psycopg2
from prometheus_client import Counter, Gauge

from functions.shared import Connection, Problem, Unavailable, claimed
from functions.shared.telemetry import current_trace

from . import store
from .running import run

FAILURES_PER_CALL = 3
"""After so many checkouts that could not be settled, the cause is not the checkout."""
LEAST_SECONDS = 0.5

RECOVERED = Counter("checkout_recovered_total", "Interrupted checkouts dealt with, by outcome.", ["outcome"])
UNFINISHED = Gauge(
    "checkout_unfinished", "Checkouts that were not settled when recovery last looked, up to its batch."
)

_log = logging.getLogger("magasin")


def recover(connection: Connection, limit: int) -> int:
    """Settle checkouts that nobody is working on; how many. `connection` autocommits.

    Any number of these may run at once, and be killed. Raises Unavailable when some could not be settled;
    those come last the next time.
    """
    found = store.unsettled(connection, limit)
    UNFINISHED.set(len(found))
    settled = failures = 0
    for checkout_id in found:
        if failures >= FAILURES_PER_CALL or _time_is_up():
            break
        try:
            settled += _settle(connection, checkout_id)
        except (Problem, psycopg2.Error) as error:
            if connection.closed:
                raise
            failures += 1
            RECOVERED.labels("failed").inc()
            _log.warning("checkout %s could not be settled: %s", checkout_id, error)
    if failures:
        raise Unavailable(
            f"{failures} of {len(found)} checkouts could not be settled.", code="recovery_unfinished"
        )
    return settled


def _time_is_up() -> bool:
    trace = current_trace()
    return trace is not None and trace.seconds_left() < LEAST_SECONDS


def _settle(connection: Connection, checkout_id: str) -> int:
    """1 when it was settled; 0 when somebody is working on it, or has settled it in the meantime."""
    with claimed(connection, checkout_id) as held:
        checkout = store.resume(connection, checkout_id) if held else None
        if checkout is None:
            return 0
        run(connection, checkout)
    RECOVERED.labels("settled").inc()
    return 1
