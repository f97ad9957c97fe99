"""The table checkouts, and which cart a checkout holds. The caller owns the transaction.

The cart's row is always locked before its checkout's is written, so no two of these wait for each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from functions.shared import Connection, Row, execute, fetch_one


def find_checkout(connection: Connection, checkout_id: UUID) -> Row | None:
    """`state`, and while it is frozen `customer_id` and `content`."""
    return fetch_one(
        connection,
        "SELECT state, customer_id, content FROM checkouts WHERE checkout_id = %(checkout_id)s",
        {"checkout_id": str(checkout_id)},
    )


def lock_customer_cart(connection: Connection, customer_id: str) -> Row | None:
    """Lock the customer's living cart: `cart_id`, `version` and the `checkout_id` that holds it, if one does."""
    return fetch_one(
        connection,
        """
        SELECT cart_id::text AS cart_id, version, checkout_id::text AS checkout_id
        FROM carts
        WHERE customer_id = %(customer_id)s
            AND (expires_at > now() OR checkout_id IS NOT NULL)
        FOR UPDATE
        """,
        {"customer_id": customer_id},
    )


def freeze_cart(
    connection: Connection, checkout_id: UUID, customer_id: str, content: Mapping[str, Any]
) -> bool:
    """Let the checkout hold the locked cart that `content` tells of; False when this checkout is known already."""
    added = execute(
        connection,
        """
        INSERT INTO checkouts (checkout_id, state, customer_id, content)
        VALUES (%(checkout_id)s, 'frozen', %(customer_id)s, %(content)s::json)
        ON CONFLICT ON CONSTRAINT checkouts_pkey DO NOTHING
        """,
        {"checkout_id": str(checkout_id), "customer_id": customer_id, "content": json.dumps(content)},
    )
    if not added:
        return False
    execute(
        connection,
        "UPDATE carts SET checkout_id = %(checkout_id)s WHERE cart_id = %(cart_id)s",
        {"checkout_id": str(checkout_id), "cart_id": content["cart_id"]},
    )
    return True


def lock_frozen_cart(connection: Connection, checkout_id: UUID) -> UUID | None:
    """Lock the cart that the checkout holds; None when it holds none."""
    row = fetch_one(
        connection,
        "SELECT cart_id::text AS cart_id FROM carts WHERE checkout_id = %(checkout_id)s FOR UPDATE",
        {"checkout_id": str(checkout_id)},
    )
    return UUID(row["cart_id"]) if row else None


def free_cart(connection: Connection, cart_id: UUID, ttl_seconds: int) -> None:
    """Let the holder change the cart again; its life is prolonged as if they had."""
    execute(
        connection,
        """
        UPDATE carts
        SET checkout_id = NULL,
            changed_at = now(),
            expires_at = now() + make_interval(secs => %(ttl_seconds)s)
        WHERE cart_id = %(cart_id)s
        """,
        {"cart_id": str(cart_id), "ttl_seconds": ttl_seconds},
    )


def settle_checkout(connection: Connection, checkout_id: UUID, state: str) -> None:
    """The checkout is done with its cart, and nothing else of it is kept."""
    execute(
        connection,
        """
        UPDATE checkouts
        SET state = %(state)s, customer_id = NULL, content = NULL, changed_at = now()
        WHERE checkout_id = %(checkout_id)s
        """,
        {"checkout_id": str(checkout_id), "state": state},
    )


def forbid_checkout(connection: Connection, checkout_id: UUID) -> bool:
    """Make a tombstone of a checkout that never held a cart, so that it never will; False when it is known."""
    return (
        execute(
            connection,
            """
            INSERT INTO checkouts (checkout_id, state)
            VALUES (%(checkout_id)s, 'released')
            ON CONFLICT ON CONSTRAINT checkouts_pkey DO NOTHING
            """,
            {"checkout_id": str(checkout_id)},
        )
        > 0
    )


def remove_bought(connection: Connection, cart_id: UUID, skus: list[str]) -> None:
    """Take what was bought out of a cart that is free again, as one change of it."""
    execute(
        connection,
        "DELETE FROM items WHERE cart_id = %(cart_id)s AND sku = ANY(%(skus)s)",
        {"cart_id": str(cart_id), "skus": skus},
    )
    execute(
        connection,
        "UPDATE carts SET version = version + 1 WHERE cart_id = %(cart_id)s",
        {"cart_id": str(cart_id)},
    )


def erase_customer(connection: Connection, customer_id: str) -> Row:
    """Delete what is kept of a customer unless a checkout holds it: `erased` and `open` count carts."""
    parameters = {"customer_id": customer_id, "principal": f"customer:{customer_id}"}
    execute(connection, "DELETE FROM idempotency_keys WHERE principal = %(principal)s", parameters)
    erased = execute(
        connection,
        "DELETE FROM carts WHERE customer_id = %(customer_id)s AND checkout_id IS NULL",
        parameters,
    )
    held = fetch_one(
        connection,
        "SELECT count(*) AS open FROM carts WHERE customer_id = %(customer_id)s",
        parameters,
    )
    return {"erased": erased, "open": held["open"] if held else 0}
