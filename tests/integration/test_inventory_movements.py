"""Receipts, adjustments, write-offs and transfers: what they do to stock, what they write, whom they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
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


def test_a_receipt_is_on_hand_and_in_the_ledger(room: Stockroom) -> None:
    body = {"location": "S1", "lines": lines(B=2, A=5), "reference": "d-7", "reason": "delivery"}
    response = room.post("/receipts", body, room.staff("S1"))
    movements = response.get_json()["movements"]
    assert response.status_code == 201
    assert [(row["sku"], row["quantity"], row["on_hand"], row["kind"]) for row in movements] == [
        ("A", 5, 5, "receipt"),
        ("B", 2, 2, "receipt"),
    ]
    assert {(row["reference"], row["reason"], row["moved_by"]) for row in movements} == {
        ("d-7", "delivery", "staff-S1")
    }
    assert room.get("/movements?sku=A").get_json()["items"] == movements[:1]
    assert room.stock("S1", "A") == (5, 0)


def test_lines_of_one_sku_add_up(room: Stockroom) -> None:
    body = {"location": "S1", "lines": lines(A=2) + lines(A=3)}
    assert len(room.post("/receipts", body).get_json()["movements"]) == 1
    assert room.stock("S1", "A") == (5, 0)


def test_an_adjustment_goes_both_ways_and_not_below_what_is_there(room: Stockroom) -> None:
    room.receive("S1", A=5)
    body = {"location": "S1", "reason": "count", "lines": lines(A=-2, B=3)}
    assert [row["on_hand"] for row in room.post("/adjustments", body).get_json()["movements"]] == [3, 3]
    refused = room.post("/adjustments", {**body, "lines": lines(B=-3, A=-4)})
    assert lacking(refused) == [("A", 4, 3)]
    assert faulty_fields(refused) == ["lines.1.sku"]
    assert (room.stock("S1", "A"), room.stock("S1", "B")) == ((3, 0), (3, 0))


def test_what_is_promised_cannot_be_adjusted_or_written_off(room: Stockroom) -> None:
    room.receive("W1", A=5)
    room.reserve(A=4)
    for path in ("/adjustments", "/write-offs"):
        quantity = -2 if path == "/adjustments" else 2
        body = {"location": "W1", "reason": "broken", "lines": lines(A=quantity)}
        assert lacking(room.post(path, body)) == [("A", 2, 1)]
    assert room.stock("W1", "A") == (5, 4)


def test_an_adjustment_of_nothing_is_refused(room: Stockroom) -> None:
    body = {"location": "S1", "reason": "count", "lines": lines(A=0)}
    response = room.post("/adjustments", body)
    assert (problem(response), faulty_fields(response)) == ((422, "nothing_adjusted"), ["lines.0.quantity"])
    body["lines"] = lines(A=1) + lines(A=-1)
    assert problem(room.post("/adjustments", body)) == (422, "nothing_adjusted")


def test_a_write_off_says_why(room: Stockroom) -> None:
    room.receive("S1", A=5)
    body = {"location": "S1", "reason": "broken", "lines": lines(A=5)}
    (row,) = room.post("/write-offs", body).get_json()["movements"]
    assert (row["quantity"], row["on_hand"], row["reason"]) == (-5, 0, "broken")
    assert problem(room.post("/write-offs", {**body, "reason": " "})) == (422, "invalid")


def test_a_transfer_changes_both_places_or_neither(room: Stockroom) -> None:
    room.receive("W1", A=5, B=1)
    body = {"from_location": "W1", "to_location": "S1", "lines": lines(A=2, B=1)}
    movements = room.post("/transfers", body).get_json()["movements"]
    assert [(row["location"], row["sku"], row["quantity"], row["kind"]) for row in movements] == [
        ("S1", "A", 2, "transfer_in"),
        ("S1", "B", 1, "transfer_in"),
        ("W1", "A", -2, "transfer_out"),
        ("W1", "B", -1, "transfer_out"),
    ]
    refused = room.post("/transfers", body)
    assert lacking(refused) == [("B", 1, 0)]
    assert refused.get_json()["lacking"][0]["location"] == "W1"
    assert (room.stock("W1", "A"), room.stock("S1", "A")) == ((3, 0), (2, 0))
    assert room.differences() == []


def test_a_transfer_goes_to_another_place(room: Stockroom) -> None:
    body = {"from_location": "W1", "to_location": "W1", "lines": lines(A=2)}
    assert problem(room.post("/transfers", body)) == (422, "same_location")
    response = room.post("/transfers", {**body, "to_location": "S9"})
    assert (problem(response), faulty_fields(response)) == ((422, "unknown_location"), ["to_location"])


@pytest.mark.parametrize("location", ["S9", "s1", "' OR 1=1", "é"])
def test_an_unknown_place_is_named(room: Stockroom, location: str) -> None:
    for path, more in (
        ("/receipts", {}),
        ("/write-offs", {"reason": "r"}),
        ("/adjustments", {"reason": "r"}),
    ):
        response = room.post(path, {"location": location, "lines": lines(A=1), **more})
        assert (problem(response), faulty_fields(response)) == ((422, "unknown_location"), ["location"])


def test_staff_act_at_their_own_place_and_look_everywhere(room: Stockroom) -> None:
    room.receive("S1", A=5)
    staff = room.staff("S2")
    for path, body in (
        ("/receipts", {"location": "S1"}),
        ("/adjustments", {"location": "S1", "reason": "count"}),
        ("/write-offs", {"location": "S1", "reason": "broken"}),
        ("/transfers", {"from_location": "S1", "to_location": "S2"}),
    ):
        response = room.post(path, {**body, "lines": lines(A=1)}, staff)
        assert problem(response) == (403, "not_your_location"), path
    assert room.get("/stock/A", staff).get_json()["on_hand"] == 5
    own = {"from_location": "S2", "to_location": "S1", "lines": lines(A=1)}
    assert lacking(room.post("/transfers", own, staff)) == [("A", 1, 0)]


def test_customers_and_strangers_neither_move_nor_look(room: Stockroom) -> None:
    body = {"location": "S1", "lines": lines(A=1)}
    customer = room.secrets.bearer("customer")
    assert problem(room.post("/receipts", body, customer))[0] == 403
    assert problem(room.get("/stock", customer))[0] == 403
    assert problem(room.get("/invariants", room.sales))[0] == 403
    assert problem(room.app.test_client().get("/stock"))[0] == 401
    assert problem(room.post("/issues", {**body, "reference": "r"}))[0] == 403
    assert room.app.test_client().get("/locations").status_code == 200


def test_a_movement_without_a_key_is_refused(room: Stockroom) -> None:
    body = {"location": "S1", "lines": lines(A=1)}
    response = room.app.test_client().post("/receipts", json=body, headers=room.hq)
    assert problem(response) == (400, "idempotency_key_missing")


def test_the_same_key_twice_moves_once(room: Stockroom) -> None:
    body = {"location": "S1", "lines": lines(A=1)}
    first, again = (room.post("/receipts", body, key="k") for _ in range(2))
    assert (first.status_code, first.data) == (again.status_code, again.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = {"location": "S1", "lines": lines(A=2)}
    assert problem(room.post("/receipts", other, key="k")) == (422, "idempotency_key_reused")
    assert room.stock("S1", "A") == (1, 0)


def test_a_refused_key_may_be_used_again_once_there_is_stock(room: Stockroom) -> None:
    body = {"location": "S1", "reason": "broken", "lines": lines(A=1)}
    assert lacking(room.post("/write-offs", body, key="k")) == [("A", 1, 0)]
    room.receive("S1", A=1)
    assert room.post("/write-offs", body, key="k").status_code == 201


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"sku": "A", "quantity": 0}, "lines.0.quantity"),
        ({"sku": "A", "quantity": -1}, "lines.0.quantity"),
        ({"sku": "A", "quantity": 1_000_001}, "lines.0.quantity"),
        ({"sku": "A", "quantity": 2**63}, "lines.0.quantity"),
        ({"sku": "A", "quantity": 1.5}, "lines.0.quantity"),
        ({"sku": "A", "quantity": "1"}, "lines.0.quantity"),
        ({"sku": "A", "quantity": True}, "lines.0.quantity"),
        ({"sku": " ", "quantity": 1}, "lines.0.sku"),
        ({"sku": "x" * 65, "quantity": 1}, "lines.0.sku"),
        ({"sku": "a\nb", "quantity": 1}, "lines.0.sku"),
        ({"sku": "A", "quantity": 1, "price": 1}, "lines.0.price"),
        ({"quantity": 1}, "lines.0.sku"),
    ],
)
def test_a_hostile_line_is_named_and_moves_nothing(room: Stockroom, line: object, field: str) -> None:
    for path, more in (("/receipts", {}), ("/reservations", {}), ("/issues", {"reference": "r"})):
        response = room.post(path, {"location": "S1", "lines": [line], **more}, room.sales)
        assert problem(response) == (422, "invalid"), path
        assert faulty_fields(response) == [field]
    assert room.get("/movements").get_json()["items"] == []


@pytest.mark.parametrize("sku", ["'; DROP TABLE stock; --", "a/b", "😀", "%_\\", "{A,B}", "null", '"'])
def test_any_printable_sku_is_only_a_name(room: Stockroom, sku: str) -> None:
    body = {"location": "S1", "lines": [{"sku": sku, "quantity": 3}]}
    (row,) = room.post("/receipts", body).get_json()["movements"]
    assert row["sku"] == sku
    found = room.app.test_client().get("/stock", query_string={"sku": [sku, "other"]}, headers=room.hq)
    assert [row["on_hand"] for row in found.get_json()["items"]] == [3]


def test_more_lines_than_allowed_and_none_at_all_are_refused(room: Stockroom) -> None:
    many = [{"sku": f"A{number}", "quantity": 1} for number in range(1001)]
    for given in (many, []):
        assert problem(room.post("/receipts", {"location": "S1", "lines": given})) == (422, "invalid")
    assert room.post("/receipts", {"location": "S1", "lines": many[:1000]}).status_code == 201


def test_more_than_can_be_kept_is_refused_whole(room: Stockroom) -> None:
    body = {"location": "S1", "lines": lines(A=1_000_000) * 100 + lines(B=1)}
    assert room.post("/receipts", body).status_code == 201
    refused = room.post("/receipts", {"location": "S1", "lines": lines(A=1, B=1)})
    assert problem(refused) == (422, "stock_limit")
    assert room.stock("S1", "B") == (1, 0)


def test_the_ledger_cannot_be_changed_by_anyone(room: Stockroom) -> None:
    room.receive("S1", A=1)
    for role in ("inventory", "postgres"):
        for statement in (
            "UPDATE inventory.ledger SET quantity = 2",
            "DELETE FROM inventory.ledger",
            "TRUNCATE inventory.ledger",
        ):
            connection = room.database.connect(role)
            with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            connection.close()
    assert room.stock("S1", "A") == (1, 0)


@pytest.mark.parametrize(
    "change",
    ["on_hand = -1", "reserved = -1", "reserved = on_hand + 1", "on_hand = 100000001", "low_at = -1"],
)
def test_the_table_refuses_impossible_stock(room: Stockroom, change: str) -> None:
    room.receive("S1", A=1)
    with pytest.raises(psycopg2.errors.CheckViolation):
        room.execute(f"UPDATE inventory.stock SET {change}")


@pytest.mark.parametrize(
    "change", ["on_hand = on_hand + 1", "reserved = reserved + 1", "on_hand = on_hand - 1"]
)
def test_the_invariants_name_what_is_wrong(room: Stockroom, change: str) -> None:
    room.receive("S1", A=2, B=2)
    assert room.get("/invariants", room.staff("S1")).get_json() == {
        "holds": True, "checked": 2, "differences": [], "more": False,
    }  # fmt: skip
    room.execute(f"UPDATE inventory.stock SET {change} WHERE sku = 'B'")
    (found,) = room.differences()
    assert (found["location"], found["sku"], found["ledger"], found["open_reservations"]) == ("S1", "B", 2, 0)
    assert (found["on_hand"], found["reserved"]) != (2, 0)


def test_the_invariants_name_at_most_a_hundred(room: Stockroom) -> None:
    body = {"location": "S1", "lines": [{"sku": f"A{number}", "quantity": 1} for number in range(102)]}
    room.post("/receipts", body)
    room.execute("UPDATE inventory.stock SET on_hand = 2")
    answer = room.get("/invariants").get_json()
    assert (answer["holds"], answer["checked"], answer["more"]) == (False, 102, True)
    assert len(answer["differences"]) == 100
