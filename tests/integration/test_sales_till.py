"""Selling at a till: payments, prices, refusals, and what must never happen whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.sales.views import SaleView
from functions.shared import fetch_one
from tests.support.functions import faulty_fields, problem
from tests.support.hand_made_gateway import Hold
from tests.support.metrics import growth
from tests.support.postgres import PostgresServer
from tests.support.tills import Till, running_till


@pytest.fixture(scope="module")
def store(postgres_server: PostgresServer) -> Iterator[Till]:
    with running_till(postgres_server) as till:
        yield till


@pytest.fixture
def till(store: Till) -> Iterator[Till]:
    store.renew()
    yield store
    store.check_books()


def refusal(response: Any) -> tuple[int, str]:
    """Status and code; a refusal may have members of its own."""
    assert response.mimetype == "application/problem+json", response.data
    return response.status_code, response.get_json()["code"]


def test_sale_is_priced_taxed_paid_and_numbered_and_its_stock_leaves(till: Till):
    sale = till.sold(
        ("A", 2), ("B", 1), customer_reference="Mrs X",
        tenders=[
            {"kind": "card", "amount_cents": 1000, "reference": "AUTH-9"},
            {"kind": "cash", "given_cents": 2000},
        ],
    )  # fmt: skip
    assert (sale["subtotal_cents"], sale["tax_cents"], sale["total_cents"]) == (2250, 337, 2587)
    assert [(tax["name"], tax["amount_cents"]) for tax in sale["taxes"]] == [("TPS", 113), ("TVQ", 224)]
    assert [(tender["kind"], tender["amount_cents"]) for tender in sale["tenders"]] == [
        ("card", 1000),
        ("cash", 1587),
    ]
    assert sale["change_cents"] == 413
    assert (sale["status"], sale["store"], sale["register"], sale["cashier"]) == (
        "complete", "S1", "R1", "staff-S1",
    )  # fmt: skip
    assert sale["receipt"] == f"S1-{sale['business_date'].replace('-', '')}-1"
    assert [(line["name"], line["category"]) for line in sale["lines"]] == [
        ("Product A", "things"),
        ("Product B", "things"),
    ]
    assert (till.stock("A"), till.stock("B")) == (9_998, 9_999)
    assert till.get(f"/{sale['sale_id']}").get_json() == sale
    assert set(sale) == set(SaleView.model_json_schema()["properties"])
    assert SaleView.model_validate(sale)


def test_sale_with_the_same_key_is_made_once(till: Till):
    first = till.sell(("A", 1), key="k")
    again = till.sell(("A", 1), key="k")
    assert (again.status_code, again.get_json()) == (201, first.get_json())
    assert problem(till.sell(("A", 2), key="k")) == (422, "idempotency_key_reused")
    assert till.stock("A") == 9_999
    body = {"register": "R1", "lines": [{"sku": "A", "quantity": 1}], "tenders": []}
    keyless = till.app.test_client().post("/", json=body, headers=till.clerk)
    assert problem(keyless) == (400, "idempotency_key_missing")


def test_lacking_stock_refuses_the_sale_and_names_its_lines(till: Till):
    response = till.sell(("B", 1), ("A", 10_000), ("C", 1), ("A", 1))
    assert refusal(response) == (409, "insufficient_stock")
    assert faulty_fields(response) == ["lines.1.sku", "lines.3.sku"]
    assert response.get_json()["lacking"] == [{"sku": "A", "requested": 10_001, "available": 10_000}]
    assert till.statuses() == ["refused"]
    assert (till.stock("A"), till.stock("B")) == (10_000, 10_000)
    assert till.get("/").get_json()["items"] == []


def test_refused_sale_leaves_its_key_free_for_another_attempt(till: Till):
    till.add_products(D=500)
    assert refusal(till.sell(("D", 1), key="k"))[0] == 409
    till.put_in(D=1)
    assert till.sell(("D", 1), key="k").status_code == 201


@pytest.mark.parametrize(
    ("tenders", "code"),
    [
        ([], "underpaid"),
        ([{"kind": "cash", "given_cents": 1149}], "underpaid"),
        ([{"kind": "card", "amount_cents": 1151, "reference": "T"}], "overpaid"),
        (
            [{"kind": "card", "amount_cents": 1150, "reference": "T"}, {"kind": "cash", "given_cents": 1}],
            "overpaid",
        ),
        ([{"kind": "cash", "given_cents": 1000}, {"kind": "cash", "given_cents": 500}], "bad_tender"),
        ([{"kind": "card", "amount_cents": 1150}], "invalid"),
        ([{"kind": "gold", "amount_cents": 1150}], "invalid"),
        ([{"kind": "cash", "given_cents": 10**30}], "invalid"),
        ([{"kind": "gift_card", "amount_cents": 1150, "code": "UNKNOWN-1"}], "unknown_gift_card"),
    ],
)
def test_tenders_that_do_not_pay_the_total_are_refused(till: Till, tenders: Any, code: str):
    assert problem(till.sell(("A", 1), tenders=tenders)) == (422, code)
    assert till.statuses() == []


def test_price_override_needs_a_reason_and_stays_within_the_limit_of_the_role(till: Till):
    def attempt(who: Any, price: int, reason: str | None = None, paid: int = 0) -> Any:
        line = {"sku": "A", "quantity": 1, "unit_price_cents": price}
        body = {
            "register": "R1",
            "store": "S1",
            "lines": [line if reason is None else {**line, "override_reason": reason}],
            "tenders": [{"kind": "cash", "given_cents": paid}] if paid else [],
        }
        return till.post("/", body, who)

    assert problem(attempt(till.clerk, 800)) == (422, "override_reason_missing")
    response = attempt(till.clerk, 799, "scratched")
    assert problem(response) == (403, "override_limit")
    assert faulty_fields(response) == ["lines.0.unit_price_cents"]
    sale = attempt(till.clerk, 800, "scratched", 1000).get_json()
    (line,) = sale["lines"]
    assert (line["list_price_cents"], line["unit_price_cents"], line["override_reason"]) == (
        1000, 800, "scratched",
    )  # fmt: skip
    assert attempt(till.hq, 0, "a gift").get_json()["total_cents"] == 0
    assert attempt(till.clerk, 1000, None, 1150).get_json()["lines"][0]["override_reason"] is None


def test_products_that_cannot_be_sold_are_named(till: Till):
    till.execute("UPDATE products.products SET active = false WHERE sku = 'B'")
    till.execute("UPDATE products.products SET currency = 'EUR' WHERE sku = 'C'")
    for sku, code in {"nope": "unknown_product", "B": "inactive_product", "C": "other_currency"}.items():
        response = till.sell(("A", 1), (sku, 1), tenders=[])
        assert problem(response) == (422, code)
        assert faulty_fields(response) == ["lines.1.sku"]


def test_staff_act_in_their_own_store_only(till: Till):
    sale = till.sold(("A", 1))
    other = till.staff("S2")
    for response in (
        till.sell(("A", 1), who=other, store="S1", tenders=[]),
        till.get(f"/{sale['sale_id']}", other),
        till.get("/?store=S1", other),
        till.post(f"/{sale['sale_id']}/void", {"register": "R1", "reason": "x"}, other),
        till.post("/registers/R1/close", {"store": "S1", "counted_cash_cents": 0}, other),
    ):
        assert problem(response) == (403, "other_store")
    assert till.get("/", other).get_json()["items"] == []
    assert problem(till.sell(("A", 1), who=till.hq, tenders=[{"kind": "cash", "given_cents": 9999}])) == (
        422, "store_missing",
    )  # fmt: skip
    warehouse = till.staff("W1")
    assert problem(till.post("/registers/R1/open", {"opening_cash_cents": 0}, warehouse)) == (
        422, "unknown_store",
    )  # fmt: skip
    assert problem(till.get("/", till.secrets.bearer("customer")))[0] == 403
    assert problem(till.app.test_client().get("/"))[0] == 401


def test_inventory_that_cannot_be_reached_sells_nothing_and_takes_nothing(till: Till):
    till.total(("A", 1))
    till.gateway.away.add("inventory")
    assert problem(till.sell(("A", 1), key="k")) == (503, "stock_unavailable")
    assert till.statuses() == ["undoing"]
    assert problem(till.recover()) == (503, "recovery_unfinished")
    till.gateway.away.clear()
    assert till.recover().get_json() == {"recovered": 1, "more": False}
    assert (till.statuses(), till.stock("A")) == (["undone"], 10_000)
    assert till.sold(("A", 1), key="k")["receipt_number"] == 1


def test_lost_answer_of_inventory_is_undone_and_the_same_key_then_sells_once(till: Till):
    till.total(("A", 1))
    till.gateway.lost.add("inventory")
    assert problem(till.sell(("A", 1), key="k")) == (503, "stock_unavailable")
    assert till.stock("A") == 9_999, "inventory did it, and sales cannot know"
    till.gateway.lost.clear()
    sale = till.sold(("A", 1), key="k")
    assert till.stock("A") == 9_999
    assert till.statuses() == ["undone", "complete"]
    assert till.sold(("A", 1), key="k") == sale


def test_prices_that_are_away_once_a_sale_was_undone_leave_no_trace_in_the_session(till: Till):
    tenders = [{"kind": "card", "amount_cents": till.total(("A", 1)), "reference": "T1"}]
    till.gateway.lost.add("inventory")
    assert problem(till.sell(("A", 1), key="k", tenders=tenders)) == (503, "stock_unavailable")
    till.gateway.lost.clear()
    till.gateway.away.add("products")
    assert problem(till.sell(("A", 1), key="k", tenders=tenders)) == (503, "prices_unavailable")
    assert till.statuses() == ["undone"]
    shown = till.app.service.database.read(fetch_one, "SHOW idle_session_timeout")
    assert shown == {"idle_session_timeout": "0"}


@pytest.mark.parametrize(
    "answer",
    [(200, b""), (201, b"<html>"), (201, b"[]"), (200, b'{"state": "undone"}'), (500, b"{}"), (409, b"null"), (409, b'{"code": 1}'), (401, b"{}"), (302, b"")],
)  # fmt: skip
def test_answer_of_inventory_that_is_none_counts_as_away(till: Till, answer: tuple[int, bytes]):
    till.total(("A", 1))
    till.gateway.answers["inventory"] = answer
    assert problem(till.sell(("A", 1))) == (503, "stock_unavailable")
    till.gateway.answers.clear()
    till.recover()
    assert till.statuses() == ["undone"]


def test_products_that_cannot_be_reached_refuse_the_sale(till: Till):
    till.gateway.away.add("products")
    assert problem(till.sell(("A", 1), tenders=[])) == (503, "prices_unavailable")
    assert till.statuses() == []


def test_database_that_goes_away_between_the_steps_leaves_a_sale_that_is_completed_later(till: Till):
    tenders = [{"kind": "card", "amount_cents": till.total(("A", 1)), "reference": "T"}]
    hold = till.gateway.hold = Hold("issues", "after")
    with ThreadPoolExecutor(1) as pool:
        selling = pool.submit(till.sell, ("A", 1), key="k", tenders=tenders)
        assert hold.reached.wait(10)
        with till.outage():
            hold.release.set()
            assert problem(selling.result()) == (503, "database_unavailable")
            assert problem(till.get("/")) == (503, "database_unavailable")
    till.gateway.hold = None
    assert till.recovered() == 1
    assert (till.statuses(), till.stock("A")) == (["complete"], 9_999)
    assert till.sold(("A", 1), key="k", tenders=tenders)["receipt_number"] == 1
    assert till.statuses() == ["complete"]


def test_key_in_flight_is_told_so_and_recovery_leaves_it_alone(till: Till):
    tenders = [{"kind": "card", "amount_cents": till.total(("A", 1)), "reference": "T"}]
    hold = till.gateway.hold = Hold("issues", "before")
    with ThreadPoolExecutor(1) as pool:
        selling = pool.submit(till.sell, ("A", 1), key="k", tenders=tenders)
        assert hold.reached.wait(10)
        assert problem(till.sell(("A", 1), key="k", tenders=tenders)) == (409, "idempotency_key_in_flight")
        assert till.recover().get_json()["recovered"] == 0
        assert problem(till.close()) == (409, "register_busy")
        hold.release.set()
        assert selling.result().status_code == 201
    assert till.close().status_code == 200


def test_sixteen_tills_at_once_get_receipt_numbers_without_gaps(till: Till):
    for register in range(16):
        till.open(f"T{register}")
    tenders = [{"kind": "card", "amount_cents": till.total(("A", 1), ("B", 1)), "reference": "T"}]
    start = threading.Barrier(16)

    def work(register: int) -> list[int]:
        start.wait()
        sales = [till.sold(("A", 1), ("B", 1), register=f"T{register}", tenders=tenders) for _ in range(5)]
        return [sale["receipt_number"] for sale in sales]

    with ThreadPoolExecutor(16) as pool:
        numbers = [number for found in pool.map(work, range(16)) for number in found]
    assert sorted(numbers) == list(range(1, 81))
    assert till.stock("A") == 10_000 - 80


def test_last_units_are_sold_once_each_and_refusals_leave_no_gap(till: Till):
    till.add_products(D=500)
    till.put_in(D=5)
    for register in range(12):
        till.open(f"T{register}")
    tenders = [{"kind": "card", "amount_cents": till.total(("D", 1)), "reference": "T"}]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: till.sell(("D", 1), register=f"T{n}", tenders=tenders), range(12)))
    sold = [answer.get_json() for answer in answers if answer.status_code == 201]
    assert sorted(sale["receipt_number"] for sale in sold) == [1, 2, 3, 4, 5]
    assert {answer.status_code for answer in answers} == {201, 409}
    assert till.stock("D") == 0


def test_each_store_counts_its_own_receipts(till: Till):
    other = till.staff("S2")
    till.put_in("S2", A=5)
    till.open(who=other)
    assert till.sold(("A", 1))["receipt"].startswith("S1-")
    sale = till.sold(("A", 1), who=other)
    assert (sale["receipt_number"], sale["store"]) == (1, "S2")


def test_a_sale_is_counted_once_with_its_cents_and_a_refused_one_never(till: Till):
    at_s1 = {"channel": "store", "store": "S1"}
    with growth("sales_total", **at_s1) as sales, growth("sales_cents_total", **at_s1) as cents:
        sale = till.sold(("A", 2), key="k")
        assert till.sell(("A", 2), key="k").get_json() == sale
        assert till.sell(("A", 10_000)).status_code == 409
    assert (sales.by, cents.by) == (1, sale["total_cents"])
