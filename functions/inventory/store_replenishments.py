"""Replenishment requests in SQL. The caller owns the transaction; a request is locked before rows of stock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.shared import Connection, Row, execute, fetch_all, fetch_one

from .domain import Line


def add_replenishment(
    connection: Connection, location: str, lines: Sequence[Line], note: str | None, asked_by: str
) -> int:
    """A new request; its id."""
    row = fetch_one(
        connection,
        _ADD,
        {
            "location": location,
            "note": note,
            "asked_by": asked_by,
            "skus": [line.sku for line in lines],
            "quantities": [line.quantity for line in lines],
        },
    )
    assert row is not None
    return int(row["replenishment_id"])


def find_replenishment(connection: Connection, replenishment_id: int) -> Row | None:
    """A request with its `lines` by SKU."""
    return fetch_one(connection, _FIND, {"replenishment_id": replenishment_id})


def lock_replenishment(connection: Connection, replenishment_id: int) -> Row | None:
    """The same, locked: nobody else decides it until the transaction ends. None for one made between the two statements."""
    is_locked = execute(connection, _LOCK, {"replenishment_id": replenishment_id}) > 0
    return find_replenishment(connection, replenishment_id) if is_locked else None


def list_replenishments(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` requests that fit every filter that is not None, latest first, from before `before_id`."""
    return fetch_all(connection, _LIST, filters)


def approve_replenishment(
    connection: Connection, replenishment_id: int, approved: Mapping[str, int], decided_by: str
) -> None:
    """Note how much of each SKU of a locked request is approved."""
    execute(
        connection,
        _APPROVE,
        {
            "replenishment_id": replenishment_id,
            "decided_by": decided_by,
            "skus": list(approved),
            "quantities": list(approved.values()),
        },
    )


def refuse_replenishment(connection: Connection, replenishment_id: int, reason: str, decided_by: str) -> None:
    execute(
        connection,
        _REFUSE,
        {"replenishment_id": replenishment_id, "reason": reason, "decided_by": decided_by},
    )


_ADD = """
WITH added AS (
    INSERT INTO replenishments (location, note, asked_by)
    VALUES (%(location)s, %(note)s, %(asked_by)s)
    RETURNING replenishment_id
), lines AS (
    INSERT INTO replenishment_lines (replenishment_id, sku, requested)
    SELECT added.replenishment_id, line.sku, line.quantity
    FROM added, unnest(%(skus)s::text[], %(quantities)s::integer[]) AS line (sku, quantity)
)
SELECT replenishment_id
FROM added
"""

_FIND = """
SELECT replenishment_id, location, state, note, asked_by, asked_at, decided_by, decided_at, reason,
    (
        SELECT jsonb_agg(jsonb_build_object('sku', sku, 'requested', requested, 'approved', approved) ORDER BY sku)
        FROM replenishment_lines
        WHERE replenishment_lines.replenishment_id = replenishments.replenishment_id
    ) AS lines
FROM replenishments
WHERE replenishment_id = %(replenishment_id)s
"""

_LOCK = "SELECT FROM replenishments WHERE replenishment_id = %(replenishment_id)s FOR UPDATE"

_LIST = """
SELECT replenishment_id, location, state, note, asked_by, asked_at, decided_by, decided_at, reason,
    (
        SELECT jsonb_agg(jsonb_build_object('sku', sku, 'requested', requested, 'approved', approved) ORDER BY sku)
        FROM replenishment_lines
        WHERE replenishment_lines.replenishment_id = replenishments.replenishment_id
    ) AS lines
FROM replenishments
WHERE (%(location)s::text IS NULL OR location = %(location)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(before_id)s::bigint IS NULL OR replenishment_id < %(before_id)s)
ORDER BY replenishment_id DESC
LIMIT %(limit)s
"""

_APPROVE = """
WITH lines AS (
    UPDATE replenishment_lines
    SET approved = given.quantity
    FROM unnest(%(skus)s::text[], %(quantities)s::integer[]) AS given (sku, quantity)
    WHERE replenishment_lines.replenishment_id = %(replenishment_id)s
      AND replenishment_lines.sku = given.sku
)
UPDATE replenishments
SET state = 'approved', decided_by = %(decided_by)s, decided_at = now()
WHERE replenishment_id = %(replenishment_id)s
"""

_REFUSE = """
UPDATE replenishments
SET state = 'refused', decided_by = %(decided_by)s, decided_at = now(), reason = %(reason)s
WHERE replenishment_id = %(replenishment_id)s
"""
