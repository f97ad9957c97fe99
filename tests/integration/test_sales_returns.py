"""What comes back: returns by line, voids, registers and their cash, gift cards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

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


def test_lines_come_back_in_pieces_and_give_back_exactly_what_was_paid(till: Till):
    sale = till.sold(("A", 3), ("C", 7), ("B", 1))
    refunded = 0
    for lines in ([(1, 1)], [(2, 3), (1, 1)], [(2, 4)], [(3, 1), (1, 1)]):
        response = till.take_back(sale, *lines)
        assert response.status_code == 201, response.get_json()
        refunded += response.get_json()["total_cents"]
    assert refunded == sale["total_cents"]
    assert (till.stock("A"), till.stock("B"), till.stock("C")) == (10_000, 10_000, 10_000)
    shown = till.get(f"/{sale['sale_id']}").get_json()
    assert [line["returned_quantity"] for line in shown["lines"]] == [3, 7, 1]
    assert [back["receipt_number"] for back in shown["returns"]] == [1, 2, 3, 4]
    assert shown["returns"][0]["receipt"].endswith("-R1")


def test_never_more_comes_back_than_was_sold(till: Till):
    sale = till.sold(("A", 2), ("B", 1))
    assert till.take_back(sale, (1, 1)).status_code == 201
    response = till.take_back(sale, (2, 1), (1, 1), (1, 1))
    assert problem(response) == (409, "more_than_sold")
    assert faulty_fields(response) == ["lines.2.quantity"]
    assert problem(till.take_back(sale, (3, 1))) == (422, "unknown_line")
    assert (till.stock("A"), till.stock("B")) == (9_999, 9_999)


def test_two_returns_of_the_last_unit_at_once_are_one(till: Till):
    sale = till.sold(("A", 3))
    start = threading.Barrier(6)

    def attempt(_: int) -> Any:
        start.wait()
        return till.take_back(sale, (1, 1))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(attempt, range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409, 409]
    assert till.stock("A") == 10_000


def test_goods_that_are_written_off_do_not_go_back_into_stock(till: Till):
    sale = till.sold(("A", 4))
    body = [{"line": 1, "quantity": 1, "restock": True}, {"line": 1, "quantity": 2, "restock": False}]
    assert till.take_back(sale, lines=body).status_code == 201
    assert till.stock("A") == 9_997
    kinds = dict(
        till.execute("SELECT kind, sum(quantity) FROM inventory.ledger WHERE sku = 'A' GROUP BY kind")
    )
    assert (kinds["return"], kinds["write_off"]) == (3, -2)


def test_return_whose_answer_was_lost_is_taken_once(till: Till):
    sale = till.sold(("A", 2))
    till.gateway.lost.add("inventory")
    assert problem(till.take_back(sale, (1, 1), key="k")) == (503, "return_unfinished")
    assert problem(till.void(sale)) == (409, "sale_has_returns")
    till.gateway.lost.clear()
    back = till.take_back(sale, (1, 1), key="k").get_json()
    assert (back["status"], back["receipt_number"], till.stock("A")) == ("complete", 1, 9_999)
    assert problem(till.take_back(sale, (1, 2), key="k")) == (422, "idempotency_key_reused")


def test_return_that_nobody_repeats_is_finished_by_recovery(till: Till):
    sale = till.sold(("A", 2))
    till.gateway.away.add("inventory")
    assert problem(till.take_back(sale, (1, 1), (1, 1), key="k")) == (503, "return_unfinished")
    till.gateway.away.clear()
    assert till.recovered() == 1
    assert till.take_back(sale, (1, 1), (1, 1), key="k").get_json()["total_cents"] == sale["total_cents"]
    assert till.stock("A") == 10_000
    assert till.close(counted=10_000 - sale["total_cents"]).get_json()["discrepancy_cents"] == 0


def test_return_that_inventory_refuses_leaves_the_lines_to_be_returned(till: Till):
    sale = till.sold(("A", 2), ("B", 3))
    refusal = b'{"code": "unknown_location", "detail": "No such place."}'
    till.gateway.answers["inventory"] = (422, refusal)
    assert problem(till.take_back(sale, (1, 1), (2, 2), (1, 1), key="k")) == (409, "stock_refused")
    till.gateway.answers.clear()
    back = till.take_back(sale, (1, 2), (2, 3), key="k")
    assert back.get_json()["total_cents"] == sale["total_cents"]


def test_void_takes_back_everything_once(till: Till):
    till.post("/gift-cards", {"register": "R1", "code": "GIFT-0001", "amount_cents": 500, "paid_by": "cash"})
    tenders = [
        {"kind": "gift_card", "amount_cents": 500, "code": "gift0001"},
        {"kind": "cash", "given_cents": 5000},
    ]
    sale = till.sold(("A", 1), tenders=tenders)
    assert till.get("/gift-cards/GIFT0001").get_json()["balance_cents"] == 0
    voided = till.void(sale, key="k").get_json()
    assert (voided["status"], voided["void_reason"]) == ("voided", "a mistake")
    assert till.void(sale, key="k").get_json() == voided
    assert problem(till.void(sale)) == (409, "sale_not_complete")
    assert problem(till.take_back(sale, (1, 1))) == (409, "sale_not_complete")
    assert till.stock("A") == 10_000
    card = till.get("/gift-cards/GIFT-0001").get_json()
    assert [entry["kind"] for entry in card["entries"]] == ["issue", "charge", "charge_undone"]
    assert (card["balance_cents"], card["last_four"]) == (500, "0001")
    closed = till.close(counted=10_500).get_json()
    assert (closed["expected_cash_cents"], closed["discrepancy_cents"]) == (10_500, 0)
    assert till.sold(("A", 1), register=till.open("R2")["register"])["receipt_number"] == 2


def test_void_whose_answer_was_lost_is_finished_by_recovery_or_its_key(till: Till):
    first, second = till.sold(("A", 1)), till.sold(("A", 1))
    till.gateway.lost.add("inventory")
    assert problem(till.void(first, key="1")) == (503, "void_unfinished")
    assert problem(till.void(second, key="2")) == (503, "void_unfinished")
    assert problem(till.take_back(first, (1, 1))) == (409, "sale_not_complete")
    till.gateway.lost.clear()
    assert till.void(first, key="1").get_json()["status"] == "voided"
    assert till.recovered() == 1
    assert till.void(second, key="2").get_json()["status"] == "voided"
    assert till.stock("A") == 10_000


def test_key_of_a_void_is_good_for_its_register_and_reason_only(till: Till):
    till.open("R2")
    sale = till.sold(("A", 1))
    till.gateway.lost.add("inventory")
    assert problem(till.void(sale, key="1")) == (503, "void_unfinished")
    till.gateway.lost.clear()
    for another in ({"register": "R2"}, {"reason": "another"}):
        assert problem(till.void(sale, key="1", **another)) == (422, "idempotency_key_reused")
    assert till.void(sale, key="1").get_json()["status"] == "voided"
    assert problem(till.void(sale, key="1", register="R2")) == (422, "idempotency_key_reused")


def test_void_ends_with_the_stores_day_and_needs_an_untouched_sale(till: Till):
    old, touched = till.sold(("A", 1)), till.sold(("A", 2))
    till.execute(
        "UPDATE sales.sales SET business_date = business_date - 1, receipt_number = 1 WHERE sale_id = %s",
        (old["sale_id"],),
    )
    till.execute("UPDATE sales.sales SET receipt_number = 1 WHERE sale_id = %s", (touched["sale_id"],))
    assert problem(till.void(old)) == (409, "day_has_ended")
    till.take_back(touched, (1, 1))
    assert problem(till.void(touched)) == (409, "sale_has_returns")
    missing = {"sale_id": "00000000-0000-4000-8000-000000000000"}
    assert problem(till.void(missing)) == (404, "sale_not_found")
    assert problem(till.take_back(missing, (1, 1))) == (404, "sale_not_found")


def test_void_and_return_at_once_are_one_of_them(till: Till):
    sale = till.sold(("A", 1))
    start = threading.Barrier(2)

    def attempt(work: Any) -> int:
        start.wait()
        status: int = work().status_code
        return status

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(attempt, [lambda: till.void(sale), lambda: till.take_back(sale, (1, 1))]))
    assert sorted(found) in ([200, 409], [201, 409])
    assert till.stock("A") == 10_000


def test_register_is_counted_against_its_cash(till: Till):
    cash = [{"kind": "cash", "given_cents": 5000}]
    sale = till.sold(("A", 1), tenders=cash)
    till.sold(("B", 1), tenders=cash)
    till.sold(("A", 1))
    till.take_back(sale, (1, 1))
    closed = till.close(counted=10_000)
    body = closed.get_json()
    assert (body["expected_cash_cents"], body["discrepancy_cents"]) == (10_288, -288)
    assert problem(till.close()) == (409, "register_closed")
    assert problem(till.sell(("A", 1))) == (409, "register_closed")
    assert problem(till.take_back(sale, (1, 1))) == (409, "register_closed")
    till.open(cash=0)
    assert problem(till.post("/registers/R1/open", {"opening_cash_cents": 0})) == (409, "register_open")
    sessions = till.get("/registers?register=R1&limit=1").get_json()
    rest = till.get(f"/registers?register=R1&limit=1&after={sessions['next']}").get_json()
    assert [page["items"][0]["closed_at"] is None for page in (sessions, rest)] == [True, False]
    assert rest["next"] is None
    assert len(till.get("/registers?open=true").get_json()["items"]) == 1


def test_register_is_not_closed_while_a_sale_is_under_way(till: Till):
    tenders = [{"kind": "cash", "given_cents": till.total(("A", 1))}]
    hold = till.gateway.hold = Hold("issues", "before")
    with ThreadPoolExecutor(1) as pool:
        selling = pool.submit(till.sell, ("A", 1), tenders=tenders)
        assert hold.reached.wait(10)
        assert problem(till.close()) == (409, "register_busy")
        hold.release.set()
        assert selling.result().status_code == 201
    assert till.close(counted=11_150).get_json()["discrepancy_cents"] == 0


def test_gift_card_is_never_charged_beyond_its_balance(till: Till):
    body = {"register": "R1", "code": "GIFT-0001", "amount_cents": 3000, "paid_by": "card", "reference": "T"}
    assert till.post("/gift-cards", body).status_code == 201
    assert problem(till.post("/gift-cards", body)) == (409, "gift_card_taken")
    tenders = [{"kind": "gift_card", "amount_cents": till.total(("A", 1)), "code": "GIFT-0001"}]
    for register in range(5):
        till.open(f"T{register}")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda n: till.sell(("A", 1), register=f"T{n}", tenders=tenders), range(5)))
    codes = sorted(answer.get_json().get("code", "sold") for answer in answers)
    assert codes == ["gift_card_balance"] * 3 + ["sold"] * 2
    refused = till.sell(
        ("A", 10_000), tenders=[{"kind": "gift_card", "amount_cents": 1, "code": "GIFT-0001"}]
    )
    assert problem(refused) == (422, "underpaid")
    assert till.get("/gift-cards/gift-0001").get_json()["balance_cents"] == 3000 - 2 * 1150
    assert problem(till.get("/gift-cards/nothing-like-it")) == (404, "gift_card_not_found")


def test_refused_and_undone_sales_give_gift_cards_back_what_they_paid(till: Till):
    till.post("/gift-cards", {"register": "R1", "code": "GIFT-0001", "amount_cents": 3000, "paid_by": "cash"})
    till.add_products(D=1000)
    tenders = [{"kind": "gift_card", "amount_cents": 1150, "code": "GIFT-0001"}]
    assert till.sell(("D", 1), tenders=tenders).status_code == 409
    till.gateway.away.add("inventory")
    assert till.sell(("A", 1), tenders=tenders).status_code == 503
    assert till.get("/gift-cards/GIFT-0001").get_json()["balance_cents"] == 1850
    till.gateway.away.clear()
    till.recovered()
    assert till.get("/gift-cards/GIFT-0001").get_json()["balance_cents"] == 3000


def test_refund_can_go_onto_a_gift_card(till: Till):
    till.post("/gift-cards", {"register": "R1", "code": "GIFT-0001", "amount_cents": 1, "paid_by": "cash"})
    sale = till.sold(("A", 1))
    unknown = till.take_back(sale, (1, 1), refund={"kind": "gift_card", "code": "NOT-A-CARD"})
    assert problem(unknown) == (422, "unknown_gift_card")
    assert till.take_back(sale, (1, 1), refund={"kind": "gift_card", "code": "GIFT-0001"}).status_code == 201
    assert till.get("/gift-cards/GIFT-0001").get_json()["balance_cents"] == 1151


def test_lists_find_sales_by_all_that_is_known_of_them(till: Till):
    till.open("R2")
    sales = [
        till.sold(("A", 1)),
        till.sold(("B", 1), ("B", 2)),
        till.sold(("A", 1), ("B", 1), register="R2", who=till.staff("S1", "zoe")),
    ]
    day, receipt = sales[0]["business_date"], sales[1]["receipt"]
    till.void(sales[0])

    def found(query: str) -> list[int]:
        response = till.get(f"/?{query}")
        assert response.status_code == 200, response.get_json()
        ids = [sale["sale_id"] for sale in sales]
        return [ids.index(item["sale_id"]) for item in response.get_json()["items"]]

    assert found("") == [2, 1, 0]
    assert found("sku=B") == [2, 1]
    assert found("sku=B&register=R2") == [2]
    assert found(f"receipt={receipt}") == [1]
    assert found(f"receipt={receipt}&day=2001-01-01") == []
    assert found(f"day={day}&store=S1&status=complete") == [2, 1]
    assert found("cashier=zoe") == [2]
    assert found("status=voided") == [0]
    assert found("register=R1") == [1, 0]
    assert found("status=unsettled") == []


def test_pages_of_lists_join_up(till: Till):
    sales = [till.sold(("A", 1))["sale_id"] for _ in range(5)]
    for query in ("limit=2", "limit=2&sku=A", "limit=2&store=S1"):
        seen: list[str] = []
        after = ""
        while True:
            page = till.get(f"/?{query}{after}").get_json()
            seen += [item["sale_id"] for item in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == sales[::-1]


def test_returns_are_listed(till: Till):
    sale = till.sold(("A", 2), ("B", 1))
    first = till.take_back(sale, (1, 1)).get_json()
    second = till.take_back(sale, (2, 1)).get_json()
    page = till.get("/returns?limit=1").get_json()
    rest = till.get(f"/returns?limit=1&after={page['next']}").get_json()
    assert [row["items"][0]["return_id"] for row in (page, rest)] == [second["return_id"], first["return_id"]]
    assert [row["return_id"] for row in till.get("/returns?sku=A").get_json()["items"]] == [
        first["return_id"]
    ]
    assert len(till.get(f"/returns?sale_id={sale['sale_id']}").get_json()["items"]) == 2
    assert till.get(f"/returns/{first['return_id']}").get_json() == first


HOSTILE_QUERIES = [
    "after=x", "after=WyIyMDAxLTAxLTAxIiwgIngiXQ", "after=WyJ4IiwieCJd", "day=tomorrow", "day=99999-01-01",
    "receipt=S1-99999999-1", "receipt=x", "limit=0", "limit=1e9", "store=%00", "sku=" + "x" * 65, "nope=1", "status=x",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_hostile_queries_are_refused(till: Till, query: str):
    assert till.get(f"/?{query}", till.hq).status_code in {400, 422}


HOSTILE_LINES: list[Any] = [
    None, {}, [], [{}], "A", [{"sku": "A", "quantity": 0}], [{"sku": "A", "quantity": 1.5}],
    [{"sku": "A", "quantity": "1"}], [{"sku": "A", "quantity": True}], [{"sku": "A", "quantity": 10**400}],
    [{"sku": "", "quantity": 1}], [{"sku": "A\u0000", "quantity": 1}], [{"sku": "\ud800", "quantity": 1}],
    [{"sku": "A", "quantity": 1, "unit_price_cents": -1}], [{"sku": "A", "quantity": 1, "x": 1}],
    [{"sku": "A", "quantity": 1}] * 201, [{"sku": "'; DROP TABLE sales.sales; --", "quantity": 1}],
]  # fmt: skip


@pytest.mark.parametrize("lines", HOSTILE_LINES, ids=range(len(HOSTILE_LINES)))
def test_hostile_lines_are_refused(till: Till, lines: Any):
    body = {"register": "R1", "lines": lines, "tenders": []}
    assert till.post("/", body).status_code in {400, 422}
    assert till.post("/quote", {"lines": lines}).status_code in {400, 422}
    assert till.statuses() == []


@pytest.mark.parametrize("register", ["%00", "R 1", "é", "x" * 21, "R1%0A"])
def test_hostile_register_is_refused(till: Till, register: str):
    response = till.post(f"/registers/{register}/open", {"opening_cash_cents": 1})
    assert response.status_code in {404, 422}


def test_what_is_paid_back_is_counted_once(till: Till):
    at_s1 = {"channel": "store", "store": "S1"}
    returned, voided = till.sold(("A", 3)), till.sold(("B", 1))
    with growth("refunds_total", **at_s1) as refunds, growth("refunds_cents_total", **at_s1) as cents:
        back = till.take_back(returned, (1, 1), key="k").get_json()
        assert till.take_back(returned, (1, 1), key="k").get_json() == back
        for _ in range(2):
            assert till.void(voided, key="v").status_code == 200
    assert (refunds.by, cents.by) == (2, back["total_cents"] + voided["total_cents"])
