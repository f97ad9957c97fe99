"""The snapshot in which a report is read: of when it is, which places there are, and which of them the reader may see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from functions.shared import (
    Connection,
    Forbidden,
    Identity,
    Invalid,
    NotFound,
    Row,
    Unauthorized,
    Unavailable,
)

from . import store as facts
from .periods import Period
from .rendering import Report


@dataclass(frozen=True)
class Moment:
    """One snapshot of the database, taken after `now`. `store` is the one place that is reported on; None: the whole chain.

    `currency` is that of all sales.
    """

    connection: Connection
    as_of: datetime
    now: datetime
    places: Mapping[str, Row]
    store: str | None
    currency: str

    @property
    def today(self) -> date:
        """The store's day at `as_of`; for the chain the latest of all its stores."""
        places = [self.places[self.store]] if self.store else self.places.values()
        today: date = max(place["today"] for place in places)
        return today

    @property
    def stores(self) -> list[str]:
        """The stores reported on, one by one."""
        return [self.store] if self.store else list(self.places)

    @property
    def product_stores(self) -> list[str]:
        """The same where facts of the whole chain are kept as well."""
        return [self.store or facts.WHOLE_CHAIN]

    def filters(self, category: str | None, limit: int | None) -> dict[str, Any]:
        """What statements over stock and its velocity are narrowed by. The warehouse sells what all sell."""
        one = self.store is not None and self.places[self.store]["kind"] == "store"
        stores = self.stores if one else list(self.places)
        return {
            "stores": stores, "location": self.store, "category": category, "channel": None, "limit": limit,
            "currency": self.currency,
        }  # fmt: skip

    def report(
        self,
        file_name: str,
        columns: Sequence[str] = (),
        rows: Iterable[Mapping[str, Any]] | None = None,
        period: Period | None = None,
        *,
        of_stock: bool = False,
        **head: Any,
    ) -> Report:
        """A report of this moment. What is only about stock is of now; sales are of the last refresh."""
        days = {} if period is None else {"from": period.first, "to": period.last}
        as_of = self.now if of_stock else self.as_of
        return Report(file_name, as_of, {"store": self.store, **days, **head}, columns, rows)


def own_store(identity: Identity | None, wanted: str | None) -> str | None:
    """The store that `identity` gets a report of: the head office any or all, staff their own.

    Raises Forbidden for another's store.
    """
    if identity is None:
        raise Unauthorized
    if identity.has_any({"hq"}):
        return wanted
    if identity.store is None or wanted not in (None, identity.store):
        raise Forbidden("Staff see the reports of their own store.", code="not_your_store")
    return identity.store


def open_moment(connection: Connection, store: str | None, currency: str, *, in_path: bool = False) -> Moment:
    """Begin the snapshot. Raises Unavailable before facts were summed for the first time, and NotFound or Invalid
    for a store that there is none of, whether it is `in_path` or a parameter."""
    facts.hold_snapshot(connection)
    rows = facts.read_places(connection)
    if not rows or rows[0]["as_of"] is None:
        raise Unavailable(
            "Sales are being summed for the first time; try again shortly.",
            code="reports_not_ready",
            retry_after_seconds=5,
        )
    places = {row["location"]: row for row in rows}
    if store is not None and store not in places:
        if in_path:
            raise NotFound("There is no such store.", code="store_not_found")
        raise Invalid(errors=[{"field": "store", "message": "is none of the chain's"}])
    return Moment(connection, rows[0]["as_of"], rows[0]["now"], places, store, currency)
