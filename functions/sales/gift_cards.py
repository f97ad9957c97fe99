"""Gift cards as a way to pay: what of a code is kept, and what a payment takes from its card."""

from __future__ import annotations

import hashlib

from functions.shared import Conflict, Connection, Invalid

from . import register_store
from .domain import Payment


def charge(connection: Connection, payment: Payment, place: int) -> int | None:
    """Take a gift card's part from it. Raises Invalid, Conflict."""
    if payment.code is None:
        return None
    code_sha256 = card_digest(payment.code)
    gift_card_id = register_store.charge_gift_card(connection, code_sha256, payment.amount_cents)
    if gift_card_id is not None:
        return gift_card_id
    card = register_store.find_gift_card(connection, code_sha256)
    if card is None:
        raise unknown_gift_card(f"tenders.{place}.code")
    message = f"has {card['balance_cents']} cents left"
    raise Conflict(
        f"The gift card {message}.",
        code="gift_card_balance",
        errors=[{"field": f"tenders.{place}.amount_cents", "message": message}],
    )


def card_digest(code: str) -> bytes:
    """What of a gift card's code is kept."""
    return hashlib.sha256(code.encode()).digest()


def unknown_gift_card(field: str) -> Invalid:
    message = "there is no gift card with this code"
    return Invalid(
        "There is no such gift card.", code="unknown_gift_card", errors=[{"field": field, "message": message}]
    )
