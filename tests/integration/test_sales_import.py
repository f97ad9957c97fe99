"""Documents from elsewhere: their own time, charges, originals; each all or nothing, and recorded once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.functions import faulty_fields, problem
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


def sale(document: str = "536365", *lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "kind": "sale", "store": "S1", "document": document, "sold_at": "2010-12-01T08:26:00Z",
        "lines": list(lines) or [line("A", 6, 255)], **changes,
    }  # fmt: skip


def back(document: str = "C536379", *lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "kind": "return", "store": "S1", "document": document, "returned_at": "2010-12-01T09:41:00Z",
        "lines": list(lines) or [line("A", 1, 255)], **changes,
    }  # fmt: skip


def line(sku: str, quantity: int, price: int, **more: Any) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "unit_price_cents": price, **more}


def send(till: Till, *documents: Any) -> list[dict[str, Any]]:
    response = till.app.test_client().post("/import", json={"documents": list(documents)}, headers=till.hq)
    assert response.status_code == 200, response.get_json()
    items: list[dict[str, Any]] = response.get_json()["items"]
    assert len(items) == len(documents)
    return items


def outcomes(items: list[dict[str, Any]]) -> list[str]:
    return [item["problem"]["code"] if item["problem"] else item["outcome"] for item in items]


def test_sale_keeps_its_time_its_prices_its_charges_and_its_customer(till: Till):
    postage = line("POST", 1, 1800, charge=True, name="POSTAGE")
    (item,) = send(till, sale("536365", line("A", 6, 255), postage, customer_reference="17850"))
    assert (item["outcome"], item["receipt"], item["total_cents"]) == ("created", "S1-20101201-1", 3330)
    shown = till.get(f"/{item['id']}").get_json()
    assert shown["sold_at"] == "2010-12-01T08:26:00Z"
    assert (shown["origin"], shown["document"], shown["customer_reference"], shown["tax_cents"]) == (
        "import", "536365", "17850", 0,
    )  # fmt: skip
    assert [(row["name"], row["category"], row["charge"]) for row in shown["lines"]] == [
        ("Product A", "things", False),
        ("POSTAGE", "charges", True),
    ]
    assert [(tender["kind"], tender["amount_cents"]) for tender in shown["tenders"]] == [("account", 3330)]
    assert till.stock("A") == 9_994
    assert till.close().get_json()["discrepancy_cents"] == 0


def test_business_date_is_the_day_in_the_store(till: Till):
    (zone,) = [
        row[0] for row in till.execute("SELECT time_zone FROM inventory.locations WHERE location = 'S1'")
    ]
    assert zone == "America/Toronto"
    items = send(
        till, sale("1", sold_at="2010-12-02T03:00:00Z"), sale("2", sold_at="2010-12-01T22:00:00-05:00")
    )
    assert [item["receipt"] for item in items] == ["S1-20101201-1", "S1-20101201-2"]


def test_document_sent_again_is_recorded_once_and_another_of_its_number_is_refused(till: Till):
    first = send(till, sale(), back(original="536365"))
    again = send(till, sale(), back(original="536365"), sale("536365", line("A", 7, 255)))
    assert outcomes(first) == ["created", "created"]
    assert outcomes(again) == ["present", "present", "document_reused"]
    assert [item["id"] for item in again[:2]] == [item["id"] for item in first]
    assert till.stock("A") == 9_995
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: outcomes(send(till, sale("9"), sale("10"))), range(4)))
    assert {outcome for one in found for outcome in one} <= {
        "created",
        "present",
        "idempotency_key_in_flight",
    }
    assert till.stock("A") == 9_983


def test_return_takes_from_its_original_or_stands_alone(till: Till):
    items = send(
        till,
        sale("1", line("A", 5, 255), line("B", 2, 300), line("POST", 1, 1800, charge=True)),
        back("C1", line("A", 2, 255), line("POST", 1, 1800, charge=True), original="1"),
        back("C2", line("A", 4, 255), original="1"),
        back("C3", line("A", 3, 254), original="1"),
        back("C4", line("A", 3, 255), original="1", restock=False),
        back("C5", line("A", 9, 255), line("D", 1, 500, charge=True)),
        back("C6", original="unknown"),
    )
    assert outcomes(items) == [
        "created", "created", "more_than_sold", "more_than_sold", "created", "created", "unknown_original",
    ]  # fmt: skip
    assert [item["total_cents"] for item in items if item["total_cents"]] == [3675, 2310, 765, 2795]
    assert till.stock("A") == 10_000 - 5 + 2 + 9
    shown = till.get(f"/{items[0]['id']}").get_json()
    assert [row["returned_quantity"] for row in shown["lines"]] == [5, 0, 1]


def test_return_of_a_discount_alone_is_refused_and_keeps_no_other_back(till: Till):
    discount = line("D", 1, -300, charge=True)
    documents = (
        sale("1", line("A", 6, 255), discount),
        back("C1", discount, original="1"),
        back("C2", line("A", 2, 255), discount, original="1"),
    )
    items = send(till, *documents)
    assert outcomes(items) == ["created", "negative_total", "created"]
    assert items[1]["problem"]["errors"] == [{"field": "lines", "message": "add up to -300 cents"}]
    assert items[2]["total_cents"] == 210
    assert outcomes(send(till, *documents)) == ["present", "more_than_sold", "present"]


def test_discount_alone_does_not_come_back_at_the_till(till: Till):
    (item,) = send(till, sale("1", line("A", 6, 255), line("D", 1, -300, charge=True)))
    sold = {"sale_id": item["id"]}
    response = till.take_back(sold, (2, 1))
    assert problem(response) == (422, "negative_total")
    assert faulty_fields(response) == ["lines"]
    assert till.take_back(sold, (1, 2), (2, 1)).get_json()["total_cents"] == 210


def test_goods_without_their_discount_give_back_no_more_than_was_paid(till: Till):
    (item,) = send(till, sale("1", line("A", 6, 255), line("D", 1, -300, charge=True)))
    sold = {"sale_id": item["id"]}
    assert problem(till.take_back(sold, (1, 6))) == (409, "discount_left")
    response = till.take_back(sold, (1, 5))
    assert problem(response) == (409, "discount_left")
    assert faulty_fields(response) == ["lines"]
    assert till.take_back(sold, (1, 4)).get_json()["total_cents"] == 1020
    assert till.take_back(sold, (1, 2), (2, 1)).get_json()["total_cents"] == 210


def test_taxed_documents_give_back_the_taxes_they_took(till: Till):
    items = send(
        till, sale("1", taxed=True), back("C1", line("A", 6, 255), original="1"), back("C2", taxed=True)
    )
    assert [item["total_cents"] for item in items] == [1760, 1760, 293]


def test_refused_document_keeps_no_other_back_and_leaves_nothing(till: Till):
    items = send(
        till,
        sale("1"),
        sale("2", line("A", 1, 255), line("nope", 1, 100)),
        sale("3", line("A", 20_000, 1)),
        sale("4", line("A", 1, 255), line("D", 1, -256, charge=True)),
        sale("5", line("A", 1, -1)),
        sale("6", store="S9"),
        sale("7", store="W1"),
        sale("8", sold_at="2999-01-01T00:00:00Z"),
        sale("9", line("D", 1, -5, charge=True), line("A", 1, 5)),
        sale("10", line("A", 3, 0)),
    )
    assert outcomes(items) == [
        "created", "unknown_product", "insufficient_stock", "negative_total", "negative_price",
        "unknown_store", "unknown_store", "invalid", "created", "created",
    ]  # fmt: skip
    assert items[2]["problem"]["lacking"] == [{"sku": "A", "requested": 20_000, "available": 9_994}]
    assert items[1]["problem"]["errors"][0]["field"] == "lines.1.sku"
    assert items[7]["problem"]["errors"][0]["field"] == "sold_at"
    assert till.stock("A") == 10_000 - 6 - 1 - 3
    assert outcomes(send(till, sale("3", line("A", 2, 1)))) == ["created"], "a refused number is free"


def test_documents_too_large_to_be_summed_are_refused(till: Till):
    huge = line("X", 10**6, 10**8, charge=True)
    items = send(
        till,
        sale("1", huge),
        back("C1", huge),
        sale("2", huge, line("Y", 10**6, -(10**8), charge=True)),
        sale("3", line("X", 10**4, 10**8, charge=True)),
        sale("4", line("X", 10**4, 10**8, charge=True), line("A", 1, 1)),
    )
    assert outcomes(items) == [
        "total_too_large", "total_too_large", "total_too_large", "created", "total_too_large",
    ]  # fmt: skip
    assert items[0]["problem"]["errors"][0]["field"] == "lines"


def test_a_return_of_more_than_a_line_of_inventory_takes_is_booked_in_whole(till: Till):
    written_off = line("A", 600_000, 1, restock=False)
    items = send(till, back("C1", line("A", 1, 1), written_off, written_off), sale("1"))
    assert outcomes(items) == ["created", "created"]
    assert till.stock("A") == 10_000 + 1 - 6


HOSTILE: list[Any] = [
    None, 7, "x", [], {}, {"kind": "sale"}, {"kind": "x"}, {"kind": ["sale"]},
    sale(lines=[]), sale(lines={}), sale(lines=[None]), sale("1", line("A", 0, 1)), sale("1", line("A", 10**9, 1)),
    sale("1", line("A", 1, 10**19)), sale("1", line("A", 1, 1.5)), sale("", line("A", 1, 1)), sale(sold_at="yesterday"),
    sale(sold_at="1999-12-31T23:59:59Z"), sale(sold_at="2010-12-01T08:26:00"), sale(sold_at=5), sale(extra=1),
    sale(store=""), sale(document="x" * 101), back(restock="yes"), back(original=""),
]  # fmt: skip


def test_hostile_documents_are_refused_each_for_itself(till: Till):
    items = send(till, *HOSTILE, sale("last"))
    assert {item["outcome"] for item in items[:-1]} == {"refused"}
    assert {item["problem"]["status"] for item in items[:-1]} == {422}
    assert items[-1]["outcome"] == "created"
    assert till.statuses() == ["complete"]


@pytest.mark.parametrize(
    "body",
    [7, [], {}, {"documents": []}, {"documents": [sale()] * 201}, {"documents": [sale("1", *[line("A", 1, 1)] * 999)] * 3}],
    ids=range(6),
)  # fmt: skip
def test_hostile_imports_are_refused(till: Till, body: Any):
    response = till.app.test_client().post("/import", json=body, headers=till.hq)
    assert problem(response)[0] == 422


def test_import_is_for_hq_and_services(till: Till):
    body = {"documents": [sale()]}
    assert problem(till.app.test_client().post("/import", json=body, headers=till.clerk))[0] == 403
    service = till.secrets.bearer("service", subject="maintenance")
    assert till.app.test_client().post("/import", json=body, headers=service).status_code == 200


def test_what_is_away_fails_what_is_left_and_sending_again_goes_on(till: Till):
    send(till, sale("1"))
    till.gateway.lost.add("inventory")
    items = send(till, sale("1"), sale("2"), sale("3"), back("C1", original="1"))
    assert [item["outcome"] for item in items] == ["present", "failed", "failed", "failed"]
    assert till.statuses() == ["complete", "undoing"]
    till.gateway.lost.clear()
    assert outcomes(send(till, sale("1"), sale("2"), sale("3"), back("C1", original="1"))) == [
        "present", "created", "created", "created",
    ]  # fmt: skip
    assert till.stock("A") == 10_000 - 18 + 1
    till.gateway.away.add("products")
    response = till.app.test_client().post("/import", json={"documents": [sale("4")]}, headers=till.hq)
    assert problem(response) == (503, "prices_unavailable")


def test_imported_return_whose_answer_was_lost_is_finished_when_sent_again(till: Till):
    send(till, sale("1"))
    till.gateway.lost.add("inventory")
    assert outcomes(send(till, back("C1", original="1"))) == ["return_unfinished"]
    till.gateway.lost.clear()
    assert outcomes(send(till, back("C1", original="1"))) == ["present"]
    assert till.stock("A") == 9_995


def test_large_document_is_one_sale(till: Till):
    lines = [line(sku, 3, price) for price in range(1, 334) for sku in ("A", "B", "C")]
    (item,) = send(till, sale("1", *lines))
    assert (item["outcome"], item["total_cents"]) == ("created", 9 * 333 * 334 // 2)
    assert till.stock("A") == 10_000 - 999
