"""What was interrupted: sales, voids and returns that a process left half-way are finished or undone."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from functions.shared import Connection
from functions.shared.recovery import Kind, Recovery

from . import return_store, selling, stock, store, voiding
from .returning import finish_return

RECOVERED = Counter(
    "sales_recovered_total", "Interrupted documents dealt with, by outcome.", ["kind", "outcome"]
)
UNSETTLED = Gauge("sales_unsettled", "Documents left half-way when recovery last looked, up to its batch.")


def _settle_sale(connection: Connection, sale_id: str) -> str | None:
    """Complete a sale whose stock has left, undo one whose stock has not; finish a void."""
    sale = store.unsettled_sale(connection, sale_id)
    connection.commit()
    if sale["status"] == "voiding":
        voiding.finish_void(connection, sale)
        return "voided"
    if sale["status"] == "pending" and (not sale["goods"] or stock.has_left(sale_id)):
        selling.complete_sale(connection, sale)
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


def _touch_sale(connection: Connection, sale_id: str, _: str) -> None:
    store.touch_sale(connection, sale_id)


def _touch_return(connection: Connection, return_id: str, _: str) -> None:
    return_store.touch_return(connection, return_id)


recover = Recovery(
    store.unsettled,
    {"sale": Kind(_settle_sale, _touch_sale), "return": Kind(_settle_return, _touch_return)},
    RECOVERED,
    UNSETTLED,
).recover
