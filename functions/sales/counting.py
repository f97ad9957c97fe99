"""What sales counts for those who watch the shop. Documents that happened elsewhere are in `sales_documents_total` alone."""

from __future__ import annotations

from functools import partial

from prometheus_client import Counter

from functions.shared import Connection, Row
from functions.shared.returns import count_refund

CHANNEL = "store"

DOCUMENTS = Counter("sales_documents_total", "Sales, voids and returns, by outcome.", ["kind", "outcome"])
SALES = Counter("sales_total", "Sales completed at the tills, imported ones left out.", ["channel", "store"])
SALES_CENTS = Counter(
    "sales_cents_total", "What the sales in sales_total came to, in cents with taxes.", ["channel", "store"]
)


def count_document(connection: Connection, kind: str, outcome: str) -> None:
    """Count it once the transaction is committed."""
    connection.after_commit(DOCUMENTS.labels(kind, outcome).inc)


def count_sale(connection: Connection, sale: Row) -> None:
    """A sale is complete, once the transaction is committed. Needs `origin`, `store` and `total_cents`."""
    count_document(connection, "sale", "complete")
    if sale["origin"] == "till":
        connection.after_commit(SALES.labels(CHANNEL, sale["store"]).inc)
        connection.after_commit(partial(SALES_CENTS.labels(CHANNEL, sale["store"]).inc, sale["total_cents"]))


def count_paid_back(connection: Connection, kind: str, document: Row) -> None:
    """A void or a return is complete, once the transaction is committed. Needs the same."""
    count_document(connection, kind, "complete")
    if document["origin"] == "till":
        count_refund(connection, CHANNEL, document["store"], document["total_cents"])
