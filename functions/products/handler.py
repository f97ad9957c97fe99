"""The catalogue over HTTP: owns `products` and `prices` in the schema products, and calls no other function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.shared import (
    Answer,
    Api,
    Conflict,
    Connection,
    DatabaseSettings,
    FunctionApp,
    Invalid,
    NotFound,
    PreconditionFailed,
    Row,
    TokenSettings,
    current,
    decode_cursor,
    encode_cursor,
    etag,
    is_fresh,
    page,
    required_version,
    setting,
)
from functions.shared import (
    create_app as build,
)

from . import domain, store

EDITORS = ("hq", "service")
VERSIONED = {"ETag": "The product's version, for If-Match and If-None-Match."}


@dataclass(frozen=True, kw_only=True)
class ProductsSettings(DatabaseSettings, TokenSettings):
    currency: str = setting("ISO 4217 code of prices that name none.", default="CAD")


api = Api(
    "products",
    title="Products",
    migration="0002",
    warm_up=["/?limit=1", "/1"],
    refusals={
        "products_sku_key": Conflict(
            "Another product has this SKU.",
            code="sku_taken",
            errors=[{"field": "sku", "message": "is the SKU of another product"}],
        )
    },
)


@api.post(
    "/", body=domain.NewProduct, answers={201: domain.Product}, roles=EDITORS, idempotency="optional",
    problems=[409], response_headers=VERSIONED,
)  # fmt: skip
def create_product(body: domain.NewProduct, connection: Connection) -> Answer:
    """Create a product."""
    _sign(connection)
    given = body.model_dump()
    given["currency"] = given["currency"] or _own_currency()
    store.lock_catalogue_growth(connection)
    row = store.add_product(connection, given)
    return Answer(row, 201, {"ETag": etag(row["version"])})


@api.get(
    "/<id:product_id>", answers={200: domain.Product, 304: None}, problems=[404], response_headers=VERSIONED
)
def read_product(product_id: int) -> Answer:
    """One product by its id."""
    return _shown(current().database.read(store.product_by_id, product_id))


@api.get(
    "/sku/<path:sku>", answers={200: domain.Product, 304: None}, problems=[404], response_headers=VERSIONED
)
def read_product_by_sku(sku: str) -> Answer:
    """One product by its SKU, compared exactly."""
    return _shown(current().database.read(store.product_by_sku, sku))


def _shown(row: Row | None) -> Answer:
    if row is None:
        raise NotFound("There is no such product.", code="product_not_found")
    tag = {"ETag": etag(row["version"])}
    return Answer(None, 304, tag) if is_fresh(row["version"]) else Answer(row, 200, tag)


@api.get("/", query=domain.ListQuery, answers={200: domain.ProductPage}, problems=[400])
def list_products(query: domain.ListQuery) -> dict[str, Any]:
    """Search and list products.

    Every word of `q` must be part of the name, the SKU or the description; case and accents do not matter.
    Pages stay right while products come and go: the cursor is the place in the order, not a number of rows.
    """
    rows = current().database.read(store.list_products, query.sort, _filters(query))
    answer = page(rows, query.limit, lambda row: encode_cursor(query.sort, *_place(query.sort, row)))
    for row in answer["items"]:
        del row["sort_name"]
    return answer


def _filters(query: domain.ListQuery) -> dict[str, Any]:
    words = query.q.split()
    after_value, after_id = _after(query)
    return {
        "words": words + [None] * (domain.WORDS_PER_SEARCH - len(words)),
        "active": {"true": True, "false": False, "any": None}[query.active],
        "category": query.category,
        "min_price_cents": query.min_price_cents,
        "max_price_cents": query.max_price_cents,
        "after_value": after_value,
        "after_id": after_id,
        "limit": query.limit + 1,
    }


def _place(sort: str, row: Row) -> tuple[str | int, int]:
    """The row's sort key; lists by creation have only the id."""
    column = {"name": "sort_name", "price": "price_cents", "created": "product_id"}[sort.lstrip("-")]
    return row[column], row["product_id"]


def _after(query: domain.ListQuery) -> tuple[str | int | None, int | None]:
    if query.after is None:
        return None, None
    sort, value, product_id = decode_cursor(query.after, str, str if "name" in query.sort else int, int)
    if sort != query.sort:
        raise Invalid("The cursor belongs to a list in another order.", code="bad_cursor", errors=[
            {"field": "after", "message": f"was made for sort={sort}"}
        ])  # fmt: skip
    return value, product_id


@api.get("/prices", query=domain.PricesQuery, answers={200: domain.Prices})
def read_prices(query: domain.PricesQuery) -> dict[str, Any]:
    """Prices of several products in one call.

    In the order asked for; what does not exist is named in `missing`.
    """
    rows = current().database.read(store.prices_of, query.sku, query.id)
    return domain.arrange_prices(rows, query.sku, query.id)


@api.get("/categories", answers={200: domain.Categories})
def list_categories() -> dict[str, Any]:
    """Categories with the number of active products in each."""
    return {"items": current().database.read(store.count_categories), "next": None}


@api.get(
    "/<id:product_id>/prices", query=domain.HistoryQuery, answers={200: domain.PriceHistory}, problems=[404]
)
def read_price_history(product_id: int, query: domain.HistoryQuery) -> dict[str, Any]:
    """Every price a product has had, latest first."""
    before = decode_cursor(query.after, int)[0] if query.after else None
    rows = current().database.read(store.price_history, product_id, before, query.limit + 1)
    if not rows and current().database.read(store.product_by_id, product_id) is None:
        raise NotFound("There is no such product.", code="product_not_found")
    answer = page(rows, query.limit, lambda row: encode_cursor(row["price_id"]))
    for row in answer["items"]:
        del row["price_id"]
    return answer


@api.patch(
    "/<id:product_id>", body=domain.ProductChange, answers={200: domain.Product}, roles=EDITORS, if_match=True,
    problems=[404], response_headers=VERSIONED,
)  # fmt: skip
def change_product(product_id: int, body: domain.ProductChange) -> Answer:
    """Change some fields of a product.

    `If-Match` is the ETag that was read, so that nobody overwrites what they have not seen.
    """
    version = required_version()
    with current().database.transaction() as connection:
        _sign(connection)
        row = store.change_product(connection, product_id, version, body.model_dump())
        return _changed(connection, product_id, row)


@api.delete(
    "/<id:product_id>", answers={200: domain.Product}, roles=EDITORS, if_match=True, problems=[404],
    response_headers=VERSIONED,
)  # fmt: skip
def deactivate_product(product_id: int) -> Answer:
    """Take a product off sale.

    It can still be read, and brought back with PATCH; doing it twice is harmless.
    """
    version = required_version()
    with current().database.transaction() as connection:
        row = store.deactivate_product(connection, product_id, version)
        return _changed(connection, product_id, row)


def _changed(connection: Connection, product_id: int, row: Row | None) -> Answer:
    if row is None:
        if store.product_by_id(connection, product_id) is None:
            raise NotFound("There is no such product.", code="product_not_found")
        raise PreconditionFailed
    return Answer(row, 200, {"ETag": etag(row["version"])})


@api.post("/bulk", body=domain.Bulk, answers={200: domain.BulkResult}, roles=EDITORS, idempotency="optional")
def put_products(body: domain.Bulk, connection: Connection) -> dict[str, int]:
    """Create or update up to 1,000 products by SKU, all or nothing.

    Each bad row is named by its place: `items.3.price_cents`. Fields left out keep their value.
    """
    faults = domain.repeated_skus(body.items)
    if faults:
        raise Invalid("A SKU is given more than once.", code="sku_repeated", errors=faults)
    _sign(connection)
    store.lock_catalogue_growth(connection)
    present = store.lock_by_sku(connection, [row.sku for row in body.items])
    currency = _own_currency()
    whole = [domain.completed(row, present.get(row.sku), currency) for row in body.items]
    created, updated = store.put_products(connection, whole)
    return {"created": created, "updated": updated, "unchanged": len(whole) - created - updated}


def _own_currency() -> str:
    return current().settings(ProductsSettings).currency


def _sign(connection: Connection) -> None:
    identity = current().identity()
    store.sign_changes(connection, identity.subject if identity else "unknown")


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The products function in `environ`; the template calls this once."""
    return build(api, ProductsSettings, environ)
