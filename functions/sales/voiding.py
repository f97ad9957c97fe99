"""A void, step by step: record → stock back → pay back. It only goes forward; each step may be repeated, as in selling.py."""

from __future__ import annotations

from datetime import UTC, datetime

from functions.shared import Conflict, Connection, Row, Unavailable, UpstreamTimeout, claimed, identity
from functions.shared.idempotency import NamedRequest, key_reused

from . import counting, domain, people, stock, store
from .bodies import NewVoid


def void(connection: Connection, sale_id: str, body: NewVoid, request: NamedRequest) -> None:
    """Void a sale of today, or go on with it. The end is left for the caller to commit.

    Raises Invalid when its key was another void's of this sale.
    Raises Unavailable when inventory cannot be reached: the void is recorded then, and finished later.
    """
    with claimed(connection, sale_id) as held:
        if not held:
            raise people.in_flight()
        sale = _sale_to_change(connection, sale_id)
        if sale["void_request"] != request.name:
            _begin_void(connection, sale, body, request)
        elif (sale["void_register"], sale["void_reason"]) != (body.register_name, body.reason):
            raise key_reused()
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
        raise people.unfinished("void") from away
    if store.finish_void(connection, sale["sale_id"]):
        counting.count_paid_back(connection, "void", sale)
