"""Returns: the tables returns and return_lines, and what they take of order_lines. The caller owns the transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from functions.shared import Connection, Row, execute, fetch_all, fetch_one
from functions.shared.returns import Sold


def find_request(connection: Connection, request: str) -> Row | None:
    """The return that a request has made: `return_id`, `request_sha256`."""
    return fetch_one(
        connection,
        "SELECT return_id::text AS return_id, request_sha256 FROM returns WHERE request = %(request)s",
        {"request": request},
    )


def sold_lines(connection: Connection, order_id: str) -> tuple[Sold, ...]:
    """The lines of a locked order, and what has come back of each."""
    rows = fetch_all(connection, _SOLD, {"order_id": order_id})
    return tuple(
        Sold(
            **{
                **row,
                "charge": False,
                "tax_parts": tuple(row["tax_parts"]),
                "returned_tax_parts": tuple(row["returned_tax_parts"]),
            }
        )
        for row in rows
    )


def take_from_order(connection: Connection, order_id: str, lines: Sequence[Sold]) -> None:
    """Write what has come back of the lines of a locked order. Fails on `order_lines_returned_quantity_check`."""
    rows = [
        {
            "line": line.line,
            "returned_quantity": line.returned_quantity,
            "returned_tax_parts_cents": line.returned_tax_parts,
        }
        for line in lines
    ]
    execute(connection, _TAKE, {"order_id": order_id, "lines": json.dumps(rows)})


def record_return(connection: Connection, record: Mapping[str, Any]) -> bool:
    """Store a pending return with its lines; False when its request has made one already."""
    return fetch_one(connection, _RECORD, {**record, "lines": json.dumps(record["lines"])}) is not None


def unsettled_return(connection: Connection, return_id: str) -> Row:
    """What is left to do of a return: `status`, `booked_at`, `location`, `order_id`, `payment_reference`, `total_cents`,
    `returned_by`, and `goods`: [sku, quantity, restock] of each line."""
    row = fetch_one(connection, _UNSETTLED, {"return_id": return_id})
    assert row is not None
    return row


def mark_booked(connection: Connection, return_id: str) -> bool:
    """The goods of a pending return are booked in."""
    statement = "UPDATE returns SET booked_at = now() WHERE return_id = %(return_id)s AND booked_at IS NULL"
    return execute(connection, statement, {"return_id": return_id}) == 1


def complete_return(connection: Connection, return_id: str) -> bool:
    """A booked return is refunded, and its order says so; False when it was complete before."""
    return execute(connection, _COMPLETE, {"return_id": return_id}) == 1


def all_is_back(connection: Connection, order_id: str) -> bool:
    """Whether all of a locked order has come back and is booked in."""
    row = fetch_one(connection, _ALL_IS_BACK, {"order_id": order_id})
    return bool(row and row["all_is_back"])


def all_is_refunded(connection: Connection, order_id: str) -> bool:
    """Whether no return of a locked order is left to be refunded."""
    statement = "SELECT FROM returns WHERE order_id = %(order_id)s AND status = 'pending' LIMIT 1"
    return fetch_one(connection, statement, {"order_id": order_id}) is None


def touch_return(connection: Connection, return_id: str, trouble: str) -> None:
    """Note why a return could not be settled, and let others come first the next time."""
    statement = "UPDATE returns SET tried_at = now(), trouble = %(trouble)s WHERE return_id = %(return_id)s"
    execute(connection, statement, {"return_id": return_id, "trouble": trouble})


_SOLD = """
SELECT
    line, sku, name, category, quantity, unit_price_cents, tax_parts_cents AS tax_parts,
    returned_quantity, returned_tax_parts_cents AS returned_tax_parts
FROM order_lines
WHERE order_id = %(order_id)s
ORDER BY line
"""

_TAKE = """
UPDATE order_lines
SET returned_quantity = given.returned_quantity, returned_tax_parts_cents = given.returned_tax_parts_cents
FROM jsonb_to_recordset(%(lines)s::jsonb) AS given (
    line integer, returned_quantity integer, returned_tax_parts_cents bigint[]
)
WHERE order_lines.order_id = %(order_id)s AND order_lines.line = given.line
"""

_RECORD = """
WITH recorded AS (
    INSERT INTO returns (
        return_id, order_id, status, location, business_date, reason, returned_by, subtotal_cents, taxes, tax_cents,
        request, request_sha256
    )
    VALUES (
        %(return_id)s, %(order_id)s, 'pending', %(location)s, CAST(now() AT TIME ZONE %(time_zone)s AS date),
        %(reason)s, %(returned_by)s, %(subtotal_cents)s, %(taxes)s::jsonb, %(tax_cents)s, %(request)s,
        %(request_sha256)s
    )
    ON CONFLICT ON CONSTRAINT returns_request_key DO NOTHING
    RETURNING return_id, order_id
), lines AS (
    INSERT INTO return_lines (
        return_id, line, order_id, order_line, sku, name, category, restock, quantity, unit_price_cents,
        tax_parts_cents, tax_cents
    )
    SELECT
        return_id, line, order_id, order_line, sku, name, category, restock, quantity, unit_price_cents,
        tax_parts_cents, tax_cents
    FROM recorded, jsonb_to_recordset(%(lines)s::jsonb) AS given (
        line integer, order_line integer, sku text, name text, category text, restock boolean, quantity integer,
        unit_price_cents bigint, tax_parts_cents bigint[], tax_cents bigint
    )
)
SELECT return_id FROM recorded
"""

_UNSETTLED = """
SELECT
    return_id::text AS return_id, returns.order_id::text AS order_id, returns.status, returns.location, booked_at,
    returned_by, returns.total_cents, payment_reference,
    (
        SELECT jsonb_agg(jsonb_build_array(sku, quantity, restock) ORDER BY line)
        FROM return_lines
        WHERE return_lines.return_id = returns.return_id
    ) AS goods
FROM returns
JOIN orders ON orders.order_id = returns.order_id
WHERE return_id = %(return_id)s
"""

_COMPLETE = """
WITH complete AS (
    UPDATE returns
    SET status = 'complete', completed_at = now(), trouble = NULL, changed_xid = pg_current_xact_id()
    WHERE return_id = %(return_id)s AND status = 'pending'
    RETURNING order_id, total_cents
)
UPDATE orders
SET refunded_cents = refunded_cents + complete.total_cents
FROM complete
WHERE orders.order_id = complete.order_id
"""

_ALL_IS_BACK = """
SELECT
    NOT EXISTS (SELECT FROM order_lines WHERE order_id = %(order_id)s AND returned_quantity < quantity)
    AND NOT EXISTS (SELECT FROM returns WHERE order_id = %(order_id)s AND booked_at IS NULL) AS all_is_back
"""
