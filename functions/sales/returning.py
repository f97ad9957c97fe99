"""A return, step by step: take it from the sale's lines and record → book the goods in → complete and refund.

Once recorded a return is finished, unless inventory refuses it (`stock_limit`): then the sale has its lines again.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from functions.shared import (
    Conflict,
    Connection,
    Invalid,
    Row,
    Unavailable,
    UpstreamTimeout,
    claimed,
    identity,
)
from functions.shared.idempotency import NamedRequest
from functions.shared.returns import Returned, Sold, Wanted, refund_taxes, take_back
from functions.shared.taxes import Tax, show_taxes

from . import counting, domain, people, register_store, return_store, stock, store
from .bodies import NewReturn
from .gift_cards import card_digest, unknown_gift_card
from .selling import refusal_columns

_log = logging.getLogger("magasin")


def return_lines(connection: Connection, sale_id: str, body: NewReturn, request: NamedRequest) -> str:
    """Take lines of a sale back, or go on with what the request began before; the id of the completed return.

    Commits what it records before it calls inventory. The completion is left for the caller to commit.
    """
    present = return_store.find_request(connection, request.name)
    if present is not None:
        return resume(connection, present, request)
    record = _till_return(connection, sale_id, body, request)
    with claimed(connection, record["return_id"]):
        if not return_store.record_return(connection, record):
            raise people.in_flight()
        connection.commit()
        finish_return(connection, return_store.unsettled_return(connection, record["return_id"]))
    return str(record["return_id"])


def resume(connection: Connection, present: Row, request: NamedRequest) -> str:
    """Go on with a return that the same request began."""
    request.check_same(present["request_sha256"])
    return_id: str = present["return_id"]
    with claimed(connection, return_id) as held:
        if not held:
            raise people.in_flight()
        found = return_store.unsettled_return(connection, return_id)
        if found["status"] == "pending":
            finish_return(connection, found)
    return return_id


def _till_return(
    connection: Connection, sale_id: str, body: NewReturn, request: NamedRequest
) -> dict[str, Any]:
    """Lock the sale, take the lines from it, and say what is to be recorded."""
    sale = store.lock_sale(connection, sale_id)
    if sale is None:
        raise people.sale_not_found()
    people.check_store(sale["store"])
    if sale["status"] != "complete":
        raise Conflict(f"The sale is {sale['status']}.", code="sale_not_complete")
    where = people.acting_store(sale["store"])
    session_id = people.open_session(connection, sale["store"], body.register_name)
    wanted = [
        Wanted(line.line, line.quantity, line.restock, f"lines.{place}")
        for place, line in enumerate(body.lines)
    ]
    sold = return_store.sold_lines(connection, sale_id)
    content = take_lines(connection, sale, sold, wanted)
    _check_left(sold, content["subtotal_cents"] + content["tax_cents"])
    now = datetime.now(UTC)
    return {
        **content,
        "return_id": str(uuid.uuid4()),
        "origin": "till",
        "store": sale["store"],
        "register": body.register_name,
        "session_id": session_id,
        "cashier": identity().subject,
        "business_date": domain.business_date(now, where.time_zone),
        "returned_at": now,
        "currency": sale["currency"],
        "refund_kind": body.refund.kind,
        "refund_reference": getattr(body.refund, "reference", None),
        "gift_card_id": _refunded_card(connection, body),
        "reason": body.reason,
        "customer_reference": None,
        "document": None,
        "request": request.name,
        "request_sha256": request.sha256,
    }


def _check_left(sold: Sequence[Sold], total_cents: int) -> None:
    """Raise Conflict when goods come back without the discount that they were sold with."""
    left_cents = sum(line.left_cents for line in sold)
    if total_cents > left_cents:
        raise Conflict(
            "More would be paid back than is left of what was paid; take the sale's discount back with its goods.",
            code="discount_left",
            errors=[{"field": "lines", "message": f"add up to {total_cents} cents, {left_cents} are left"}],
        )


def take_lines(
    connection: Connection, sale: Row, sold: Sequence[Sold], wanted: Sequence[Wanted]
) -> dict[str, Any]:
    """Take lines from a locked sale: what a return says of them. Raises Invalid, Conflict."""
    returned, changed = take_back(sold, wanted)
    names = [(tax["name"], Decimal(tax["percent"])) for tax in sale["taxes"]]
    columns = line_columns(returned, refund_taxes(names, returned))
    _check_total(columns["subtotal_cents"] + columns["tax_cents"])
    return_store.take_from_sale(connection, sale["sale_id"], changed)
    return {"sale_id": sale["sale_id"], **columns}


def _check_total(total_cents: int) -> None:
    """Raise Invalid when the lines take back more in discounts than in goods."""
    if total_cents < 0:
        raise Invalid(
            "The return's total is below zero.",
            code="negative_total",
            errors=[{"field": "lines", "message": f"add up to {total_cents} cents"}],
        )


def line_columns(lines: Sequence[Returned], taxes: Sequence[Tax]) -> dict[str, Any]:
    """The columns of a return that its lines say, and the lines."""
    return {
        "subtotal_cents": sum(line.total_cents for line in lines),
        "taxes": json.dumps(show_taxes(taxes)),
        "tax_cents": sum(tax.amount_cents for tax in taxes),
        "lines": [
            {
                "line": place,
                "sale_line": line.sold_line,
                "sku": line.sku,
                "name": line.name,
                "category": line.category,
                "charge": line.charge,
                "restock": line.restock,
                "quantity": line.quantity,
                "unit_price_cents": line.unit_price_cents,
                "tax_parts_cents": line.tax_parts,
                "tax_cents": sum(line.tax_parts),
            }
            for place, line in enumerate(lines, 1)
        ],
    }


def _refunded_card(connection: Connection, body: NewReturn) -> int | None:
    code = getattr(body.refund, "code", None)
    if code is None:
        return None
    card = register_store.find_gift_card(connection, card_digest(code))
    if card is None:
        raise unknown_gift_card("refund.code")
    return int(card["gift_card_id"])


def finish_return(connection: Connection, found: Row) -> None:
    """Book the goods of a pending, claimed return in, and complete it.

    Raises Conflict when inventory refuses (the return is refused then, which is committed), Unavailable when it
    cannot be reached (the return stays pending, and is finished later).
    """
    return_id = found["return_id"]
    try:
        _book_in(found)
    except stock.StockRefused as refused:
        problem = stock.refusal(refused, ())
        return_store.refuse_return(connection, return_id, refusal_columns(problem))
        counting.count_document(connection, "return", "refused")
        connection.commit()
        raise problem from refused
    except (Unavailable, UpstreamTimeout) as away:
        raise people.unfinished("return") from away
    if return_store.complete_return(connection, return_id):
        counting.count_paid_back(connection, "return", found)


def _book_in(found: Row) -> None:
    """What goes into stock and what is written off are two returns for inventory, each with a reference of its own."""
    booked = False
    for restock, reference in ((True, found["return_id"]), (False, f"{found['return_id']}-off")):
        goods = [(sku, quantity) for sku, quantity, back in found["goods"] if back is restock]
        if not goods:
            continue
        try:
            stock.book_in(found["store"], reference, goods, restock=restock)
        except (stock.StockRefused, stock.StockLacking) as refused:
            if not booked and isinstance(refused, stock.StockRefused):
                raise
            _log.exception("inventory took one half of return %s and refuses the other", found["return_id"])
            raise Unavailable from refused
        booked = True
