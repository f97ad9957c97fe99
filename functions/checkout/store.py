"""The tables checkouts and steps. Every function is one statement and one commit, on a connection that autocommits.

Whoever changes a checkout holds its claim; each change also names the state and step that it starts from, and
answers False when the checkout is no longer there. Three commits of a checkout wait for the disk: its beginning, so
that nothing is done for a checkout that nobody knows; the record before the order and the charge; and the end, so
that what is told is true. The others may be forgotten by a crash of PostgreSQL, and are then found out by asking again.

A clock that steps back must not stop a checkout: what ends never ends before it began.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from functions.shared import Connection, Prepared, Row, execute, fetch_all, fetch_one
from functions.shared.idempotency import StoredAnswer

from .checkouts import Checkout
from .domain import Facts
from .saga import Step, needs_card


def begin(connection: Connection, checkout: Mapping[str, Any], first: Step) -> Checkout | None:
    """Store a new checkout that begins with its first step; None when its request has begun one already."""
    row = fetch_one(
        connection, _BEGIN, {**checkout, "address": json.dumps(checkout["address"]), "step": first.name}
    )
    return _checkout(row) if row else None


def find_request(connection: Connection, customer_id: str, request_key: str) -> Row | None:
    """`checkout_id`, `body_sha256` of the checkout that a request has begun."""
    parameters = {"customer_id": customer_id, "request_key": request_key}
    return fetch_one(connection, _FIND_REQUEST, parameters)


def read_answer(connection: Connection, checkout_id: str) -> StoredAnswer | None:
    """The final answer; None while it is not settled. An erased one has no body."""
    row = fetch_one(connection, _READ_ANSWER, {"checkout_id": checkout_id})
    if row is None:
        return None
    return StoredAnswer(row["answer_status"], bytes(row["answer_body"] or b""), row["answer_headers"])


def resume(connection: Connection, checkout_id: str) -> Checkout | None:
    """An unsettled checkout that is gone on with: its present step is asked once more. None when it is settled."""
    row = fetch_one(connection, _RESUME, {"checkout_id": checkout_id})
    return _checkout(row) if row else None


def count_attempt(connection: Connection, checkout: Checkout) -> None:
    """The present step is asked once more by the same process."""
    execute(connection, _COUNT_ATTEMPT, {"checkout_id": checkout.checkout_id, "step": checkout.step})


def advance(connection: Connection, checkout: Checkout, following: Step, learnt: Facts) -> bool:
    """The present step is done, the following one begins."""
    row = _ADVANCE.fetch_one(
        connection,
        checkout.checkout_id,
        checkout.step,
        following.name,
        json.dumps(learnt),
        needs_card(following.name),
        "on" if following.lasting else "off",
    )
    return row is not None


def complete(connection: Connection, checkout: Checkout, answer: StoredAnswer) -> bool:
    """The last step is done, and so is the checkout; its answer is kept for ever."""
    parameters = {
        **_answer(answer),
        "checkout_id": checkout.checkout_id,
        "step": checkout.step,
        "order_id": checkout.facts["order_id"],
        "number": checkout.facts["number"],
    }
    return execute(connection, _COMPLETE, parameters) == 1


def turn_back(
    connection: Connection, checkout: Checkout, first: Step, code: str, answer: StoredAnswer
) -> bool:
    """The checkout shall not be: taking back begins with `first`. What will be told is kept."""
    parameters = {
        **_answer(answer),
        "checkout_id": checkout.checkout_id,
        "step": checkout.step,
        "first": first.name,
        "code": code,
    }
    return execute(connection, _TURN_BACK, parameters) == 1


def turn_forward(connection: Connection, checkout: Checkout, done: Step, following: Step) -> bool:
    """It turns out that `done` was done, which cannot be taken back: go on with the following step."""
    parameters = {
        "checkout_id": checkout.checkout_id,
        "step": checkout.step,
        "done": done.name,
        "following": following.name,
    }
    return execute(connection, _TURN_FORWARD, parameters) == 1


def undone(connection: Connection, checkout: Checkout, earlier: Step) -> bool:
    """The present step is taken back, the earlier one begins to be."""
    parameters = {"checkout_id": checkout.checkout_id, "step": checkout.step, "earlier": earlier.name}
    return fetch_one(connection, _UNDONE, parameters) is not None


def refuse(connection: Connection, checkout: Checkout) -> str | None:
    """All is taken back: what was kept may be told. Its code; None when the checkout is no longer there."""
    row = fetch_one(connection, _REFUSE, {"checkout_id": checkout.checkout_id, "step": checkout.step})
    return str(row["code"]) if row else None


def unsettled(connection: Connection, limit: int) -> list[Row]:
    """Checkouts to finish or undo: `kind` and `document_id`, those not tried for longest first."""
    return fetch_all(connection, _UNSETTLED, {"limit": limit})


def read_checkout(connection: Connection, checkout_id: str) -> Row | None:
    """A checkout with its `steps`, in the order in which they were begun."""
    return fetch_one(connection, _READ, {"checkout_id": checkout_id})


def list_checkouts(connection: Connection, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` checkouts of a customer, latest first, without steps."""
    return fetch_all(connection, _LIST, filters)


def erase(connection: Connection, customer_id: str) -> Row:
    """Forget where to and to whom in a customer's settled checkouts: how many were `erased`, how many are `open`."""
    row = fetch_one(connection, _ERASE, {"customer_id": customer_id})
    assert row is not None
    return row


def _answer(answer: StoredAnswer) -> dict[str, Any]:
    return {"status": answer.status, "headers": json.dumps(answer.headers), "body": answer.body}


def _checkout(row: Row) -> Checkout:
    return Checkout(**{name: row[name] for name in Checkout.__dataclass_fields__})


_CHECKOUT = """
    checkout_id::text AS checkout_id, customer_id, request_id, state, step, cart_version, agreed_cents, location,
    address, card_token, facts, give_up_at <= now() AS overdue
"""

_BEGIN = f"""
WITH begun AS (
    INSERT INTO checkouts (
        checkout_id, customer_id, request_key, body_sha256, request_id, step, cart_version, agreed_cents,
        location, address, card_token, give_up_at
    )
    VALUES (
        %(checkout_id)s, %(customer_id)s, %(request_key)s, %(body_sha256)s, %(request_id)s, %(step)s,
        %(cart_version)s, %(agreed_cents)s, %(location)s, %(address)s::jsonb, %(card_token)s,
        now() + make_interval(secs => %(finish_seconds)s)
    )
    ON CONFLICT ON CONSTRAINT checkouts_request_key DO NOTHING
    RETURNING *
), first AS (
    INSERT INTO steps (checkout_id, step)
    SELECT checkout_id, step
    FROM begun
)
SELECT {_CHECKOUT}
FROM begun
"""  # noqa: S608 - what is put in is a constant

_FIND_REQUEST = """
SELECT checkout_id::text AS checkout_id, body_sha256
FROM checkouts
WHERE customer_id = %(customer_id)s AND request_key = %(request_key)s
"""

_READ_ANSWER = """
SELECT answer_status, answer_headers, answer_body
FROM checkouts
WHERE checkout_id = %(checkout_id)s AND state IN ('complete', 'refused')
"""

_RESUME = f"""
WITH resumed AS (
    UPDATE checkouts
    SET tried_at = now()
    WHERE checkout_id = %(checkout_id)s AND state IN ('open', 'undoing')
    RETURNING *
), counted AS (
    UPDATE steps
    SET attempts = attempts + (resumed.state = 'open')::integer,
        undo_attempts = undo_attempts + (resumed.state = 'undoing')::integer
    FROM resumed
    WHERE steps.checkout_id = resumed.checkout_id AND steps.step = resumed.step
)
SELECT {_CHECKOUT}, set_config('synchronous_commit', 'off', true)
FROM resumed
"""  # noqa: S608 - what is put in is a constant

_COUNT_ATTEMPT = """
UPDATE steps
SET attempts = attempts + (state = 'open')::integer, undo_attempts = undo_attempts + (state = 'undoing')::integer
FROM checkouts
WHERE steps.checkout_id = %(checkout_id)s AND steps.step = %(step)s
    AND checkouts.checkout_id = steps.checkout_id AND checkouts.step = steps.step
"""

_ADVANCE = Prepared(
    "advance_checkout",
    """
WITH moved AS (
    UPDATE checkouts
    SET step = $3::text, facts = facts || $4::jsonb, card_token = CASE WHEN $5::boolean THEN card_token END
    WHERE checkout_id = $1::uuid AND state = 'open' AND step = $2::text
    RETURNING checkout_id
), done AS (
    UPDATE steps
    SET done_at = greatest(clock_timestamp(), begun_at)
    FROM moved
    WHERE steps.checkout_id = moved.checkout_id AND steps.step = $2::text
), begun AS (
    INSERT INTO steps (checkout_id, step)
    SELECT checkout_id, $3::text
    FROM moved
)
SELECT set_config('synchronous_commit', $6::text, true)
FROM moved
""",
)

_COMPLETE = """
WITH moved AS (
    UPDATE checkouts
    SET state = 'complete', settled_at = clock_timestamp(), order_id = %(order_id)s, order_number = %(number)s,
        facts = facts - 'items' - 'order', answer_status = %(status)s, answer_headers = %(headers)s::jsonb,
        answer_body = %(body)s
    WHERE checkout_id = %(checkout_id)s AND state = 'open' AND step = %(step)s
    RETURNING checkout_id, settled_at
)
UPDATE steps
SET done_at = greatest(moved.settled_at, begun_at)
FROM moved
WHERE steps.checkout_id = moved.checkout_id AND steps.step = %(step)s
"""

_TURN_BACK = """
WITH moved AS (
    UPDATE checkouts
    SET state = 'undoing', step = %(first)s, card_token = NULL, code = %(code)s, answer_status = %(status)s,
        answer_headers = %(headers)s::jsonb, answer_body = %(body)s
    WHERE checkout_id = %(checkout_id)s AND state = 'open' AND step = %(step)s
    RETURNING checkout_id
)
UPDATE steps
SET undo_attempts = undo_attempts + 1, undo_begun_at = clock_timestamp()
FROM moved
WHERE steps.checkout_id = moved.checkout_id AND steps.step = %(first)s
"""

_TURN_FORWARD = """
WITH moved AS (
    UPDATE checkouts
    SET state = 'open', step = %(following)s, code = NULL, answer_status = NULL, answer_headers = NULL,
        answer_body = NULL
    WHERE checkout_id = %(checkout_id)s AND state = 'undoing' AND step = %(step)s
    RETURNING checkout_id
), done AS (
    UPDATE steps
    SET done_at = greatest(clock_timestamp(), begun_at)
    FROM moved
    WHERE steps.checkout_id = moved.checkout_id AND steps.step = %(done)s
)
INSERT INTO steps (checkout_id, step)
SELECT checkout_id, %(following)s
FROM moved
"""

_UNDONE = """
WITH moved AS (
    UPDATE checkouts
    SET step = %(earlier)s
    WHERE checkout_id = %(checkout_id)s AND state = 'undoing' AND step = %(step)s
    RETURNING checkout_id
), undone AS (
    UPDATE steps
    SET undone_at = greatest(clock_timestamp(), undo_begun_at)
    FROM moved
    WHERE steps.checkout_id = moved.checkout_id AND steps.step = %(step)s
), begun AS (
    UPDATE steps
    SET undo_attempts = undo_attempts + 1, undo_begun_at = clock_timestamp()
    FROM moved
    WHERE steps.checkout_id = moved.checkout_id AND steps.step = %(earlier)s
)
SELECT set_config('synchronous_commit', 'off', true)
FROM moved
"""

_REFUSE = """
WITH moved AS (
    UPDATE checkouts
    SET state = 'refused', settled_at = clock_timestamp(), facts = facts - 'items' - 'order'
    WHERE checkout_id = %(checkout_id)s AND state = 'undoing' AND step = %(step)s
    RETURNING checkout_id, settled_at, code
), undone AS (
    UPDATE steps
    SET undone_at = greatest(moved.settled_at, undo_begun_at)
    FROM moved
    WHERE steps.checkout_id = moved.checkout_id AND steps.step = %(step)s
)
SELECT code
FROM moved
"""

_UNSETTLED = """
SELECT 'checkout' AS kind, checkout_id::text AS document_id
FROM checkouts
WHERE state IN ('open', 'undoing')
ORDER BY tried_at
LIMIT %(limit)s
"""

_SHOWN = """
    checkout_id::text AS checkout_id, customer_id, state, step, code, cart_version, agreed_cents, location,
    facts->'bill'->'total_cents' AS total_cents, facts->'bill'->>'currency' AS currency,
    coalesce(order_id, facts->>'order_id') AS order_id, coalesce(order_number, facts->>'number') AS order_number,
    created_at, settled_at
"""

_READ = f"""
SELECT {_SHOWN},
    (
        SELECT jsonb_agg(jsonb_build_object(
            'step', steps.step, 'attempts', attempts, 'begun_at', begun_at, 'done_at', done_at,
            'undo_attempts', undo_attempts, 'undo_begun_at', undo_begun_at, 'undone_at', undone_at,
            'milliseconds', round(1000 * extract(epoch FROM done_at - begun_at), 3)
        ) ORDER BY begun_at)
        FROM steps
        WHERE steps.checkout_id = checkouts.checkout_id
    ) AS steps
FROM checkouts
WHERE checkout_id = %(checkout_id)s
"""  # noqa: S608 - what is put in is a constant

_LIST = f"""
SELECT {_SHOWN}
FROM checkouts
WHERE customer_id = %(customer_id)s
    AND (
        %(after_id)s::uuid IS NULL
        OR (created_at, checkout_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid)
    )
ORDER BY created_at DESC, checkout_id DESC
LIMIT %(limit)s
"""  # noqa: S608 - what is put in is a constant

_ERASE = """
WITH erased AS (
    UPDATE checkouts
    SET address = NULL, answer_body = NULL, erased_at = now()
    WHERE customer_id = %(customer_id)s AND settled_at IS NOT NULL AND erased_at IS NULL
    RETURNING checkout_id
)
SELECT
    (SELECT count(*) FROM erased)::integer AS erased,
    (SELECT count(*) FROM checkouts WHERE customer_id = %(customer_id)s AND settled_at IS NULL)::integer AS open
"""
