"""Sessions, their refresh tokens and the buckets of guesses: one function for each statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from functions.shared import Connection, Row, execute, fetch_all, fetch_one

from .guesses import Bucket, Guess

PURGE_BATCH = 10
"""Sessions past their time that each sign-in takes away, so that they never pile up."""
REMEMBER_USED_DAYS = 7
"""Used refresh tokens are known for so long; one that comes back later opens nothing and ends nothing."""


@dataclass(frozen=True)
class Lifetimes:
    """How long a refresh token, and a whole session, last."""

    refresh_days: int
    session_days: int


def open_session(
    connection: Connection, customer_id: str, origin: bytes, token: bytes, lifetimes: Lifetimes
) -> str:
    """Open a session with its first refresh token; its id. The account is locked before."""
    execute(connection, _PURGE, {"batch": PURGE_BATCH})
    values = {"customer_id": customer_id, "origin": origin, "days": lifetimes.session_days}
    row = fetch_one(connection, _OPEN, values)
    assert row is not None
    add_token(connection, row["session_id"], token, lifetimes.refresh_days)
    return str(row["session_id"])


def end_oldest(connection: Connection, customer_id: str, keep: int) -> None:
    """End living sessions beyond the `keep` used last."""
    execute(connection, _END_OLDEST, {"customer_id": customer_id, "keep": keep})


def add_token(connection: Connection, session_id: str, token: bytes, days: int) -> None:
    execute(connection, _ADD_TOKEN, {"session_id": session_id, "token": token, "days": days})


def lock_token(connection: Connection, token: bytes) -> Row | None:
    """A refresh token with its session and account, as they are once the session is locked; None if unknown."""
    if fetch_one(connection, _LOCK_SESSION, {"token": token}) is None:
        return None
    return fetch_one(connection, _TOKEN, {"token": token})


def use_token(connection: Connection, token: bytes, salt: bytes) -> None:
    """Mark a token as replaced, and forget those replaced long ago."""
    execute(connection, _USE, {"token": token, "salt": salt, "days": REMEMBER_USED_DAYS})


def is_unused(connection: Connection, token: bytes) -> bool:
    return fetch_one(connection, _IS_UNUSED, {"token": token}) is not None


def end_session(connection: Connection, session_id: str, customer_id: str | None, why: str) -> None:
    """End one session; with `customer_id` only if it is that person's."""
    values = {"session_id": session_id, "customer_id": customer_id, "why": why}
    execute(connection, _END, values)


def end_sessions(connection: Connection, customer_id: str, why: str, keep: str | None = None) -> int:
    """End all living sessions of a person but `keep`; how many there were."""
    return execute(connection, _END_ALL, {"customer_id": customer_id, "why": why, "keep": keep})


def session_of_token(connection: Connection, token: bytes) -> str | None:
    row = fetch_one(connection, _SESSION_OF, {"token": token})
    return row["session_id"] if row else None


def sessions(connection: Connection, customer_id: str) -> list[Row]:
    """Sessions that are remembered, latest first."""
    return fetch_all(connection, _SESSIONS, {"customer_id": customer_id})


def is_known_origin(connection: Connection, customer_id: str | None, origin: bytes) -> bool:
    """Whether the account was signed in to from there before."""
    values = {"customer_id": customer_id, "origin": origin}
    return fetch_one(connection, _KNOWN_ORIGIN, values) is not None


def take_guesses(connection: Connection, guess: Guess, buckets: Sequence[Bucket]) -> list[str]:
    """Take a guess out of each bucket; the kinds of those that had one left. In a fixed order: no deadlock."""
    rows = fetch_all(connection, _TAKE, _bucket_values(guess, buckets))
    return [row["kind"] for row in rows]


def seconds_until_guess(connection: Connection, guess: Guess, buckets: Sequence[Bucket]) -> float:
    """When all of the buckets will have a guess again, at the earliest."""
    row = fetch_one(connection, _WAIT, _bucket_values(guess, buckets))
    return float(row["seconds"] or 0) if row else 0.0


def give_guesses_back(connection: Connection, guess: Guess, buckets: Sequence[Bucket]) -> None:
    """The password was right: as if there had been no guess, and the pair's bucket is full again."""
    execute(connection, _GIVE_BACK, _bucket_values(guess, buckets))


def _bucket_values(guess: Guess, buckets: Sequence[Bucket]) -> dict[str, Any]:
    ordered = sorted(buckets, key=lambda bucket: bucket.kind)
    return {
        "kinds": [bucket.kind for bucket in ordered],
        "slots": [guess.slot(bucket.kind) for bucket in ordered],
        "seconds": [bucket.seconds for bucket in ordered],
        "room": [bucket.size * bucket.seconds for bucket in ordered],
    }


_PURGE = """
DELETE FROM sessions
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE expires_at < now()
    LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
)
"""

_OPEN = """
INSERT INTO sessions (customer_id, origin_sha256, expires_at)
VALUES (%(customer_id)s, %(origin)s, now() + make_interval(days => %(days)s))
RETURNING session_id::text AS session_id
"""

_END_OLDEST = """
UPDATE sessions
SET ended_at = now(), ended_by = 'limit'
WHERE session_id IN (
    SELECT session_id
    FROM sessions
    WHERE customer_id = %(customer_id)s AND ended_at IS NULL
    ORDER BY refreshed_at DESC, session_id
    OFFSET %(keep)s
)
"""

_ADD_TOKEN = """
INSERT INTO refresh_tokens (token_sha256, session_id, expires_at)
VALUES (%(token)s, %(session_id)s, clock_timestamp() + make_interval(days => %(days)s))
"""  # noqa: S105

_LOCK_SESSION = """
SELECT session_id
FROM sessions
WHERE session_id = (SELECT session_id FROM refresh_tokens WHERE token_sha256 = %(token)s)
FOR NO KEY UPDATE
"""

_TOKEN = """
SELECT refresh_tokens.session_id::text AS session_id,
    refresh_tokens.used_at IS NOT NULL AS used,
    extract(epoch FROM clock_timestamp() - refresh_tokens.used_at)::float8 AS used_seconds_ago,
    refresh_tokens.successor_salt,
    LEAST(refresh_tokens.expires_at, sessions.expires_at) <= clock_timestamp() AS expired,
    sessions.ended_at IS NOT NULL AS ended,
    accounts.customer_id::text AS customer_id, accounts.role, accounts.store,
    num_nulls(accounts.deactivated_at, accounts.erased_at) = 2 AS active
FROM refresh_tokens
JOIN sessions ON sessions.session_id = refresh_tokens.session_id
JOIN accounts ON accounts.customer_id = sessions.customer_id
WHERE refresh_tokens.token_sha256 = %(token)s
"""  # noqa: S105

_USE = """
WITH used AS (
    UPDATE refresh_tokens
    SET used_at = clock_timestamp(), successor_salt = %(salt)s
    WHERE token_sha256 = %(token)s
    RETURNING session_id
), refreshed AS (
    UPDATE sessions
    SET refreshed_at = clock_timestamp()
    FROM used
    WHERE sessions.session_id = used.session_id
)
DELETE FROM refresh_tokens
USING used
WHERE refresh_tokens.session_id = used.session_id
  AND refresh_tokens.used_at < now() - make_interval(days => %(days)s)
"""

_IS_UNUSED = "SELECT session_id FROM refresh_tokens WHERE token_sha256 = %(token)s AND used_at IS NULL"

_END = """
UPDATE sessions
SET ended_at = now(), ended_by = %(why)s
WHERE session_id = %(session_id)s
  AND (%(customer_id)s::uuid IS NULL OR customer_id = %(customer_id)s::uuid)
  AND ended_at IS NULL
"""

_END_ALL = """
UPDATE sessions
SET ended_at = now(), ended_by = %(why)s
WHERE customer_id = %(customer_id)s
  AND ended_at IS NULL
  AND (%(keep)s::uuid IS NULL OR session_id <> %(keep)s::uuid)
"""

_SESSION_OF = """
SELECT session_id::text AS session_id
FROM refresh_tokens
WHERE token_sha256 = %(token)s
"""

_SESSIONS = """
SELECT session_id::text AS session_id, started_at, refreshed_at, expires_at, ended_at, ended_by
FROM sessions
WHERE customer_id = %(customer_id)s
ORDER BY started_at DESC, session_id
"""

_KNOWN_ORIGIN = """
SELECT session_id
FROM sessions
WHERE customer_id = %(customer_id)s::uuid
  AND origin_sha256 = %(origin)s
  AND ended_by IS DISTINCT FROM 'reuse'
LIMIT 1
"""

# A bucket is the moment at which it will be full again: each guess puts that off by the seconds in which one is gained,
# and there is one left as long as it is not further away than a whole bucket takes to fill (GCRA, ITU-T I.371).
_TAKE = """
INSERT INTO guesses (kind, slot, full_at)
SELECT kind, slot, now() + make_interval(secs => seconds)
FROM unnest(%(kinds)s::text[], %(slots)s::integer[], %(seconds)s::float8[], %(room)s::float8[])
    WITH ORDINALITY AS bucket (kind, slot, seconds, room, place)
ORDER BY place
ON CONFLICT ON CONSTRAINT guesses_pkey DO UPDATE
SET full_at = GREATEST(guesses.full_at, now()) + (excluded.full_at - now())
WHERE GREATEST(guesses.full_at, now()) + (excluded.full_at - now())
    <= now() + make_interval(secs => (
        SELECT room
        FROM unnest(%(kinds)s::text[], %(room)s::float8[]) AS size (kind, room)
        WHERE size.kind = excluded.kind
    ))
RETURNING kind
"""

_WAIT = """
SELECT max(extract(epoch FROM guesses.full_at - now()) + seconds - room)::float8 AS seconds
FROM unnest(%(kinds)s::text[], %(slots)s::integer[], %(seconds)s::float8[], %(room)s::float8[])
    AS bucket (kind, slot, seconds, room)
JOIN guesses ON guesses.kind = bucket.kind AND guesses.slot = bucket.slot
"""

_GIVE_BACK = """
UPDATE guesses
SET full_at = CASE WHEN guesses.kind = 'pair' THEN now()
    ELSE guesses.full_at - make_interval(secs => bucket.seconds) END
FROM unnest(%(kinds)s::text[], %(slots)s::integer[], %(seconds)s::float8[])
    AS bucket (kind, slot, seconds)
WHERE guesses.kind = bucket.kind AND guesses.slot = bucket.slot
"""
