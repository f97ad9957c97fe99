"""Looking at stock, what is low, and a store asking the warehouse for more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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
    return room_of_all


def ask(room: Stockroom, location: str = "S1", **quantities: int) -> int:
    response = room.post(
        "/replenishments", {"location": location, "lines": lines(**quantities)}, room.staff(location)
    )
    assert response.status_code == 201, response.get_json()
    found: int = response.get_json()["replenishment_id"]
    return found


def approve(room: Stockroom, replenishment_id: int, **quantities: int) -> Any:
    body = {"lines": lines(**quantities)} if quantities else {}
    return room.post(f"/replenishments/{replenishment_id}/approve", body, room.staff("W1"))


def all_pages(room: Stockroom, path: str) -> list[dict[str, Any]]:
    items, after = [], ""
    while True:
        answer = room.get(f"{path}&limit=2{after}").get_json()
        items += answer["items"]
        if answer["next"] is None:
            return items
        after = f"&after={answer['next']}"


def test_there_are_five_stores_and_a_warehouse(room: Stockroom) -> None:
    items = room.get("/locations").get_json()["items"]
    assert [(row["location"], row["kind"]) for row in items] == [
        *((f"S{number}", "store") for number in range(1, 6)), ("W1", "warehouse"),
    ]  # fmt: skip
    assert len({row["time_zone"] for row in items}) >= 2


def test_one_sku_over_all_locations(room: Stockroom) -> None:
    room.receive("S2", A=3)
    room.receive("W1", A=4)
    room.reserve(A=1)
    found = room.get("/stock/A").get_json()
    assert (found["on_hand"], found["reserved"], found["available"]) == (7, 1, 6)
    assert [(row["location"], row["available"]) for row in found["locations"]] == [("S2", 3), ("W1", 3)]
    never = room.get("/stock/never seen").get_json()
    assert never == {"sku": "never seen", "on_hand": 0, "reserved": 0, "available": 0, "locations": []}


def test_stock_in_pages_by_location_and_sku(room: Stockroom) -> None:
    for location in ("S1", "S2"):
        room.receive(location, C=1, A=1, B=1)
    found = all_pages(room, "/stock?")
    assert [(row["location"], row["sku"]) for row in found] == [
        (location, sku) for location in ("S1", "S2") for sku in "ABC"
    ]
    assert [row["sku"] for row in all_pages(room, "/stock?location=S2&sku=A&sku=C")] == ["A", "C"]
    assert problem(room.get("/stock?after=x")) == (400, "bad_cursor")
    assert problem(room.get("/stock?limit=201")) == (422, "invalid")
    assert problem(room.get("/stock?place=S1")) == (422, "invalid")


def test_the_ledger_in_pages_latest_first(room: Stockroom) -> None:
    for _ in range(3):
        room.receive("S1", A=1)
    room.receive("S2", A=1)
    room.issue("x", A=1)
    found = all_pages(room, "/movements?")
    ids = [row["movement_id"] for row in found]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5
    assert [row["on_hand"] for row in all_pages(room, "/movements?location=S1&kind=receipt")] == [3, 2, 1]
    assert [row["kind"] for row in all_pages(room, "/movements?reference=x")] == ["sale"]


def test_what_is_low_follows_what_is_available(room: Stockroom) -> None:
    room.receive("W1", A=5, B=5)
    body = {"location": "W1", "lines": [{"sku": sku, "low_at": 4} for sku in ("A", "B", "never")]}
    assert room.app.test_client().put("/thresholds", json=body, headers=room.staff("W1")).status_code == 204
    assert [row["sku"] for row in all_pages(room, "/low-stock?")] == ["never"]
    room.reserve(A=1)
    assert [row["sku"] for row in all_pages(room, "/low-stock?location=W1")] == ["A", "never"]
    body["lines"] = [{"sku": "A", "low_at": None}]
    room.app.test_client().put("/thresholds", json=body, headers=room.hq)
    assert [row["sku"] for row in all_pages(room, "/low-stock?location=W1")] == ["never"]
    assert all_pages(room, "/low-stock?location=S1") == []


def test_thresholds_are_set_by_those_who_act_there(room: Stockroom) -> None:
    client = room.app.test_client()
    body: dict[str, Any] = {"location": "S1", "lines": [{"sku": "A", "low_at": 1}]}
    assert problem(client.put("/thresholds", json=body, headers=room.staff("S2"))) == (
        403,
        "not_your_location",
    )
    body["lines"] *= 2
    response = client.put("/thresholds", json=body, headers=room.hq)
    assert (problem(response), faulty_fields(response)) == ((422, "sku_repeated"), ["lines.1.sku"])


def test_a_request_approved_whole_is_transferred(room: Stockroom) -> None:
    room.receive("W1", A=5, B=5)
    number = ask(room, A=3, B=2)
    answer = approve(room, number).get_json()
    assert (answer["state"], answer["decided_by"]) == ("approved", "staff-W1")
    assert [(row["requested"], row["approved"]) for row in answer["lines"]] == [(3, 3), (2, 2)]
    assert (room.stock("W1", "A"), room.stock("S1", "A")) == ((2, 0), (3, 0))
    moved = room.get(f"/movements?reference=replenishment:{number}").get_json()["items"]
    assert sorted(row["quantity"] for row in moved) == [-3, -2, 2, 3]
    assert problem(approve(room, number)) == (409, "replenishment_decided")
    assert room.get(f"/replenishments/{number}").get_json() == answer
    assert room.differences() == []


def test_a_request_approved_in_part_moves_that_part(room: Stockroom) -> None:
    room.receive("W1", A=5, B=5)
    number = ask(room, A=3, B=2)
    answer = approve(room, number, A=1).get_json()
    assert [(row["sku"], row["approved"]) for row in answer["lines"]] == [("A", 1), ("B", 0)]
    assert (room.stock("S1", "A"), room.stock("S1", "B")) == ((1, 0), (0, 0))


@pytest.mark.parametrize(
    ("given", "code"), [({"A": 4}, "more_than_requested"), ({"C": 1}, "more_than_requested"), ({"A": 0}, "nothing_approved")]
)  # fmt: skip
def test_an_approval_keeps_to_the_request(room: Stockroom, given: dict[str, int], code: str) -> None:
    room.receive("W1", A=5, C=5)
    number = ask(room, A=3)
    assert problem(approve(room, number, **given)) == (422, code)
    assert room.get(f"/replenishments/{number}").get_json()["state"] == "requested"


def test_too_little_in_the_warehouse_leaves_the_request_open(room: Stockroom) -> None:
    room.receive("W1", A=2, B=5)
    number = ask(room, A=3, B=2)
    refused = approve(room, number)
    assert lacking(refused) == [("A", 3, 2)]
    assert refused.get_json()["lacking"][0]["location"] == "W1"
    assert room.get(f"/replenishments/{number}").get_json()["state"] == "requested"
    assert room.stock("W1", "B") == (5, 0)
    assert approve(room, number, A=2, B=2).status_code == 200


def test_a_refused_request_moves_nothing_and_stays_refused(room: Stockroom) -> None:
    room.receive("W1", A=5)
    number = ask(room, A=3)
    answer = room.post(f"/replenishments/{number}/refuse", {"reason": "end of line"}, room.staff("W1"))
    assert (answer.get_json()["state"], answer.get_json()["reason"]) == ("refused", "end of line")
    assert problem(approve(room, number)) == (409, "replenishment_decided")
    assert room.stock("W1", "A") == (5, 0)


def test_a_store_asks_for_itself_and_does_not_decide(room: Stockroom) -> None:
    room.receive("W1", A=5)
    body = {"location": "S1", "lines": lines(A=1)}
    assert problem(room.post("/replenishments", body, room.staff("S2"))) == (403, "not_your_location")
    body["location"] = "W1"
    assert problem(room.post("/replenishments", body, room.staff("W1"))) == (422, "same_location")
    number = ask(room, A=1)
    for action, content in (("approve", {}), ("refuse", {"reason": "r"})):
        response = room.post(f"/replenishments/{number}/{action}", content, room.staff("S1"))
        assert problem(response) == (403, "not_your_location")
    assert problem(approve(room, number + 1000)) == (404, "replenishment_not_found")


def test_requests_in_pages_by_store_and_state(room: Stockroom) -> None:
    room.receive("W1", A=5)
    numbers = [ask(room, location, A=1) for location in ("S1", "S2", "S1")]
    approve(room, numbers[0])
    found = all_pages(room, "/replenishments?")
    assert [row["replenishment_id"] for row in found] == numbers[::-1]
    assert [
        row["replenishment_id"] for row in all_pages(room, "/replenishments?location=S1&state=requested")
    ] == [numbers[2]]


def test_a_request_is_decided_once_by_many_at_once(room: Stockroom) -> None:
    room.receive("W1", A=50)
    number = ask(room, A=3)
    with ThreadPoolExecutor(6) as pool:
        statuses = [
            one.result().status_code for one in [pool.submit(approve, room, number) for _ in range(6)]
        ]
    assert sorted(statuses) == [200] + [409] * 5
    assert (room.stock("W1", "A"), room.stock("S1", "A")) == ((47, 0), (3, 0))
