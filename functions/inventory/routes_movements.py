"""Routes that move stock: receipts, adjustments, write-offs, transfers; and the ledger they leave behind."""

from __future__ import annotations

import hashlib
from typing import Any

from functions.shared import (
    Answer,
    Conflict,
    Connection,
    Invalid,
    current,
    decode_cursor,
    encode_cursor,
    page,
    to_json,
)

from . import domain, store, views
from .common import MOVERS, READERS, api, known_locations, lines_at, move, require_location, unknown_location
from .domain import Line


@api.post(
    "/receipts", body=views.NewReceipt, answers={201: views.Movements}, roles=MOVERS, idempotency="required",
    problems=[403, 409],
)  # fmt: skip
def receive_stock(body: views.NewReceipt, connection: Connection) -> Answer:
    """Goods have arrived."""
    require_location(connection, body.location)
    lines = lines_at(body.location, body.lines)
    changes = domain.brought(lines, "receipt")
    movements = move(connection, changes, lines, reason=body.reason, reference=body.reference)
    return Answer({"movements": movements}, 201)


@api.post(
    "/receipts/bulk", body=views.NewBulkReceipt, answers={200: views.BulkReceiptView, 201: views.BulkReceiptView},
    roles=("hq", "service"), idempotency="required", problems=[409],
)  # fmt: skip
def receive_bulk(body: views.NewBulkReceipt, connection: Connection) -> Answer:
    """Receive up to 1,000 rows of opening stock, all or none, once for each reference.

    Each bad row is named by its place: `lines.3.location`. A reference that was received with the same rows
    is answered 200 and changes nothing.
    """
    lines = [Line(line.location, line.sku, line.quantity) for line in body.lines]
    _check_rows(connection, lines)
    answer = {"reference": body.reference, "lines": len(lines)}
    content = [line.model_dump() for line in body.lines]
    sha256 = hashlib.sha256(to_json(content)).digest()
    if not store.add_bulk_receipt(connection, body.reference, sha256):
        if store.bulk_receipt_sha256(connection, body.reference) != sha256:
            raise reference_taken(body.reference)
        return Answer(answer, 200)
    move(connection, domain.brought(lines, "receipt"), lines, reason=body.reason, reference=body.reference)
    thresholds = {(line.location, line.sku): line.low_at for line in body.lines if line.low_at is not None}
    if thresholds:
        store.set_thresholds(connection, thresholds)
    return Answer(answer, 201)


def _check_rows(connection: Connection, lines: list[Line]) -> None:
    known = known_locations(connection, *{line.location for line in lines})
    unknown = [f"lines.{place}.location" for place, line in enumerate(lines) if line.location not in known]
    if unknown:
        raise unknown_location(unknown)
    faults = domain.repeated_rows(lines)
    if faults:
        raise Invalid("A SKU is given more than once for a location.", code="sku_repeated", errors=faults)


def reference_taken(reference: str) -> Conflict:
    return Conflict(f"The reference {reference} stands for something else.", code="reference_taken")


@api.post(
    "/adjustments", body=views.NewAdjustment, answers={201: views.Movements}, roles=("staff", "hq"),
    idempotency="required", problems=[403, 409],
)  # fmt: skip
def adjust_stock(body: views.NewAdjustment, connection: Connection) -> Answer:
    """A count has found more or less than the books say.

    What is promised to somebody cannot be adjusted away: release it first.
    """
    require_location(connection, body.location)
    lines = lines_at(body.location, body.lines)
    changes = domain.brought(lines, "adjustment")
    zeros = [f"lines.{place}.quantity" for place, line in enumerate(lines) if line.quantity == 0]
    if zeros or not changes:
        errors = [{"field": field, "message": "must not be 0"} for field in zeros]
        raise Invalid("The lines adjust nothing.", code="nothing_adjusted", errors=errors)
    return Answer({"movements": move(connection, changes, lines, reason=body.reason)}, 201)


@api.post(
    "/write-offs", body=views.NewWriteOff, answers={201: views.Movements}, roles=MOVERS,
    idempotency="required", problems=[403, 409],
)  # fmt: skip
def write_stock_off(body: views.NewWriteOff, connection: Connection) -> Answer:
    """Goods can no longer be sold: broken, spoilt, lost."""
    require_location(connection, body.location)
    lines = lines_at(body.location, body.lines)
    movements = move(connection, domain.taken(lines, "write_off"), lines, reason=body.reason)
    return Answer({"movements": movements}, 201)


@api.post(
    "/transfers", body=views.NewTransfer, answers={201: views.Movements}, roles=MOVERS,
    idempotency="required", problems=[403, 409],
)  # fmt: skip
def transfer_stock(body: views.NewTransfer, connection: Connection) -> Answer:
    """Goods go from one location to another: both are changed together or neither."""
    require_location(connection, body.from_location, "from_location")
    if body.to_location not in known_locations(connection, body.to_location):
        raise unknown_location(["to_location"])
    if body.to_location == body.from_location:
        fault = {"field": "to_location", "message": "must be another location"}
        raise Invalid("The goods would not move.", code="same_location", errors=[fault])
    lines = lines_at(body.from_location, body.lines)
    changes = domain.moved(lines, body.to_location)
    movements = move(connection, changes, lines, reason=body.reason, reference=body.reference)
    return Answer({"movements": movements}, 201)


@api.get(
    "/movements", query=views.MovementQuery, answers={200: views.MovementPage}, roles=READERS, problems=[400]
)
def list_movements(query: views.MovementQuery) -> dict[str, Any]:
    """The ledger, latest first."""
    filters = {
        **query.model_dump(include={"location", "sku", "kind", "reference"}),
        "before_id": decode_cursor(query.after, int)[0] if query.after else None,
        "limit": query.limit + 1,
    }
    rows = current().database.read(store.list_movements, filters)
    return page(rows, query.limit, lambda row: encode_cursor(row["movement_id"]))
