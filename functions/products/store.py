"""The catalogue's SQL: one function for each statement; the caller owns the transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from functions.shared import Connection, Prepared, Row, execute, fetch_all, fetch_one

_COLUMNS: Final = "product_id, sku, name, description, category, price_cents, currency, active, version, created_at, updated_at"


def sign_changes(connection: Connection, changed_by: str) -> None:
    """Name who makes the changes of this transaction, for the price history."""
    fetch_one(
        connection,
        "SELECT set_config('products.changed_by', %(changed_by)s, true)",
        {"changed_by": changed_by},
    )


def add_product(connection: Connection, product: Mapping[str, Any]) -> Row:
    """Insert and return a product; its price starts its history. Fails on `products_sku_key`."""
    row = fetch_one(connection, _ADD, product)
    assert row is not None
    return row


def product_by_id(connection: Connection, product_id: int) -> Row | None:
    return _BY_ID.fetch_one(connection, product_id)


def product_by_sku(connection: Connection, sku: str) -> Row | None:
    return _BY_SKU.fetch_one(connection, sku)


def list_products(connection: Connection, sort: str, filters: Mapping[str, Any]) -> list[Row]:
    """Up to `limit` products that fit every filter that is not None, in one of the orders of `LISTS`.

    `words` is a list of eight texts or None; `after_value` and `after_id` are the sort key to go on from.
    """
    words = {f"word_{index}": word for index, word in enumerate(filters["words"])}
    return fetch_all(connection, LISTS[sort], {**filters, **words})


def prices_of(connection: Connection, skus: Sequence[str], ids: Sequence[int]) -> list[Row]:
    return fetch_all(connection, _PRICES, {"skus": list(skus), "ids": list(ids)})


def price_history(connection: Connection, product_id: int, before_id: int | None, limit: int) -> list[Row]:
    """Prices of a product, latest first, from before the price `before_id`."""
    return fetch_all(connection, _HISTORY, {"product_id": product_id, "before_id": before_id, "limit": limit})


def count_categories(connection: Connection) -> list[Row]:
    return fetch_all(connection, _CATEGORIES)


def change_product(
    connection: Connection, product_id: int, version: int | None, change: Mapping[str, Any]
) -> Row | None:
    """Set the fields of `change` that are not None; None when there is no such product or version."""
    return fetch_one(connection, _CHANGE, {**change, "product_id": product_id, "version": version})


def deactivate_product(connection: Connection, product_id: int, version: int | None) -> Row | None:
    """Take a product off sale; one that is off sale stays as it is. None when there is no such product or version."""
    return fetch_one(connection, _DEACTIVATE, {"product_id": product_id, "version": version})


def lock_by_sku(connection: Connection, skus: Sequence[str]) -> dict[str, Row]:
    """Lock the products with these SKUs, in the order of SKU; return them by SKU."""
    return {row["sku"]: row for row in fetch_all(connection, _LOCK, {"skus": list(skus)})}


def put_products(connection: Connection, products: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Insert or update by SKU; return how many were created and how many really changed."""
    rows = fetch_all(connection, _PUT, {"products": json.dumps(list(products))})
    created = sum(1 for row in rows if row["created"])
    return created, len(rows) - created


def lock_catalogue_growth(connection: Connection) -> None:
    """Let one request at a time add products.

    So two bulk upserts never wait for each other's new SKUs, and what one found missing is missing until it ends.
    """
    execute(connection, "SELECT pg_advisory_xact_lock(hashtextextended('products.bulk', 0))")


_ADD = f"""
INSERT INTO products (sku, name, description, category, price_cents, currency, active)
VALUES (
    %(sku)s, %(name)s, %(description)s, %(category)s, %(price_cents)s, %(currency)s, %(active)s
)
RETURNING {_COLUMNS}
"""  # noqa: S608 - columns are a constant

_BY_ID = Prepared("product_by_id", f"SELECT {_COLUMNS} FROM products WHERE product_id = $1")  # noqa: S608

_BY_SKU = Prepared("product_by_sku", f"SELECT {_COLUMNS} FROM products WHERE sku = $1")  # noqa: S608

_LIST = f"""
SELECT {_COLUMNS}, sort_name
FROM products
WHERE (%(active)s::boolean IS NULL OR active = %(active)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
  AND (%(min_price_cents)s::bigint IS NULL OR price_cents >= %(min_price_cents)s)
  AND (%(max_price_cents)s::bigint IS NULL OR price_cents <= %(max_price_cents)s)
  AND (%(word_0)s::text IS NULL OR search_text LIKE containing(%(word_0)s))
  AND (%(word_1)s::text IS NULL OR search_text LIKE containing(%(word_1)s))
  AND (%(word_2)s::text IS NULL OR search_text LIKE containing(%(word_2)s))
  AND (%(word_3)s::text IS NULL OR search_text LIKE containing(%(word_3)s))
  AND (%(word_4)s::text IS NULL OR search_text LIKE containing(%(word_4)s))
  AND (%(word_5)s::text IS NULL OR search_text LIKE containing(%(word_5)s))
  AND (%(word_6)s::text IS NULL OR search_text LIKE containing(%(word_6)s))
  AND (%(word_7)s::text IS NULL OR search_text LIKE containing(%(word_7)s))
"""  # noqa: S608

LISTS: Final = {
    "name": _LIST + """
  AND (%(after_id)s::bigint IS NULL OR (sort_name, product_id) > (%(after_value)s::text, %(after_id)s::bigint))
ORDER BY sort_name, product_id
LIMIT %(limit)s
""",
    "-name": _LIST + """
  AND (%(after_id)s::bigint IS NULL OR (sort_name, product_id) < (%(after_value)s::text, %(after_id)s::bigint))
ORDER BY sort_name DESC, product_id DESC
LIMIT %(limit)s
""",
    "price": _LIST + """
  AND (%(after_id)s::bigint IS NULL OR (price_cents, product_id) > (%(after_value)s::bigint, %(after_id)s::bigint))
ORDER BY price_cents, product_id
LIMIT %(limit)s
""",
    "-price": _LIST + """
  AND (%(after_id)s::bigint IS NULL OR (price_cents, product_id) < (%(after_value)s::bigint, %(after_id)s::bigint))
ORDER BY price_cents DESC, product_id DESC
LIMIT %(limit)s
""",
    "created": _LIST + """
  AND (%(after_id)s::bigint IS NULL OR product_id > %(after_id)s::bigint)
ORDER BY product_id
LIMIT %(limit)s
""",
    "-created": _LIST + """
  AND (%(after_id)s::bigint IS NULL OR product_id < %(after_id)s::bigint)
ORDER BY product_id DESC
LIMIT %(limit)s
""",
}  # fmt: skip

_PRICES = """
SELECT product_id, sku, name, category, price_cents, currency, active, version
FROM products
WHERE sku = ANY(%(skus)s::text[]) OR product_id = ANY(%(ids)s::bigint[])
"""

_HISTORY = """
SELECT price_id, price_cents, currency, changed_at
FROM prices
WHERE product_id = %(product_id)s
  AND (%(before_id)s::bigint IS NULL OR price_id < %(before_id)s)
ORDER BY price_id DESC
LIMIT %(limit)s
"""

_CATEGORIES = """
SELECT category, count(*) AS product_count
FROM products
WHERE active
GROUP BY category
ORDER BY category
"""

_CHANGE = f"""
UPDATE products
SET name = coalesce(%(name)s, name),
    description = coalesce(%(description)s, description),
    category = coalesce(%(category)s, category),
    price_cents = coalesce(%(price_cents)s, price_cents),
    currency = coalesce(%(currency)s, currency),
    active = coalesce(%(active)s, active),
    version = version + 1,
    updated_at = now()
WHERE product_id = %(product_id)s
  AND (%(version)s::integer IS NULL OR version = %(version)s)
RETURNING {_COLUMNS}
"""  # noqa: S608

_DEACTIVATE = f"""
UPDATE products
SET active = false,
    version = version + active::integer,
    updated_at = CASE WHEN active THEN now() ELSE updated_at END
WHERE product_id = %(product_id)s
  AND (%(version)s::integer IS NULL OR version = %(version)s)
RETURNING {_COLUMNS}
"""  # noqa: S608

_LOCK = f"""
SELECT {_COLUMNS}
FROM products
WHERE sku = ANY(%(skus)s::text[])
ORDER BY sku
FOR UPDATE
"""  # noqa: S608

_PUT = """
INSERT INTO products AS present (sku, name, description, category, price_cents, currency, active)
SELECT sku, name, description, category, price_cents, currency, active
FROM jsonb_to_recordset(%(products)s::jsonb) AS given (
    sku text, name text, description text, category text, price_cents bigint, currency text, active boolean
)
ORDER BY sku
ON CONFLICT ON CONSTRAINT products_sku_key DO UPDATE
SET name = excluded.name,
    description = excluded.description,
    category = excluded.category,
    price_cents = excluded.price_cents,
    currency = excluded.currency,
    active = excluded.active,
    version = present.version + 1,
    updated_at = now()
WHERE (present.name, present.description, present.category, present.price_cents, present.currency, present.active)
   IS DISTINCT FROM
      (excluded.name, excluded.description, excluded.category, excluded.price_cents, excluded.currency, excluded.active)
RETURNING (present.xmax = 0) AS created
"""
