"""A cancel, step by step: cancel the order → goods back into stock → money back.

Once cancelled an order is never packed, so the rest is finished, never undone. Each step is committed before the next
begins and may be repeated: inventory and the payment provider keep what they did under the order's reference.
"""

from __future__ import annotations

from functions.shared import Connection, Row, Unavailable, UpstreamTimeout, claimed, identity
from functions.shared.payments import PaymentRefused
from functions.shared.returns import count_refund
from functions.shared.stock import StockLacking, StockRefused, book_in

from . import domain, store
from .common import CHANNEL, count_step, find_order, in_flight, provider


def cancel(connection: Connection, reference: str, reason: str) -> str:
    """Cancel a paid order that is not packed, or go on with it; its id. The end is left for the caller to commit.

    Raises Conflict when it cannot be cancelled (any more), Unavailable when goods or money could not be brought back:
    the order is cancelled then, and finished later.
    """
    order_id: str = find_order(connection, reference)["order_id"]
    with claimed(connection, order_id) as held:
        if not held:
            raise in_flight()
        order = store.lock_order(connection, order_id)
        if order["status"] != "refunded" or order["cancelled_at"] is None:
            domain.check_cancellable(order["status"], paid=order["paid_at"] is not None)
            _begin(connection, order, reason)
            connection.commit()
            finish_cancel(connection, order_id, identity().subject)
    return order_id


def _begin(connection: Connection, order: Row, reason: str) -> None:
    if order["status"] == "paid":
        store.step(connection, order["order_id"], "paid", "cancelled", identity().subject, note=reason)
        count_step(connection, "cancelled")


def finish_cancel(connection: Connection, order_id: str, who: str) -> bool:
    """Bring back the goods and the money of a claimed order; False when nothing was left to do."""
    order = store.lock_order(connection, order_id)
    goods = store.goods_of(connection, order_id)
    connection.commit()
    if order["status"] != "cancelled" or order["paid_at"] is None:
        return False
    try:
        _bring_back(connection, order, goods)
    except (Unavailable, UpstreamTimeout) as away:
        raise _unfinished() from away
    except (StockRefused, StockLacking, PaymentRefused) as refused:
        store.touch_order(connection, order_id, str(refused))
        connection.commit()
        raise _unfinished() from refused
    if store.refund_cancelled(connection, order_id, who):
        count_step(connection, "refunded")
        count_refund(connection, CHANNEL, order["location"], order["total_cents"])
    return True


def _bring_back(connection: Connection, order: Row, goods: list[tuple[str, int]]) -> None:
    reference = f"{order['order_id']}:cancel"
    if order["restocked_at"] is None:
        book_in(order["location"], reference, goods, restock=True)
        store.mark_restocked(connection, order["order_id"])
        connection.commit()
    if order["total_cents"]:
        provider().refund(order["payment_reference"], reference, order["total_cents"])


def _unfinished() -> Unavailable:
    return Unavailable(
        "The order is cancelled. Its goods or its money could not be brought back right now; that will be finished "
        "by itself. Repeat the request with the same key for its answer.",
        code="cancel_unfinished",
    )
