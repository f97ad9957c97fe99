"""A deadlock, a database that goes away, a process that dies half-way: the whole change or none, and a clear answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
import requests
from psycopg2 import sql

from functions.inventory import store
from functions.shared import Prepared
from localfaas.postgres import SUPERUSER
from tests.support.functions import problem
from tests.support.metrics import growth
from tests.support.postgres import PostgresServer
from tests.support.replicas import running_replicas
from tests.support.stockroom import Stockroom, lacking, lines, make_stockroom, stockroom
from tests.support.waiting import wait_for

TRANSFER = {"from_location": "S1", "to_location": "S2", "lines": lines(A=1, B=1)}


@pytest.fixture(scope="module")
def room_of_all(postgres_server: PostgresServer) -> Iterator[Stockroom]:
    with stockroom(postgres_server) as room:
        yield room


@pytest.fixture
def room(room_of_all: Stockroom) -> Stockroom:
    room_of_all.empty()
    room_of_all.receive("S1", A=5, B=5)
    room_of_all.receive("S2", A=5, B=5)
    return room_of_all


@pytest.fixture
def other(room: Stockroom) -> Iterator[psycopg2.extensions.cursor]:
    """Somebody else's transaction."""
    connection = room.database.connect()
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


def waiting_backends(room: Stockroom, role: str = "inventory") -> list[int]:
    """The backends of the function, or of another role, that wait for a lock."""
    rows = room.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        f" AND usename = '{role}' AND wait_event_type = 'Lock'"
    )
    return [row[0] for row in rows]


def lock(cursor: psycopg2.extensions.cursor, location: str, sku: str) -> None:
    cursor.execute("SELECT FROM inventory.stock WHERE location = %s AND sku = %s FOR UPDATE", (location, sku))


@pytest.fixture
def patient_room(room: Stockroom, tmp_path: Path) -> Iterator[Stockroom]:
    """The same stock by a function that waits long for a lock, and looks for a deadlock soon after it began to wait."""
    database = sql.Identifier(room.database.name)
    room.database.server.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '20ms'").format(database))
    patient = make_stockroom(room.database, tmp_path, lock_timeout_ms="60000", statement_timeout_ms="60000")
    yield patient
    patient.app.service.database.close()
    room.database.server.execute(sql.SQL("ALTER DATABASE {} RESET deadlock_timeout").format(database))


def test_a_deadlock_is_no_concern_of_the_clients(
    room: Stockroom, patient_room: Stockroom, other: psycopg2.extensions.cursor
) -> None:
    """Somebody locks against the order; PostgreSQL ends our transaction, and it is begun again.

    Who is the last to wait closes the circle, and finds it for certain. So we are held on the way until the other
    waits for us, who does not look for a circle at all.
    """
    other.execute("SET deadlock_timeout = '1h'")
    lock(other, "S2", "B")
    with (
        closing(room.database.connect()) as holding,
        holding.cursor() as on_the_way,
        ThreadPoolExecutor(2) as pool,
        growth("database_transactions_repeated_total") as repeated,
    ):
        lock(on_the_way, "S1", "B")
        ours = pool.submit(patient_room.post, "/transfers", TRANSFER)
        wait_for(lambda: waiting_backends(room))  # it has S1's A, and waits for S1's B
        theirs = pool.submit(lock, other, "S1", "A")
        wait_for(lambda: waiting_backends(room, SUPERUSER))
        holding.rollback()
        theirs.result()
        other.connection.rollback()
        assert ours.result().status_code == 201
    assert repeated.by >= 1
    assert (room.stock("S1", "A"), room.stock("S2", "B")) == ((4, 0), (6, 0))
    assert room.differences() == []


def after(monkeypatch: pytest.MonkeyPatch, statement: str, act: Callable[[], object]) -> None:
    """Call `act` when the prepared statement of that name has run for the first time, its transaction still open."""
    acts = [act]

    def acting(fetch: Callable[..., Any]) -> Callable[..., Any]:
        def fetched(self: Prepared, *arguments: Any) -> Any:
            found = fetch(self, *arguments)
            if self.name == statement and acts:
                acts.pop()()
            return found

        return fetched

    for way in ("fetch_one", "fetch_all"):
        monkeypatch.setattr(Prepared, way, acting(getattr(Prepared, way)))


@pytest.mark.parametrize(
    ("statement", "ask", "lacks"),
    [
        ("promise_one", lambda room: room.reserve("S1", A=1), [("A", 1, 0)]),
        ("promise_one", lambda room: room.reserve("S1", C=1), [("C", 1, 0)]),
        ("promise_stock", lambda room: room.reserve("S1", A=1, B=1, C=1), [("A", 1, 0), ("C", 1, 0)]),
        ("change_stock", lambda room: room.issue("r", B=1, C=1), [("C", 1, 0)]),
    ],
)
def test_a_refusal_tells_what_there_was_when_it_was_decided(
    room: Stockroom,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    ask: Callable[[Stockroom], Any],
    lacks: list[tuple[str, int, int]],
) -> None:
    """More comes in before the answer is written: who reads "1 wanted, 5 available" would not believe it."""
    assert room.reserve("S1", A=5).status_code == 201
    arriving = {"C": 5} if statement != "promise_one" else {lacks[0][0]: 5}
    after(monkeypatch, statement, lambda: room.receive("S1", **arriving))
    refused = ask(room)
    assert lacking(refused) == lacks
    assert [error["message"] for error in refused.get_json()["errors"]] == [
        f"{wanted} wanted, {available} available at S1" for _, wanted, available in lacks
    ]


@pytest.mark.parametrize(
    ("statement", "ask"),
    [
        ("promise_one", lambda room: room.reserve("S1", A=4)),
        ("promise_stock", lambda room: room.reserve("S1", A=4, B=1)),
        ("change_stock", lambda room: room.issue("r", A=4)),
    ],
)
def test_a_refusal_after_waiting_for_a_row_tells_what_is_left_of_it(
    room: Stockroom,
    other: psycopg2.extensions.cursor,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    ask: Callable[[Stockroom], Any],
) -> None:
    held: list[bool] = []

    def look() -> None:
        with closing(room.database.connect()) as third, third.cursor() as cursor:
            try:
                cursor.execute(
                    "SELECT FROM inventory.stock WHERE location = 'S1' AND sku = 'A' FOR UPDATE NOWAIT"
                )
            except psycopg2.errors.LockNotAvailable:
                held.append(True)

    after(monkeypatch, statement, look)
    other.execute("UPDATE inventory.stock SET reserved = 3 WHERE location = 'S1' AND sku = 'A'")
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(ask, room)
        wait_for(lambda: waiting_backends(room))
        other.connection.commit()
        assert lacking(ours.result()) == [("A", 4, 2)]
    assert held == [True], "nobody changes the row until it is read again"


@pytest.mark.parametrize(("failures", "status"), [(3, 201), (4, 503)])
def test_what_postgresql_rolls_back_is_tried_four_times(
    room: Stockroom, monkeypatch: pytest.MonkeyPatch, failures: int, status: int
) -> None:
    change_stock, calls = store.change_stock, 0

    def unlucky(*arguments: Any) -> store.Outcome:
        nonlocal calls
        calls += 1
        outcome = change_stock(*arguments)
        if calls <= failures:
            raise psycopg2.errors.SerializationFailure
        return outcome

    monkeypatch.setattr(store, "change_stock", unlucky)
    response = room.post("/transfers", TRANSFER)
    assert (response.status_code, calls) == (status, 4)
    assert room.stock("S1", "A") == ((4, 0) if status == 201 else (5, 0))
    assert room.differences() == []


def test_a_row_somebody_holds_too_long_is_503_and_nothing_has_moved(
    room: Stockroom, other: psycopg2.extensions.cursor
) -> None:
    lock(other, "S2", "B")
    assert problem(room.post("/transfers", TRANSFER, key="k")) == (503, "database_busy")
    other.connection.rollback()
    assert room.stock("S1", "A") == (5, 0)
    assert room.post("/transfers", TRANSFER, key="k").status_code == 201


def test_a_connection_that_dies_half_way_leaves_nothing(
    room: Stockroom, other: psycopg2.extensions.cursor
) -> None:
    lock(other, "S2", "B")
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(room.post, "/transfers", TRANSFER, key="k")
        wait_for(lambda: waiting_backends(room))
        other.execute("SELECT pg_terminate_backend(%s)", waiting_backends(room))
        assert problem(ours.result())[0] == 503
    other.connection.rollback()
    assert (room.stock("S1", "A"), room.stock("S2", "A")) == ((5, 0), (5, 0))
    assert room.differences() == []
    assert room.post("/transfers", TRANSFER, key="k").status_code == 201


def test_a_database_that_is_away_is_503_and_comes_back_by_itself(room: Stockroom) -> None:
    reservation_id = room.reserve("S1", A=1).get_json()["reservation_id"]
    with room.database.server.outage():
        for response in (
            room.post("/transfers", TRANSFER, key="k"),
            room.reserve("S1", A=1),
            room.issue("sale-1", A=1),
            room.post("/issues/sale-1/undo", None, room.sales),
            room.post(f"/reservations/{reservation_id}/commit", None, room.sales),
            room.get("/stock/A"),
            room.get("/invariants"),
            room.app.test_client().post("/expire", headers=room.maintenance),
        ):
            assert problem(response) == (503, "database_unavailable")
            assert response.headers["Retry-After"]
    wait_for(lambda: room.get("/stock/A").status_code == 200)
    assert room.stock("S1", "A") == (5, 1)
    assert room.post("/transfers", TRANSFER, key="k").status_code == 201


def test_a_replica_killed_half_way_leaves_nothing_and_another_finishes(
    room: Stockroom, other: psycopg2.extensions.cursor, tmp_path: Path
) -> None:
    headers = {**room.hq, "Idempotency-Key": "k"}
    with running_replicas("inventory", 2, tmp_path, room.secrets.environ) as (first, second):

        def transfer(url: str) -> requests.Response:
            return requests.post(f"{url}/transfers", json=TRANSFER, headers=headers, timeout=15)

        lock(other, "S2", "B")
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(transfer, first.url)
            wait_for(lambda: waiting_backends(room))
            first.process.kill()
            with pytest.raises(requests.ConnectionError):
                ours.result()
        other.connection.rollback()
        wait_for(lambda: transfer(second.url).status_code == 201)
        again = transfer(second.url)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(json.loads(again.content)["movements"]) == 4
    assert (room.stock("S1", "A"), room.stock("S2", "B")) == ((4, 0), (6, 0))
    assert room.differences() == []
