"""The database goes away, a connection dies, a lock is held: a clear 503, and nothing half-done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.carts import Shop, add, expire, quantities, running_shop
from tests.support.functions import problem
from tests.support.hand_made_gateway import Hold
from tests.support.postgres import TEMPLATE, Database, PostgresServer
from tests.support.replicas import running_replicas
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """One for all tests of this file; `shop` empties it."""
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Iterator[Shop]:
    """A cart that has just started: nothing is remembered of whom it could not reach."""
    with running_shop(database, tmp_path) as shop:
        shop.empty()
        yield shop


def test_database_away_is_503_and_recovers_by_itself(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    with shop.database.server.outage():
        for response in (
            client.get("/"),
            add(client, "A"),
            client.delete("/items/A"),
            expire(shop),
            add(client, "A", 1, **{"Idempotency-Key": "k"}),
        ):
            assert problem(response) == (503, "database_unavailable")
            assert response.headers["Retry-After"]
        assert shop.visitor().get("/").status_code == 200, "a newcomer's empty cart needs no database"
    wait_for(lambda: client.get("/").status_code == 200, what="the cart")
    assert quantities(client.get("/")) == {"A": 1}


def wait_for_lock_waiter(cursor: Any) -> int:
    """The PostgreSQL process of a cart's connection that waits for a lock."""

    def waiting() -> int | None:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = 'cart' AND wait_event_type = 'Lock'"
        )
        row = cursor.fetchone()
        return int(row[0]) if row else None

    return int(wait_for(waiting, what="somebody who waits for a lock"))


def test_connection_killed_within_a_change_leaves_the_whole_cart_or_none_of_it(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    blocker = shop.database.connect()
    with blocker.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("SELECT FROM cart.carts FOR UPDATE")
        waiting = pool.submit(add, client, "B")
        cursor.execute("SELECT pg_terminate_backend(%s)", (wait_for_lock_waiter(cursor),))
        assert problem(waiting.result())[0] == 503
    blocker.close()
    body = client.get("/").get_json()
    assert (body["version"], [item["sku"] for item in body["items"]]) == (1, ["A"])


def test_lock_held_by_someone_else_is_503_within_the_lock_budget(shop: Shop):
    client = shop.visitor()
    add(client, "A")
    blocker = shop.database.connect()
    with blocker.cursor() as cursor:
        cursor.execute("SELECT FROM cart.carts FOR UPDATE")
        started = time.monotonic()
        assert problem(add(client, "A")) == (503, "database_busy")
        assert time.monotonic() - started < 5
    blocker.close()


def test_nobody_waits_for_a_cart_while_prices_are_looked_up(shop: Shop):
    client = shop.visitor()
    token = add(client, "A").headers["X-Cart-Token"]
    hold = shop.gateway.hold = Hold("prices", "before")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(add, client, "B", 1, **{"Idempotency-Key": "k"})
        assert hold.reached.wait(20)
        locker = shop.database.connect()
        with locker.cursor() as cursor:
            cursor.execute("SELECT FROM cart.carts FOR UPDATE NOWAIT")
        locker.close()
        hold.release.set()
        assert quantities(slow.result()) == {"A": 1, "B": 1}
    assert quantities(shop.program().get("/", headers={"X-Cart-Token": token})) == {"A": 1, "B": 1}


def test_replica_killed_within_a_change_leaves_none_of_it_and_no_lock(shop: Shop, tmp_path: Path):
    client = shop.visitor()
    token = add(client, "A").headers["X-Cart-Token"]
    environ = {**shop.secrets.environ, "gateway_url": shop.gateway.url}
    blocker = shop.database.connect()
    with running_replicas("cart", 1, tmp_path, environ) as [replica], ThreadPoolExecutor(1) as pool:
        with blocker.cursor() as cursor:
            cursor.execute("SELECT FROM cart.carts FOR UPDATE")
            doomed = pool.submit(
                requests.post,
                f"{replica.url}/items",
                json={"sku": "B"},
                headers={"X-Cart-Token": token},
                timeout=20,
            )
            wait_for_lock_waiter(cursor)
            replica.process.kill()
            replica.process.wait()
        blocker.rollback()
        blocker.close()
        with pytest.raises(requests.ConnectionError):
            doomed.result()
    body = add(client, "C").get_json()
    assert (body["version"], [item["sku"] for item in body["items"]]) == (2, ["A", "C"])
