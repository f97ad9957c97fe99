"""What was interrupted: sales, voids and returns that a process left half-way are finished or undone."""

from __future__ import annotations

import logging

import psycopg2
from prometheus_client import Counter, Gauge

from functions.shared import Connection, Problem, Row, Unavailable, claimed
from functions.shared.telemetry import current_trace

from . import return_store, selling, stock, store
from .returning import finish_return

FAILURES_PER_CALL = 3
"""After so many documents that could not be settled, the cause is not the document."""
LEAST_SECONDS = 0.5

RECOVERED = Counter(
    "sales_recovered_total", "Interrupted documents dealt with, by outcome.", ["kind", "outcome"]
)
UNSETTLED = Gauge("sales_unsettled", "Documents left half-way when recovery last looked, up to its batch.")

_log = logging.getLogger("magasin")


def recover(connection: Connection, limit: int) -> int:
    """Settle documents that nobody is working on; how many. Commits after each.

    Any number of these may run at once, and be killed. Raises Unavailable when some could not be settled;
    those come last the next time.
    """
    found = store.unsettled(connection, limit)
    connection.commit()
    UNSETTLED.set(len(found))
    settled = failures = 0
    for document in found:
        if failures >= FAILURES_PER_CALL or _time_is_up():
            break
        try:
            settled += _settle(connection, document)
        except (Problem, psycopg2.Error) as error:
            failures += 1
            _note_failure(connection, document, error)
    if failures:
        raise Unavailable(
            f"{failures} of {len(found)} documents could not be settled.", code="recovery_unfinished"
        )
    return settled


def _time_is_up() -> bool:
    trace = current_trace()
    return trace is not None and trace.seconds_left() < LEAST_SECONDS


def _settle(connection: Connection, document: Row) -> int:
    """1 when it was settled; 0 when somebody is working on it, or has settled it in the meantime."""
    with claimed(connection, document["document_id"]) as held:
        if not held:
            return 0
        step = _settle_return if document["kind"] == "return" else _settle_sale
        outcome = step(connection, document["document_id"])
        connection.commit()
    if outcome is None:
        return 0
    RECOVERED.labels(document["kind"], outcome).inc()
    return 1


def _settle_sale(connection: Connection, sale_id: str) -> str | None:
    """Complete a sale whose stock has left, undo one whose stock has not; finish a void."""
    sale = store.unsettled_sale(connection, sale_id)
    connection.commit()
    if sale["status"] == "voiding":
        selling.finish_void(connection, sale)
        return "voided"
    if sale["status"] == "pending" and (not sale["goods"] or stock.has_left(sale_id)):
        store.complete_sale(connection, sale_id)
        return "complete"
    if sale["status"] in {"pending", "undoing"}:
        selling.undo_sale(connection, sale)
        return "undone"
    return None


def _settle_return(connection: Connection, return_id: str) -> str | None:
    found = return_store.unsettled_return(connection, return_id)
    connection.commit()
    if found["status"] != "pending":
        return None
    finish_return(connection, found)
    return "complete"


def _note_failure(connection: Connection, document: Row, error: Exception) -> None:
    """Let the others come first the next time. A database that is away is not the document's fault."""
    if connection.closed:
        raise error
    connection.rollback()
    _log.warning("%s %s could not be settled: %s", document["kind"], document["document_id"], error)
    RECOVERED.labels(document["kind"], "failed").inc()
    touch = return_store.touch_return if document["kind"] == "return" else store.touch_sale
    touch(connection, document["document_id"])
    connection.commit()
