"""Who works on a document that takes several transactions: one process at a time, known by its database session.

A claim is an advisory lock of the session. It ends with the block, at once when the process dies, and after
`HANG_SECONDS` when the process hangs without dying: PostgreSQL then ends the idle session. So whoever finds a
document unclaimed may go on with it. As a session may end unnoticed, each step also checks the status it starts from.
Why not a lease in the row: docs/decisions/0023-interrupted-sales.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from .database import Connection
from .statements import execute, fetch_one

HANG_SECONDS = 12
"""Longer than a request may last (10 s), so that nobody loses a claim who is still at work."""


@contextmanager
def claimed(connection: Connection, document_id: str) -> Iterator[bool]:
    """Whether the document (a UUID) is this session's to work on until the block ends; it outlives transactions.

    What was not committed is rolled back when the block raises.
    """
    lock = {"lock_id": int.from_bytes(UUID(document_id).bytes[:8], "big", signed=True)}
    row = fetch_one(connection, _TAKE, {**lock, "timeout": f"{HANG_SECONDS}s"})
    held = bool(row and row["held"])
    try:
        yield held
    except BaseException:
        if not connection.closed:
            connection.rollback()
            if held:
                execute(connection, _LEAVE, lock)
                connection.commit()  # or the rollback of whoever has the transaction would bring the timeout back
        raise
    if held and not connection.closed:
        execute(connection, _LEAVE, lock)


_TAKE = """
SELECT held, CASE WHEN held THEN set_config('idle_session_timeout', %(timeout)s, false) END
FROM (SELECT pg_try_advisory_lock(%(lock_id)s) AS held OFFSET 0) AS attempt
"""

_LEAVE = """
SELECT pg_advisory_unlock(%(lock_id)s), set_config('idle_session_timeout', '0', false)
"""
