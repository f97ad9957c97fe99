"""The tables authorisations, refunds and attempts; triggers write the ledger. The caller owns the transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.shared import Connection, Row, execute, fetch_all, fetch_one


def add_authorisation(connection: Connection, content: Mapping[str, Any], decline_code: str | None) -> bool:
    """Decide on a reference that nobody has used; False when somebody has, maybe a moment ago."""
    return (
        execute(
            connection,
            """
            INSERT INTO authorisations (
                reference, state, amount_cents, currency, card_token, description, decline_code
            )
            VALUES (
                %(reference)s,
                CASE WHEN %(decline_code)s::text IS NULL THEN 'authorised' ELSE 'declined' END,
                %(amount_cents)s, %(currency)s, %(card_token)s, %(description)s, %(decline_code)s
            )
            ON CONFLICT ON CONSTRAINT authorisations_pkey DO NOTHING
            """,
            {**content, "decline_code": decline_code},
        )
        > 0
    )


def forbid_reference(connection: Connection, reference: str) -> None:
    """Make a tombstone of a reference that nobody has used."""
    execute(
        connection,
        """
        INSERT INTO authorisations (reference, state, amount_cents, void_reason)
        VALUES (%(reference)s, 'voided', 0, 'requested')
        ON CONFLICT ON CONSTRAINT authorisations_pkey DO NOTHING
        """,
        {"reference": reference},
    )


def lock_authorisation(connection: Connection, reference: str) -> Row | None:
    """What is known of a reference, kept as it is until the transaction ends."""
    return fetch_one(
        connection,
        """
        SELECT reference, state, amount_cents, currency, card_token, description, decline_code, void_reason,
            captured_cents, refunded_cents
        FROM authorisations
        WHERE reference = %(reference)s
        FOR UPDATE
        """,
        {"reference": reference},
    )


def find_authorisation(connection: Connection, reference: str) -> Row | None:
    """An AuthorisationView with its refunds, oldest first; None for a reference that nobody has used."""
    rows = fetch_all(
        connection,
        """
        SELECT authorisation.authorisation_id::text AS authorisation_id, authorisation.reference,
            authorisation.state, authorisation.amount_cents, authorisation.captured_cents,
            authorisation.refunded_cents, authorisation.currency, authorisation.decline_code,
            authorisation.created_at, refund.refund_reference, refund.amount_cents AS refund_cents,
            refund.reason, refund.created_at AS refund_created_at
        FROM authorisations AS authorisation
        LEFT JOIN refunds AS refund ON refund.reference = authorisation.reference
        WHERE authorisation.reference = %(reference)s
        ORDER BY refund.created_at, refund.refund_reference
        """,
        {"reference": reference},
    )
    if not rows:
        return None
    refunds = [_refund(row) for row in rows if row["refund_reference"] is not None]
    columns = ("refund_reference", "refund_cents", "reason", "refund_created_at")
    return {**{name: rows[0][name] for name in rows[0] if name not in columns}, "refunds": refunds}


def _refund(row: Row) -> Row:
    return {
        "refund_reference": row["refund_reference"],
        "amount_cents": row["refund_cents"],
        "reason": row["reason"],
        "created_at": row["refund_created_at"],
    }


def settle(connection: Connection, reference: str, state: str, void_reason: str | None = None) -> None:
    """Capture or void what is authorised."""
    execute(
        connection,
        "UPDATE authorisations SET state = %(state)s, void_reason = %(void_reason)s WHERE reference = %(reference)s",
        {"reference": reference, "state": state, "void_reason": void_reason},
    )


def add_refund(connection: Connection, reference: str, refund: Mapping[str, Any]) -> None:
    execute(
        connection,
        """
        INSERT INTO refunds (reference, refund_reference, amount_cents, reason)
        VALUES (%(reference)s, %(refund_reference)s, %(amount_cents)s, %(reason)s)
        """,
        {**refund, "reference": reference},
    )


def find_refund(connection: Connection, reference: str, refund_reference: str) -> Row | None:
    return fetch_one(
        connection,
        """
        SELECT refund_reference, amount_cents, reason, created_at
        FROM refunds
        WHERE reference = %(reference)s AND refund_reference = %(refund_reference)s
        """,
        {"reference": reference, "refund_reference": refund_reference},
    )


def count_attempt(connection: Connection, reference: str) -> int:
    """How often this reference was tried, this time included."""
    row = fetch_one(
        connection,
        """
        INSERT INTO attempts (reference)
        VALUES (%(reference)s)
        ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE SET attempts = attempts.attempts + 1
        RETURNING attempts
        """,
        {"reference": reference},
    )
    assert row is not None
    return int(row["attempts"])


def list_entries(connection: Connection, reference: str | None, after: int, limit: int) -> list[Row]:
    return fetch_all(
        connection,
        """
        SELECT entry_id, at, reference, kind, amount_cents, refund_reference
        FROM ledger
        WHERE entry_id > %(after)s
            AND (%(reference)s::text IS NULL OR reference = %(reference)s)
        ORDER BY entry_id
        LIMIT %(limit)s
        """,
        {"reference": reference, "after": after, "limit": limit},
    )


def sum_entries(connection: Connection, references: Sequence[str]) -> list[Row]:
    """A SumsView of each reference."""
    return fetch_all(
        connection,
        """
        SELECT reference,
            coalesce(sum(amount_cents) FILTER (WHERE kind = 'authorised'), 0)::bigint AS authorised_cents,
            coalesce(sum(amount_cents) FILTER (WHERE kind = 'declined'), 0)::bigint AS declined_cents,
            coalesce(sum(amount_cents) FILTER (WHERE kind = 'voided'), 0)::bigint AS voided_cents,
            coalesce(sum(amount_cents) FILTER (WHERE kind = 'captured'), 0)::bigint AS captured_cents,
            coalesce(sum(amount_cents) FILTER (WHERE kind = 'refunded'), 0)::bigint AS refunded_cents
        FROM ledger
        WHERE reference = ANY(%(references)s)
        GROUP BY reference
        ORDER BY reference
        """,
        {"references": list(references)},
    )
