"""Registers and gift cards: the tables register_sessions, cash_movements, gift_cards and gift_card_entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from functions.shared import Connection, Row, execute, fetch_all, fetch_one


def open_session(connection: Connection, session: Mapping[str, Any]) -> Row:
    """Open a register. Fails on `register_sessions_open` when it is open."""
    row = fetch_one(connection, _OPEN, session)
    assert row is not None
    return row


def find_open(connection: Connection, store: str, register: str) -> int | None:
    """The session of a register that is open, locked against being closed until the transaction ends."""
    row = fetch_one(connection, _FIND_OPEN, {"store": store, "register": register})
    return row["session_id"] if row else None


def lock_open(connection: Connection, store: str, register: str) -> Row | None:
    """The session of a register that is open, to be closed: nobody uses it until the transaction ends."""
    return fetch_one(connection, _LOCK_OPEN, {"store": store, "register": register})


def count_unsettled(connection: Connection, session_id: int) -> int:
    """Documents of a locked session whose cash is not decided yet."""
    row = fetch_one(connection, _COUNT_UNSETTLED, {"session_id": session_id})
    return row["documents"] if row else 0


def close_session(connection: Connection, closing: Mapping[str, Any]) -> Row:
    """Close a locked session; what is expected is the opening cash and every movement since."""
    row = fetch_one(connection, _CLOSE, closing)
    assert row is not None
    return row


def list_sessions(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` sessions that fit every filter that is not None, latest first."""
    return fetch_all(connection, _LIST, filters)


def issue_gift_card(connection: Connection, card: Mapping[str, Any]) -> Row:
    """A new card with its first entry; cash paid for it goes into the register. Fails on `gift_cards_code_key`."""
    row = fetch_one(connection, _ISSUE, card)
    assert row is not None
    return row


def find_gift_card(connection: Connection, code_sha256: bytes) -> Row | None:
    return fetch_one(connection, _FIND_CARD, {"code_sha256": code_sha256})


def charge_gift_card(connection: Connection, code_sha256: bytes, amount_cents: int) -> int | None:
    """Take an amount from a card; its id, or None when there is no such card or not that much on it."""
    parameters = {"code_sha256": code_sha256, "amount_cents": amount_cents}
    row = fetch_one(connection, _CHARGE, parameters)
    return row["gift_card_id"] if row else None


def enter_charge(connection: Connection, gift_card_id: int, sale_id: str, amount_cents: int) -> None:
    """The ledger's side of a charge."""
    execute(
        connection,
        _ENTER_CHARGE,
        {"gift_card_id": gift_card_id, "sale_id": sale_id, "amount_cents": amount_cents},
    )


def gift_card_entries(connection: Connection, gift_card_id: int) -> list[Row]:
    """The first thousand entries of a card, first to last."""
    return fetch_all(connection, _ENTRIES, {"gift_card_id": gift_card_id})


_SESSION: Final = """
    session_id, store, register, business_date, opened_at, opened_by, opening_cash_cents,
    closed_at, closed_by, counted_cash_cents, expected_cash_cents, discrepancy_cents, note
"""

_OPEN = f"""
INSERT INTO register_sessions (store, register, business_date, opened_by, opening_cash_cents)
VALUES (%(store)s, %(register)s, %(business_date)s, %(opened_by)s, %(opening_cash_cents)s)
RETURNING {_SESSION}
"""  # noqa: S608 - columns are a constant

_FIND_OPEN = """
SELECT session_id
FROM register_sessions
WHERE store = %(store)s AND register = %(register)s AND closed_at IS NULL
FOR SHARE
"""

_LOCK_OPEN = """
SELECT session_id
FROM register_sessions
WHERE store = %(store)s AND register = %(register)s AND closed_at IS NULL
FOR UPDATE
"""

_COUNT_UNSETTLED = """
SELECT
    (SELECT count(*) FROM sales WHERE status = 'pending' AND session_id = %(session_id)s)
    + (SELECT count(*) FROM sales WHERE status = 'voiding' AND void_session_id = %(session_id)s)
    + (SELECT count(*) FROM returns WHERE status = 'pending' AND session_id = %(session_id)s) AS documents
"""

_CLOSE = f"""
UPDATE register_sessions
SET closed_at = now(), closed_by = %(closed_by)s, counted_cash_cents = %(counted_cash_cents)s, note = %(note)s,
    expected_cash_cents = opening_cash_cents + (
        SELECT coalesce(sum(amount_cents), 0)
        FROM cash_movements
        WHERE cash_movements.session_id = register_sessions.session_id
    )
WHERE session_id = %(session_id)s
RETURNING {_SESSION}
"""  # noqa: S608

_LIST = f"""
SELECT {_SESSION}
FROM register_sessions
WHERE (%(store)s::text IS NULL OR store = %(store)s)
  AND (%(register)s::text IS NULL OR register = %(register)s)
  AND (%(open)s::boolean IS NULL OR (closed_at IS NULL) = %(open)s)
  AND (%(after_id)s::bigint IS NULL OR session_id < %(after_id)s)
ORDER BY session_id DESC
LIMIT %(limit)s
"""  # noqa: S608

_ISSUE = """
WITH card AS (
    INSERT INTO gift_cards (
        code_sha256, last_four, currency, balance_cents, store, session_id, paid_by, paid_reference, issued_by
    )
    VALUES (
        %(code_sha256)s, %(last_four)s, %(currency)s, %(amount_cents)s, %(store)s, %(session_id)s, %(paid_by)s,
        %(paid_reference)s, %(issued_by)s
    )
    RETURNING gift_card_id, last_four, currency, balance_cents, store, issued_at, session_id, paid_by
), entered AS (
    INSERT INTO gift_card_entries (gift_card_id, kind, reference, amount_cents)
    SELECT gift_card_id, 'issue', gift_card_id::text, balance_cents
    FROM card
), cash AS (
    INSERT INTO cash_movements (session_id, kind, reference, amount_cents)
    SELECT session_id, 'gift_card', gift_card_id::text, balance_cents
    FROM card
    WHERE paid_by = 'cash'
)
SELECT gift_card_id, last_four, currency, balance_cents, store, issued_at FROM card
"""

_FIND_CARD = """
SELECT gift_card_id, last_four, currency, balance_cents, store, issued_at
FROM gift_cards
WHERE code_sha256 = %(code_sha256)s
"""

_CHARGE = """
UPDATE gift_cards
SET balance_cents = balance_cents - %(amount_cents)s
WHERE code_sha256 = %(code_sha256)s AND balance_cents >= %(amount_cents)s
RETURNING gift_card_id
"""

_ENTER_CHARGE = """
INSERT INTO gift_card_entries (gift_card_id, kind, reference, amount_cents)
VALUES (%(gift_card_id)s, 'charge', %(sale_id)s, -%(amount_cents)s::bigint)
"""

_ENTRIES = """
SELECT kind, reference, amount_cents, entered_at
FROM gift_card_entries
WHERE gift_card_id = %(gift_card_id)s
ORDER BY entry_id
LIMIT 1000
"""
