"""Orders: the tables checkouts, orders, order_lines and history. The caller owns the transaction.

The history is written by the table's own trigger, from `changed_by` and `change_note`. What is left half-way is worked
on only by who holds its claim; every step also checks, in the row, the status that it starts from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from functions.shared import Connection, Prepared, Row, execute, fetch_all, fetch_one


@dataclass(frozen=True)
class Name:
    """What an order is found by: one of these."""

    order_id: str | None = None
    number: str | None = None
    checkout_id: str | None = None


def claim_checkout(
    connection: Connection, checkout_id: str, order_id: str | None, reason: str | None
) -> bool:
    """A checkout is to have this order, or none for a reason; False when it has one, or never will."""
    return bool(
        execute(
            connection,
            "INSERT INTO checkouts (checkout_id, order_id, reason)"
            " VALUES (%(checkout_id)s, %(order_id)s, %(reason)s) ON CONFLICT DO NOTHING",
            {"checkout_id": checkout_id, "order_id": order_id, "reason": reason},
        )
    )


def record_order(connection: Connection, order: Mapping[str, Any]) -> bool:
    """Store a pending order with its lines; False when its number is taken. `lines` are mappings by column name."""
    return fetch_one(connection, _RECORD, {**order, "lines": json.dumps(order["lines"])}) is not None


def lock_order_of_checkout(connection: Connection, checkout_id: str) -> Row | None:
    """`order_id`, `status`, `location`, `content_sha256`, `total_cents`, `payment_reference`; nobody else changes it meanwhile."""
    return fetch_one(connection, _LOCK_OF_CHECKOUT, {"checkout_id": checkout_id})


def was_abandoned(connection: Connection, checkout_id: str) -> bool:
    """Whether a checkout was abandoned before it had an order."""
    statement = "SELECT FROM checkouts WHERE checkout_id = %(checkout_id)s AND order_id IS NULL"
    return fetch_one(connection, statement, {"checkout_id": checkout_id}) is not None


def read_order(connection: Connection, name: Name) -> Row | None:
    """An order with `lines`, `history` and `returns`."""
    if name.order_id is not None:
        return _READ_BY_ID.fetch_one(connection, name.order_id)
    if name.number is not None:
        return _READ_BY_NUMBER.fetch_one(connection, name.number)
    return _READ_BY_CHECKOUT.fetch_one(connection, name.checkout_id)


def list_orders(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` orders that fit every filter that is not None, latest first."""
    return fetch_all(connection, _LIST if filters["sku"] is None else _LIST_BY_SKU, filters)


def lock_order(connection: Connection, order_id: str) -> Row:
    """The columns that steps depend on; nobody else changes the order until the transaction ends."""
    row = fetch_one(connection, _LOCK, {"order_id": order_id})
    assert row is not None
    return row


def mark_paid(connection: Connection, payment: Mapping[str, Any]) -> bool:
    """A pending order is paid: what for the reports is a sale. False when it is not pending."""
    return execute(connection, _PAID, payment) == 1


def step(connection: Connection, order_id: str, status: str, to_status: str, who: str, **more: Any) -> bool:
    """Let an order go from `status` to `to_status`; False when it is not there. `more`: note, carrier, tracking."""
    values = {"note": None, "carrier": None, "tracking": None, **more}
    return (
        execute(
            connection, _STEP, {"order_id": order_id, "status": status, "to": to_status, "who": who, **values}
        )
        == 1
    )


def mark_restocked(connection: Connection, order_id: str) -> bool:
    """The goods of a cancelled order are back in stock."""
    return execute(connection, _RESTOCKED, {"order_id": order_id}) == 1


def refund_cancelled(connection: Connection, order_id: str, who: str) -> bool:
    """All of a cancelled order is paid back: what for the reports is a return. False when it is no longer cancelled."""
    return execute(connection, _REFUND_CANCELLED, {"order_id": order_id, "who": who}) == 1


def goods_of(connection: Connection, order_id: str) -> list[tuple[str, int]]:
    """SKU and quantity of each line."""
    rows = fetch_all(
        connection,
        "SELECT sku, quantity FROM order_lines WHERE order_id = %(order_id)s ORDER BY line",
        {"order_id": order_id},
    )
    return [(row["sku"], row["quantity"]) for row in rows]


def unsettled(connection: Connection, limit: int) -> list[Row]:
    """What is left to finish: `kind` and `document_id`, those not tried for longest first."""
    return fetch_all(connection, _UNSETTLED, {"limit": limit})


def touch_order(connection: Connection, order_id: str, trouble: str) -> None:
    """Note why an order could not be settled, and let others come first the next time."""
    statement = "UPDATE orders SET tried_at = now(), trouble = %(trouble)s WHERE order_id = %(order_id)s"
    execute(connection, statement, {"order_id": order_id, "trouble": trouble})


def erase_customer(connection: Connection, customer_id: str, closed: list[str]) -> Row:
    """Take the personal data out of a customer's closed orders: `erased` now, and `open` ones that still need it."""
    row = fetch_one(connection, _ERASE, {"customer_id": customer_id, "closed": closed})
    assert row is not None
    if row["erased"]:
        # The first waits for whoever changes such an order; statements of their own see what was written meanwhile.
        for statement in (_ERASE_NOTES, _ERASE_REASONS, _ERASE_ANSWERS):
            execute(connection, statement, {"customer_id": customer_id})
    return row


_COLUMNS: Final = """
    orders.order_id::text AS order_id, number, status, checkout_id::text AS checkout_id, customer_id, location, currency,
    subtotal_cents, taxes, tax_cents, total_cents, refunded_cents, carrier, tracking, placed_on, created_at, paid_at,
    packed_at, shipped_at, delivered_at, cancelled_at, returned_at, refunded_at, erased_at
"""

_RECORD = """
WITH recorded AS (
    INSERT INTO orders (
        order_id, number, checkout_id, customer_id, location, time_zone, reservation_id, currency, subtotal_cents,
        taxes, tax_cents, address, content_sha256, changed_by
    )
    VALUES (
        %(order_id)s, %(number)s, %(checkout_id)s, %(customer_id)s, %(location)s, %(time_zone)s, %(reservation_id)s,
        %(currency)s, %(subtotal_cents)s, %(taxes)s::jsonb, %(tax_cents)s, %(address)s::jsonb, %(content_sha256)s,
        %(who)s
    )
    ON CONFLICT ON CONSTRAINT orders_number_key DO NOTHING
    RETURNING order_id
), lines AS (
    INSERT INTO order_lines (
        order_id, line, sku, name, category, quantity, unit_price_cents, tax_parts_cents, tax_cents,
        returned_tax_parts_cents
    )
    SELECT
        order_id, line, sku, name, category, quantity, unit_price_cents, tax_parts_cents, tax_cents,
        array_fill(0::bigint, ARRAY[cardinality(tax_parts_cents)])
    FROM recorded, jsonb_to_recordset(%(lines)s::jsonb) AS given (
        line integer, sku text, name text, category text, quantity integer, unit_price_cents bigint,
        tax_parts_cents bigint[], tax_cents bigint
    )
)
SELECT order_id FROM recorded
"""

_LOCK_OF_CHECKOUT = """
SELECT order_id::text AS order_id, status, location, content_sha256, total_cents, payment_reference
FROM orders
WHERE checkout_id = %(checkout_id)s
FOR UPDATE
"""

_LOCK = """
SELECT
    order_id::text AS order_id, status, location, time_zone, taxes, total_cents, payment_reference, paid_at,
    cancelled_at, restocked_at, erased_at
FROM orders
WHERE order_id = %(order_id)s
FOR UPDATE
"""

_PAID = """
UPDATE orders
SET status = 'paid', paid_at = now(), payment_reference = %(payment_reference)s,
    captured_cents = %(captured_cents)s, changed_by = %(who)s, change_note = NULL,
    changed_xid = pg_current_xact_id()
WHERE order_id = %(order_id)s AND status = 'pending'
"""

_STEP = """
UPDATE orders
SET status = %(to)s, changed_by = %(who)s, change_note = %(note)s,
    packed_at = CASE %(to)s WHEN 'packed' THEN now() ELSE packed_at END,
    shipped_at = CASE %(to)s WHEN 'shipped' THEN now() ELSE shipped_at END,
    carrier = COALESCE(%(carrier)s, carrier),
    tracking = COALESCE(%(tracking)s, tracking),
    delivered_at = CASE %(to)s WHEN 'delivered' THEN now() ELSE delivered_at END,
    cancelled_at = CASE %(to)s WHEN 'cancelled' THEN now() ELSE cancelled_at END,
    returned_at = CASE %(to)s WHEN 'returned' THEN now() ELSE returned_at END,
    refunded_at = CASE %(to)s WHEN 'refunded' THEN now() ELSE refunded_at END,
    tried_at = now()
WHERE order_id = %(order_id)s AND status = %(status)s
"""

_RESTOCKED = """
UPDATE orders
SET restocked_at = now()
WHERE order_id = %(order_id)s AND status = 'cancelled' AND restocked_at IS NULL
"""

_REFUND_CANCELLED = """
UPDATE orders
SET status = 'refunded', refunded_at = now(), refunded_cents = captured_cents, changed_by = %(who)s,
    change_note = NULL, trouble = NULL, changed_xid = pg_current_xact_id()
WHERE order_id = %(order_id)s AND status = 'cancelled' AND restocked_at IS NOT NULL
"""

_UNSETTLED = """
SELECT 'cancel' AS kind, order_id::text AS document_id, tried_at
FROM orders
WHERE status = 'cancelled' AND paid_at IS NOT NULL
UNION ALL
SELECT 'return', return_id::text, tried_at
FROM returns
WHERE status = 'pending'
ORDER BY tried_at
LIMIT %(limit)s
"""

_ERASE = """
WITH erased AS (
    UPDATE orders
    SET address = NULL, tracking = NULL, change_note = NULL, erased_at = now()
    WHERE customer_id = %(customer_id)s AND status = ANY(%(closed)s) AND erased_at IS NULL
    RETURNING order_id
)
SELECT
    (SELECT count(*) FROM erased) AS erased,
    count(*) AS open
FROM orders
WHERE customer_id = %(customer_id)s AND status <> ALL(%(closed)s)
"""

_ERASE_NOTES = """
UPDATE history
SET note = NULL
FROM orders
WHERE history.order_id = orders.order_id AND customer_id = %(customer_id)s AND erased_at IS NOT NULL
    AND note IS NOT NULL
"""

_ERASE_REASONS = """
UPDATE returns
SET reason = NULL
FROM orders
WHERE returns.order_id = orders.order_id AND customer_id = %(customer_id)s AND erased_at IS NOT NULL
    AND reason IS NOT NULL
"""

# Each answer is read once. Inside of a text its quotes would be escaped, so this is the member itself.
_ERASE_ANSWERS = """
DELETE FROM idempotency_keys
WHERE substring(convert_from(body, 'UTF8') FROM '"order_id":"([0-9a-f-]{36})"') IN (
    SELECT order_id::text
    FROM orders
    WHERE customer_id = %(customer_id)s AND erased_at IS NOT NULL
)
"""

_READ: Final = f"""
SELECT {_COLUMNS}, address,
    (
        SELECT jsonb_agg(jsonb_build_object(
            'line', line, 'sku', sku, 'name', name, 'quantity', quantity, 'returned', returned_quantity,
            'unit_price_cents', unit_price_cents, 'total_cents', total_cents, 'tax_cents', tax_cents
        ) ORDER BY line)
        FROM order_lines
        WHERE order_lines.order_id = orders.order_id
    ) AS lines,
    (
        SELECT jsonb_agg(jsonb_build_object(
            'at', at, 'who', who, 'from', from_status, 'to', to_status, 'note', note
        ) ORDER BY entry_id)
        FROM history
        WHERE history.order_id = orders.order_id
    ) AS history,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object(
            'return_id', return_id, 'order_id', order_id, 'status', returns.status, 'reason', reason,
            'returned_by', returned_by,
            'lines', (
                SELECT jsonb_agg(jsonb_build_object(
                    'line', order_line, 'sku', sku, 'name', name, 'restock', restock, 'quantity', quantity,
                    'unit_price_cents', unit_price_cents, 'total_cents', total_cents, 'tax_cents', tax_cents
                ) ORDER BY line)
                FROM return_lines
                WHERE return_lines.return_id = returns.return_id
            ),
            'subtotal_cents', returns.subtotal_cents, 'taxes', returns.taxes, 'tax_cents', returns.tax_cents,
            'total_cents', returns.total_cents, 'created_at', returns.created_at,
            'completed_at', returns.completed_at
        ) ORDER BY returns.created_at, return_id)
        FROM returns
        WHERE returns.order_id = orders.order_id
    ), '[]') AS returns
FROM orders
"""  # noqa: S608 - columns are a constant

# Planning all of this takes longer than reading one order.
_READ_BY_ID = Prepared("read_order", f"{_READ} WHERE orders.order_id = $1::uuid")
_READ_BY_NUMBER = Prepared("read_order_by_number", f"{_READ} WHERE orders.number = $1")
_READ_BY_CHECKOUT = Prepared("read_order_by_checkout", f"{_READ} WHERE orders.checkout_id = $1::uuid")

_FILTERS = """
    (%(customer)s::text IS NULL OR orders.customer_id = %(customer)s)
  AND (%(location)s::text IS NULL OR orders.location = %(location)s)
  AND (%(status)s::text IS NULL OR orders.status = %(status)s)
  AND (%(day)s::date IS NULL OR orders.placed_on = %(day)s)
  AND (%(number)s::text IS NULL OR orders.number = %(number)s)
  AND (
    %(after_time)s::timestamptz IS NULL
    OR (orders.created_at, orders.order_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)
  )
"""

_LIST = f"""
SELECT {_COLUMNS}
FROM orders
WHERE {_FILTERS}
ORDER BY orders.created_at DESC, orders.order_id DESC
LIMIT %(limit)s
"""  # noqa: S608

# An order may have several lines of a product; it is listed once.
_LIST_BY_SKU = f"""
SELECT {_COLUMNS}
FROM orders
WHERE orders.order_id IN (SELECT order_lines.order_id FROM order_lines WHERE order_lines.sku = %(sku)s)
  AND {_FILTERS}
ORDER BY orders.created_at DESC, orders.order_id DESC
LIMIT %(limit)s
"""  # noqa: S608
