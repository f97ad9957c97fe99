"""A sale, step by step: record → let the stock leave → complete.

Each step is committed before the next begins, and each may be repeated. Inventory keeps what it did under the
sale's id, so whoever finds a sale half-way, in another process even, can ask and go on.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from functions.shared import Connection, Problem, Row, Unavailable, UpstreamTimeout, claimed, identity
from functions.shared.idempotency import NamedRequest

from . import counting, domain, gift_cards, people, pricing, register_store, stock, store
from .bodies import NewSale
from .domain import Bill, Payment, Tender


def sell(connection: Connection, body: NewSale, request: NamedRequest) -> str:
    """Sell, or go on with what the request began before; the id of the completed sale.

    Commits what it records before it calls inventory. The completion is left for the caller to commit.
    """
    present = store.find_request(connection, request.name)
    sale_id = resume(connection, present, request) if present else None
    if sale_id is not None:
        return sale_id
    bill = pricing.price(body.lines)
    domain.check_overrides(bill.lines, pricing.override_percent())
    paid = domain.payments(bill.total_cents, [_tender(tender) for tender in body.tenders])
    sale = _till_sale(body, bill, paid, request)
    with claimed(connection, sale["sale_id"]):
        _record_at_till(connection, sale, body.register_name, paid)
        connection.commit()
        finish_sale(connection, store.unsettled_sale(connection, sale["sale_id"]))
    return str(sale["sale_id"])


def resume(connection: Connection, present: Row, request: NamedRequest) -> str | None:
    """Go on with a sale that the same request began; None when it came to nothing and may be made anew."""
    request.check_same(present["request_sha256"])
    sale_id: str = present["sale_id"]
    with claimed(connection, sale_id) as held:
        if not held:
            raise people.in_flight()
        sale = store.unsettled_sale(connection, sale_id)
        if sale["status"] == "pending":
            finish_sale(connection, sale)
        elif sale["status"] == "undoing":
            undo_sale(connection, sale)
        if sale["status"] not in {"undoing", "undone", "refused"}:
            return sale_id
    connection.commit()  # or prices that are away would roll back that the claim's timeout has ended
    return None


def _tender(tender: Any) -> Tender:
    amount = tender.given_cents if tender.kind == "cash" else tender.amount_cents
    return Tender(tender.kind, amount, getattr(tender, "reference", None), getattr(tender, "code", None))


def _till_sale(body: NewSale, bill: Bill, paid: Sequence[Payment], request: NamedRequest) -> dict[str, Any]:
    where = people.acting_store(body.store)
    now = datetime.now(UTC)
    return {
        **pricing.bill_columns(bill, people.rules().currency),
        "sale_id": str(uuid.uuid4()),
        "origin": "till",
        "store": where.code,
        "register": body.register_name,
        "cashier": identity().subject,
        "business_date": domain.business_date(now, where.time_zone),
        "sold_at": now,
        "change_cents": sum(payment.given_cents - payment.amount_cents for payment in paid),
        "customer_reference": body.customer_reference,
        "document": None,
        "request": request.name,
        "request_sha256": request.sha256,
    }


def _record_at_till(
    connection: Connection, sale: dict[str, Any], register: str, paid: Sequence[Payment]
) -> None:
    session_id = people.open_session(connection, sale["store"], register)
    cards = [gift_cards.charge(connection, payment, place) for place, payment in enumerate(paid)]
    tenders = [
        {
            "tender": place,
            "kind": payment.kind,
            "amount_cents": payment.amount_cents,
            "given_cents": payment.given_cents,
            "reference": payment.reference,
            "gift_card_id": card,
        }
        for place, (payment, card) in enumerate(zip(paid, cards, strict=True), 1)
    ]
    if not store.record_sale(connection, {**sale, "session_id": session_id, "tenders": tenders}):
        raise people.in_flight()
    for payment, card in zip(paid, cards, strict=True):
        if card is not None:
            register_store.enter_charge(connection, card, sale["sale_id"], payment.amount_cents)


def finish_sale(connection: Connection, sale: Row) -> None:
    """Let the stock of a pending, claimed sale leave, and complete it.

    Raises Conflict when inventory refuses (the sale is refused then, which is committed), Unavailable when it
    cannot be reached (the sale is given up then, and undone once inventory can be reached).
    """
    try:
        if sale["goods"]:
            stock.issue(sale["store"], sale["sale_id"], sale["goods"])
    except (stock.StockLacking, stock.StockRefused) as refused:
        problem = _refusal(sale, refused)
        store.end_sale(connection, sale["sale_id"], "refused", refusal_columns(problem))
        counting.count_document(connection, "sale", "refused")
        connection.commit()
        raise problem from refused
    except (Unavailable, UpstreamTimeout) as away:
        store.give_up_sale(connection, sale["sale_id"])
        counting.count_document(connection, "sale", "given_up")
        connection.commit()
        raise Unavailable(
            "Stock cannot be reached right now, so nothing was sold; try again shortly.",
            code="stock_unavailable",
        ) from away
    complete_sale(connection, sale)


def complete_sale(connection: Connection, sale: Row) -> None:
    """Complete a sale whose stock has left, if it is still pending."""
    if store.complete_sale(connection, sale["sale_id"]):
        counting.count_sale(connection, sale)


def _refusal(sale: Row, refused: stock.StockLacking | stock.StockRefused) -> Problem:
    lacking = refused.lacking if isinstance(refused, stock.StockLacking) else ()
    return stock.refusal(refused, domain.lacking_faults(sale["skus"], lacking))


def refusal_columns(problem: Problem) -> Mapping[str, Any]:
    """What is kept of a refusal."""
    return {"code": problem.code, "detail": problem.detail, "errors": problem.errors, **problem.members}


def undo_sale(connection: Connection, sale: Row) -> None:
    """Put back what a claimed sale that shall not be has taken, and free its request; committed."""
    if sale["goods"]:
        stock.undo_issue(sale["sale_id"])
    store.end_sale(connection, sale["sale_id"], "undone", None)
    counting.count_document(connection, "sale", "undone")
    connection.commit()
