"""Reservations: all lines or none, for a while; and what becomes of each in every order of events."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from functions.inventory import store_reservations
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import PostgresServer
from tests.support.stockroom import Stockroom, lacking, lines, stockroom

NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def room_of_all(postgres_server: PostgresServer) -> Iterator[Stockroom]:
    with stockroom(postgres_server, expiry_batch="3") as room:
        yield room


@pytest.fixture
def room(room_of_all: Stockroom) -> Stockroom:
    room_of_all.empty()
    room_of_all.receive("W1", A=5, B=2)
    return room_of_all


def settle(room: Stockroom, reserved: Any, action: str, key: str = "") -> Any:
    reservation_id = reserved.get_json()["reservation_id"]
    return room.post(f"/reservations/{reservation_id}/{action}", None, room.sales, key)


def test_a_reservation_promises_without_moving(room: Stockroom) -> None:
    body = {"lines": lines(B=1, A=2), "reference": "order-1"}
    response = room.post("/reservations", body, room.sales)
    answer = response.get_json()
    assert response.status_code == 201
    assert (answer["state"], answer["location"], answer["reference"]) == ("open", "W1", "order-1")
    assert answer["lines"] == lines(A=2, B=1)
    assert (room.stock("W1", "A"), room.stock("W1", "B")) == ((5, 2), (2, 1))
    assert room.get(f"/reservations/{answer['reservation_id']}", room.sales).get_json() == answer


def test_all_lines_or_none(room: Stockroom) -> None:
    body = {"lines": [*lines(A=2, B=3, C=1), *lines(B=1)]}
    refused = room.post("/reservations", body, room.sales)
    assert problem_code(refused) == "insufficient_stock"
    assert lacking(refused) == [("B", 4, 2), ("C", 1, 0)]
    assert faulty_fields(refused) == ["lines.1.sku", "lines.2.sku", "lines.3.sku"]
    assert (room.stock("W1", "A"), room.stock("W1", "B")) == ((5, 0), (2, 0))
    assert room.execute("SELECT count(*) FROM inventory.reservations") == [(0,)]


def problem_code(response: Any) -> str:
    code: str = response.get_json()["code"]
    return code


def test_a_commit_takes_what_was_promised_once(room: Stockroom) -> None:
    reserved = room.reserve(A=2, B=1)
    first, again = settle(room, reserved, "commit"), settle(room, reserved, "commit")
    assert (first.status_code, first.get_json()["state"]) == (200, "committed")
    assert [(row["sku"], row["quantity"], row["kind"]) for row in first.get_json()["movements"]] == [
        ("A", -2, "sale"), ("B", -1, "sale"),
    ]  # fmt: skip
    assert again.get_json() == first.get_json()
    assert (room.stock("W1", "A"), room.stock("W1", "B")) == ((3, 0), (1, 0))
    assert problem(settle(room, reserved, "release")) == (409, "reservation_committed")
    assert room.differences() == []


def test_a_release_gives_back_once(room: Stockroom) -> None:
    reserved = room.reserve(A=2)
    for _ in range(2):
        assert settle(room, reserved, "release").get_json()["state"] == "released"
    assert room.stock("W1", "A") == (5, 0)
    assert problem(settle(room, reserved, "commit")) == (409, "reservation_released")


def test_time_that_has_passed_gives_back_in_bounded_batches(room: Stockroom) -> None:
    for _ in range(4):
        room.reserve(A=1)
    kept = room.reserve(A=1)
    assert room.expire() == {"expired": 0, "more": False}
    kept_id = kept.get_json()["reservation_id"]
    room.let_time_pass()
    room.execute(
        f"UPDATE inventory.reservations SET expires_at = now() + interval '1 hour' WHERE reservation_id = '{kept_id}'"
    )
    assert room.expire() == {"expired": 3, "more": True}
    assert room.expire() == {"expired": 1, "more": False}
    assert room.stock("W1", "A") == (5, 1)
    assert room.differences() == []


def test_what_expires_gives_back_every_line(room: Stockroom) -> None:
    room.reserve(A=2, B=1)
    room.reserve(A=1)
    room.let_time_pass()
    assert room.expire()["expired"] == 2
    assert (room.stock("W1", "A"), room.stock("W1", "B")) == ((5, 0), (2, 0))


def test_past_its_time_a_promise_still_holds_until_it_is_taken_back(room: Stockroom) -> None:
    reserved = room.reserve(A=5)
    room.let_time_pass()
    assert lacking(room.reserve(A=1)) == [("A", 1, 0)]
    assert settle(room, reserved, "commit").get_json()["state"] == "committed"
    assert room.expire()["expired"] == 0
    assert room.stock("W1", "A") == (0, 0)


def test_an_expired_one_is_committed_if_the_stock_can_still_be_had(room: Stockroom) -> None:
    reserved = room.reserve(A=3, B=1)
    room.let_time_pass()
    room.expire()
    answer = settle(room, reserved, "commit").get_json()
    assert answer["state"] == "committed"
    assert [row["quantity"] for row in answer["movements"]] == [-3, -1]
    assert settle(room, reserved, "commit").get_json() == answer
    assert (room.stock("W1", "A"), room.stock("W1", "B")) == ((2, 0), (1, 0))
    assert room.differences() == []


def test_an_expired_one_whose_stock_is_gone_is_refused_whole(room: Stockroom) -> None:
    reserved = room.reserve(A=3, B=1)
    room.let_time_pass()
    room.expire()
    room.reserve(A=3)
    refused = settle(room, reserved, "commit")
    assert problem_code(refused) == "reservation_expired"
    assert lacking(refused) == [("A", 3, 2)]
    assert room.stock("W1", "B") == (2, 0)
    assert settle(room, reserved, "release").get_json()["state"] == "released"
    assert room.differences() == []


def test_an_expired_one_that_was_released_never_takes_stock(room: Stockroom) -> None:
    """A commit that was given up by its caller may still arrive, and must find that it was taken back."""
    reserved = room.reserve(A=3)
    room.let_time_pass()
    room.expire()
    for _ in range(2):
        assert settle(room, reserved, "release").get_json()["state"] == "released"
    assert problem(settle(room, reserved, "commit")) == (409, "reservation_released")
    assert room.stock("W1", "A") == (5, 0)
    assert room.differences() == []


def test_the_time_asked_for_is_bounded(room: Stockroom) -> None:
    for ttl_seconds in (0, -1, 3601, 2**70):
        response = room.post("/reservations", {"lines": lines(A=1), "ttl_seconds": ttl_seconds}, room.sales)
        assert (problem(response), faulty_fields(response)) == ((422, "invalid"), ["ttl_seconds"])
    moment = (
        "SELECT round(extract(epoch FROM expires_at - created_at)) FROM inventory.reservations ORDER BY 1"
    )
    room.post("/reservations", {"lines": lines(A=1)}, room.sales)
    room.reserve(A=1, ttl_seconds=3600)
    assert room.execute(moment) == [(600,), (3600,)]


def test_what_does_not_exist_cannot_be_settled(room: Stockroom) -> None:
    for action, who in (("commit", room.sales), ("release", room.hq)):
        response = room.post(f"/reservations/{NOBODYS}/{action}", None, who)
        assert problem(response) == (404, "reservation_not_found")
        assert problem(room.post(f"/reservations/7/{action}", None, who))[0] == 404


def test_an_id_of_the_callers_own_is_reserved_once(room: Stockroom) -> None:
    body = {"reservation_id": NOBODYS, "lines": [*lines(B=1, A=1), *lines(A=1)]}
    first, again = (room.post("/reservations", body, room.sales) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert (first.get_json()["reservation_id"], room.stock("W1", "A")) == (NOBODYS, (5, 2))
    for other in ({"lines": lines(A=1)}, {"location": "S1"}):
        refused = room.post("/reservations", {**body, **other}, room.sales)
        assert problem(refused) == (409, "reservation_taken")
    settle(room, first, "commit")
    assert room.post("/reservations", body, room.sales).get_json()["state"] == "committed"
    assert room.stock("W1", "A") == (3, 0)


def test_what_a_service_releases_before_it_was_reserved_never_is(room: Stockroom) -> None:
    for _ in range(2):
        released = room.post(f"/reservations/{NOBODYS}/release", None, room.sales).get_json()
        assert (released["state"], released["location"], released["lines"]) == ("released", None, [])
    late = room.post("/reservations", {"reservation_id": NOBODYS, "lines": lines(A=1)}, room.sales)
    assert problem(late) == (409, "reservation_released")
    assert problem(room.post(f"/reservations/{NOBODYS}/commit", None, room.sales))[0] == 409
    assert room.stock("W1", "A") == (5, 0)


def test_reserving_and_releasing_at_once_leaves_nothing_promised(room: Stockroom) -> None:
    """Whichever comes first: what was reserved is released, and what was released is not reserved."""
    for _ in range(5):
        reservation_id = str(uuid4())
        body = {"reservation_id": reservation_id, "lines": lines(A=1)}
        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(room.post, "/reservations", body, room.sales) for _ in range(3)]
            path = f"/reservations/{reservation_id}/release"
            assert pool.submit(room.post, path, None, room.sales).result().status_code == 200
        assert {answer.result().status_code for answer in made} <= {200, 201, 409}
        assert room.stock("W1", "A") == (5, 0)


def test_reservations_are_for_services(room: Stockroom) -> None:
    reserved = room.reserve(A=1).get_json()["reservation_id"]
    staff = room.staff("W1")
    for path, body in (
        ("/reservations", {"lines": lines(A=1)}),
        (f"/reservations/{reserved}/commit", None),
        (f"/reservations/{reserved}/release", None),
        ("/expire", None),
    ):
        assert problem(room.post(path, body, staff))[0] == 403
    assert room.post(f"/reservations/{reserved}/release").status_code == 200


def test_the_same_key_twice_promises_once(room: Stockroom) -> None:
    body = {"lines": lines(A=1)}
    first, again = (room.post("/reservations", body, room.sales, "k") for _ in range(2))
    assert first.get_json() == again.get_json()
    assert room.stock("W1", "A") == (5, 1)


def test_a_commit_just_before_its_reservation_takes_nothing(
    room: Stockroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked for the reservation to lock it; then the reservation is made, and committed by somebody else."""
    execute, find_reservation = store_reservations.execute, store_reservations.find_reservation
    reservation_id = str(uuid4())
    path = f"/reservations/{reservation_id}/commit"
    room.reserve(A=2)

    def make(*arguments: Any) -> int:
        monkeypatch.setattr(store_reservations, "execute", execute)
        count = execute(*arguments)
        body = {"reservation_id": reservation_id, "lines": lines(A=1)}
        assert room.post("/reservations", body, room.sales).status_code == 201
        monkeypatch.setattr(store_reservations, "find_reservation", find_and_be_late)
        return count

    def find_and_be_late(*arguments: Any) -> Any:
        monkeypatch.setattr(store_reservations, "find_reservation", find_reservation)
        row = find_reservation(*arguments)
        assert room.post(path, None, room.sales).status_code == 200
        return row

    monkeypatch.setattr(store_reservations, "execute", make)
    early = room.post(path, None, room.sales)
    monkeypatch.undo()
    assert problem(early) == (404, "reservation_not_found")
    assert room.post(path, None, room.sales).status_code == 200
    assert room.stock("W1", "A") == (4, 2)
    assert room.differences() == []
