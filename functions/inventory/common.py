"""What all of inventory's routes share: the API they are declared on, who may act where, and how stock is moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from flask import current_app
from prometheus_client import Counter

from functions.shared import (
    Api,
    Conflict,
    Connection,
    Forbidden,
    Invalid,
    Problem,
    Row,
    identity,
)

from . import domain, store
from .domain import Change, Lack, Line, Shortage
from .store import Note

MOVEMENTS = Counter("inventory_movements_total", "Movements written to the ledger.", ["kind"])
REFUSALS = Counter("inventory_refusals_total", "Requests that found too little stock.", ["code"])

READERS = ("staff", "hq", "service")
MOVERS = ("staff", "hq", "service")

_TOO_MUCH = Invalid("There would be more of it than can be kept.", code="stock_limit")

api = Api(
    "inventory",
    title="Inventory",
    migration="0013",
    warm_up=["/stock?limit=1", "/reservations/00000000-0000-0000-0000-000000000000"],
    refusals={
        "stock_on_hand_limit": _TOO_MUCH,
        "reservations_pkey": Conflict(
            "A reservation with this id is being made or released; ask again.", code="reservation_in_flight"
        ),
    },
)


def require_location(connection: Connection, location: str, field: str = "location") -> None:
    """Raise Forbidden unless who asks may act at `location`, Invalid when there is no such place."""
    who = identity()
    if not who.has_any(("hq", "service")) and who.store != location:
        raise Forbidden(f"This token acts at {who.store} alone.", code="not_your_location")
    if location not in known_locations(connection, location):
        raise unknown_location([field])


def unknown_location(fields: Sequence[str]) -> Problem:
    errors = [{"field": field, "message": "is not a location"} for field in fields]
    return Invalid("There is no such location.", code="unknown_location", errors=errors)


def known_locations(connection: Connection, *wanted: str) -> frozenset[str]:
    """The codes of all locations; read again only when one of `wanted` is not among those known, since
    locations come with migrations."""
    known: frozenset[str] = current_app.extensions.setdefault("locations", frozenset())
    if not known.issuperset(wanted):
        known = frozenset(row["location"] for row in store.list_locations(connection))
        current_app.extensions["locations"] = known
    return known


def move(
    connection: Connection,
    changes: Sequence[Change],
    lines: Sequence[Line],
    code: Shortage = "insufficient_stock",
    **note: str | None,
) -> list[Row]:
    """Make all of `changes` and return their movements; or raise the refusal that names which of `lines` lack.

    `note` is the `reason` and the `reference` of the movements.
    """
    store.open_rows(connection, changes)
    outcome = store.change_stock(connection, changes, Note(identity().subject, **note))
    if outcome.lacks:
        refuse_shortage(lines, outcome.lacks, code)
    for movement in outcome.movements:
        connection.after_commit(MOVEMENTS.labels(movement["kind"]).inc)
    return outcome.movements


def refuse_shortage(
    lines: Sequence[Line], lacks: Sequence[Lack], code: Shortage = "insufficient_stock"
) -> NoReturn:
    """Raise the refusal that names which of `lines` lack."""
    REFUSALS.labels(code).inc()
    raise domain.insufficient(lines, lacks, code)


def lines_at(location: str, items: Sequence[Any]) -> list[Line]:
    """The lines of a request, at one location."""
    return [Line(location, item.sku, item.quantity) for item in items]
