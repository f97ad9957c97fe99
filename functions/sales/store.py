"""Sales: the tables sales, sale_lines, tenders and receipt_counters. The caller owns the transaction.

A document is worked on only by who holds its claim (an advisory lock of the session, so that it ends with the
process that held it); every step also checks the status that it starts from, in the row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from functions.shared import Connection, Row, execute, fetch_all, fetch_one


def find_request(connection: Connection, request: str) -> Row | None:
    """The sale that a request has made: `sale_id`, `request_sha256`."""
    return fetch_one(
        connection,
        "SELECT sale_id::text AS sale_id, request_sha256 FROM sales WHERE request = %(request)s",
        {"request": request},
    )


def record_sale(connection: Connection, sale: Mapping[str, Any]) -> bool:
    """Store a pending sale with its lines and tenders; False when its request has made one already.

    `lines` and `tenders` are lists of mappings by column name.
    """
    rows = {**sale, "lines": json.dumps(sale["lines"]), "tenders": json.dumps(sale["tenders"])}
    return fetch_one(connection, _RECORD, rows) is not None


def unsettled_sale(connection: Connection, sale_id: str) -> Row:
    """`sale_id`, `status`, `origin`, `store`, `total_cents`, and `goods`: [sku, quantity] of each line that moves stock."""
    row = fetch_one(connection, _UNSETTLED_SALE, {"sale_id": sale_id})
    assert row is not None
    return row


def complete_sale(connection: Connection, sale_id: str) -> bool:
    """Give a pending sale its receipt number and its cash to the register; False when it is not pending."""
    return execute(connection, _COMPLETE, {"sale_id": sale_id}) == 1


def give_up_sale(connection: Connection, sale_id: str) -> bool:
    """A pending sale shall not be: whether its stock has left is still to be settled."""
    return _change_status(connection, sale_id, "pending", "undoing")


def end_sale(connection: Connection, sale_id: str, status: str, refusal: Mapping[str, Any] | None) -> bool:
    """A sale has come to nothing (`undone`, `refused`): gift cards get back what they paid, its request is free again."""
    ended = execute(
        connection,
        _END,
        {"sale_id": sale_id, "status": status, "refusal": json.dumps(refusal) if refusal else None},
    )
    if ended:
        return_gift_cards(connection, sale_id)
    return ended == 1


def lock_sale(connection: Connection, sale_id: str) -> Row | None:
    """Lock a sale against voids and returns at the same time."""
    return fetch_one(connection, _LOCK, {"sale_id": sale_id})


def has_returns(connection: Connection, sale_id: str) -> bool:
    """Whether anything of a locked sale has come back or is about to."""
    row = fetch_one(
        connection,
        "SELECT FROM returns WHERE sale_id = %(sale_id)s AND status <> 'refused' LIMIT 1",
        {"sale_id": sale_id},
    )
    return row is not None


def begin_void(connection: Connection, void: Mapping[str, Any]) -> None:
    """A locked, complete sale shall be voided."""
    execute(connection, _BEGIN_VOID, void)


def finish_void(connection: Connection, sale_id: str) -> bool:
    """The stock of a sale is back: pay back what was paid. False when it is not being voided."""
    voided = execute(connection, _FINISH_VOID, {"sale_id": sale_id})
    if voided:
        return_gift_cards(connection, sale_id)
    return voided == 1


def return_gift_cards(connection: Connection, sale_id: str) -> None:
    """Put back what gift cards have paid of a sale, once."""
    execute(connection, _RETURN_GIFT_CARDS, {"sale_id": sale_id})


def _change_status(connection: Connection, sale_id: str, present: str, status: str) -> bool:
    statement = """
        UPDATE sales
        SET status = %(status)s, changed_xid = pg_current_xact_id(), tried_at = now()
        WHERE sale_id = %(sale_id)s AND status = %(present)s
        """
    return execute(connection, statement, {"sale_id": sale_id, "present": present, "status": status}) == 1


def touch_sale(connection: Connection, sale_id: str) -> None:
    """Note that settling a sale was tried, so that others come first the next time."""
    execute(connection, "UPDATE sales SET tried_at = now() WHERE sale_id = %(sale_id)s", {"sale_id": sale_id})


def unsettled(connection: Connection, limit: int) -> list[Row]:
    """Sales and returns left to finish or undo: `kind` and `document_id`, those not tried for longest first."""
    return fetch_all(connection, _UNSETTLED, {"limit": limit})


def read_sale(connection: Connection, sale_id: str) -> Row | None:
    """A sale with `lines` and `tenders`."""
    return fetch_one(connection, _READ, {"sale_id": sale_id})


def list_sales(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` sales that fit every filter that is not None, latest first."""
    return fetch_all(connection, _LIST if filters["sku"] is None else _LIST_BY_SKU, filters)


def find_document(connection: Connection, store: str, document: str) -> Row | None:
    """The imported sale of a store with this number, locked; None without a complete one."""
    return fetch_one(connection, _FIND_DOCUMENT, {"store": store, "document": document})


_COLUMNS: Final = """
    sale_id::text AS sale_id, status, origin, channel, store, register, cashier, business_date, sold_at,
    completed_at, receipt_number, currency, subtotal_cents, taxes, tax_cents, total_cents, change_cents,
    customer_reference, document, voided_at, void_reason
"""

_RECORD = """
WITH sale AS (
    INSERT INTO sales (
        sale_id, status, origin, store, register, session_id, cashier, business_date, sold_at, currency,
        subtotal_cents, taxes, tax_cents, change_cents, customer_reference, document, request, request_sha256
    )
    SELECT
        %(sale_id)s, 'pending', %(origin)s, %(store)s, %(register)s, %(session_id)s, %(cashier)s,
        %(business_date)s, %(sold_at)s, %(currency)s, %(subtotal_cents)s, %(taxes)s::jsonb, %(tax_cents)s,
        %(change_cents)s, %(customer_reference)s, %(document)s, %(request)s, %(request_sha256)s
    ON CONFLICT ON CONSTRAINT sales_request_key DO NOTHING
    RETURNING sale_id, sold_at
), lines AS (
    INSERT INTO sale_lines (
        sale_id, line, sku, name, category, charge, quantity, list_price_cents, unit_price_cents,
        override_reason, tax_parts_cents, tax_cents, returned_tax_parts_cents, sold_at
    )
    SELECT
        sale_id, line, sku, name, category, charge, quantity, list_price_cents, unit_price_cents,
        override_reason, tax_parts_cents, tax_cents, array_fill(0::bigint, ARRAY[cardinality(tax_parts_cents)]),
        sold_at
    FROM sale, jsonb_to_recordset(%(lines)s::jsonb) AS given (
        line integer, sku text, name text, category text, charge boolean, quantity integer,
        list_price_cents bigint, unit_price_cents bigint, override_reason text, tax_parts_cents bigint[],
        tax_cents bigint
    )
), paid AS (
    INSERT INTO tenders (sale_id, tender, kind, amount_cents, given_cents, reference, gift_card_id)
    SELECT sale_id, tender, kind, amount_cents, given_cents, reference, gift_card_id
    FROM sale, jsonb_to_recordset(%(tenders)s::jsonb) AS given (
        tender integer, kind text, amount_cents bigint, given_cents bigint, reference text, gift_card_id bigint
    )
)
SELECT sale_id FROM sale
"""

_UNSETTLED_SALE = """
SELECT
    sale_id::text AS sale_id, status, origin, store, total_cents,
    coalesce((
        SELECT jsonb_agg(jsonb_build_array(sku, quantity) ORDER BY line)
        FROM sale_lines
        WHERE sale_lines.sale_id = sales.sale_id AND NOT charge
    ), '[]') AS goods,
    (SELECT jsonb_agg(sku ORDER BY line) FROM sale_lines WHERE sale_lines.sale_id = sales.sale_id) AS skus
FROM sales
WHERE sale_id = %(sale_id)s
"""

# The number is taken only if the sale is still pending once its row is locked, so none is ever left out.
_COMPLETE = """
WITH pending AS (
    SELECT sale_id, store, business_date, session_id
    FROM sales
    WHERE sale_id = %(sale_id)s AND status = 'pending'
    FOR UPDATE
), numbered AS (
    INSERT INTO receipt_counters AS counter (store, business_date, series, last_number)
    SELECT store, business_date, 'sale', 1
    FROM pending
    ON CONFLICT ON CONSTRAINT receipt_counters_pkey DO UPDATE
    SET last_number = counter.last_number + 1
    RETURNING last_number
), cash AS (
    INSERT INTO cash_movements (session_id, kind, reference, amount_cents)
    SELECT pending.session_id, 'sale', pending.sale_id::text, tenders.amount_cents
    FROM pending
    JOIN tenders ON tenders.sale_id = pending.sale_id
    WHERE tenders.kind = 'cash'
)
UPDATE sales
SET status = 'complete', completed_at = now(), receipt_number = numbered.last_number,
    changed_xid = pg_current_xact_id()
FROM numbered
WHERE sale_id = %(sale_id)s
"""

_END = """
UPDATE sales
SET status = %(status)s, request = NULL, refusal = %(refusal)s::jsonb, changed_xid = pg_current_xact_id()
WHERE sale_id = %(sale_id)s AND status IN ('pending', 'undoing')
"""

_LOCK = """
SELECT sale_id::text AS sale_id, status, origin, store, business_date, currency, taxes, void_request, void_reason,
    (SELECT register FROM register_sessions WHERE session_id = void_session_id) AS void_register
FROM sales
WHERE sale_id = %(sale_id)s
FOR UPDATE
"""

_BEGIN_VOID = """
UPDATE sales
SET status = 'voiding', void_request = %(request)s, void_session_id = %(session_id)s, void_reason = %(reason)s,
    voided_by = %(voided_by)s, tried_at = now()
WHERE sale_id = %(sale_id)s AND status = 'complete'
"""

_FINISH_VOID = """
WITH voiding AS (
    SELECT sale_id, void_session_id
    FROM sales
    WHERE sale_id = %(sale_id)s AND status = 'voiding'
    FOR UPDATE
), cash AS (
    INSERT INTO cash_movements (session_id, kind, reference, amount_cents)
    SELECT voiding.void_session_id, 'void', voiding.sale_id::text, -tenders.amount_cents
    FROM voiding
    JOIN tenders ON tenders.sale_id = voiding.sale_id
    WHERE tenders.kind = 'cash'
)
UPDATE sales
SET status = 'voided', voided_at = now(), changed_xid = pg_current_xact_id()
FROM voiding
WHERE sales.sale_id = voiding.sale_id
"""

_RETURN_GIFT_CARDS = """
WITH entered AS (
    INSERT INTO gift_card_entries (gift_card_id, kind, reference, amount_cents)
    SELECT gift_card_id, 'charge_undone', sale_id::text, amount_cents
    FROM tenders
    WHERE sale_id = %(sale_id)s AND kind = 'gift_card'
    ORDER BY gift_card_id
    RETURNING gift_card_id, amount_cents
)
UPDATE gift_cards
SET balance_cents = balance_cents + entered.amount_cents
FROM entered
WHERE gift_cards.gift_card_id = entered.gift_card_id
"""

_UNSETTLED = """
SELECT 'sale' AS kind, sale_id::text AS document_id, tried_at
FROM sales
WHERE status IN ('pending', 'undoing', 'voiding')
UNION ALL
SELECT 'return', return_id::text, tried_at
FROM returns
WHERE status = 'pending'
ORDER BY tried_at
LIMIT %(limit)s
"""

_READ = f"""
SELECT {_COLUMNS},
    (
        SELECT jsonb_agg(jsonb_build_object(
            'line', line, 'sku', sku, 'name', name, 'category', category, 'charge', charge,
            'quantity', quantity, 'list_price_cents', list_price_cents, 'unit_price_cents', unit_price_cents,
            'override_reason', override_reason, 'total_cents', total_cents, 'tax_cents', tax_cents,
            'returned_quantity', returned_quantity
        ) ORDER BY line)
        FROM sale_lines
        WHERE sale_lines.sale_id = sales.sale_id
    ) AS lines,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object(
            'kind', tenders.kind, 'amount_cents', amount_cents, 'given_cents', given_cents,
            'reference', tenders.reference, 'gift_card', gift_cards.last_four
        ) ORDER BY tender)
        FROM tenders
        LEFT JOIN gift_cards ON gift_cards.gift_card_id = tenders.gift_card_id
        WHERE tenders.sale_id = sales.sale_id
    ), '[]') AS tenders
FROM sales
WHERE sale_id = %(sale_id)s
"""  # noqa: S608 - columns are a constant

_FILTERS = """
    (%(store)s::text IS NULL OR sales.store = %(store)s)
  AND (%(day)s::date IS NULL OR sales.business_date = %(day)s)
  AND (%(register)s::text IS NULL OR (sales.register = %(register)s AND sales.origin = 'till'))
  AND (%(cashier)s::text IS NULL OR (sales.cashier = %(cashier)s AND sales.origin = 'till'))
  AND (%(receipt_number)s::integer IS NULL OR sales.receipt_number = %(receipt_number)s)
  AND (%(document)s::text IS NULL OR (sales.document = %(document)s AND sales.origin = 'import'))
  AND (%(statuses)s::text[] IS NULL OR sales.status = ANY(%(statuses)s::text[]))
"""

_LIST = f"""
SELECT {_COLUMNS}
FROM sales
WHERE {_FILTERS}
  AND (
    %(after_time)s::timestamptz IS NULL
    OR (sold_at, sale_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)
  )
ORDER BY sales.sold_at DESC, sales.sale_id DESC
LIMIT %(limit)s
"""  # noqa: S608

# A product may be on several lines of a sale; the sale is listed once.
_LIST_BY_SKU = f"""
SELECT {_COLUMNS}
FROM sales
JOIN (
    SELECT DISTINCT sale_lines.sold_at AS found_at, sale_lines.sale_id AS found_id
    FROM sale_lines
    JOIN sales ON sales.sale_id = sale_lines.sale_id
    WHERE sale_lines.sku = %(sku)s
      AND {_FILTERS}
      AND (
        %(after_time)s::timestamptz IS NULL
        OR (sale_lines.sold_at, sale_lines.sale_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)
      )
    ORDER BY found_at DESC, found_id DESC
    LIMIT %(limit)s
) AS found ON found.found_id = sales.sale_id
ORDER BY sales.sold_at DESC, sales.sale_id DESC
"""  # noqa: S608

_FIND_DOCUMENT = """
SELECT sale_id::text AS sale_id, taxes
FROM sales
WHERE store = %(store)s AND document = %(document)s AND origin = 'import' AND status = 'complete'
FOR UPDATE
"""
