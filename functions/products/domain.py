"""What the catalogue takes and shows, and the decisions that need neither HTTP nor SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from functions.shared import ONE_LINE, Body, Name, Query

LONGEST_SKU = 64
LONGEST_DESCRIPTION = 2000
LONGEST_CATEGORY = 80
HIGHEST_PRICE_CENTS = 100_000_000
LARGEST_ID = 2**63 - 1
ROWS_PER_BULK = 1000
PRICES_PER_REQUEST = 200
WORDS_PER_SEARCH = 8
LONGEST_CURSOR = 2000
"""One holds a name, which may be four bytes a character, in Base64."""
DEFAULT_CATEGORY = "uncategorised"


def _lines(text: str) -> str:
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("must not hold control characters")
    return text


Sku = Annotated[str, Field(min_length=1, max_length=LONGEST_SKU), ONE_LINE]
Description = Annotated[str, Field(max_length=LONGEST_DESCRIPTION), AfterValidator(_lines)]
Category = Annotated[str, Field(min_length=1, max_length=LONGEST_CATEGORY), ONE_LINE]
Cents = Annotated[int, Field(ge=0, le=HIGHEST_PRICE_CENTS)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217, for example CAD")]
ProductId = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class NewProduct(Body):
    """A product to be sold; without `currency` it is priced in the chain's own."""

    sku: Sku
    name: Name
    price_cents: Cents
    description: Description = ""
    category: Category = DEFAULT_CATEGORY
    currency: Currency | None = None
    active: bool = True


class ProductChange(Body):
    """The fields to change; at least one."""

    name: Name | None = None
    description: Description | None = None
    category: Category | None = None
    price_cents: Cents | None = None
    currency: Currency | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> ProductChange:
        if not self.model_fields_set:
            raise ValueError("give at least one field to change")
        nulls = sorted(name for name in self.model_fields_set if getattr(self, name) is None)
        if nulls:
            raise ValueError(f"must not be null: {', '.join(nulls)}")
        return self


class BulkRow(Body):
    """One product by SKU; a field left out keeps its value, or gets its default in a new product."""

    sku: Sku
    name: Name
    price_cents: Cents
    description: Description | None = None
    category: Category | None = None
    currency: Currency | None = None
    active: bool | None = None


class Bulk(Body):
    """Up to 1,000 products, created or updated together or not at all."""

    items: Annotated[list[BulkRow], Field(min_length=1, max_length=ROWS_PER_BULK)]


Sort = Literal["name", "-name", "price", "-price", "created", "-created"]


class ListQuery(Query):
    """Filters, order and page of the list."""

    q: Annotated[str, Field(max_length=100, description="words that name, SKU or description contain")] = ""
    category: Annotated[str, Field(max_length=LONGEST_CATEGORY)] | None = None
    active: Literal["true", "false", "any"] = "true"
    min_price_cents: Annotated[int, Field(ge=0, le=HIGHEST_PRICE_CENTS)] | None = None
    max_price_cents: Annotated[int, Field(ge=0, le=HIGHEST_PRICE_CENTS)] | None = None
    sort: Sort = "name"
    limit: Annotated[int, Field(ge=1, le=200)] = 20
    after: Annotated[str, Field(max_length=LONGEST_CURSOR)] | None = None

    @model_validator(mode="after")
    def _few_words(self) -> ListQuery:
        if len(self.q.split()) > WORDS_PER_SEARCH:
            raise ValueError(f"q takes at most {WORDS_PER_SEARCH} words")
        return self


class HistoryQuery(Query):
    """A page of a price history."""

    limit: Annotated[int, Field(ge=1, le=200)] = 20
    after: Annotated[str, Field(max_length=LONGEST_CURSOR)] | None = None


class PricesQuery(Query):
    """Which products' prices: any mix of SKUs and ids."""

    sku: Annotated[
        list[Annotated[str, Field(max_length=LONGEST_SKU)]],
        Field(default_factory=list, max_length=PRICES_PER_REQUEST),
    ]
    id: Annotated[list[ProductId], Field(default_factory=list, max_length=PRICES_PER_REQUEST)]

    @model_validator(mode="after")
    def _some_but_not_too_many(self) -> PricesQuery:
        if not 1 <= len(self.sku) + len(self.id) <= PRICES_PER_REQUEST:
            raise ValueError(f"name 1 to {PRICES_PER_REQUEST} products by sku or id")
        return self


class Product(BaseModel):
    """A product as it is shown."""

    product_id: int
    sku: str
    name: str
    description: str
    category: str
    price_cents: int
    currency: str
    active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class ProductPage(BaseModel):
    items: list[Product]
    next: str | None


class Price(BaseModel):
    """What another function needs to sell a product."""

    product_id: int
    sku: str
    name: str
    category: str
    price_cents: int
    currency: str
    active: bool
    version: int


class Missing(BaseModel):
    """What was asked for and does not exist."""

    skus: list[str]
    ids: list[int]


class Prices(BaseModel):
    items: list[Price]
    missing: Missing


class PastPrice(BaseModel):
    """A price and the moment it began to hold."""

    price_cents: int
    currency: str
    changed_at: datetime


class PriceHistory(BaseModel):
    items: list[PastPrice]
    next: str | None


class CategoryCount(BaseModel):
    category: str
    product_count: int


class Categories(BaseModel):
    items: list[CategoryCount]
    next: None = None


class BulkResult(BaseModel):
    """How many rows did what."""

    created: int
    updated: int
    unchanged: int


def repeated_skus(rows: Sequence[BulkRow]) -> list[dict[str, str]]:
    """A fault for each row whose SKU an earlier row has."""
    first: dict[str, int] = {}
    faults = []
    for index, row in enumerate(rows):
        earlier = first.setdefault(row.sku, index)
        if earlier != index:
            faults.append({"field": f"items.{index}.sku", "message": f"repeats items.{earlier}"})
    return faults


def completed(row: BulkRow, present: Mapping[str, Any] | None, currency: str) -> dict[str, Any]:
    """The whole product that a bulk row stands for, given the one of that SKU that is there now."""
    defaults = present or {
        "description": "", "category": DEFAULT_CATEGORY, "currency": currency, "active": True
    }  # fmt: skip
    whole = row.model_dump()
    for name in ("description", "category", "currency", "active"):
        if whole[name] is None:
            whole[name] = defaults[name]
    return whole


def arrange_prices(
    rows: Iterable[Mapping[str, Any]], skus: Sequence[str], ids: Sequence[int]
) -> dict[str, Any]:
    """Prices in the order asked for, each product once, and what is missing."""
    by_sku = {row["sku"]: row for row in rows}
    by_id = {row["product_id"]: row for row in by_sku.values()}
    found = [by_sku.get(sku) for sku in skus] + [by_id.get(product_id) for product_id in ids]
    items = {row["product_id"]: row for row in found if row is not None}
    missing = {
        "skus": list(dict.fromkeys(sku for sku in skus if sku not in by_sku)),
        "ids": list(dict.fromkeys(product_id for product_id in ids if product_id not in by_id)),
    }
    return {"items": list(items.values()), "missing": missing}
