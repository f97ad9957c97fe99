"""Reservations in SQL. The caller owns the transaction; a reservation is locked before its rows of stock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from functions.shared import Connection, Prepared, Row, execute, fetch_all, fetch_one

from .domain import Lack, Line, lacks_of, promised


def promise_stock(
    connection: Connection,
    lines: Sequence[Line],
    *,
    reservation_id: UUID,
    location: str,
    reference: str | None,
    ttl_seconds: int,
) -> tuple[Row, list[Lack]]:
    """An open reservation, and what of `lines` was lacking when that was decided; with lacks, do not commit.

    `lines` are of one location, one for each SKU. This transaction's commit will not wait for the disk.
    """
    skus, quantities = [line.sku for line in lines], [line.quantity for line in lines]
    statement = _PROMISE_ONE if len(lines) == 1 else _PROMISE
    row = statement.fetch_one(
        connection, str(reservation_id), location, reference, ttl_seconds, skus, quantities
    )
    assert row is not None
    del row["synchronous_commit"]
    skus, available = row.pop("promised"), row.pop("available") or {}
    if len(skus) == len(lines):
        return row, []
    done = [(location, sku) for sku in skus]
    seen = {(location, sku): number for sku, number in available.items()}
    return row, [_as_it_is(connection, lack) for lack in lacks_of(promised(lines), done, seen)]


def _as_it_is(connection: Connection, lack: Lack) -> Lack:
    """A row that had enough when its statement began was taken of while it waited for the lock, which it has now."""
    if lack.available < lack.requested:
        return lack
    found = fetch_one(connection, _AVAILABLE, {"location": lack.location, "sku": lack.sku})
    return replace(lack, available=found["available"] if found else 0)


def find_reservation(connection: Connection, reservation_id: UUID) -> Row | None:
    """A reservation with its `lines` by SKU."""
    return fetch_one(connection, _FIND, {"reservation_id": str(reservation_id)})


def lock_reservation(connection: Connection, reservation_id: UUID) -> Row | None:
    """The same, locked: nobody else settles it until the transaction ends.

    None, too, for one that was made between the two statements, which nobody has locked.
    """
    is_locked = execute(connection, _LOCK, {"reservation_id": str(reservation_id)}) > 0
    return find_reservation(connection, reservation_id) if is_locked else None


def forbid_reservation(connection: Connection, reservation_id: UUID) -> None:
    """Let a reservation that is not there never be made; one that is there stays as it is."""
    execute(connection, _FORBID, {"reservation_id": str(reservation_id)})


def settle_reservation(connection: Connection, reservation_id: UUID, state: str) -> None:
    """Give a locked reservation its new state."""
    execute(connection, _SETTLE, {"reservation_id": str(reservation_id), "state": state})


def expire_reservations(connection: Connection, limit: int) -> list[Row]:
    """Mark up to `limit` reservations whose time has passed as expired, longest first; what each location and SKU
    gets back of them.

    Those that somebody else has locked are left for the next time. `reservations` in each row is how many expired.
    """
    return fetch_all(connection, _EXPIRE, {"limit": limit})


def lines_of(row: Row) -> list[Line]:
    """The lines of a reservation as it was read."""
    items: list[dict[str, Any]] = row["lines"]
    return [Line(row["location"], item["sku"], item["quantity"]) for item in items]


# What follows what was promised, in the same statement: the rows of stock are held only until the answer is stored.
# So is what was available where that was too little, since the next statement may see what has come in meanwhile.
# The commit does not wait for the disk, so that nobody waits for a hot row while it turns. A crash may then forget the
# last promises, whole and only those that nothing durable has come after: whoever stores that it has the promise does
# so later in the same write-ahead log (docs/decisions/0022-reservations-do-not-wait-for-the-disk.md).
_WRITE_PROMISED = """
), added AS (
    INSERT INTO reservations (reservation_id, location, reference, expires_at)
    VALUES ($1::uuid, $2::text, $3::text, clock_timestamp() + make_interval(secs => $4::integer))
    RETURNING reservation_id::text AS reservation_id, state, location, reference, created_at, expires_at, settled_at
), lines AS (
    INSERT INTO reservation_lines (reservation_id, sku, quantity)
    SELECT $1::uuid, sku, quantity
    FROM unnest($5::text[], $6::integer[]) AS line (sku, quantity)
)
SELECT reservation_id, state, location, reference, created_at, expires_at, settled_at,
    ARRAY(SELECT sku FROM promised) AS promised,
    CASE WHEN (SELECT count(*) FROM promised) < cardinality($5::text[])
        THEN (SELECT jsonb_object_agg(sku, available) FROM seen) END AS available,
    set_config('synchronous_commit', 'off', true) AS synchronous_commit
FROM added
"""

# One row needs no order: the update locks it, and tests the condition on it as it is then. A fifth to a
# quarter more reservations of a hot SKU in a second than with the lock taken first. A row that has too little when the
# statement begins is not locked at all, and is seen as it was then.
_PROMISE_ONE = Prepared(
    "promise_one",
    """
WITH promised AS (
    UPDATE stock
    SET reserved = reserved + ($6::integer[])[1], changed_at = now()
    WHERE location = $2::text
      AND sku = ($5::text[])[1]
      AND on_hand - reserved >= ($6::integer[])[1]
    RETURNING sku
), seen AS (
    SELECT sku, on_hand - reserved AS available
    FROM stock
    WHERE location = $2::text
      AND sku = ($5::text[])[1]
"""  # noqa: S608 - what is added is a constant
    + _WRITE_PROMISED,
)

# Locks and condition are those of store.change_stock.
_PROMISE = Prepared(
    "promise_stock",
    """
WITH wanted AS MATERIALIZED (
    SELECT sku, quantity
    FROM unnest($5::text[], $6::integer[]) AS wanted (sku, quantity)
), locked AS MATERIALIZED (
    SELECT stock.sku, wanted.quantity, stock.on_hand - stock.reserved AS available
    FROM stock
    JOIN wanted ON stock.sku = wanted.sku
    WHERE stock.location = $2::text
    ORDER BY stock.sku
    FOR UPDATE OF stock
), promised AS (
    UPDATE stock
    SET reserved = stock.reserved + locked.quantity, changed_at = now()
    FROM locked
    WHERE stock.location = $2::text
      AND stock.sku = locked.sku
      AND stock.on_hand - stock.reserved >= locked.quantity
    RETURNING stock.sku
), seen AS (
    SELECT sku, available
    FROM locked
"""  # noqa: S608 - what is added is a constant
    + _WRITE_PROMISED,
)

_AVAILABLE = """
SELECT on_hand - reserved AS available
FROM stock
WHERE location = %(location)s
  AND sku = %(sku)s
"""

_FIND = """
SELECT reservation_id::text AS reservation_id, state, location, reference, created_at, expires_at, settled_at,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) ORDER BY sku)
        FROM reservation_lines
        WHERE reservation_lines.reservation_id = reservations.reservation_id
    ), '[]') AS lines
FROM reservations
WHERE reservation_id = %(reservation_id)s
"""

_LOCK = "SELECT FROM reservations WHERE reservation_id = %(reservation_id)s FOR UPDATE"

_FORBID = """
INSERT INTO reservations (reservation_id, state, expires_at, settled_at)
VALUES (%(reservation_id)s, 'released', now(), now())
ON CONFLICT ON CONSTRAINT reservations_pkey DO NOTHING
"""

_SETTLE = """
UPDATE reservations
SET state = %(state)s, settled_at = now()
WHERE reservation_id = %(reservation_id)s
"""

_EXPIRE = """
WITH due AS (
    SELECT reservation_id
    FROM reservations
    WHERE state = 'open'
      AND expires_at <= now()
    ORDER BY expires_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), expired AS (
    UPDATE reservations
    SET state = 'expired', settled_at = now()
    FROM due
    WHERE reservations.reservation_id = due.reservation_id
    RETURNING reservations.reservation_id, reservations.location
)
SELECT expired.location, reservation_lines.sku, sum(reservation_lines.quantity)::integer AS quantity,
    (SELECT count(*) FROM expired) AS reservations
FROM expired
JOIN reservation_lines USING (reservation_id)
GROUP BY expired.location, reservation_lines.sku
ORDER BY expired.location, reservation_lines.sku
"""
