"""A sale, step by step: record → let the stock leave → complete; and a void: record → stock back → pay back.

Each step is committed before the next begins, and each may be repeated. Inventory keeps what it did under the
sale's id, so whoever finds a sale half-way, in another process even, can ask and go on.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from functions.shared import (
    Conflict,
    Connection,
    Invalid,
    Problem,
    Row,
    Unavailable,
    UpstreamTimeout,
    claimed,
    identity,
)
from functions.shared.catalogue import Product
from functions.shared.idempotency import NamedRequest

from . import counting, domain, people, register_store, stock, store
from .bodies import NewLine, NewSale, NewVoid
from .catalogue import check_products, products_of
from .domain import Bill, Line, Payment, Tender
from .views import show_taxes


def sell(connection: Connection, body: NewSale, request: NamedRequest) -> str:
    """Sell, or go on with what the request began before; the id of the completed sale.

    Commits what it records before it calls inventory. The completion is left for the caller to commit.
    """
    present = store.find_request(connection, request.name)
    sale_id = resume(connection, present, request) if present else None
    if sale_id is not None:
        return sale_id
    bill = price(body.lines)
    domain.check_overrides(bill.lines, override_percent())
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
        return None if sale["status"] in {"undoing", "undone", "refused"} else sale_id


def price(lines: Sequence[NewLine]) -> Bill:
    """The bill of lines at the catalogue's prices, or at those they name."""
    rules = people.rules()
    found = products_of(line.sku for line in lines)
    check_products([line.sku for line in lines], found, rules.currency)
    return domain.bill([_line(line, found[line.sku]) for line in lines], rules.taxes)


def _line(line: NewLine, product: Product) -> Line:
    named = line.unit_price_cents
    overridden = named is not None and named != product.price_cents
    return Line(
        sku=product.sku,
        name=product.name,
        category=product.category,
        quantity=line.quantity,
        list_price_cents=product.price_cents,
        unit_price_cents=product.price_cents if named is None else named,
        override_reason=line.override_reason if overridden else None,
    )


def override_percent() -> int:
    """How far who asks may change a price, in percent of the catalogue's."""
    rules = people.rules()
    wide = identity().has_any(("hq",))
    return rules.hq_override_percent if wide else rules.staff_override_percent


def _tender(tender: Any) -> Tender:
    amount = tender.given_cents if tender.kind == "cash" else tender.amount_cents
    return Tender(tender.kind, amount, getattr(tender, "reference", None), getattr(tender, "code", None))


def _till_sale(body: NewSale, bill: Bill, paid: Sequence[Payment], request: NamedRequest) -> dict[str, Any]:
    where = people.acting_store(body.store)
    now = datetime.now(UTC)
    return {
        **bill_columns(bill, people.rules().currency),
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


def bill_columns(bill: Bill, currency: str) -> dict[str, Any]:
    """The columns of a sale that its bill says, and its lines."""
    return {
        "currency": currency,
        "subtotal_cents": bill.subtotal_cents,
        "taxes": json.dumps(show_taxes(bill.taxes)),
        "tax_cents": bill.tax_cents,
        "lines": [
            {
                "line": place,
                "sku": line.sku,
                "name": line.name,
                "category": line.category,
                "charge": line.charge,
                "quantity": line.quantity,
                "list_price_cents": line.list_price_cents,
                "unit_price_cents": line.unit_price_cents,
                "override_reason": line.override_reason,
                "tax_parts_cents": parts,
                "tax_cents": sum(parts),
            }
            for place, (line, parts) in enumerate(zip(bill.lines, bill.tax_parts, strict=True), 1)
        ],
    }


def _record_at_till(
    connection: Connection, sale: dict[str, Any], register: str, paid: Sequence[Payment]
) -> None:
    session_id = people.open_session(connection, sale["store"], register)
    cards = [_charged(connection, payment, place) for place, payment in enumerate(paid)]
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


def _charged(connection: Connection, payment: Payment, place: int) -> int | None:
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


def void(connection: Connection, sale_id: str, body: NewVoid, request: NamedRequest) -> None:
    """Void a sale of today, or go on with it. The end is left for the caller to commit.

    Raises Unavailable when inventory cannot be reached: the void is recorded then, and finished later.
    """
    with claimed(connection, sale_id) as held:
        if not held:
            raise people.in_flight()
        sale = _sale_to_change(connection, sale_id)
        if sale["void_request"] != request.name:
            _begin_void(connection, sale, body, request)
        if sale["status"] != "voided":
            connection.commit()
            finish_void(connection, store.unsettled_sale(connection, sale_id))


def _sale_to_change(connection: Connection, sale_id: str) -> Row:
    sale = store.lock_sale(connection, sale_id)
    if sale is None:
        raise people.sale_not_found()
    people.check_store(sale["store"])
    return sale


def _begin_void(connection: Connection, sale: Row, body: NewVoid, request: NamedRequest) -> None:
    if sale["status"] != "complete":
        raise Conflict(f"The sale is {sale['status']}.", code="sale_not_complete")
    where = people.acting_store(sale["store"])
    today = domain.business_date(datetime.now(UTC), where.time_zone)
    if sale["origin"] != "till" or sale["business_date"] != today:
        raise Conflict("A sale can be voided on its own day only; take a return.", code="day_has_ended")
    if store.has_returns(connection, sale["sale_id"]):
        raise Conflict("Something of this sale has come back already.", code="sale_has_returns")
    store.begin_void(
        connection,
        {
            "sale_id": sale["sale_id"],
            "request": request.name,
            "session_id": people.open_session(connection, sale["store"], body.register_name),
            "reason": body.reason,
            "voided_by": identity().subject,
        },
    )


def finish_void(connection: Connection, sale: Row) -> None:
    """Put back the stock of a claimed sale that is being voided, then pay back what was paid."""
    try:
        if sale["goods"]:
            stock.undo_issue(sale["sale_id"])
    except (Unavailable, UpstreamTimeout) as away:
        raise unfinished("void") from away
    if store.finish_void(connection, sale["sale_id"]):
        counting.count_paid_back(connection, "void", sale)


def unfinished(kind: str) -> Unavailable:
    """A void or return that is recorded and cannot be finished now."""
    return Unavailable(
        f"Stock cannot be reached right now. The {kind} is recorded and will be finished by itself; "
        "repeat the request with the same key for its answer, and pay nothing back before.",
        code=f"{kind}_unfinished",
    )
