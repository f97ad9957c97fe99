"""The pool on a real PostgreSQL: connections that die, a database that goes away, changes that are all or nothing."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from functions.shared import Conflict, Connection, Database, Unavailable, claimed, execute, fetch_one
from functions.shared.recovery import Kind, Recovery
from functions.shared.refusals import translate
from tests.support.metrics import growth, value
from tests.support.postgres import TEMPLATE, PostgresServer
from tests.support.postgres import Database as Cloned
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def lasting(postgres_server: PostgresServer) -> Iterator[Cloned]:
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


@pytest.fixture
def database(lasting: Cloned) -> Cloned:
    """One for all tests of this file, without products."""
    with closing(lasting.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE products.products CASCADE")
    return lasting


@pytest.fixture
def pool(database: Cloned) -> Iterator[Database]:
    pool = make_pool(database)
    yield pool
    pool.close()


def make_pool(database: Cloned, **changed: Any) -> Database:
    options: dict[str, Any] = {
        "application_name": "cart-2", "size": 2, "statement_timeout_ms": 300, "lock_timeout_ms": 200, "wait_seconds": 0.2,
    }  # fmt: skip
    return Database(database.url("products"), **{**options, **changed})


def backend(connection: Connection) -> int:
    row = fetch_one(connection, "SELECT pg_backend_pid() AS pid")
    assert row is not None
    return int(row["pid"])


def kill(database: Cloned, pid: int) -> None:
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    connection.close()


def setting(connection: Connection, name: str) -> str:
    row = fetch_one(connection, "SELECT current_setting(%(name)s) AS value", {"name": name})
    assert row is not None
    return str(row["value"])


def test_connections_carry_the_replica_and_the_time_budget(pool: Database) -> None:
    names = ("application_name", "statement_timeout", "lock_timeout", "TimeZone", "search_path")
    assert [pool.read(setting, name) for name in names] == [
        "cart-2", "300ms", "200ms", "UTC", "products, extensions",
    ]  # fmt: skip


def test_a_connection_is_used_again(pool: Database) -> None:
    assert pool.read(backend) == pool.read(backend)


def test_a_dead_connection_is_replaced_before_anyone_notices(pool: Database, database: Cloned) -> None:
    first = pool.read(backend)
    kill(database, first)
    assert pool.read(backend) != first
    kill(database, pool.read(backend))
    with pool.transaction() as connection:
        assert backend(connection) != first


def test_filling_replaces_what_the_server_has_ended_and_nothing_else(database: Cloned) -> None:
    pool = make_pool(database, application_name="filled")
    with pool.transaction() as connection:
        kept = backend(connection)
        execute(connection, "LISTEN told")
    pool.fill(2)
    kill(database, pool.read(backend))
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("NOTIFY told")  # the other one now has something to say, and goes on
    connection.close()
    pool.fill(2)
    assert pool.opened == 3
    assert len(backends(database)) == 2
    assert kept in backends(database)
    pool.close()


def backends(database: Cloned) -> set[int]:
    """The processes that serve the pool."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'filled'"
        )
        found = {pid for (pid,) in cursor.fetchall()}
    connection.close()
    return found


def test_filling_beside_requests_whose_connections_are_lost_refuses_nobody(database: Cloned) -> None:
    pool = make_pool(database, application_name="filled", size=3, wait_seconds=10)
    with ThreadPoolExecutor(max_workers=4) as threads:
        asked = [threads.submit(lambda: [pool.read(backend) for _ in range(100)]) for _ in range(4)]
        while not all(one.done() for one in asked):
            pool.fill(3)
            if pids := backends(database):
                kill(database, min(pids))
    assert all(len(one.result()) == 100 for one in asked)
    pool.fill(3)
    wait_for(lambda: len(backends(database)) == 3, seconds=5)
    pool.close()


@pytest.mark.parametrize("error", [Conflict("no"), psycopg2.errors.RaiseException("no"), KeyError("no")])
@pytest.mark.parametrize("begun", [True, False])
def test_a_claim_that_ends_in_a_failure_leaves_no_trace_in_the_session(
    pool: Database, database: Cloned, error: Exception, begun: bool
) -> None:
    document = str(uuid.uuid4())
    with pytest.raises(type(error)), pool.transaction() as connection, claimed(connection, document):
        insert(connection, "A")
        if begun:
            connection.commit()
            insert(connection, "B")
        raise error
    assert pool.read(setting, "idle_session_timeout") == "0"
    assert pool.opened == 1
    assert pool.read(count) == begun
    other = make_pool(database)
    with other.transaction() as connection, claimed(connection, document) as held:
        assert held
    other.close()


def test_a_recovery_that_ends_in_a_failure_leaves_no_trace_in_the_session(pool: Database) -> None:
    broken, whole = str(uuid.uuid4()), str(uuid.uuid4())

    def settle(_: Connection, document_id: str) -> str:
        if document_id == broken:
            raise Conflict("no")
        return "complete"

    recovery = a_recovery([broken, whole], settle, lambda *_: None)
    with pytest.raises(Unavailable), pool.transaction() as connection:
        recovery.recover(connection, 2)
    assert pool.read(setting, "idle_session_timeout") == "0"
    assert pool.opened == 1


def a_recovery(
    documents: Sequence[str],
    settle: Callable[[Connection, str], str],
    touch: Callable[[Connection, str, str], None],
) -> Recovery:
    """Of sales, in this order."""
    registry = CollectorRegistry()
    return Recovery(
        lambda *_: [{"kind": "sale", "document_id": document} for document in documents],
        {"sale": Kind(settle, touch)},
        Counter("recovered", "Recovered.", ["kind", "outcome"], registry=registry),
        Gauge("unsettled", "Unsettled.", registry=registry),
    )


def test_a_recovery_that_meets_a_defect_goes_on_with_the_rest(
    pool: Database, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = str(uuid.uuid4()), str(uuid.uuid4())
    settled: list[str] = []
    touched: list[str] = []

    def settle(_: Connection, document_id: str) -> str:
        if document_id == broken:
            raise RuntimeError("a defect")
        settled.append(document_id)
        return "complete"

    recovery = a_recovery([broken, whole], settle, lambda _, document_id, why: touched.append(document_id))
    with pytest.raises(Unavailable), pool.transaction() as connection:
        recovery.recover(connection, 2)
    assert (settled, touched) == ([whole], [broken])
    assert "Traceback" in caplog.text


def test_a_read_that_loses_its_connection_is_run_again(pool: Database, database: Cloned) -> None:
    killed: list[int] = []

    def read_once_killed(connection: Connection) -> int:
        pid = backend(connection)
        if not killed:
            killed.append(pid)
            kill(database, pid)
        return backend(connection)

    assert pool.read(read_once_killed) != killed[0]


def test_a_change_that_loses_its_connection_is_not_made(pool: Database, database: Cloned) -> None:
    with pytest.raises(psycopg2.OperationalError), pool.transaction() as connection:
        insert(connection, "A")
        kill(database, backend(connection))
        insert(connection, "B")
    assert pool.read(count) == 0


def test_a_transaction_that_postgresql_ended_for_its_idleness_is_to_be_tried_again(pool: Database) -> None:
    with pytest.raises(psycopg2.Error) as raised, pool.transaction() as connection:
        execute(connection, "SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        wait_for(connection.has_ended)
        execute(connection, "SELECT 1")
    assert connection.closed
    refusal = translate(raised.value, {})
    assert refusal is not None
    assert (refusal.status, refusal.code) == (503, "database_unavailable")


def insert(connection: Connection, sku: str) -> None:
    execute(
        connection,
        "INSERT INTO products (sku, name, price_cents, currency) VALUES (%(sku)s, 'n', 1, 'CAD')",
        {"sku": sku},
    )


def count(connection: Connection) -> int:
    row = fetch_one(connection, "SELECT count(*) AS number FROM products")
    assert row is not None
    return int(row["number"])


def test_a_change_is_all_or_nothing(pool: Database) -> None:
    with pytest.raises(KeyError), pool.transaction() as connection:
        insert(connection, "A")
        raise KeyError
    with pool.transaction() as connection:
        insert(connection, "B")
    assert pool.read(count) == 1


def test_a_refused_statement_leaves_a_usable_connection(pool: Database) -> None:
    first = pool.read(backend)
    with pytest.raises(psycopg2.errors.CheckViolation), pool.transaction() as connection:
        insert(connection, "")
    with pytest.raises(psycopg2.errors.SyntaxError):
        pool.read(fetch_one, "SELEC")
    assert pool.read(backend) == first


def test_a_statement_that_takes_too_long_is_given_up(pool: Database) -> None:
    with pytest.raises(psycopg2.errors.QueryCanceled):
        pool.read(fetch_one, "SELECT pg_sleep(5)")


def test_a_lock_is_waited_for_within_the_budget(pool: Database) -> None:
    with pool.transaction() as holder:
        insert(holder, "A")
        with pytest.raises(psycopg2.errors.LockNotAvailable), pool.transaction() as other:
            insert(other, "A")


def test_nobody_waits_for_ever_for_a_connection(database: Cloned) -> None:
    pool = make_pool(database, size=1)
    with pool.transaction(), pytest.raises(Unavailable) as caught:
        pool.read(backend)
    assert caught.value.code == "database_busy"
    assert pool.read(backend)
    pool.close()


def test_more_threads_than_connections_take_turns(database: Cloned) -> None:
    pool = make_pool(database, wait_seconds=10)
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(pool.read(backend))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 20
    assert len(set(pids)) <= 2
    pool.close()


def test_an_outage_is_told_at_once_and_over_when_it_is_over(pool: Database, database: Cloned) -> None:
    pool.read(backend)
    with database.server.outage():
        for _ in range(20):
            started = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                pool.read(backend)
            assert time.monotonic() - started < 1.0
            assert caught.value.headers["Retry-After"] == "1"
            with pytest.raises(Unavailable), pool.transaction():
                pass
    wait_for(lambda: answers(pool), what="the pool's return")


def answers(pool: Database) -> bool:
    try:
        return pool.read(backend) > 0
    except Unavailable:
        return False


def test_a_pool_shows_who_uses_it_and_who_waits(database: Cloned) -> None:
    pool = make_pool(database, size=1, wait_seconds=20)
    seen = {}
    with growth("database_pool_wait_seconds_count") as waits:
        with pool.transaction() as connection:
            backend(connection)
            seen = {state: value("database_pool_connections", state=state) for state in ("idle", "used")}
            other = threading.Thread(target=pool.read, args=(backend,))
            other.start()
            wait_for(lambda: value("database_pool_waiting") == 1, seconds=10)
        other.join()
    assert seen == {"idle": 0, "used": 1}
    assert [value("database_pool_connections", state=state) for state in ("idle", "used")] == [1, 0]
    assert (value("database_pool_size"), value("database_pool_waiting"), waits.by) == (1, 0, 1)
    with growth("database_pool_wait_seconds_count") as waits:
        pool.read(backend)
    assert waits.by == 0, "who need not wait is not counted among those who did"
    pool.close()


def test_statements_and_commits_are_timed_failed_ones_too(pool: Database) -> None:
    name = "database_query_duration_seconds_count"
    with growth(name, operation="select") as selects, growth(name, operation="commit") as commits:
        with pool.transaction() as connection:
            backend(connection)
        with pytest.raises(psycopg2.Error):
            pool.read(setting, "no.such.setting")
        with pool.transaction():
            pass
    assert (selects.by, commits.by) == (2, 1)


def test_a_failed_connection_is_counted(database: Cloned) -> None:
    away = Database(
        "postgresql://127.0.0.1:9/x", application_name="x", size=1, statement_timeout_ms=1, lock_timeout_ms=1
    )
    with growth("database_connect_failures_total") as failures:
        for _ in range(3):
            with pytest.raises(Unavailable):
                away.read(backend)
    assert failures.by == 1, "nobody tries again for a while"


def test_what_is_counted_after_the_commit_was_committed(pool: Database) -> None:
    done: list[str] = []
    with pool.transaction() as connection:
        backend(connection)
        connection.after_commit(lambda: done.append("committed"))
        assert done == []
    assert done == ["committed"]
    with pytest.raises(KeyError), pool.transaction() as connection:
        connection.after_commit(lambda: done.append("rolled back"))
        raise KeyError
    with pool.transaction() as connection:
        backend(connection)
    pool.read(lambda connection: connection.after_commit(lambda: done.append("at once")))
    assert done == ["committed", "at once"]
