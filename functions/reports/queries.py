"""What a report can be asked for: query parameters, checked and made whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from functions.shared import Day, Invalid, Query

from .periods import Period

EARLIEST_DAY = date(2000, 1, 1)
LATEST_DAY = date(2199, 12, 31)
LONGEST_PERIOD_DAYS = 3_660
USUAL_PERIOD_DAYS = 28
LONGEST_WINDOW_DAYS = 365
MOST_DIMENSIONS = 3

Dimension = Literal["store", "channel", "category", "product", "hour", "day", "week", "month"]
TIMES = ("day", "week", "month")


def _each_once(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("must not name one twice")
    return values


ReportDay = Annotated[Day, Field(ge=EARLIEST_DAY, le=LATEST_DAY)]
Code = Annotated[str, Field(min_length=1, max_length=20)]
Sku = Annotated[str, Field(min_length=1, max_length=64)]
Category = Annotated[str, Field(min_length=1, max_length=80)]
Window = Annotated[int, Field(ge=1, le=LONGEST_WINDOW_DAYS)]
Days = Annotated[int, Field(ge=0, le=LONGEST_WINDOW_DAYS)]


class ReportQuery(Query):
    """What every report takes."""

    format: Literal["json", "csv"] | None = None


class StoreQuery(ReportQuery):
    """Reports of one place, or of all."""

    store: Code | None = None


class PeriodQuery(ReportQuery):
    """Reports of a period: the last 28 days unless told otherwise; a day is a day of the store's clock."""

    first: Annotated[ReportDay | None, Field(alias="from")] = None
    last: Annotated[ReportDay | None, Field(alias="to")] = None
    channel: Code | None = None

    @model_validator(mode="after")
    def _in_order(self) -> PeriodQuery:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError("`from` must not be after `to`")
        return self

    def period(self, today: date) -> Period:
        """The period asked for; raises Invalid when it is too long, or begins after `today` without saying its end."""
        last = self.last or max(today, self.first or today)
        first = self.first or max(last - timedelta(days=USUAL_PERIOD_DAYS - 1), EARLIEST_DAY)
        period = Period(first, last)
        if period.days > LONGEST_PERIOD_DAYS:
            raise Invalid(
                errors=[{"field": "from", "message": f"more than {LONGEST_PERIOD_DAYS} days before `to`"}]
            )
        return period


class StorePeriodQuery(PeriodQuery):
    """Reports of a period in one place, or in all."""

    store: Code | None = None


class SalesQuery(StorePeriodQuery):
    """Sales, summed by up to three of the dimensions."""

    by: Annotated[
        list[Dimension],
        Field(default_factory=lambda: ["store"], max_length=MOST_DIMENSIONS), AfterValidator(_each_once),
    ]  # fmt: skip
    category: Category | None = None
    sku: Sku | None = None
    compare: Literal["previous", "none"] = "previous"
    order: Literal["key", "net", "units"] | None = None
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _summable(self) -> SalesQuery:
        if "hour" in self.by and self.source in ("category", "product"):
            raise ValueError("hours are kept of whole sales only: not by, or of, a category or product")
        if len(set(self.by) & set(TIMES)) > 1:
            raise ValueError("by takes one of day, week and month")
        return self

    @property
    def source(self) -> str:
        """The coarsest facts that can answer."""
        if "product" in self.by or self.sku is not None:
            return "product"
        if "category" in self.by or self.category is not None:
            return "category"
        return "hour" if "hour" in self.by else "day"

    @property
    def chosen_order(self) -> str:
        """Largest first where the keys have no order that says something."""
        ordered_by_key = set(self.by) & {*TIMES, "hour"} or not set(self.by) & {"category", "product"}
        return self.order or ("key" if ordered_by_key else "net")


class SellersQuery(StorePeriodQuery):
    """The first of a ranking of products."""

    category: Category | None = None
    measure: Literal["net", "units"] = "net"
    limit: Annotated[int, Field(ge=1, le=500)] = 20


class TrendQuery(StorePeriodQuery):
    """A series with its moving averages."""

    by: Literal["day", "week", "month"] = "day"
    window: Annotated[int, Field(ge=2, le=90)] = 7
    category: Category | None = None
    sku: Sku | None = None


class StockQuery(StoreQuery):
    """Stock as it is now."""

    by: Annotated[
        list[Literal["location", "category", "product"]],
        Field(default_factory=lambda: ["location"], max_length=MOST_DIMENSIONS), AfterValidator(_each_once),
    ]  # fmt: skip
    category: Category | None = None


class StockListQuery(StoreQuery):
    """Rows of stock that need somebody's attention."""

    category: Category | None = None
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class VelocityQuery(StockListQuery):
    """Rows of stock against how fast they sell: the `window_days` that end on `until`, by default yesterday."""

    until: ReportDay | None = None
    window_days: Window = 28


class OverstockQuery(VelocityQuery):
    cover_days: Annotated[int | None, Field(ge=1, le=LONGEST_WINDOW_DAYS)] = None


class ReplenishmentQuery(VelocityQuery):
    lead_time_days: Days | None = None
    safety_days: Days | None = None
    cover_days: Days | None = None


@dataclass(frozen=True)
class Policy:
    """How stock is replenished: it arrives after the lead time, and is to last for `cover_days` then.

    Safety days are kept beside it, for demand above the average and deliveries that are late.
    """

    lead_time_days: int
    safety_days: int
    cover_days: int
