"""Stock and its ledger in SQL. The caller owns the transaction.

Every statement that locks several rows of stock locks them in the order of location and SKU, so that two of them
never wait for each other; whoever also locks an issue, a reservation or a request has done so before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.shared import Connection, Prepared, Row, execute, fetch_all

from .domain import Change, Lack, Line, lacks_of


@dataclass(frozen=True)
class Note:
    """What the ledger says of a movement beside what moved."""

    moved_by: str
    reason: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The movements written, in the order of location and SKU; with `lacks` the transaction must not be committed."""

    movements: list[Row]
    lacks: list[Lack]


def list_locations(connection: Connection) -> list[Row]:
    return fetch_all(
        connection, "SELECT location, name, kind, time_zone FROM locations ORDER BY kind, location"
    )


def open_rows(connection: Connection, changes: Sequence[Change]) -> None:
    """Make rows of stock, with nothing in them, where `changes` bring something and there is none yet."""
    arriving = [change for change in changes if change.on_hand > 0]
    if arriving:
        execute(connection, _OPEN_ROWS, _columns(arriving))


def change_stock(connection: Connection, changes: Sequence[Change], note: Note) -> Outcome:
    """Make every change that leaves enough, and write the ledger; the rest is told as lacking.

    The rows of stock stay locked until the transaction ends. At most one change for each location and SKU.
    """
    columns = _columns(changes).values()
    rows = _CHANGE_STOCK.fetch_all(connection, *columns, note.reason, note.reference, note.moved_by)
    available = {(row["location"], row["sku"]): row.pop("available") for row in rows}
    changed = [(row["location"], row["sku"]) for row in rows if row.pop("is_changed")]
    movements = [row for row in rows if row["movement_id"] is not None]
    return Outcome(movements, lacks_of(changes, changed, available))


def _columns(changes: Sequence[Change]) -> dict[str, list[Any]]:
    return {
        "locations": [change.location for change in changes],
        "skus": [change.sku for change in changes],
        "on_hand": [change.on_hand for change in changes],
        "reserved": [change.reserved for change in changes],
        "kinds": [change.kind for change in changes],
    }


def movements_of(connection: Connection, reference: str, kinds: Sequence[str]) -> list[Row]:
    """The movements of these kinds that bear a reference, in the order they were made."""
    return fetch_all(connection, _MOVEMENTS_OF, {"reference": reference, "kinds": list(kinds)})


def list_movements(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` movements that fit every filter that is not None, latest first, from before `before_id`."""
    return fetch_all(connection, _LIST_MOVEMENTS, filters)


def list_stock(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` rows by location and SKU, after that pair; `skus` is None for all."""
    return fetch_all(connection, _LIST_STOCK, filters)


def list_low_stock(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` rows that have no more available than their threshold, after a location and SKU."""
    return fetch_all(connection, _LIST_LOW_STOCK, filters)


def stock_of(connection: Connection, sku: str) -> list[Row]:
    """The rows of one SKU, by location."""
    return fetch_all(connection, _STOCK_OF, {"sku": sku})


def set_thresholds(connection: Connection, thresholds: Mapping[tuple[str, str], int | None]) -> None:
    """Set or remove (None) thresholds by location and SKU, making rows of stock where there are none."""
    ordered = sorted(thresholds)
    execute(
        connection,
        _SET_THRESHOLDS,
        {
            "locations": [location for location, _ in ordered],
            "skus": [sku for _, sku in ordered],
            "thresholds": [thresholds[key] for key in ordered],
        },
    )


def find_differences(connection: Connection, limit: int) -> list[Row]:
    """The rows whose stock is not what ledger and reservations say; the first also says how many were compared.

    One snapshot. With nothing different there is one row, without a location.
    """
    return fetch_all(connection, _DIFFERENCES, {"limit": limit})


def add_bulk_receipt(connection: Connection, reference: str, lines_sha256: bytes) -> bool:
    """Note that this batch is received; False when it was before."""
    return bool(execute(connection, _ADD_BULK, {"reference": reference, "lines_sha256": lines_sha256}))


def bulk_receipt_sha256(connection: Connection, reference: str) -> bytes:
    """The hash of the lines that were received under a reference."""
    (row,) = fetch_all(connection, _FIND_BULK, {"reference": reference})
    return bytes(row["lines_sha256"])


def stored_lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Lines of one location as they are kept and shown: by SKU."""
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]


_OPEN_ROWS = """
INSERT INTO stock (location, sku)
SELECT location, sku
FROM unnest(%(locations)s::text[], %(skus)s::text[]) AS arriving (location, sku)
ORDER BY location, sku
ON CONFLICT DO NOTHING
"""

# The condition is tested on the rows as they are once locked: a row that another transaction changed while this one
# waited is read anew, for the lock and again for the update (PostgreSQL, section 13.2.1).
# What is available is told by the same statement, since the next one may see rows that this one did not.
_CHANGE_STOCK = Prepared(
    "change_stock",
    """
WITH wanted AS MATERIALIZED (
    SELECT location, sku, on_hand, reserved, kind
    FROM unnest(
        $1::text[], $2::text[], $3::integer[], $4::integer[], $5::text[]
    ) AS wanted (location, sku, on_hand, reserved, kind)
), locked AS MATERIALIZED (
    SELECT stock.location, stock.sku, wanted.on_hand, wanted.reserved, wanted.kind,
        stock.on_hand - stock.reserved AS available
    FROM stock
    JOIN wanted ON stock.location = wanted.location AND stock.sku = wanted.sku
    ORDER BY stock.location, stock.sku
    FOR UPDATE OF stock
), changed AS (
    UPDATE stock
    SET on_hand = stock.on_hand + locked.on_hand,
        reserved = stock.reserved + locked.reserved,
        changed_at = now()
    FROM locked
    WHERE stock.location = locked.location
      AND stock.sku = locked.sku
      AND stock.on_hand + locked.on_hand >= stock.reserved + locked.reserved
    RETURNING stock.location, stock.sku, stock.on_hand, locked.on_hand AS quantity, locked.kind
), logged AS (
    INSERT INTO ledger (location, sku, quantity, on_hand, kind, reason, reference, moved_by)
    SELECT location, sku, quantity, on_hand, kind, $6::text, $7::text, $8::text
    FROM changed
    WHERE quantity <> 0
    ORDER BY location, sku
    RETURNING movement_id, moved_at, location, sku, quantity, on_hand, kind, reason, reference, moved_by
)
SELECT logged.movement_id, logged.moved_at, locked.location, locked.sku, logged.quantity, logged.on_hand,
    logged.kind, logged.reason, logged.reference, logged.moved_by,
    locked.available, changed.sku IS NOT NULL AS is_changed
FROM locked
LEFT JOIN changed ON changed.location = locked.location AND changed.sku = locked.sku
LEFT JOIN logged ON logged.location = locked.location AND logged.sku = locked.sku
ORDER BY locked.location, locked.sku
""",
)

_MOVEMENTS_OF = """
SELECT movement_id, moved_at, location, sku, quantity, on_hand, kind, reason, reference, moved_by
FROM ledger
WHERE reference = %(reference)s
  AND kind = ANY(%(kinds)s::text[])
ORDER BY movement_id
"""

_LIST_MOVEMENTS = """
SELECT movement_id, moved_at, location, sku, quantity, on_hand, kind, reason, reference, moved_by
FROM ledger
WHERE (%(location)s::text IS NULL OR location = %(location)s)
  AND (%(sku)s::text IS NULL OR sku = %(sku)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(reference)s::text IS NULL OR reference = %(reference)s)
  AND (%(before_id)s::bigint IS NULL OR movement_id < %(before_id)s)
ORDER BY movement_id DESC
LIMIT %(limit)s
"""

_LIST_STOCK = """
SELECT location, sku, on_hand, reserved, on_hand - reserved AS available, low_at, changed_at
FROM stock
WHERE (%(location)s::text IS NULL OR location = %(location)s)
  AND (%(skus)s::text[] IS NULL OR sku = ANY(%(skus)s::text[]))
  AND (%(after_sku)s::text IS NULL OR (location, sku) > (%(after_location)s::text, %(after_sku)s::text))
ORDER BY location, sku
LIMIT %(limit)s
"""

_LIST_LOW_STOCK = """
SELECT location, sku, on_hand, reserved, on_hand - reserved AS available, low_at, changed_at
FROM stock
WHERE low_at IS NOT NULL
  AND on_hand - reserved <= low_at
  AND (%(location)s::text IS NULL OR location = %(location)s)
  AND (%(after_sku)s::text IS NULL OR (location, sku) > (%(after_location)s::text, %(after_sku)s::text))
ORDER BY location, sku
LIMIT %(limit)s
"""

_STOCK_OF = """
SELECT location, sku, on_hand, reserved, on_hand - reserved AS available, low_at, changed_at
FROM stock
WHERE sku = %(sku)s
ORDER BY location
"""

_SET_THRESHOLDS = """
INSERT INTO stock (location, sku, low_at)
SELECT location, sku, low_at
FROM unnest(%(locations)s::text[], %(skus)s::text[], %(thresholds)s::integer[]) AS given (location, sku, low_at)
ORDER BY location, sku
ON CONFLICT ON CONSTRAINT stock_pkey DO UPDATE
SET low_at = excluded.low_at
"""

_DIFFERENCES = """
WITH moved AS (
    SELECT location, sku, sum(quantity) AS quantity
    FROM ledger
    GROUP BY location, sku
), promised AS (
    SELECT reservations.location, reservation_lines.sku, sum(reservation_lines.quantity) AS quantity
    FROM reservations
    JOIN reservation_lines USING (reservation_id)
    WHERE reservations.state = 'open'
    GROUP BY reservations.location, reservation_lines.sku
), compared AS (
    SELECT location, sku, stock.on_hand, stock.reserved,
        coalesce(moved.quantity, 0)::bigint AS ledger,
        coalesce(promised.quantity, 0)::bigint AS open_reservations
    FROM stock
    FULL JOIN moved USING (location, sku)
    FULL JOIN promised USING (location, sku)
), differing AS (
    SELECT location, sku, on_hand, ledger, reserved, open_reservations
    FROM compared
    WHERE on_hand IS DISTINCT FROM ledger OR reserved IS DISTINCT FROM open_reservations
    ORDER BY location, sku
    LIMIT %(limit)s
)
SELECT (SELECT count(*) FROM stock) AS checked, differing.*
FROM (VALUES (1)) AS always (present)
LEFT JOIN differing ON true
ORDER BY location, sku
"""

_ADD_BULK = """
INSERT INTO bulk_receipts (reference, lines_sha256)
VALUES (%(reference)s, %(lines_sha256)s)
ON CONFLICT DO NOTHING
"""

_FIND_BULK = "SELECT lines_sha256 FROM bulk_receipts WHERE reference = %(reference)s"
