"""What was interrupted: cancelled orders whose goods or money are not back, and returns left half-way, are finished."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from functions.shared import Connection, identity
from functions.shared.recovery import Kind, Recovery

from . import return_store, store
from .cancelling import finish_cancel
from .returning import finish_return

RECOVERED = Counter(
    "orders_recovered_total", "Interrupted cancels and returns dealt with, by outcome.", ["kind", "outcome"]
)
UNSETTLED = Gauge(
    "orders_unsettled", "Cancels and returns left half-way when recovery last looked, up to its batch."
)


def _settle_cancel(connection: Connection, order_id: str) -> str | None:
    return "refunded" if finish_cancel(connection, order_id, identity().subject) else None


def _settle_return(connection: Connection, return_id: str) -> str | None:
    return "complete" if finish_return(connection, return_id) else None


recover = Recovery(
    store.unsettled,
    {
        "cancel": Kind(_settle_cancel, store.touch_order),
        "return": Kind(_settle_return, return_store.touch_return),
    },
    RECOVERED,
    UNSETTLED,
).recover
