"""Routes with which a store asks the warehouse for stock, and the warehouse answers."""

from __future__ import annotations

from typing import Any

from functions.shared import (
    Answer,
    Conflict,
    Connection,
    Forbidden,
    Invalid,
    NotFound,
    Row,
    current,
    decode_cursor,
    encode_cursor,
    identity,
    page,
)

from . import domain, store_replenishments, views
from .common import READERS, api, lines_at, move, require_location
from .domain import WAREHOUSE, Line


@api.post(
    "/replenishments", body=views.NewReplenishment, answers={201: views.ReplenishmentView},
    roles=("staff", "hq"), idempotency="required", problems=[403],
)  # fmt: skip
def ask_for_stock(body: views.NewReplenishment, connection: Connection) -> Answer:
    """A store asks the warehouse for stock."""
    require_location(connection, body.location)
    if body.location == WAREHOUSE:
        fault = {"field": "location", "message": "must be a store"}
        raise Invalid("The warehouse cannot ask itself.", code="same_location", errors=[fault])
    lines = domain.combined(lines_at(body.location, body.lines))
    replenishment_id = store_replenishments.add_replenishment(
        connection, body.location, lines, body.note, identity().subject
    )
    return Answer(store_replenishments.find_replenishment(connection, replenishment_id), 201)


@api.get(
    "/replenishments", query=views.ReplenishmentQuery, answers={200: views.ReplenishmentPage}, roles=READERS,
    problems=[400],
)  # fmt: skip
def list_replenishments(query: views.ReplenishmentQuery) -> dict[str, Any]:
    """Requests, latest first."""
    filters = {
        **query.model_dump(include={"location", "state"}),
        "before_id": decode_cursor(query.after, int)[0] if query.after else None,
        "limit": query.limit + 1,
    }
    rows = current().database.read(store_replenishments.list_replenishments, filters)
    return page(rows, query.limit, lambda row: encode_cursor(row["replenishment_id"]))


@api.get(
    "/replenishments/<id:replenishment_id>", answers={200: views.ReplenishmentView}, roles=READERS,
    problems=[404],
)  # fmt: skip
def read_replenishment(replenishment_id: int) -> Row:
    """One request."""
    return _found(current().database.read(store_replenishments.find_replenishment, replenishment_id))


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such request.", code="replenishment_not_found")
    return row


@api.post(
    "/replenishments/<id:replenishment_id>/approve", body=views.Approval,
    answers={200: views.ReplenishmentView}, roles=("staff", "hq"), idempotency="required",
    problems=[403, 404, 409],
)  # fmt: skip
def approve_replenishment(replenishment_id: int, body: views.Approval, connection: Connection) -> Answer:
    """Approve a request in whole or in part: the stock is transferred together with the decision."""
    asked = _to_decide(connection, replenishment_id)
    requested = {line["sku"]: line["requested"] for line in asked["lines"]}
    given = _summed(body.lines) if body.lines is not None else None
    approved = domain.approved_quantities(requested, given)
    lines = [Line(WAREHOUSE, sku, quantity) for sku, quantity in approved.items() if quantity]
    store_replenishments.approve_replenishment(connection, replenishment_id, approved, identity().subject)
    changes = domain.moved(lines, asked["location"])
    move(connection, changes, lines, reference=f"replenishment:{replenishment_id}")
    return Answer(store_replenishments.find_replenishment(connection, replenishment_id))


def _summed(lines: list[views.ApprovedLine]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.sku] = sums.get(line.sku, 0) + line.quantity
    return sums


@api.post(
    "/replenishments/<id:replenishment_id>/refuse", body=views.Refusal,
    answers={200: views.ReplenishmentView}, roles=("staff", "hq"), idempotency="required",
    problems=[403, 404, 409],
)  # fmt: skip
def refuse_replenishment(replenishment_id: int, body: views.Refusal, connection: Connection) -> Answer:
    """Refuse a request; nothing is transferred."""
    _to_decide(connection, replenishment_id)
    store_replenishments.refuse_replenishment(connection, replenishment_id, body.reason, identity().subject)
    return Answer(store_replenishments.find_replenishment(connection, replenishment_id))


def _to_decide(connection: Connection, replenishment_id: int) -> Row:
    """The request, locked; raises unless it is open and who asks speaks for the warehouse."""
    who = identity()
    if not who.has_any(("hq",)) and who.store != WAREHOUSE:
        raise Forbidden("The warehouse decides on requests.", code="not_your_location")
    row = _found(store_replenishments.lock_replenishment(connection, replenishment_id))
    if row["state"] != "requested":
        raise Conflict(f"This request was {row['state']} before.", code="replenishment_decided")
    return row
