"""Reservations in SQL. The caller owns the transaction; a reservation is locked before its rows of stock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from functions.shared import Connection, Row, execute, fetch_all, fetch_one

from .domain import Line


def add_reservation(
    connection: Connection,
    lines: Sequence[Line],
    *,
    reservation_id: UUID,
    location: str,
    reference: str | None,
    ttl_seconds: int,
) -> Row:
    """An open reservation with its lines; that they are promised in stock is the caller's next step."""
    row = fetch_one(
        connection,
        _ADD,
        {
            "reservation_id": str(reservation_id),
            "location": location,
            "reference": reference,
            "ttl_seconds": ttl_seconds,
            "skus": [line.sku for line in lines],
            "quantities": [line.quantity for line in lines],
        },
    )
    assert row is not None
    return row


def find_reservation(connection: Connection, reservation_id: UUID) -> Row | None:
    """A reservation with its `lines` by SKU."""
    return fetch_one(connection, _FIND, {"reservation_id": str(reservation_id)})


def lock_reservation(connection: Connection, reservation_id: UUID) -> Row | None:
    """The same, locked: nobody else settles it until the transaction ends."""
    execute(connection, _LOCK, {"reservation_id": str(reservation_id)})
    return find_reservation(connection, reservation_id)


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


_ADD = """
WITH added AS (
    INSERT INTO reservations (reservation_id, location, reference, expires_at)
    VALUES (
        %(reservation_id)s, %(location)s, %(reference)s,
        clock_timestamp() + make_interval(secs => %(ttl_seconds)s)
    )
    RETURNING reservation_id::text AS reservation_id, state, location, reference, created_at, expires_at, settled_at
), lines AS (
    INSERT INTO reservation_lines (reservation_id, sku, quantity)
    SELECT %(reservation_id)s, sku, quantity
    FROM unnest(%(skus)s::text[], %(quantities)s::integer[]) AS line (sku, quantity)
)
SELECT reservation_id, state, location, reference, created_at, expires_at, settled_at
FROM added
"""

_FIND = """
SELECT reservation_id::text AS reservation_id, state, location, reference, created_at, expires_at, settled_at,
    (
        SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) ORDER BY sku)
        FROM reservation_lines
        WHERE reservation_lines.reservation_id = reservations.reservation_id
    ) AS lines
FROM reservations
WHERE reservation_id = %(reservation_id)s
"""

_LOCK = "SELECT FROM reservations WHERE reservation_id = %(reservation_id)s FOR UPDATE"

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
