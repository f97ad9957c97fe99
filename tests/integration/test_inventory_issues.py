"""What sales does: stock leaves once for a reference, is put back once, comes back once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.functions import faulty_fields, problem
from tests.support.postgres import PostgresServer
from tests.support.stockroom import Stockroom, lacking, lines, stockroom


@pytest.fixture(scope="module")
def room_of_all(postgres_server: PostgresServer) -> Iterator[Stockroom]:
    with stockroom(postgres_server) as room:
        yield room


@pytest.fixture
def room(room_of_all: Stockroom) -> Stockroom:
    room_of_all.empty()
    room_of_all.receive("S1", A=5, B=2)
    return room_of_all


def give_back(room: Stockroom, reference: str, restock: bool = True, **quantities: int) -> Any:
    body = {"location": "S1", "reference": reference, "lines": lines(**quantities), "restock": restock}
    return room.post("/returns", body, room.sales)


def undo(room: Stockroom, reference: str) -> Any:
    return room.post(f"/issues/{reference}/undo", None, room.sales)


def test_an_issue_takes_stock_and_can_be_read(room: Stockroom) -> None:
    response = room.issue("sale-1", B=1, A=2)
    answer = response.get_json()
    assert (response.status_code, answer["state"], answer["lines"]) == (201, "issued", lines(A=2, B=1))
    assert [(row["sku"], row["quantity"], row["reference"]) for row in answer["movements"]] == [
        ("A", -2, "sale-1"), ("B", -1, "sale-1"),
    ]  # fmt: skip
    assert room.get("/issues/sale-1").get_json() == answer
    assert (room.stock("S1", "A"), room.stock("S1", "B")) == ((3, 0), (1, 0))
    assert problem(room.get("/issues/sale-2")) == (404, "issue_not_found")


def test_a_reference_issues_once_whatever_its_key(room: Stockroom) -> None:
    first, again = room.issue("sale-1", A=2, B=1), room.issue("sale-1", B=1, A=2)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert problem(room.issue("sale-1", A=1)) == (409, "reference_taken")
    assert problem(room.issue("sale-1", "S2", A=2, B=1)) == (409, "reference_taken")
    assert room.stock("S1", "A") == (3, 0)


def test_a_refused_issue_leaves_its_reference_free(room: Stockroom) -> None:
    refused = room.issue("sale-1", A=1, B=3)
    assert lacking(refused) == [("B", 3, 2)]
    assert faulty_fields(refused) == ["lines.1.sku"]
    assert problem(room.get("/issues/sale-1")) == (404, "issue_not_found")
    assert room.issue("sale-1", A=1, B=2).status_code == 201


def test_undo_puts_back_once_and_for_good(room: Stockroom) -> None:
    room.issue("sale-1", A=2, B=1)
    first, again = undo(room, "sale-1").get_json(), undo(room, "sale-1").get_json()
    assert first == again
    assert (first["state"], first["lines"]) == ("undone", lines(A=2, B=1))
    assert [(row["quantity"], row["kind"]) for row in first["movements"]] == [
        (-2, "sale"), (-1, "sale"), (2, "sale_undone"), (1, "sale_undone"),
    ]  # fmt: skip
    assert (room.stock("S1", "A"), room.stock("S1", "B")) == ((5, 0), (2, 0))
    assert problem(room.issue("sale-1", A=2, B=1)) == (409, "issue_undone")
    assert room.differences() == []


def test_what_never_happened_can_be_settled_as_such(room: Stockroom) -> None:
    for _ in range(2):
        answer = undo(room, "sale-9").get_json()
        assert (answer["state"], answer["location"], answer["lines"]) == ("undone", None, None)
        assert answer["movements"] == []
    assert problem(room.issue("sale-9", A=1)) == (409, "issue_undone")
    assert room.stock("S1", "A") == (5, 0)


def test_an_issue_and_its_undo_at_once_end_in_one_of_two_ways(room: Stockroom) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(12):
            reference = f"sale-{number}"
            issued = pool.submit(room.issue, reference, A=1)
            undone = [pool.submit(undo, room, reference) for _ in range(2)]
            assert {one.result().get_json()["state"] for one in undone} == {"undone"}
            assert issued.result().status_code in {200, 201, 409}
            assert room.stock("S1", "A") == (5, 0)
    assert room.differences() == []


def test_the_same_reference_at_once_issues_once(room: Stockroom) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [one.result() for one in [pool.submit(room.issue, "sale-1", A=1) for _ in range(8)]]
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({str(answer.get_json()) for answer in answers}) == 1
    assert room.stock("S1", "A") == (4, 0)


@pytest.mark.parametrize("reference", ["x" * 101, "é", "a b", "", "a\tb"])
def test_a_reference_that_is_none_is_refused(room: Stockroom, reference: str) -> None:
    response = room.issue(reference, A=1)
    assert (problem(response), faulty_fields(response)) == ((422, "invalid"), ["reference"])
    if reference:
        assert undo(room, quote(reference)).status_code == 422


def test_goods_that_come_back_are_restocked_once(room: Stockroom) -> None:
    first, again = give_back(room, "r-1", A=2), give_back(room, "r-1", A=2)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json() == room.get("/returns/r-1").get_json()
    assert [(row["quantity"], row["kind"]) for row in first.get_json()["movements"]] == [(2, "return")]
    assert problem(give_back(room, "r-1", A=1)) == (409, "reference_taken")
    assert problem(give_back(room, "r-1", restock=False, A=2)) == (409, "reference_taken")
    assert problem(room.get("/returns/r-2")) == (404, "return_not_found")
    assert room.stock("S1", "A") == (7, 0)


def test_goods_that_come_back_broken_are_booked_in_and_out(room: Stockroom) -> None:
    answer = give_back(room, "r-1", restock=False, A=2, C=1).get_json()
    assert [(row["sku"], row["quantity"], row["kind"]) for row in answer["movements"]] == [
        ("A", 2, "return"), ("C", 1, "return"), ("A", -2, "write_off"), ("C", -1, "write_off"),
    ]  # fmt: skip
    assert (room.stock("S1", "A"), room.stock("S1", "C")) == ((5, 0), (0, 0))
    assert room.differences() == []


def test_opening_stock_is_received_once_for_each_reference(room: Stockroom) -> None:
    rows = [{"location": place, "sku": "N", "quantity": 3, "low_at": 1} for place in ("W1", "S2")]
    body = {"reference": "opening:1", "lines": rows}
    assert [room.post("/receipts/bulk", body).status_code for _ in range(2)] == [201, 200]
    assert room.post("/receipts/bulk", body).get_json() == {"reference": "opening:1", "lines": 2}
    other = {**body, "lines": rows[:1]}
    assert problem(room.post("/receipts/bulk", other)) == (409, "reference_taken")
    found = room.get("/stock/N").get_json()
    assert [(row["on_hand"], row["low_at"]) for row in found["locations"]] == [(3, 1), (3, 1)]
    assert problem(room.post("/receipts/bulk", body, room.staff("W1")))[0] == 403


def test_each_bad_row_of_a_bulk_is_named_and_none_is_received(room: Stockroom) -> None:
    good = {"location": "W1", "sku": "N", "quantity": 3}
    body = {"reference": "opening:2", "lines": [good, {**good, "location": "S9"}, {**good, "location": "x"}]}
    response = room.post("/receipts/bulk", body)
    assert faulty_fields(response) == ["lines.1.location", "lines.2.location"]
    response = room.post("/receipts/bulk", {**body, "lines": [good, {**good, "sku": "M"}, good]})
    assert (problem(response), faulty_fields(response)) == ((422, "sku_repeated"), ["lines.2.sku"])
    response = room.post("/receipts/bulk", {**body, "lines": [good, {**good, "quantity": 0}]})
    assert faulty_fields(response) == ["lines.1.quantity"]
    assert room.stock("W1", "N") == (0, 0)
