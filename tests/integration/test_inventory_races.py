"""Three replicas, as they are deployed, on one PostgreSQL: whatever happens at once, nothing is sold twice or lost."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.buyers import BUYERS, Crowd, Round, Told, crowd, faults, rounds_of
from tests.support.functions import Secrets
from tests.support.postgres import TEMPLATE, Database, PostgresServer
from tests.support.replicas import Replica, built, running_replicas
from tests.support.stockroom import SERVICES, Stockroom, make_stockroom

REPLICAS = 3
ROUNDS = int(os.environ.get("RACE_ROUNDS", "12"))
"""As many of each kind; `make race-test` plays 204."""
PLANTED_ROUNDS = 48

CHECK_THEN_ACT = '''

def change_stock(connection, changes, note):
    """Planted: looks, decides, and then writes what it has decided, whatever became of the row meanwhile."""
    lacks, found = [], {}
    for change in changes:
        rows = fetch_all(connection, "SELECT on_hand, reserved FROM stock WHERE location = %s AND sku = %s",
                         (change.location, change.sku))
        row = found[change] = rows[0]
        if row["on_hand"] + change.on_hand < row["reserved"] + change.reserved:
            lacks.append(Lack(change.location, change.sku, change.reserved - change.on_hand,
                              row["on_hand"] - row["reserved"]))
    if lacks:
        return Outcome([], lacks)
    movements = []
    for change, row in found.items():
        execute(connection, "UPDATE stock SET on_hand = %s, reserved = %s WHERE location = %s AND sku = %s",
                (row["on_hand"] + change.on_hand, row["reserved"] + change.reserved, change.location, change.sku))
        if change.on_hand:
            movements += fetch_all(connection, """
                INSERT INTO ledger (location, sku, quantity, on_hand, kind, reason, reference, moved_by)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
                RETURNING movement_id, moved_at, location, sku, quantity, on_hand, kind, reason, reference, moved_by
                """, (change.location, change.sku, change.on_hand, row["on_hand"] + change.on_hand, change.kind,
                      note.reason, note.reference, note.moved_by))
    return Outcome(movements, [])
'''


@dataclass(frozen=True)
class Inventory:
    """Running replicas and their database; `room` is the same function in this process."""

    replicas: list[Replica]
    crowd: Crowd
    room: Stockroom
    database: Database


@pytest.fixture(scope="module")
def database_of_all(postgres_server: PostgresServer) -> Iterator[Database]:
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def room(database_of_all: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stockroom]:
    room = make_stockroom(database_of_all, tmp_path_factory.mktemp("room"))
    yield room
    room.app.service.database.close()


@pytest.fixture(scope="module")
def inventory(room: Stockroom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inventory]:
    environ = {**room.secrets.environ, "threads": "4"}
    directory = tmp_path_factory.mktemp("replicas")
    with (
        running_replicas("inventory", REPLICAS, directory, environ) as replicas,
        crowd([port_of(one) for one in replicas], room.secrets, room.database) as buyers,
    ):
        yield Inventory(replicas, buyers, room, room.database)


def port_of(replica: Replica) -> int:
    return int(replica.url.rsplit(":", 1)[1])


def test_sixty_four_buyers_get_what_there_is_and_no_more(inventory: Inventory) -> None:
    rounds = rounds_of(ROUNDS)
    inventory.crowd.stock_up(rounds)
    found = {}
    for one in rounds:
        told = inventory.crowd.play(one)
        wrong = faults(one, told, inventory.database)
        if wrong:
            found[one] = wrong
        if one.mix != "mixed":
            assert told.served == min(BUYERS, one.units // one.quantity), one
    assert found == {}
    assert inventory.room.differences() == []
    assert {one.units for one in rounds} == {1, 10, 100}
    assert len(rounds) == ROUNDS


def test_the_check_finds_a_version_that_looks_before_it_acts(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    database = postgres_server.create_database(TEMPLATE)
    secrets = Secrets.make(tmp_path / "secrets", services=SERVICES, inventory_db=database.url("inventory"))
    environ = {**secrets.environ, "threads": "4"}
    with (
        running_replicas("inventory", 1, tmp_path, environ, planted(tmp_path)) as replicas,
        crowd([port_of(one) for one in replicas], secrets, database) as buyers,
    ):
        rounds = rounds_of(PLANTED_ROUNDS)
        buyers.stock_up(rounds)
        wrong: list[str] = []
        for one in rounds:
            wrong += faults(one, buyers.play(one), database)
            if {fault.split(":")[0] for fault in wrong} >= {"oversold"}:
                break
    database.drop()
    assert any(fault.startswith("oversold") for fault in wrong)
    assert any("ledger" in fault or "reserved" in fault for fault in wrong)


def planted(directory: Path) -> Path:
    """The function's layout with check-then-act in it."""
    path, _, _ = built("inventory", directory / "original")
    layout = directory / "planted"
    shutil.copytree(path, layout)
    store = layout / "function" / "store.py"
    store.write_text(store.read_text() + CHECK_THEN_ACT)
    return layout


def test_the_check_names_each_kind_of_fault(inventory: Inventory) -> None:
    one = Round(f"F-{ROUNDS}", 2, 1, "reserve")
    inventory.crowd.stock_up([one])
    good = inventory.crowd.play(one)
    assert faults(one, good, inventory.database) == []
    told = Told(good.statuses.copy(), good.taken + 1, 0, good.served + 1)
    assert any(fault.startswith("oversold") for fault in faults(one, told, inventory.database))
    told = Told(good.statuses.copy(), good.taken - 1, 0, good.served - 1)
    assert any(fault.startswith("undersold") for fault in faults(one, told, inventory.database))
    told = Told(good.statuses + Counter(["503 database_busy"]), good.taken, 0, good.served)
    assert faults(one, told, inventory.database) == ["a buyer was told 503 database_busy"]


def test_transfers_in_opposite_directions_all_arrive(inventory: Inventory) -> None:
    skus = [f"X{number}" for number in range(6)]
    for location in ("S2", "S3"):
        inventory.room.receive(location, **dict.fromkeys(skus, 500))
    orders = [skus, skus[::-1], skus[::2] + skus[1::2]]

    def transfer(number: int) -> tuple[int, str]:
        here, there = ("S2", "S3") if number % 2 else ("S3", "S2")
        lines = [{"sku": sku, "quantity": 1} for sku in orders[number % len(orders)]]
        body = {"from_location": here, "to_location": there, "lines": lines}
        status, answer = inventory.crowd.send(number % BUYERS, "/transfers", body, "head")
        return status, str(answer.get("code"))

    with ThreadPoolExecutor(BUYERS) as pool:
        for start in range(0, 256, BUYERS):
            answers = list(pool.map(transfer, range(start, start + BUYERS)))
            assert set(answers) == {(201, "None")}
    for sku in skus:
        assert inventory.room.get(f"/stock/{sku}").get_json()["on_hand"] == 1000
    assert inventory.room.differences() == []
