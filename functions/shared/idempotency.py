"""Idempotency keys: a POST repeated with the same key and body changes nothing and gets the stored answer.

The answer is stored in the same transaction as the change, so there is never one without the other.
While a request is worked on, its transaction holds an advisory lock on (principal, route, key): a second one is
told so at once, and the lock goes with the transaction, however that ends. There is nothing to expire or repair.

Each function that uses it owns this table in its schema (its migration creates it):

    CREATE TABLE idempotency_keys (
        principal   text        NOT NULL,
        route       text        NOT NULL,
        key         text        NOT NULL,
        body_sha256 bytea       NOT NULL,
        status      smallint    NOT NULL,
        headers     jsonb       NOT NULL,
        body        bytea       NOT NULL,
        expires_at  timestamptz NOT NULL,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, route, key)
    );
    CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
    GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO <function>;
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from flask import request

from .database import Connection
from .errors import BadRequest, Conflict, Invalid
from .service import identity
from .statements import execute, fetch_one

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
KEEP_HOURS = 24
LONGEST_KEY = 200


@dataclass(frozen=True)
class StoredAnswer:
    """A response as it was first given."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """One request that bears a key."""

    principal: str
    route: str
    key: str
    body_sha256: bytes

    def begin(self, connection: Connection) -> StoredAnswer | None:
        """Claim the key until the transaction ends; the stored answer if the request was already answered.

        Raises Conflict (409, Retry-After) while another attempt is in flight,
        Invalid (422) when the key was used with another body.
        """
        locked = fetch_one(connection, _LOCK, {"lock_id": self._lock_id()})
        if not (locked and locked["locked"]):
            raise Conflict(
                "A request with this Idempotency-Key is being worked on; ask again for its answer.",
                code="idempotency_key_in_flight",
                headers={"Retry-After": "1"},
            )
        stored = fetch_one(connection, _FIND, self._identity())
        if stored is None:
            return None
        require_same_body(stored["body_sha256"], self.body_sha256)
        return StoredAnswer(stored["status"], bytes(stored["body"]), stored["headers"])

    def store(self, connection: Connection, answer: StoredAnswer) -> None:
        """Keep `answer` with the change that `connection`'s transaction holds; drop a few that are too old."""
        execute(connection, _STORE, {
            **self._identity(),
            "body_sha256": self.body_sha256,
            "status": answer.status,
            "headers": json.dumps(answer.headers),
            "body": answer.body,
            "keep_hours": KEEP_HOURS,
        })  # fmt: skip

    def _identity(self) -> dict[str, str]:
        return {"principal": self.principal, "route": self.route, "key": self.key}

    def _lock_id(self) -> int:
        text = "\x00".join((self.principal, self.route, self.key))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def require_same_body(stored_sha256: bytes, sent_sha256: bytes) -> None:
    """Raise Invalid (422) when the key was used with another body."""
    if bytes(stored_sha256) != sent_sha256:
        raise key_reused()


def key_reused() -> Invalid:
    """The refusal of a request whose key was used with another body."""
    return Invalid(
        "This Idempotency-Key was used with another body.",
        code="idempotency_key_reused",
        errors=[{"field": KEY_HEADER, "message": "use a new key for a new request"}],
    )


@dataclass(frozen=True)
class NamedRequest:
    """A request that a document remembers as its own, to go on with when it is sent again: its name, its body's digest."""

    name: str
    sha256: bytes

    def check_same(self, stored_sha256: bytes) -> None:
        """Raise Invalid when the key was used with another body."""
        require_same_body(stored_sha256, self.sha256)


def this_request() -> NamedRequest:
    """The request being worked on, which has a token and a key."""
    name = f"{identity().subject} {request.path} {request.headers[KEY_HEADER]}"
    return NamedRequest(name, hashlib.sha256(request.get_data(cache=True)).digest())


def attempt(principal: str, route: str, key: str | None, body: bytes) -> Attempt:
    """The attempt that a request with this header and body is; raises BadRequest without a usable key."""
    if not key:
        raise BadRequest(
            "Send an Idempotency-Key header, so that this can be repeated safely.",
            code="idempotency_key_missing",
            errors=[{"field": KEY_HEADER, "message": "is required"}],
        )
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise BadRequest(
            f"The Idempotency-Key must be at most {LONGEST_KEY} printable ASCII characters.",
            code="idempotency_key_malformed",
            errors=[{"field": KEY_HEADER, "message": f"at most {LONGEST_KEY} printable ASCII characters"}],
        )
    return Attempt(principal, route, key, hashlib.sha256(body).digest())


_LOCK = "SELECT pg_try_advisory_xact_lock(%(lock_id)s) AS locked"

_FIND = """
SELECT body_sha256, status, headers, body
FROM idempotency_keys
WHERE principal = %(principal)s AND route = %(route)s AND key = %(key)s AND expires_at > now()
"""

_STORE = """
WITH expired AS (
    DELETE FROM idempotency_keys
    WHERE (principal, route, key) IN (
        SELECT principal, route, key
        FROM idempotency_keys
        WHERE expires_at < now() AND (principal, route, key) <> (%(principal)s, %(route)s, %(key)s)
        LIMIT 10
        FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO idempotency_keys (principal, route, key, body_sha256, status, headers, body, expires_at)
VALUES (
    %(principal)s, %(route)s, %(key)s, %(body_sha256)s, %(status)s, %(headers)s::jsonb, %(body)s,
    now() + make_interval(hours => %(keep_hours)s)
)
ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
SET body_sha256 = excluded.body_sha256, status = excluded.status, headers = excluded.headers,
    body = excluded.body, expires_at = excluded.expires_at
"""
