"""An order's life: made once by its checkout, paid, packed, shipped, delivered; each step by who may, and written down."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import product
from typing import Any

import pytest
from psycopg2 import errors

from functions.orders import routes_service
from functions.orders.domain import STEPS
from functions.orders.order_numbers import read_number
from tests.support.functions import faulty_fields, problem
from tests.support.metrics import growth
from tests.support.orders import ADDRESS, OrderDesk, new_order, running_desk
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def open_desk(postgres_server: PostgresServer) -> Iterator[OrderDesk]:
    with running_desk(postgres_server) as desk:
        yield desk


@pytest.fixture
def desk(open_desk: OrderDesk) -> Iterator[OrderDesk]:
    open_desk.renew()
    yield open_desk
    open_desk.check_books()


def test_checkout_makes_an_order_that_says_what_was_bought(desk: OrderDesk):
    body = new_order(A=2, B=3)
    response = desk.create(body)
    order = response.get_json()
    assert (response.status_code, response.headers["Location"]) == (201, f"/api/orders/{order['order_id']}")
    for name in (
        "checkout_id", "customer_id", "location", "currency", "taxes", "tax_cents", "total_cents", "address",
    ):  # fmt: skip
        assert order[name] == body[name], name
    assert (order["status"], order["refunded_cents"], order["returns"]) == ("pending", 0, [])
    lines = [(line["line"], line["sku"], line["quantity"], line["returned"]) for line in order["lines"]]
    assert lines == [(1, "A", 2, 0), (2, "B", 3, 0)]
    assert sum(line["tax_cents"] for line in order["lines"]) == body["tax_cents"]
    (entry,) = order["history"]
    assert (entry["who"], entry["from"], entry["to"]) == ("checkout", None, "pending")


def test_a_checkout_has_one_order_however_often_it_asks(desk: OrderDesk):
    body = new_order(A=1)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: desk.create(body), range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] * 63 + [201]
    assert len({answer.get_json()["order_id"] for answer in answers}) == 1
    assert desk.get(f"/by-checkout/{body['checkout_id']}", desk.checkout).get_json() == answers[0].get_json()
    changed = {**body, "address": {**ADDRESS, "city": "Québec"}}
    assert problem(desk.create(changed)) == (409, "checkout_has_order")


def test_a_number_that_is_taken_is_not_given_again(desk: OrderDesk, monkeypatch: pytest.MonkeyPatch):
    first = desk.pending(A=1)
    taken, free = read_number(first["number"]), "0" * 9
    drawn = iter([taken, taken, free])
    monkeypatch.setattr(routes_service, "new_number", lambda: next(drawn))
    assert desk.pending(A=1)["number"] == "0000-0000-0"


def test_abandoned_checkouts_have_no_order_whichever_came_first(desk: OrderDesk):
    body = new_order(A=1)
    for _ in range(2):
        answer = desk.abandon(body["checkout_id"]).get_json()
        assert answer == {"checkout_id": body["checkout_id"], "order_id": None, "status": "cancelled"}
    assert problem(desk.create(body)) == (409, "order_abandoned")
    assert problem(desk.get(f"/by-checkout/{body['checkout_id']}", desk.checkout))[0] == 404
    assert problem(desk.pay(body)) == (409, "order_abandoned")
    late = new_order(A=1)
    order = desk.create(late).get_json()
    for _ in range(2):
        assert desk.abandon(late["checkout_id"]).get_json()["order_id"] == order["order_id"]
    assert problem(desk.pay(order)) == (409, "order_abandoned")
    assert problem(desk.create(late)) == (409, "order_abandoned")
    (_, entry) = desk.order(order)["history"]
    assert (entry["from"], entry["to"], entry["note"]) == ("pending", "cancelled", "declined")


def test_an_order_is_made_or_abandoned_never_both(desk: OrderDesk):
    for _ in range(8):
        body = new_order(A=1)
        with ThreadPoolExecutor(8) as pool:
            made = [pool.submit(desk.create, body) for _ in range(4)]
            abandoned = [pool.submit(desk.abandon, body["checkout_id"]) for _ in range(4)]
        assert {future.result().status_code for future in abandoned} == {200}
        assert {future.result().status_code for future in made} <= {200, 201, 409}
        found = desk.get(f"/by-checkout/{body['checkout_id']}", desk.checkout)
        assert found.status_code == 404 or found.get_json()["status"] == "cancelled"


def test_abandon_against_paid_has_one_winner(desk: OrderDesk):
    outcomes = set()
    for _ in range(8):
        order = desk.pending(A=1)
        with ThreadPoolExecutor(8) as pool:
            paid = [pool.submit(desk.pay, order) for _ in range(4)]
            abandoned = [pool.submit(desk.abandon, order["checkout_id"]) for _ in range(4)]
        codes = {future.result().status_code for future in paid}, {f.result().status_code for f in abandoned}
        assert codes in (({200}, {409}), ({409}, {200}))
        status = desk.order(order)["status"]
        assert status == ("paid" if codes[0] == {200} else "cancelled")
        outcomes.add(status)


def test_paid_is_paid_in_full_by_one_payment_and_may_be_told_again(desk: OrderDesk):
    order = desk.pending(A=1)
    assert problem(desk.pay(order, captured_cents=order["total_cents"] - 1)) == (409, "wrong_amount")
    assert problem(desk.post(f"/by-checkout/{uuid.uuid4()}/paid", payment(order), desk.checkout)) == (
        404, "order_not_found",
    )  # fmt: skip
    paid = desk.pay(order).get_json()
    assert (paid["status"], paid["paid_at"] is not None) == ("paid", True)
    assert desk.pay(order).get_json() == paid
    assert problem(desk.pay(order, payment_reference="another")) == (409, "order_paid_otherwise")
    assert problem(desk.abandon(order["checkout_id"])) == (409, "order_paid")
    desk.post(f"/{order['order_id']}/pack")
    assert desk.pay(order).get_json()["status"] == "packed"


def payment(order: Mapping[str, Any]) -> dict[str, Any]:
    return {"payment_reference": order["checkout_id"], "captured_cents": order["total_cents"]}


def test_each_step_is_made_once_in_order_and_written_down(desk: OrderDesk):
    order = desk.paid()
    path = f"/{order['order_id']}"
    parcel = {"carrier": "Postes Canada", "tracking": "RB 123"}
    for step, body in (("ship", parcel), ("deliver", None)):
        assert problem(desk.post(f"{path}/{step}", body)) == (409, "wrong_status")
    assert desk.post(f"{path}/pack", key="p").get_json() == desk.post(f"{path}/pack", key="p").get_json()
    assert problem(desk.post(f"{path}/pack")) == (409, "wrong_status")
    assert desk.post(f"/{order['number']}/ship", parcel).status_code == 200
    delivered = desk.post(f"{path}/deliver", who=desk.hq).get_json()
    history = [(entry["who"], entry["from"], entry["to"]) for entry in delivered["history"]]
    assert history == [
        ("checkout", None, "pending"), ("checkout", "pending", "paid"), ("staff-W1", "paid", "packed"),
        ("staff-W1", "packed", "shipped"), ("head", "shipped", "delivered"),
    ]  # fmt: skip
    assert (delivered["carrier"], delivered["tracking"]) == ("Postes Canada", "RB 123")
    times = [entry["at"] for entry in delivered["history"]]
    assert times == sorted(times)
    assert times == [
        delivered[f"{name}_at"] for name in ("created", "paid", "packed", "shipped", "delivered")
    ]


def test_two_who_pack_at_once_are_told_apart(desk: OrderDesk):
    order = desk.paid()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: desk.post(f"/{order['order_id']}/pack"), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15
    assert len(desk.order(order)["history"]) == 3


def test_the_table_and_the_code_allow_the_same_steps(desk: OrderDesk):
    rows = desk.execute("SELECT from_status, to_status FROM orders.transitions")
    assert set(rows) == {(status, wanted) for status, steps in STEPS.items() for wanted in steps}


EVERYTHING_HAPPENED = """
    paid_at = now(), captured_cents = total_cents, payment_reference = 'x', packed_at = now(), shipped_at = now(),
    carrier = 'x', delivered_at = now(), refunded_cents = total_cents
"""


CHECKS = ("cancelled", "paid", "refunded", "packed", "shipped", "delivered", "returned", "captured")


def test_no_update_makes_a_step_that_is_not_allowed(desk: OrderDesk):
    """Not even the superuser's, not with all columns set as the new status wants them, nor with the CHECKs gone."""
    order_id = desk.pending(A=1)["order_id"]
    desk.execute("BEGIN")
    for check in CHECKS:
        desk.execute(f"ALTER TABLE orders.orders DROP CONSTRAINT orders_{check}_check")
    forbidden = [(status, wanted) for status, wanted in product(STEPS, STEPS) if wanted not in STEPS[status]]
    for status, wanted in forbidden:
        desk.execute("SET LOCAL session_replication_role = replica")
        desk.execute("UPDATE orders.orders SET status = %s WHERE order_id = %s", (status, order_id))
        desk.execute("SET LOCAL session_replication_role = origin; SAVEPOINT step")
        if status != wanted:
            with pytest.raises(errors.CheckViolation) as refused:
                desk.execute(
                    f"UPDATE orders.orders SET status = %s, {EVERYTHING_HAPPENED} WHERE order_id = %s",
                    (wanted, order_id),
                )
            assert refused.value.diag.constraint_name == "orders_step"
            desk.execute("ROLLBACK TO SAVEPOINT step")
    desk.execute("ROLLBACK")
    assert len(forbidden) == 64 - 10


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'cancelled'", "orders_cancelled_check"),
        ("status = 'packed'", "orders_packed_check"),
        ("captured_cents = captured_cents - 1", "orders_captured_check"),
        ("refunded_cents = captured_cents + 1", "orders_refunded_cents_check"),
        ("refunded_cents = -1", "orders_refunded_cents_check"),
        ("payment_reference = NULL", "orders_paid_check"),
        ("shipped_at = now()", "orders_shipped_check"),
        ("delivered_at = now()", "orders_delivered_check"),
        ("refunded_at = now()", "orders_refunded_check"),
        ("restocked_at = now()", "orders_restocked_check"),
        ("address = NULL", "orders_address_check"),
        ("number = 'M7K3F92QI'", "orders_number_check"),
        ("status = 'lost'", "orders_step"),
    ],
)
def test_no_status_without_what_it_says(desk: OrderDesk, change: str, constraint: str):
    order = desk.paid(A=1)
    with pytest.raises(errors.CheckViolation) as refused:
        desk.execute(f"UPDATE orders.orders SET {change} WHERE order_id = %s", (order["order_id"],))
    assert refused.value.diag.constraint_name == constraint


def test_an_order_begins_as_pending(desk: OrderDesk):
    desk.pending(A=1)
    with pytest.raises(errors.CheckViolation) as refused:
        desk.execute(
            "INSERT INTO orders.orders (order_id, number, status, checkout_id, customer_id, location, time_zone,"
            " reservation_id, currency, subtotal_cents, taxes, tax_cents, address, content_sha256, changed_by)"
            " SELECT gen_random_uuid(), '000000000', 'cancelled', gen_random_uuid(), customer_id, location, time_zone,"
            " reservation_id, currency, subtotal_cents, taxes, tax_cents, address, content_sha256, changed_by"
            " FROM orders.orders"
        )
    assert refused.value.diag.constraint_name == "orders_step"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders.history SET who = 'nobody'",
        "UPDATE orders.history SET at = now() - interval '1 day'",
        "UPDATE orders.history SET note = 'never'",
        "DELETE FROM orders.history",
        "TRUNCATE orders.history",
    ],
)
def test_history_is_append_only_even_for_its_owner(desk: OrderDesk, statement: str):
    desk.pending(A=1)
    with pytest.raises(errors.InsufficientPrivilege):
        desk.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO history (order_id, who, to_status) SELECT order_id, 'x', 'pending' FROM orders",
        "UPDATE history SET who = 'nobody'",
        "DELETE FROM history",
        "UPDATE transitions SET to_status = 'paid'",
        "INSERT INTO transitions VALUES ('pending', 'refunded')",
        "UPDATE orders SET customer_id = 'another'",
        "UPDATE orders SET subtotal_cents = 0",
        "UPDATE order_lines SET quantity = 1",
        "DELETE FROM orders",
        "UPDATE checkouts SET order_id = NULL",
        "UPDATE return_lines SET quantity = 1",
    ],
)
def test_the_function_itself_may_not_rewrite_what_happened(desk: OrderDesk, statement: str):
    connection = desk.database.connect("orders")
    try:
        with connection.cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
            cursor.execute(statement)
    finally:
        connection.close()


ROUTES: tuple[tuple[str, Any], ...] = (
    ("GET ", None), ("POST /pack", None), ("POST /ship", {"carrier": "x"}), ("POST /deliver", None),
    ("POST /cancel", {"reason": "x"}),
    ("POST /returns", {"lines": [{"line": 1, "quantity": 1, "restock": True}], "reason": "x"}),
)  # fmt: skip


def test_others_orders_are_none_of_anybodys_business(desk: OrderDesk):
    order = desk.paid("ada")
    bob, other_store = desk.customer("bob"), desk.staff("S1")
    for (route, body), name in product(ROUTES, (order["order_id"], order["number"])):
        method, _, path = route.partition(" ")
        request = f"{method} /{name}{path}"
        expected = (404, "order_not_found") if path in {"", "/cancel"} else (403, "forbidden")
        assert problem(desk.ask("orders", request, bob, body)) == expected, request
        assert problem(desk.ask("orders", request, other_store, body)) == (403, "other_store"), request
        gone = f"{method} /{uuid.uuid4()}{path}"
        for who in (desk.clerk, desk.hq, other_store):
            assert problem(desk.ask("orders", gone, who, body)) == (404, "order_not_found"), gone
    assert desk.order(order)["history"] == order["history"]


def test_a_customer_sees_that_nothing_is_there_in_the_same_words(desk: OrderDesk):
    order = desk.paid("ada")
    bob = desk.customer("bob")
    answers = [desk.get(f"/{name}", bob).get_json() for name in (order["order_id"], uuid.uuid4())]
    for answer in answers:
        answer.pop("request_id")
    assert answers[0] == answers[1]


def test_lists_show_customers_their_own_and_staff_their_stores(desk: OrderDesk):
    mine = {desk.pending("ada", "W1", A=1)["order_id"], desk.pending("ada", "S1", A=1)["order_id"]}
    others = {desk.pending("bob", "S1", A=1)["order_id"]}

    def seen(who: Mapping[str, str], query: str = "") -> set[str]:
        response = desk.get(f"/?{query}", who)
        assert response.status_code == 200, response.get_json()
        return {row["order_id"] for row in response.get_json()["items"]}

    assert seen(desk.ada) == seen(desk.ada, "customer=bob") == mine
    assert seen(desk.customer("bob")) == others
    assert seen(desk.customer("carol")) == set()
    assert seen(desk.hq) == seen(desk.checkout) == mine | others
    assert seen(desk.hq, "customer=bob") == others
    assert (
        seen(desk.staff("S1"))
        == seen(desk.hq, "location=S1")
        == {row["order_id"] for row in desk.get("/", desk.hq).get_json()["items"] if row["location"] == "S1"}
    )
    assert seen(desk.staff("S1"), "customer=bob") == others
    assert problem(desk.get("/?location=W1", desk.staff("S1"))) == (403, "other_store")


def test_lists_are_searched_and_paged(desk: OrderDesk):
    orders = [desk.pending(A=1, **({"B": 1} if place % 2 else {})) for place in range(5)]
    paid = desk.paid(C=1)

    def found(query: str) -> list[str]:
        answer = desk.get(f"/?{query}", desk.hq)
        assert answer.status_code == 200, answer.get_json()
        return [row["order_id"] for row in answer.get_json()["items"]]

    everything = [order["order_id"] for order in [paid, *reversed(orders)]]
    assert found("") == everything
    assert found("status=paid") == found("sku=C") == [paid["order_id"]]
    assert found("sku=B") == [orders[3]["order_id"], orders[1]["order_id"]]
    assert found(f"number={orders[2]['number'].lower().replace('0', 'o')}") == [orders[2]["order_id"]]
    assert found(f"day={paid['placed_on']}&status=pending") == everything[1:]
    assert found("day=2001-01-01") == found("sku=nothing") == found("location=S9") == []
    after, pages = "", []
    while True:
        answer = desk.get(f"/?limit=4&{after}", desk.hq).get_json()
        pages.append([row["order_id"] for row in answer["items"]])
        if answer["next"] is None:
            break
        after = f"after={answer['next']}"
    assert pages == [everything[:4], everything[4:]]
    assert "lines" not in answer["items"][0]
    assert "address" not in answer["items"][0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("number=M7K3", 422), ("number=%00", 400), ("status=lost", 422), ("day=yesterday", 422), ("limit=0", 422),
        ("limit=201", 422), ("after=x", 400), ("after=WzFd", 400), ("after=WyJ4IiwieSJd", 400), ("colour=red", 422),
        ("status=paid&status=packed", 422), ("sku=%F0%9F%98%80", 200), ("location='%20OR%201=1", 200),
    ],
)  # fmt: skip
def test_odd_queries_are_refused_or_find_nothing(desk: OrderDesk, query: str, status: int):
    assert desk.get(f"/?{query}", desk.hq).status_code == status


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("M7K3-F92Q-X", "order_number_mistyped"), ("no-such", "order_number_mistyped"),
        ("0000-0000-0", "order_not_found"), ("o000 0000 0", "order_not_found"), ("%00", "not_found"),
        ("%F0%9F%98%80", "order_number_mistyped"), ("1" * 5_000, "order_number_mistyped"),
    ],
)  # fmt: skip
def test_what_is_no_order_is_not_found(desk: OrderDesk, name: str, code: str):
    assert problem(desk.get(f"/{name}", desk.hq)) == (404, code)
    assert problem(desk.post(f"/{name}/pack", who=desk.hq)) == (404, code)


def changed(**changes: Any) -> dict[str, Any]:
    return {**new_order(A=1), **changes}


def with_line(**changes: Any) -> dict[str, Any]:
    body = new_order(A=1)
    return {**body, "lines": [{**body["lines"][0], **changes}]}


def with_address(**changes: Any) -> dict[str, Any]:
    return changed(address={**ADDRESS, **changes})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (changed(checkout_id="x"), ["checkout_id"]),
        (changed(customer_id=""), ["customer_id"]),
        (changed(customer_id="a\tb"), ["customer_id"]),
        (changed(location="NOWHERE"), ["location"]),
        (changed(currency="cad"), ["currency"]),
        (changed(lines=[]), ["lines"]),
        (changed(lines=new_order(A=1)["lines"] * 501), ["lines"]),
        (changed(subtotal_cents=1), ["subtotal_cents", "total_cents"]),
        (changed(total_cents=-1), ["total_cents"]),
        (changed(total_cents=10**18), ["total_cents"]),
        (changed(total_cents="1"), ["total_cents"]),
        (changed(taxes=[{"name": "TPS", "percent": "many", "amount_cents": 0}]), ["taxes.0.percent"]),
        (changed(colour="red"), ["colour"]),
        (with_line(quantity=0), ["lines.0.quantity"]),
        (with_line(quantity=True), ["lines.0.quantity"]),
        (with_line(unit_price_cents=-1), ["lines.0.unit_price_cents"]),
        (with_line(sku=""), ["lines.0.sku"]),
        (with_address(country="Canada"), ["address.country"]),
        (with_address(name="x" * 201), ["address.name"]),
        (with_address(line1="two\nlines"), ["address.line1"]),
        (with_address(postal_code=""), ["address.postal_code"]),
        (changed(address=None), ["address"]),
    ],
)
def test_orders_that_are_wrong_are_refused_with_the_field(desk: OrderDesk, body: Any, fields: list[str]):
    response = desk.create(body)
    assert (response.status_code, faulty_fields(response)) == (422, fields)


def test_making_an_order_needs_a_key_and_a_service(desk: OrderDesk):
    client = desk.gateway.apps["orders"].test_client()
    assert problem(client.post("/", json=new_order(), headers=desk.checkout)) == (
        400, "idempotency_key_missing",
    )  # fmt: skip
    for who in (desk.ada, desk.clerk, desk.hq):
        assert problem(desk.post("/", new_order(), who)) == (403, "forbidden")
        assert problem(desk.post("/erasures", {"customer_id": "ada"}, who)) == (403, "forbidden")
        assert problem(desk.post("/recover", None, who)) == (403, "forbidden")


def test_without_inventory_an_order_is_made_where_its_location_is_known(desk: OrderDesk):
    desk.create(new_order(A=1))
    desk.gateway.away.add("inventory")
    assert desk.create(new_order(A=1)).status_code == 201
    assert problem(desk.create(changed(location="S9"))) == (503, "upstream_unavailable")


def test_erasure_takes_the_person_out_of_what_is_closed_and_keeps_the_sums(desk: OrderDesk):
    sent, waiting = desk.shipped(), desk.paid()
    cancelled = desk.paid(C=9)
    assert desk.cancel(cancelled).status_code == 200
    others = desk.paid("bob")
    assert desk.cancel(others, desk.customer("bob")).status_code == 200
    assert erased(desk) == {"erased": 1, "open": 2}
    assert erased(desk) == {"erased": 0, "open": 2}
    assert answers(desk, cancelled) == 0
    assert answers(desk, others) == 1
    desk.post(f"/{sent['order_id']}/deliver")
    assert desk.take_back(sent, (1, 1)).status_code == 201
    assert answers(desk, sent) > 0
    assert erased(desk) == {"erased": 1, "open": 1}
    assert answers(desk, sent) == 0
    after = desk.order(sent)
    assert (after["address"], after["tracking"], after["returns"][0]["reason"]) == (None, None, None)
    assert (after["total_cents"], after["customer_id"], len(after["lines"])) == (
        sent["total_cents"],
        "ada",
        2,
    )
    assert [entry["note"] for entry in desk.order(cancelled)["history"]] == [None] * 4
    assert desk.order(waiting)["address"] == ADDRESS
    assert desk.order(others)["address"] == ADDRESS
    assert desk.order(others)["history"][2]["note"] == "changed my mind"
    assert desk.take_back(sent, (1, 1)).status_code == 201, "the rest may come back all the same"
    assert [one["reason"] for one in desk.order(sent)["returns"]] == [None, None]
    assert 'reason":"' not in "".join(body for (body,) in desk.execute(_ANSWERS, (f"%{sent['order_id']}%",)))


def erased(desk: OrderDesk) -> dict[str, int]:
    answer: dict[str, int] = desk.post("/erasures", {"customer_id": "ada"}, desk.maintenance).get_json()
    return answer


def answers(desk: OrderDesk, order: Mapping[str, Any]) -> int:
    """How many stored answers name the order."""
    return len(desk.execute(_ANSWERS, (f"%{order['order_id']}%",)))


_ANSWERS = (
    "SELECT convert_from(body, 'UTF8') FROM orders.idempotency_keys WHERE convert_from(body, 'UTF8') LIKE %s"
)


def test_an_answer_that_is_stored_while_its_order_is_erased_is_erased_too(desk: OrderDesk):
    order = desk.paid(A=1)
    assert desk.cancel(order).status_code == 200
    with closing(desk.database.connect()) as other, other.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("SELECT FROM orders.orders WHERE order_id = %s FOR UPDATE", (order["order_id"],))
        cursor.execute(
            "INSERT INTO orders.idempotency_keys"
            " SELECT principal, route, 'late', body_sha256, status, headers, body, expires_at"
            " FROM orders.idempotency_keys WHERE convert_from(body, 'UTF8') LIKE %s",
            (f"%{order['order_id']}%",),
        )
        erasing = pool.submit(erased, desk)
        wait_for(lambda: desk.execute("SELECT pid FROM pg_locks WHERE NOT granted"))
        other.commit()
        assert erasing.result() == {"erased": 1, "open": 0}
    assert answers(desk, order) == 0


def test_words_that_are_written_while_their_order_is_erased_are_erased_too(desk: OrderDesk):
    order = desk.shipped()
    desk.post(f"/{order['order_id']}/deliver")
    assert desk.take_back(order, (1, 1)).status_code == 201
    this = {"order_id": order["order_id"]}
    with closing(desk.database.connect()) as other, other.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute(
            "SET session_replication_role = replica"
        )  # words alone, without the rest of a return or a step
        cursor.execute("SELECT FROM orders.orders WHERE order_id = %(order_id)s FOR UPDATE", this)
        for insert in _LATE_WORDS:
            cursor.execute(insert, this)
        erasing = pool.submit(erased, desk)
        wait_for(lambda: desk.execute("SELECT pid FROM pg_locks WHERE NOT granted"))
        other.commit()
        assert erasing.result() == {"erased": 1, "open": 0}
        after = desk.order(order)
        assert [one["reason"] for one in after["returns"]] == [None, None]
        assert [one["note"] for one in after["history"] if one["who"] == "late"] == [None]
        cursor.execute("DELETE FROM orders.returns WHERE request = 'late'")
        cursor.execute("DELETE FROM orders.history WHERE who = 'late'")
        other.commit()


_LATE_WORDS = (
    "INSERT INTO orders.returns (return_id, order_id, status, location, business_date, reason, returned_by, booked_at,"
    " completed_at, subtotal_cents, taxes, tax_cents, request, request_sha256)"
    " SELECT gen_random_uuid(), order_id, status, location, business_date, 'late', returned_by, booked_at,"
    " completed_at, subtotal_cents, taxes, tax_cents, 'late', request_sha256"
    " FROM orders.returns WHERE order_id = %(order_id)s",
    "INSERT INTO orders.history (order_id, who, from_status, to_status, note)"
    " SELECT order_id, 'late', from_status, to_status, 'late' FROM orders.history"
    " WHERE order_id = %(order_id)s AND to_status = 'pending'",
)


def test_an_order_is_counted_when_it_is_paid_and_once(desk: OrderDesk):
    labels = {"channel": "web", "store": "W1"}
    order = desk.pending(A=2)
    with growth("orders_total", **labels) as orders, growth("orders_cents_total", **labels) as cents:
        assert desk.pay(order, captured_cents=1).status_code == 409
        for _ in range(3):
            assert desk.pay(order).status_code == 200
    assert (orders.by, cents.by) == (1, order["total_cents"])
