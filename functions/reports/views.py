"""The shapes of answers, for /openapi.json. In CSV the columns are those of `items`, and `as_of`."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, Field

COUNT = "null where documents cannot be added up: by category and by product"


class Span(BaseModel):
    first: date = Field(alias="from")
    last: date = Field(alias="to")


class Head(BaseModel):
    as_of: datetime = Field(description="all that was committed before is in it")
    store: str | None = Field(description="null: the whole chain")


class PeriodHead(Head):
    first: date = Field(alias="from")
    last: date = Field(alias="to")


class Sums(BaseModel):
    """Before tax: net = sold - returned. With tax: total = net + tax."""

    sale_count: int | None = Field(description=COUNT)
    return_count: int | None = Field(description=COUNT)
    void_count: int | None = Field(description=COUNT)
    units_sold: int
    units_returned: int
    sold_cents: int
    returned_cents: int
    net_cents: int
    tax_cents: int
    total_cents: int


class ComparedSums(Sums):
    """With `compare=none` the last four are left out."""

    previous_net_cents: int = 0
    previous_units: int = Field(default=0, description="sold less returned")
    change_cents: int = 0
    change_percent: float | None = Field(default=None, description="null when there was nothing before")


class SalesRow(ComparedSums):
    """The keys that were asked for with `by`, and the sums."""

    day: date | None = None
    week: date | None = Field(default=None, description="its Monday")
    month: date | None = Field(default=None, description="its first day")
    hour: int | None = Field(default=None, ge=0, le=23, description="of the store's clock")
    store: str | None = None
    channel: str | None = None
    category: str | None = None
    sku: str | None = None
    name: str | None = None


class Sales(PeriodHead):
    previous: Span | None
    by: list[str]
    total: ComparedSums
    items: list[SalesRow]


class TopSeller(BaseModel):
    rank: int
    sku: str
    name: str
    units_sold: int
    units_returned: int
    net_cents: int
    tax_cents: int


class TopSellers(PeriodHead):
    items: list[TopSeller]


class SlowSeller(BaseModel):
    rank: int
    sku: str
    name: str
    category: str
    units: int = Field(description="sold less returned")
    net_cents: int
    on_hand: int
    value_cents: int
    last_sold_on: date | None


class SlowSellers(PeriodHead):
    items: list[SlowSeller]


class TrendRow(BaseModel):
    start: date = Field(description="the day, or the first day of the week or month")
    net_cents: int
    units: int
    average_net_cents: int = Field(description="of the `window` rows that end here")
    average_units: float
    change_percent: float | None = Field(description="against the average `window` rows before")


class Trend(PeriodHead):
    by: str
    window: int
    items: list[TrendRow]


class StockRow(BaseModel):
    location: str | None = None
    category: str | None = None
    sku: str | None = None
    name: str | None = None
    in_stock_count: int
    out_of_stock_count: int
    low_count: int
    on_hand: int
    reserved: int
    available: int
    value_cents: int
    unpriced_count: int = Field(
        description="in stock, but not in the catalogue in the currency of sales: without value"
    )


class Stock(Head):
    items: list[StockRow]


class StockLevel(BaseModel):
    location: str
    sku: str
    name: str | None
    category: str | None
    on_hand: int
    reserved: int
    available: int


class LowStockRow(StockLevel):
    low_at: int
    short_by: int
    requested: int = Field(description="asked of the warehouse and not answered yet")


class LowStock(Head):
    items: list[LowStockRow]


class OverstockRow(StockLevel):
    units_sold: int = Field(description="in the window, less what came back")
    cover_days: float | None = Field(description="how long it lasts; null: nothing sells")
    excess: int = Field(description="units beyond `cover_days`")
    excess_value_cents: int


class Overstock(PeriodHead):
    cover_days: int
    items: list[OverstockRow]


class ReplenishmentRow(StockLevel):
    requested: int
    low_at: int | None
    units_sold: int
    reorder_point: int
    order_up_to: int
    suggested_quantity: int
    warehouse_available: int


class Replenishment(PeriodHead):
    lead_time_days: int
    safety_days: int
    cover_days: int
    items: list[ReplenishmentRow]


class StoreReport(PeriodHead):
    name: str
    kind: str
    time_zone: str
    previous: Span
    total: ComparedSums
    days: list[SalesRow]
    hours: list[SalesRow]
    categories: list[SalesRow]
    top_products: list[TopSeller]
    stock: list[StockRow]


class Overview(PeriodHead):
    previous: Span
    total: ComparedSums
    stores: list[SalesRow]
    channels: list[SalesRow]
    categories: list[SalesRow]
    top_products: list[TopSeller]
    slow_products: list[SlowSeller]
    trend: list[TrendRow]
    stock: list[StockRow]


class Refresh(BaseModel):
    refreshed: int = Field(description="store days whose facts were summed")
    more: bool = Field(description="there is more to do: call again")
    as_of: datetime | None


class Rebuild(BaseModel):
    days: int = Field(description="store days that the next refreshes will sum")
