"""What was interrupted: checkouts that a process left half-way are finished or undone."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from functions.shared import Connection
from functions.shared.recovery import Kind, Recovery

from . import store
from .running import run

RECOVERED = Counter(
    "checkout_recovered_total", "Interrupted checkouts dealt with, by outcome.", ["kind", "outcome"]
)
UNFINISHED = Gauge(
    "checkout_unfinished", "Checkouts that were not settled when recovery last looked, up to its batch."
)


def _settle(connection: Connection, checkout_id: str) -> str | None:
    checkout = store.resume(connection, checkout_id)
    if checkout is None:
        return None
    return run(connection, checkout)


def _noted(connection: Connection, checkout_id: str, error: str) -> None:
    """When it was tried is stored before it is: it comes last the next time, even if the process dies of it."""


recover = Recovery(store.unsettled, {"checkout": Kind(_settle, _noted)}, RECOVERED, UNFINISHED).recover
