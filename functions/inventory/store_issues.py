"""Issues and returns in SQL: what a reference has moved, once. The caller owns the transaction."""

from __future__ import annotations

import json
from typing import Any

from functions.shared import Connection, Row, execute, fetch_one


def add_issue(connection: Connection, reference: str, location: str, lines: list[dict[str, Any]]) -> bool:
    """Note that a reference issues stock; False when it did before, or never may."""
    parameters = {"reference": reference, "location": location, "lines": json.dumps(lines)}
    return bool(execute(connection, _ADD_ISSUE, parameters))


def find_issue(connection: Connection, reference: str) -> Row | None:
    return fetch_one(connection, _FIND_ISSUE, {"reference": reference})


def forbid_issue(connection: Connection, reference: str) -> bool:
    """Let a reference that has issued nothing never do so; False when something is known of it."""
    return bool(execute(connection, _FORBID_ISSUE, {"reference": reference}))


def undo_issue(connection: Connection, reference: str) -> bool:
    """Mark an issue as undone; False when it was before. It stays locked until the transaction ends."""
    return bool(execute(connection, _UNDO_ISSUE, {"reference": reference}))


def add_return(
    connection: Connection, reference: str, location: str, lines: list[dict[str, Any]], restock: bool
) -> bool:
    """Note that goods came back under a reference; False when they did before."""
    parameters = {
        "reference": reference, "location": location, "lines": json.dumps(lines), "restock": restock,
    }  # fmt: skip
    return bool(execute(connection, _ADD_RETURN, parameters))


def find_return(connection: Connection, reference: str) -> Row | None:
    return fetch_one(connection, _FIND_RETURN, {"reference": reference})


_ADD_ISSUE = """
INSERT INTO issues (reference, state, location, lines, issued_at)
VALUES (%(reference)s, 'issued', %(location)s, %(lines)s::jsonb, now())
ON CONFLICT DO NOTHING
"""

_FIND_ISSUE = """
SELECT reference, state, location, lines, issued_at, undone_at
FROM issues
WHERE reference = %(reference)s
"""

_FORBID_ISSUE = """
INSERT INTO issues (reference, state, undone_at)
VALUES (%(reference)s, 'undone', now())
ON CONFLICT DO NOTHING
"""

_UNDO_ISSUE = """
UPDATE issues
SET state = 'undone', undone_at = now()
WHERE reference = %(reference)s
  AND state = 'issued'
"""

_ADD_RETURN = """
INSERT INTO goods_returns (reference, location, lines, restock)
VALUES (%(reference)s, %(location)s, %(lines)s::jsonb, %(restock)s)
ON CONFLICT DO NOTHING
"""

_FIND_RETURN = """
SELECT reference, location, lines, restock, returned_at
FROM goods_returns
WHERE reference = %(reference)s
"""
