"""Registers, opened and closed with counted cash, and gift cards, sold at a register."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from functions.shared import (
    Answer,
    Conflict,
    Connection,
    Invalid,
    NotFound,
    Row,
    current,
    decode_cursor,
    encode_cursor,
    identity,
    page,
)

from . import bodies, domain, people, register_store, views
from .gift_cards import card_digest
from .people import CLERKS
from .routes import api


@api.post(
    "/registers/<register>/open", body=bodies.NewSession, answers={201: views.SessionView}, roles=CLERKS,
    idempotency="required", problems=[409, 503],
)  # fmt: skip
def open_register(register: str, body: bodies.NewSession, connection: Connection) -> Answer:
    """Open a register with the cash that is in its drawer."""
    where = people.acting_store(body.store)
    session = {
        "store": where.code,
        "register": _register(register),
        "business_date": domain.business_date(datetime.now(UTC), where.time_zone),
        "opened_by": identity().subject,
        "opening_cash_cents": body.opening_cash_cents,
    }
    return Answer(_session(register_store.open_session(connection, session)), 201)


@api.post(
    "/registers/<register>/close", body=bodies.Closing, answers={200: views.SessionView}, roles=CLERKS,
    idempotency="required", problems=[409, 503],
)  # fmt: skip
def close_register(register: str, body: bodies.Closing, connection: Connection) -> dict[str, Any]:
    """Close a register with the cash that was counted; the discrepancy is counted less expected.

    Refused while a sale, void or return of the register is not settled.
    """
    where = people.acting_store(body.store)
    session = register_store.lock_open(connection, where.code, _register(register))
    if session is None:
        raise people.register_closed(register)
    unsettled = register_store.count_unsettled(connection, session["session_id"])
    if unsettled:
        raise Conflict(
            f"{unsettled} documents of this register are not settled yet; try again shortly.",
            code="register_busy",
            headers={"Retry-After": "5"},
        )
    closing = {
        "session_id": session["session_id"],
        "closed_by": identity().subject,
        "counted_cash_cents": body.counted_cash_cents,
        "note": body.note,
    }
    return _session(register_store.close_session(connection, closing))


def _register(name: str) -> str:
    if not (1 <= len(name) <= 20 and name.isascii() and name.replace("-", "a").isalnum()):
        message = "1 to 20 letters, digits and dashes"
        raise Invalid(code="bad_register", errors=[{"field": "register", "message": message}])
    return name


@api.get(
    "/registers", query=bodies.SessionQuery, answers={200: views.SessionPage}, roles=CLERKS, problems=[400]
)
def list_sessions(query: bodies.SessionQuery) -> dict[str, Any]:
    """List the openings of registers, latest first; staff see those of their own store."""
    filters = {
        "store": people.visible_store(query.store),
        "register": query.register_name,
        "open": query.open,
        "after_id": decode_cursor(query.after, int)[0] if query.after else None,
        "limit": query.limit + 1,
    }
    rows = [_session(row) for row in current().database.read(register_store.list_sessions, filters)]
    return page(rows, query.limit, lambda row: encode_cursor(row["session_id"]))


def _session(row: Row) -> dict[str, Any]:
    return {**row, "business_date": row["business_date"].isoformat()}


@api.post(
    "/gift-cards", body=bodies.NewGiftCard, answers={201: views.GiftCardView}, roles=CLERKS,
    idempotency="required", problems=[409, 503],
)  # fmt: skip
def sell_gift_card(body: bodies.NewGiftCard, connection: Connection) -> Answer:
    """Sell a gift card: it is worth what was paid for it. No sale, for nothing has been bought with it yet."""
    if (body.paid_by == "card") != (body.reference is not None):
        message = "is the card terminal's: with paid_by card, and only then"
        raise Invalid(code="bad_reference", errors=[{"field": "reference", "message": message}])
    where = people.acting_store(body.store)
    card = {
        "code_sha256": card_digest(body.code),
        "last_four": body.code[-4:],
        "currency": people.rules().currency,
        "amount_cents": body.amount_cents,
        "store": where.code,
        "session_id": people.open_session(connection, where.code, body.register_name),
        "paid_by": body.paid_by,
        "paid_reference": body.reference,
        "issued_by": identity().subject,
    }
    row = register_store.issue_gift_card(connection, card)
    return Answer({**row, "entries": register_store.gift_card_entries(connection, row["gift_card_id"])}, 201)


@api.get("/gift-cards/<code>", answers={200: views.GiftCardView}, roles=CLERKS, problems=[404])
def read_gift_card(code: str) -> dict[str, Any]:
    """The balance of a gift card, and how it came about."""
    digest = card_digest(code.upper().replace("-", ""))
    card = current().database.read(register_store.find_gift_card, digest)
    if card is None:
        raise NotFound("There is no such gift card.", code="gift_card_not_found")
    entries = current().database.read(register_store.gift_card_entries, card["gift_card_id"])
    return {**card, "entries": entries}
