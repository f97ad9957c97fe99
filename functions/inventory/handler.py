"""Stock over HTTP: owns the schema inventory, and calls no other function.

The routes of movements, issues, stock and replenishments are in their own files; here are reservations and the application.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from prometheus_client import Counter

from functions.shared import (
    Answer,
    Conflict,
    Connection,
    DatabaseSettings,
    FunctionApp,
    Invalid,
    NotFound,
    Row,
    TokenSettings,
    current,
    identity,
    setting,
)
from functions.shared import (
    create_app as build,
)

# Importing the others declares their routes on `api`.
from . import domain, routes_issues, routes_movements, routes_replenishments, routes_stock, store, views
from . import store_reservations as reservations
from .common import api, lines_at, move, refuse_shortage, require_location
from .domain import Line

__all__ = ["api", "create_app", "routes_issues", "routes_movements", "routes_replenishments", "routes_stock"]

RESERVATIONS = Counter("inventory_reservations_total", "What became of reservations.", ["outcome"])


@dataclass(frozen=True, kw_only=True)
class InventorySettings(DatabaseSettings, TokenSettings):
    reservation_ttl_seconds: int = setting(
        "A reservation that names no time of its own expires after this long.", default=600
    )
    longest_reservation_seconds: int = setting("Longest time a reservation may ask for.", default=3600)
    expiry_batch: int = setting("Reservations that one call of /expire deals with at most.", default=200)


@api.post(
    "/reservations", body=views.NewReservation,
    answers={200: views.ReservationView, 201: views.ReservationView}, roles=("service",),
    idempotency="required", problems=[409],
)  # fmt: skip
def reserve_stock(body: views.NewReservation, connection: Connection) -> Answer:
    """Promise all lines or none, until the reservation is committed, released or expires.

    With a `reservation_id` of the caller's, the same again is answered 200 with the reservation as it stands.
    """
    require_location(connection, body.location)
    lines = lines_at(body.location, body.lines)
    combined = domain.combined(lines)
    present = _present(connection, body, store.stored_lines(combined))
    if present is not None:
        return Answer(present)
    row, lacks = reservations.promise_stock(
        connection,
        combined,
        reservation_id=body.reservation_id or uuid4(),
        location=body.location,
        reference=body.reference,
        ttl_seconds=_ttl_seconds(body),
    )
    if lacks:
        refuse_shortage(lines, lacks)
    connection.after_commit(RESERVATIONS.labels("created").inc)
    return Answer({**row, "lines": store.stored_lines(combined), "movements": []}, 201)


def _present(connection: Connection, body: views.NewReservation, lines: list[Row]) -> Row | None:
    """The reservation that has the caller's id already, if it is the same."""
    if body.reservation_id is None:
        return None
    row = reservations.find_reservation(connection, body.reservation_id)
    if row is None:
        return None
    if row["state"] == "released":
        raise Conflict("The reservation was released.", code="reservation_released")
    if not views.is_same(row, {"location": body.location, "lines": lines}):
        raise Conflict("This id is that of another reservation.", code="reservation_taken")
    return _shown(connection, row)


def _ttl_seconds(body: views.NewReservation) -> int:
    settings = _settings()
    wanted = body.ttl_seconds or settings.reservation_ttl_seconds
    if wanted > settings.longest_reservation_seconds:
        message = f"must be at most {settings.longest_reservation_seconds}"
        raise Invalid(errors=[{"field": "ttl_seconds", "message": message}])
    return wanted


@api.get(
    "/reservations/<uuid:reservation_id>", answers={200: views.ReservationView}, roles=("hq", "service"),
    problems=[404],
)  # fmt: skip
def read_reservation(reservation_id: UUID) -> Row:
    """One reservation."""
    with current().database.transaction() as connection:
        return _shown(connection, _found(reservations.find_reservation(connection, reservation_id)))


@api.post(
    "/reservations/<uuid:reservation_id>/commit", answers={200: views.ReservationView}, roles=("service",),
    idempotency="required", problems=[404, 409],
)  # fmt: skip
def commit_reservation(reservation_id: UUID, connection: Connection) -> Answer:
    """The promised stock leaves.

    An expired reservation takes the stock anew if all lines can still be had, since the customer may have paid.
    """
    row = _found(reservations.lock_reservation(connection, reservation_id))
    if row["state"] == "released":
        raise Conflict("The reservation was released.", code="reservation_released")
    if row["state"] == "open":
        _fulfil(connection, row, domain.fulfilled(reservations.lines_of(row)), "committed")
    elif row["state"] == "expired":
        _fulfil(connection, row, domain.taken(reservations.lines_of(row), "sale"), "committed_late")
    return Answer(_shown(connection, _found(reservations.find_reservation(connection, reservation_id))))


def _fulfil(connection: Connection, row: Row, changes: list[domain.Change], outcome: str) -> None:
    reservation_id = row["reservation_id"]
    reservations.settle_reservation(connection, UUID(reservation_id), "committed")
    lines = reservations.lines_of(row)
    move(connection, changes, lines, code="reservation_expired", reference=reservation_id)
    connection.after_commit(RESERVATIONS.labels(outcome).inc)


@api.post(
    "/reservations/<uuid:reservation_id>/release", answers={200: views.ReservationView},
    roles=("hq", "service"), idempotency="required", problems=[404, 409],
)  # fmt: skip
def release_reservation(reservation_id: UUID, connection: Connection) -> Answer:
    """Take the promise back. It can never be committed afterwards, not even anew after its time has passed.

    If a service releases what was never reserved, it never can be: that settles a call whose answer was lost.
    """
    if identity().has_any(("service",)):
        reservations.forbid_reservation(connection, reservation_id)
    row = _found(reservations.lock_reservation(connection, reservation_id))
    if row["state"] == "committed":
        raise Conflict("The stock of this reservation has left.", code="reservation_committed")
    if row["state"] in {"open", "expired"}:
        reservations.settle_reservation(connection, reservation_id, "released")
    if row["state"] == "open":
        lines = reservations.lines_of(row)
        move(connection, domain.released(lines), lines)
        connection.after_commit(RESERVATIONS.labels("released").inc)
    return Answer(_shown(connection, _found(reservations.find_reservation(connection, reservation_id))))


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such reservation.", code="reservation_not_found")
    return row


def _shown(connection: Connection, row: Row) -> Row:
    left = row["state"] == "committed"
    movements = store.movements_of(connection, row["reservation_id"], ["sale"]) if left else []
    return {**row, "movements": movements}


@api.post("/expire", answers={200: views.Expiry}, roles=("service",), problems=[503])
def expire_reservations() -> dict[str, Any]:
    """Take back some promises whose time has passed; for maintenance. Any number of these may run at once."""
    limit = _settings().expiry_batch
    expired = current().database.change(lambda connection: _expire(connection, limit))
    RESERVATIONS.labels("expired").inc(expired)
    return {"expired": expired, "more": expired == limit}


def _expire(connection: Connection, limit: int) -> int:
    rows = reservations.expire_reservations(connection, limit)
    lines = [Line(row["location"], row["sku"], row["quantity"]) for row in rows]
    if not rows:
        return 0
    move(connection, domain.released(lines), lines)
    return int(rows[0]["reservations"])


def _settings() -> InventorySettings:
    return current().settings(InventorySettings)


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The inventory function in `environ`; the template calls this once."""
    return build(api, InventorySettings, environ)
