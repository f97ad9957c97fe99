"""What reports say of the web shop is what its orders say, after each thing that happens to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chain import make_app
from tests.support.orders import OrderDesk, running_desk
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def desk(postgres_server: PostgresServer) -> Iterator[OrderDesk]:
    with running_desk(postgres_server) as desk:
        desk.renew()
        desk.gateway.apps["reports"] = make_app("reports", desk.environ)
        yield desk


def report(desk: OrderDesk, query: str) -> dict[str, Any]:
    """After the next refresh, as of maintenance."""
    more = True
    while more:
        answer = desk.ask("reports", "POST /refresh", desk.maintenance).get_json()
        more = answer["more"]
    response = desk.ask("reports", f"GET /sales?{query}", desk.hq)
    assert response.status_code == 200, response.get_json()
    found: dict[str, Any] = response.get_json()
    return found


def expected(*orders: dict[str, Any]) -> dict[str, int]:
    """What the orders themselves add up to."""
    paid = [order for order in orders if order["paid_at"]]
    cancelled = [order for order in paid if order["cancelled_at"] and order["status"] == "refunded"]
    returns = [back for order in paid for back in order["returns"] if back["status"] == "complete"]
    back = [*cancelled, *returns]
    return {
        "sale_count": len(paid),
        "return_count": len(back),
        "sold_cents": sum(order["subtotal_cents"] for order in paid),
        "returned_cents": sum(one["subtotal_cents"] for one in back),
        "tax_cents": sum(order["tax_cents"] for order in paid) - sum(one["tax_cents"] for one in back),
        "total_cents": sum(order["total_cents"] - order["refunded_cents"] for order in paid),
    }


def test_reports_follow_each_step_of_an_order(desk: OrderDesk):
    orders = [desk.pending(A=2, B=3)]

    def check() -> None:
        now = [desk.order(order) for order in orders]
        assert {key: report(desk, "by=day")["total"][key] for key in expected()} == expected(*now)
        for by in ("day", "store", "channel", "category", "product", "hour"):
            rows = report(desk, f"by={by}&channel=web")["items"]
            assert sum(row["total_cents"] for row in rows) == expected(*now)["total_cents"], by

    check()
    orders.append(desk.paid("ada", "S1", A=1, C=7))
    check()
    assert desk.cancel(orders[1]).status_code == 200
    check()
    orders.append(desk.shipped(A=2, B=3))
    check()
    assert desk.take_back(orders[2], (1, 1), (2, 2)).status_code == 201
    check()
    desk.gateway.away.add("payments")
    assert desk.take_back(orders[2], (2, 1)).status_code == 503
    check()
    desk.gateway.mend()
    assert desk.recover().get_json()["recovered"] == 1
    check()
    desk.post("/erasures", {"customer_id": "ada"}, desk.maintenance)
    check()
    desk.abandon(orders[0]["checkout_id"])
    check()
    day = report(desk, "by=store&by=channel")["items"]
    assert {(row["store"], row["channel"]): row["net_cents"] for row in day} == {
        ("S1", "web"): 0,
        ("W1", "web"): 1_000 * 1,
    }
