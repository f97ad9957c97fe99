"""A return, step by step: take it from the order's lines and record → book the goods in → money back.

Once recorded a return is finished, never undone: booking goods in cannot lack anything, and no more goes back than
was taken. An order all of which is booked in is `returned`, and `refunded` once the last cent is.
"""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

from functions.shared import Connection, Row, Unavailable, UpstreamTimeout, claimed, identity
from functions.shared.idempotency import NamedRequest
from functions.shared.payments import PaymentRefused
from functions.shared.returns import Wanted, count_refund, refund_taxes, take_back
from functions.shared.stock import StockLacking, StockRefused, book_in
from functions.shared.taxes import show_taxes

from . import bodies, domain, return_store, store
from .common import CHANNEL, count_step, find_order, in_flight, provider


def return_lines(
    connection: Connection, reference: str, body: bodies.NewReturn, request: NamedRequest
) -> tuple[str, str]:
    """Take lines of an order back, or go on with what the request began before; the ids of the order and the return.

    Commits what it records before it calls inventory. The completion is left for the caller to commit.
    Raises Unavailable when goods could not be booked or money not be paid back: the return is finished later then.
    """
    order_id: str = find_order(connection, reference)["order_id"]
    present = return_store.find_request(connection, request.name)
    if present is not None:
        _resume(connection, present, request)
        return order_id, present["return_id"]
    record = _new_return(connection, order_id, body, request)
    with claimed(connection, record["return_id"]):
        if not return_store.record_return(connection, record):
            raise in_flight()
        connection.commit()
        finish_return(connection, record["return_id"])
    return order_id, record["return_id"]


def _resume(connection: Connection, present: Row, request: NamedRequest) -> None:
    request.check_same(present["request_sha256"])
    with claimed(connection, present["return_id"]) as held:
        if not held:
            raise in_flight()
        finish_return(connection, present["return_id"])


def _new_return(
    connection: Connection, order_id: str, body: bodies.NewReturn, request: NamedRequest
) -> dict[str, Any]:
    """Lock the order, take the lines from it, and say what is to be recorded."""
    order = store.lock_order(connection, order_id)
    domain.check_returnable(order["status"])
    wanted = [
        Wanted(line.line, line.quantity, line.restock, f"lines.{place}")
        for place, line in enumerate(body.lines)
    ]
    returned, sold = take_back(return_store.sold_lines(connection, order_id), wanted, document="order")
    return_store.take_from_order(connection, order_id, sold)
    taxes = refund_taxes([(tax["name"], Decimal(tax["percent"])) for tax in order["taxes"]], returned)
    return {
        "return_id": str(uuid.uuid4()),
        "order_id": order_id,
        "location": order["location"],
        "time_zone": order["time_zone"],
        # Words about a person whose data was erased are not kept.
        "reason": None if order["erased_at"] else body.reason,
        "returned_by": identity().subject,
        "subtotal_cents": sum(line.total_cents for line in returned),
        "taxes": json.dumps(show_taxes(taxes)),
        "tax_cents": sum(tax.amount_cents for tax in taxes),
        "request": request.name,
        "request_sha256": request.sha256,
        "lines": [
            {
                "line": place,
                "order_line": line.sold_line,
                "sku": line.sku,
                "name": line.name,
                "category": line.category,
                "restock": line.restock,
                "quantity": line.quantity,
                "unit_price_cents": line.unit_price_cents,
                "tax_parts_cents": line.tax_parts,
                "tax_cents": sum(line.tax_parts),
            }
            for place, line in enumerate(returned, 1)
        ],
    }


def finish_return(connection: Connection, return_id: str) -> bool:
    """Book the goods of a claimed return in and pay the money back; False when nothing was left to do."""
    found = return_store.unsettled_return(connection, return_id)
    connection.commit()
    if found["status"] != "pending":
        return False
    try:
        if found["booked_at"] is None:
            _book(connection, found)
        if found["total_cents"]:
            provider().refund(found["payment_reference"], return_id, found["total_cents"])
    except (Unavailable, UpstreamTimeout) as away:
        raise _unfinished() from away
    except (StockRefused, StockLacking, PaymentRefused) as refused:
        return_store.touch_return(connection, return_id, str(refused))
        connection.commit()
        raise _unfinished() from refused
    _complete(connection, found)
    return True


def _book(connection: Connection, found: Row) -> None:
    """What goes into stock and what is written off are two returns for inventory, each with a reference of its own."""
    for restock, reference in ((True, found["return_id"]), (False, f"{found['return_id']}-off")):
        goods = [(sku, quantity) for sku, quantity, back in found["goods"] if back is restock]
        if goods:
            book_in(found["location"], reference, goods, restock=restock)
    order = store.lock_order(connection, found["order_id"])
    return_store.mark_booked(connection, found["return_id"])
    if order["status"] in domain.RETURNABLE and return_store.all_is_back(connection, order["order_id"]):
        store.step(connection, order["order_id"], order["status"], "returned", found["returned_by"])
        count_step(connection, "returned")
    connection.commit()


def _complete(connection: Connection, found: Row) -> None:
    order = store.lock_order(connection, found["order_id"])
    if return_store.complete_return(connection, found["return_id"]):
        count_refund(connection, CHANNEL, found["location"], found["total_cents"])
    if order["status"] == "returned" and return_store.all_is_refunded(connection, order["order_id"]):
        store.step(connection, order["order_id"], "returned", "refunded", found["returned_by"])
        count_step(connection, "refunded")


def _unfinished() -> Unavailable:
    return Unavailable(
        "The return is recorded. Its goods could not be booked or its money not be paid back right now; that will be "
        "finished by itself. Repeat the request with the same key for its answer.",
        code="return_unfinished",
    )
