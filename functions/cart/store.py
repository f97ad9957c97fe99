"""The tables carts and items. The caller owns the transaction; who changes items has locked their cart before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from functions.shared import Connection, Row, execute, fetch_all, fetch_one

from .domain import Cart, Item


@dataclass(frozen=True)
class Key:
    """How a cart is found: by its customer, by the SHA-256 of its token, or by its id."""

    customer_id: str | None = None
    token_sha256: bytes | None = None
    cart_id: UUID | None = None

    def parameters(self) -> dict[str, Any]:
        return {
            "customer_id": self.customer_id,
            "token_sha256": self.token_sha256,
            "cart_id": str(self.cart_id) if self.cart_id else None,
        }


def find_cart(connection: Connection, key: Key) -> Cart | None:
    """The living cart of `key` with its items; None when there is none."""
    rows = fetch_all(
        connection,
        """
        SELECT carts.cart_id::text AS cart_id, carts.version, carts.expires_at,
            carts.checkout_id IS NOT NULL AS in_checkout,
            items.sku, items.quantity, items.product_id, items.product_version, items.name,
            items.unit_price_cents, items.available, items.previous_price_cents, items.price_changed_at
        FROM carts
        LEFT JOIN items ON items.cart_id = carts.cart_id
        WHERE (
                carts.customer_id = %(customer_id)s
                OR carts.token_sha256 = %(token_sha256)s
                OR carts.cart_id = %(cart_id)s::uuid
            )
            AND (carts.expires_at > now() OR carts.checkout_id IS NOT NULL)
        ORDER BY items.added_at, items.sku
        """,
        key.parameters(),
    )
    return _cart(rows)


def _cart(rows: list[Row]) -> Cart | None:
    if not rows:
        return None
    first = rows[0]
    items = tuple(_item(row) for row in rows if row["sku"] is not None)
    return Cart(UUID(first["cart_id"]), first["version"], first["expires_at"], items, first["in_checkout"])


def _item(row: Row) -> Item:
    return Item(
        sku=row["sku"],
        quantity=row["quantity"],
        product_id=row["product_id"],
        product_version=row["product_version"],
        name=row["name"],
        unit_price_cents=row["unit_price_cents"],
        available=row["available"],
        previous_price_cents=row["previous_price_cents"],
        price_changed_at=row["price_changed_at"],
    )


def create_token_cart(connection: Connection, token_sha256: bytes, ttl_seconds: int) -> Row:
    """A new cart for the bearer of a token; locked, with `cart_id`, `version` and `checkout_id` (None)."""
    row = fetch_one(
        connection,
        """
        INSERT INTO carts (token_sha256, expires_at)
        VALUES (%(token_sha256)s, now() + make_interval(secs => %(ttl_seconds)s))
        RETURNING cart_id::text AS cart_id, version, checkout_id::text AS checkout_id
        """,
        {"token_sha256": token_sha256, "ttl_seconds": ttl_seconds},
    )
    assert row is not None
    return row


def open_customer_cart(connection: Connection, customer_id: str, ttl_seconds: int) -> Row:
    """The customer's cart, made if there is none; locked, its version one higher, its life prolonged.

    An expired one is replaced by an empty one, as if maintenance had been there before.
    """
    execute(
        connection,
        """
        DELETE FROM carts
        WHERE customer_id = %(customer_id)s
            AND expires_at <= now()
            AND checkout_id IS NULL
        """,
        {"customer_id": customer_id},
    )
    row = fetch_one(
        connection,
        """
        INSERT INTO carts (customer_id, expires_at)
        VALUES (%(customer_id)s, now() + make_interval(secs => %(ttl_seconds)s))
        ON CONFLICT ON CONSTRAINT carts_customer_id_key DO UPDATE
        SET version = carts.version + 1,
            changed_at = now(),
            expires_at = excluded.expires_at
        RETURNING cart_id::text AS cart_id, version, checkout_id::text AS checkout_id
        """,
        {"customer_id": customer_id, "ttl_seconds": ttl_seconds},
    )
    assert row is not None
    return row


def touch_cart(connection: Connection, key: Key, ttl_seconds: int) -> Row | None:
    """Lock a living cart for a change: its version one higher, its life prolonged. None when there is none."""
    return fetch_one(
        connection,
        """
        UPDATE carts
        SET version = version + 1,
            changed_at = now(),
            expires_at = now() + make_interval(secs => %(ttl_seconds)s)
        WHERE (
                customer_id = %(customer_id)s
                OR token_sha256 = %(token_sha256)s
                OR cart_id = %(cart_id)s::uuid
            )
            AND (expires_at > now() OR checkout_id IS NOT NULL)
        RETURNING cart_id::text AS cart_id, version, checkout_id::text AS checkout_id
        """,
        {**key.parameters(), "ttl_seconds": ttl_seconds},
    )


def lock_cart(connection: Connection, key: Key) -> UUID | None:
    """Lock a living cart as it is; None when there is none."""
    row = fetch_one(
        connection,
        """
        SELECT cart_id::text AS cart_id
        FROM carts
        WHERE (
                customer_id = %(customer_id)s
                OR token_sha256 = %(token_sha256)s
                OR cart_id = %(cart_id)s::uuid
            )
            AND (expires_at > now() OR checkout_id IS NOT NULL)
        FOR UPDATE
        """,
        key.parameters(),
    )
    return UUID(row["cart_id"]) if row else None


def count_change(connection: Connection, cart_id: UUID) -> None:
    """One version higher, without prolonging the cart's life: the change was not its holder's."""
    execute(
        connection,
        "UPDATE carts SET version = version + 1 WHERE cart_id = %(cart_id)s",
        {"cart_id": str(cart_id)},
    )


def add_quantity(connection: Connection, cart_id: UUID, item: Item) -> int:
    """Add `item.quantity` to what the cart has of it; the quantity it then has."""
    row = fetch_one(
        connection,
        """
        INSERT INTO items (
            cart_id, sku, quantity, product_id, product_version, name, unit_price_cents, available,
            previous_price_cents, price_changed_at
        )
        VALUES (
            %(cart_id)s, %(sku)s, %(quantity)s, %(product_id)s, %(product_version)s, %(name)s,
            %(unit_price_cents)s, %(available)s, %(previous_price_cents)s, %(price_changed_at)s
        )
        ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
        SET quantity = items.quantity + excluded.quantity,
            previous_price_cents = NULL,
            price_changed_at = NULL
        RETURNING quantity
        """,
        _parameters(cart_id, item),
    )
    assert row is not None
    return int(row["quantity"])


def set_quantity(connection: Connection, cart_id: UUID, item: Item) -> None:
    """Make `item.quantity` what the cart has of it."""
    execute(
        connection,
        """
        INSERT INTO items (
            cart_id, sku, quantity, product_id, product_version, name, unit_price_cents, available,
            previous_price_cents, price_changed_at
        )
        VALUES (
            %(cart_id)s, %(sku)s, %(quantity)s, %(product_id)s, %(product_version)s, %(name)s,
            %(unit_price_cents)s, %(available)s, %(previous_price_cents)s, %(price_changed_at)s
        )
        ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE
        SET quantity = excluded.quantity,
            previous_price_cents = NULL,
            price_changed_at = NULL
        """,
        _parameters(cart_id, item),
    )


def count_items(connection: Connection, cart_id: UUID) -> int:
    """How many different products a cart has."""
    row = fetch_one(
        connection,
        "SELECT count(*) AS items FROM items WHERE cart_id = %(cart_id)s",
        {"cart_id": str(cart_id)},
    )
    return int(row["items"]) if row else 0


def refresh_items(connection: Connection, cart_id: UUID, items: Iterable[Item]) -> None:
    """Show newer products in a cart's items; never goes back to an older version."""
    for item in items:
        _refresh_item(connection, cart_id, item)


def _refresh_item(connection: Connection, cart_id: UUID, item: Item) -> None:
    execute(
        connection,
        """
        UPDATE items
        SET product_version = %(product_version)s,
            name = %(name)s,
            available = %(available)s,
            unit_price_cents = %(unit_price_cents)s,
            previous_price_cents = %(previous_price_cents)s,
            price_changed_at = %(price_changed_at)s
        WHERE cart_id = %(cart_id)s
            AND sku = %(sku)s
            AND product_version < %(product_version)s
        """,
        _parameters(cart_id, item),
    )


def _parameters(cart_id: UUID, item: Item) -> dict[str, Any]:
    return {
        "cart_id": str(cart_id),
        "sku": item.sku,
        "quantity": item.quantity,
        "product_id": item.product_id,
        "product_version": item.product_version,
        "name": item.name,
        "unit_price_cents": item.unit_price_cents,
        "available": item.available,
        "previous_price_cents": item.previous_price_cents,
        "price_changed_at": item.price_changed_at,
    }


def remove_item(connection: Connection, cart_id: UUID, sku: str) -> None:
    execute(
        connection,
        "DELETE FROM items WHERE cart_id = %(cart_id)s AND sku = %(sku)s",
        {"cart_id": str(cart_id), "sku": sku},
    )


def clear_items(connection: Connection, cart_id: UUID) -> None:
    execute(connection, "DELETE FROM items WHERE cart_id = %(cart_id)s", {"cart_id": str(cart_id)})


def delete_cart(connection: Connection, cart_id: UUID) -> None:
    """Delete a cart with its items."""
    execute(connection, "DELETE FROM carts WHERE cart_id = %(cart_id)s", {"cart_id": str(cart_id)})


def expire_carts(connection: Connection, limit: int) -> int:
    """Delete up to `limit` carts whose time has passed, longest first; the number deleted.

    Those that a checkout holds are left until it is done. Carts that someone else has locked are left for the next time, so two of these never wait for each other.
    """
    return execute(
        connection,
        """
        WITH expired AS (
            SELECT cart_id
            FROM carts
            WHERE expires_at <= now()
                AND checkout_id IS NULL
            ORDER BY expires_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM carts
        USING expired
        WHERE carts.cart_id = expired.cart_id
        """,
        {"limit": limit},
    )
