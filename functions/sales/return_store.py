"""Returns: the tables returns and return_lines, and what they take of sale_lines. The caller owns the transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from functions.shared import Connection, Row, execute, fetch_all, fetch_one
from functions.shared.returns import Sold


def find_request(connection: Connection, request: str) -> Row | None:
    """The return that a request has made: `return_id`, `request_sha256`."""
    return fetch_one(
        connection,
        "SELECT return_id::text AS return_id, request_sha256 FROM returns WHERE request = %(request)s",
        {"request": request},
    )


def sold_lines(connection: Connection, sale_id: str) -> tuple[Sold, ...]:
    """The lines of a locked sale, and what has come back of each."""
    return tuple(_sold(row) for row in fetch_all(connection, _SOLD, {"sale_id": sale_id}))


def _sold(row: Row) -> Sold:
    return Sold(
        **{
            **row,
            "tax_parts": tuple(row["tax_parts"]),
            "returned_tax_parts": tuple(row["returned_tax_parts"]),
        }
    )


def take_from_sale(connection: Connection, sale_id: str, lines: Sequence[Sold]) -> None:
    """Write what has come back of the lines of a locked sale. Fails on `sale_lines_returned_quantity_check`."""
    rows = [
        {
            "line": line.line,
            "returned_quantity": line.returned_quantity,
            "returned_tax_parts_cents": line.returned_tax_parts,
        }
        for line in lines
    ]
    execute(connection, _TAKE, {"sale_id": sale_id, "lines": json.dumps(rows)})


def record_return(connection: Connection, record: Mapping[str, Any]) -> bool:
    """Store a pending return with its lines; False when its request has made one already."""
    return fetch_one(connection, _RECORD, {**record, "lines": json.dumps(record["lines"])}) is not None


def unsettled_return(connection: Connection, return_id: str) -> Row:
    """`return_id`, `status`, `origin`, `store`, `total_cents`, and `goods`: [sku, quantity, restock] of each line that moves stock."""
    row = fetch_one(connection, _UNSETTLED, {"return_id": return_id})
    assert row is not None
    return row


def complete_return(connection: Connection, return_id: str) -> bool:
    """Give a pending return its receipt number and refund it; False when it is not pending."""
    return execute(connection, _COMPLETE, {"return_id": return_id}) == 1


def refuse_return(connection: Connection, return_id: str, refusal: Mapping[str, Any]) -> bool:
    """A pending return is not taken: what it held of the sale's lines may be returned again."""
    refused = execute(connection, _REFUSE, {"return_id": return_id, "refusal": json.dumps(refusal)})
    if refused:
        execute(connection, _GIVE_TO_SALE, {"return_id": return_id})
    return refused == 1


def touch_return(connection: Connection, return_id: str) -> None:
    """Note that settling a return was tried, so that others come first the next time."""
    statement = "UPDATE returns SET tried_at = now() WHERE return_id = %(return_id)s"
    execute(connection, statement, {"return_id": return_id})


def read_return(connection: Connection, return_id: str) -> Row | None:
    """A return with `lines`."""
    rows = fetch_all(connection, _READ, {"return_id": return_id, "sale_id": None})
    return rows[0] if rows else None


def returns_of(connection: Connection, sale_id: str) -> list[Row]:
    """The returns of a sale with their `lines`, first to last; not those that were refused."""
    return fetch_all(connection, _READ, {"return_id": None, "sale_id": sale_id})


def list_returns(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` complete returns that fit every filter that is not None, latest first."""
    return fetch_all(connection, _LIST if filters["sku"] is None else _LIST_BY_SKU, filters)


_COLUMNS: Final = """
    return_id::text AS return_id, sale_id::text AS sale_id, status, origin, channel, store, register, cashier,
    business_date, returned_at, completed_at, receipt_number, currency, subtotal_cents, taxes, tax_cents,
    total_cents, refund_kind, refund_reference, reason, customer_reference, document
"""

_SOLD = """
SELECT
    line, sku, name, category, charge, quantity, unit_price_cents, tax_parts_cents AS tax_parts,
    returned_quantity, returned_tax_parts_cents AS returned_tax_parts
FROM sale_lines
WHERE sale_id = %(sale_id)s
ORDER BY line
"""

_TAKE = """
UPDATE sale_lines
SET returned_quantity = given.returned_quantity, returned_tax_parts_cents = given.returned_tax_parts_cents
FROM jsonb_to_recordset(%(lines)s::jsonb) AS given (
    line integer, returned_quantity integer, returned_tax_parts_cents bigint[]
)
WHERE sale_lines.sale_id = %(sale_id)s AND sale_lines.line = given.line
"""

_RECORD = """
WITH recorded AS (
    INSERT INTO returns (
        return_id, sale_id, status, origin, store, register, session_id, cashier, business_date, returned_at,
        currency, subtotal_cents, taxes, tax_cents, refund_kind, refund_reference, gift_card_id, reason,
        customer_reference, document, request, request_sha256
    )
    SELECT
        %(return_id)s, %(sale_id)s, 'pending', %(origin)s, %(store)s, %(register)s, %(session_id)s, %(cashier)s,
        %(business_date)s, %(returned_at)s, %(currency)s, %(subtotal_cents)s, %(taxes)s::jsonb, %(tax_cents)s,
        %(refund_kind)s, %(refund_reference)s, %(gift_card_id)s, %(reason)s, %(customer_reference)s,
        %(document)s, %(request)s, %(request_sha256)s
    ON CONFLICT ON CONSTRAINT returns_request_key DO NOTHING
    RETURNING return_id, sale_id, returned_at
), lines AS (
    INSERT INTO return_lines (
        return_id, line, sale_id, sale_line, sku, name, category, charge, restock, quantity, unit_price_cents,
        tax_parts_cents, tax_cents, returned_at
    )
    SELECT
        return_id, line, sale_id, sale_line, sku, name, category, charge, restock, quantity, unit_price_cents,
        tax_parts_cents, tax_cents, returned_at
    FROM recorded, jsonb_to_recordset(%(lines)s::jsonb) AS given (
        line integer, sale_line integer, sku text, name text, category text, charge boolean, restock boolean,
        quantity integer, unit_price_cents bigint, tax_parts_cents bigint[], tax_cents bigint
    )
)
SELECT return_id FROM recorded
"""

_UNSETTLED = """
SELECT
    return_id::text AS return_id, status, origin, store, total_cents,
    coalesce((
        SELECT jsonb_agg(jsonb_build_array(sku, quantity, restock) ORDER BY line)
        FROM return_lines
        WHERE return_lines.return_id = returns.return_id AND NOT charge
    ), '[]') AS goods
FROM returns
WHERE return_id = %(return_id)s
"""

# As for sales: the number is taken only if the return is still pending once its row is locked.
_COMPLETE = """
WITH pending AS (
    SELECT return_id, store, business_date, session_id, refund_kind, gift_card_id, total_cents
    FROM returns
    WHERE return_id = %(return_id)s AND status = 'pending'
    FOR UPDATE
), numbered AS (
    INSERT INTO receipt_counters AS counter (store, business_date, series, last_number)
    SELECT store, business_date, 'return', 1
    FROM pending
    ON CONFLICT ON CONSTRAINT receipt_counters_pkey DO UPDATE
    SET last_number = counter.last_number + 1
    RETURNING last_number
), cash AS (
    INSERT INTO cash_movements (session_id, kind, reference, amount_cents)
    SELECT session_id, 'return', return_id::text, -total_cents
    FROM pending
    WHERE refund_kind = 'cash' AND total_cents > 0
), entered AS (
    INSERT INTO gift_card_entries (gift_card_id, kind, reference, amount_cents)
    SELECT gift_card_id, 'refund', return_id::text, total_cents
    FROM pending
    WHERE refund_kind = 'gift_card' AND total_cents > 0
    RETURNING gift_card_id, amount_cents
), refunded AS (
    UPDATE gift_cards
    SET balance_cents = balance_cents + entered.amount_cents
    FROM entered
    WHERE gift_cards.gift_card_id = entered.gift_card_id
)
UPDATE returns
SET status = 'complete', completed_at = now(), receipt_number = numbered.last_number,
    changed_xid = pg_current_xact_id()
FROM numbered
WHERE return_id = %(return_id)s
"""

_REFUSE = """
UPDATE returns
SET status = 'refused', request = NULL, refusal = %(refusal)s::jsonb, changed_xid = pg_current_xact_id()
WHERE return_id = %(return_id)s AND status = 'pending'
"""

_GIVE_TO_SALE = """
UPDATE sale_lines
SET returned_quantity = sale_lines.returned_quantity - given.quantity,
    returned_tax_parts_cents = ARRAY(
        SELECT part - back
        FROM unnest(sale_lines.returned_tax_parts_cents, given.tax_parts_cents) WITH ORDINALITY AS t (part, back, place)
        ORDER BY place
    )
FROM (
    SELECT
        line.sale_id, line.sale_line, sum(line.quantity)::integer AS quantity,
        ARRAY(
            SELECT sum(part)::bigint
            FROM return_lines AS same, unnest(same.tax_parts_cents) WITH ORDINALITY AS t (part, place)
            WHERE same.return_id = line.return_id AND same.sale_line = line.sale_line
            GROUP BY place
            ORDER BY place
        ) AS tax_parts_cents
    FROM return_lines AS line
    WHERE line.return_id = %(return_id)s AND line.sale_id IS NOT NULL
    GROUP BY line.return_id, line.sale_id, line.sale_line
) AS given
WHERE sale_lines.sale_id = given.sale_id AND sale_lines.line = given.sale_line
"""

_READ = f"""
SELECT {_COLUMNS},
    (
        SELECT jsonb_agg(jsonb_build_object(
            'line', line, 'sale_line', sale_line, 'sku', sku, 'name', name, 'category', category,
            'charge', charge, 'restock', restock, 'quantity', quantity, 'unit_price_cents', unit_price_cents,
            'total_cents', total_cents, 'tax_cents', tax_cents
        ) ORDER BY line)
        FROM return_lines
        WHERE return_lines.return_id = returns.return_id
    ) AS lines
FROM returns
WHERE (
    (return_id = %(return_id)s::uuid AND %(sale_id)s::uuid IS NULL)
    OR (sale_id = %(sale_id)s::uuid AND status <> 'refused' AND %(return_id)s::uuid IS NULL)
  )
ORDER BY created_at, return_id
"""  # noqa: S608 - columns are a constant

_FILTERS = """
    returns.status = 'complete'
  AND (%(store)s::text IS NULL OR returns.store = %(store)s)
  AND (%(day)s::date IS NULL OR returns.business_date = %(day)s)
  AND (%(sale_id)s::uuid IS NULL OR returns.sale_id = %(sale_id)s)
"""

_LIST = f"""
SELECT {_COLUMNS}
FROM returns
WHERE {_FILTERS}
  AND (
    %(after_time)s::timestamptz IS NULL
    OR (returned_at, return_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)
  )
ORDER BY returns.returned_at DESC, returns.return_id DESC
LIMIT %(limit)s
"""  # noqa: S608

_LIST_BY_SKU = f"""
SELECT {_COLUMNS}
FROM returns
JOIN (
    SELECT DISTINCT return_lines.returned_at AS found_at, return_lines.return_id AS found_id
    FROM return_lines
    JOIN returns ON returns.return_id = return_lines.return_id
    WHERE return_lines.sku = %(sku)s
      AND {_FILTERS}
      AND (
        %(after_time)s::timestamptz IS NULL
        OR (return_lines.returned_at, return_lines.return_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)
      )
    ORDER BY found_at DESC, found_id DESC
    LIMIT %(limit)s
) AS found ON found.found_id = returns.return_id
ORDER BY returns.returned_at DESC, returns.return_id DESC
"""  # noqa: S608
