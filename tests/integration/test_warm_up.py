"""A replica is warm before it is asked, changes nothing by that, and is warm again after it lost its connections."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2 import sql

from functions.shared import Api, DatabaseSettings, FunctionApp, create_app, current, fetch_one, later
from functions.shared.database import Connection
from functions.shared.warmth import ask_oneself
from tests.support.functions import Secrets
from tests.support.metrics import growth
from tests.support.postgres import PROJECT
from tests.support.postgres import Database as Cloned
from tests.support.waiting import wait_for

FUNCTIONS = sorted(path.parent.name for path in (PROJECT / "functions").glob("*/handler.py"))
ANSWERS = {200, 401, 404}
"""401: an account that is not there; 404: a thing that is not."""


def made(function: str, database: Cloned, directory: Path, **changed: str) -> FunctionApp:
    handler = importlib.import_module(f"functions.{function}.handler")
    secrets = Secrets.make(directory, services=(function, "maintenance"))
    if function not in {"maintenance", "site"}:
        (directory / f"{function}-db").write_text(database.url(function))
    app: FunctionApp = handler.create_app({**secrets.environ, **changed})
    if function == "reports":  # which has nothing to tell before
        headers = secrets.bearer("service", subject="maintenance")
        assert app.test_client().post("/refresh", headers=headers).status_code == 200
        app.service.database.close()
    return app


@pytest.fixture
def products(database: Cloned, tmp_path: Path) -> Iterator[FunctionApp]:
    app = made("products", database, tmp_path)
    yield app
    if app.warmth:
        app.warmth.end()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_a_function_rehearses_is_answered_and_writes_nothing(
    function: str, database: Cloned, tmp_path: Path
) -> None:
    app = made(function, database, tmp_path)
    statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
    database.server.execute(statement.format(sql.Identifier(database.name)))
    with growth("http_first_request_duration_seconds") as first:
        statuses = {path: ask_oneself(app, path) for path in app.service.api.warm_up}
        later.settle()
    assert statuses and set(statuses.values()) <= ANSWERS, statuses
    assert first.by == 0


def backends(database: Cloned) -> dict[int, str]:
    """By process, the last statement of each of products' connections."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, query FROM pg_stat_activity WHERE usename = 'products' AND datname = current_database() AND state = 'idle'"
        )
        found = dict(cursor.fetchall())
    connection.close()
    return found


def test_a_replica_has_its_connection_and_statements_before_anybody_asks(
    products: FunctionApp, database: Cloned
) -> None:
    assert not backends(database)
    products.warm_up()
    [query] = backends(database).values()
    assert query.startswith("EXECUTE")
    assert products.ready() is None
    assert products.service.database.opened == 1


def test_lost_connections_are_replaced_before_anybody_asks(products: FunctionApp, database: Cloned) -> None:
    products.warm_up()
    before = backends(database)
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", tuple(before))
    connection.close()
    wait_for(lambda: any("EXECUTE" in query for query in (backends(database) or {0: ""}).values()))
    assert not before.keys() & backends(database).keys()


def test_a_replica_without_warm_up_opens_nothing(database: Cloned, tmp_path: Path) -> None:
    app = made("products", database, tmp_path, warm_up="false")
    app.warm_up()
    assert app.warmth is None
    assert not backends(database)


def test_a_pool_that_cannot_be_filled_keeps_nobody_from_being_served(
    database: Cloned, tmp_path: Path
) -> None:
    app = made("products", database, tmp_path, threads="4")
    statement = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 1")
    database.server.execute(statement.format(sql.Identifier(database.name)))
    app.warm_up()
    assert app.service.database.opened == 1
    until = time.monotonic() + 1.2  # two more attempts at the others are made meanwhile
    while time.monotonic() < until:
        assert app.ready() is None
        assert app.test_client().get("/?limit=1").status_code == 200
    assert app.warmth is not None
    app.warmth.end()


def test_with_the_database_away_at_the_start_a_replica_is_warm_when_it_is_ready(
    database: Cloned, tmp_path: Path
) -> None:
    asked: list[int] = []
    api = Api("products", title="Products", warm_up=["/"])

    @api.get("/")
    def count() -> dict[str, int]:
        """One more."""
        asked.append(current().database.read(_one))
        return {"asked": len(asked)}

    secrets = Secrets.make(tmp_path, products_db=database.url("products"))
    with database.server.outage():
        app = create_app(api, DatabaseSettings, secrets.environ)
        started = time.monotonic()
        app.warm_up()
        assert time.monotonic() - started < 5, "it listens nevertheless"
        assert app.ready() == "the database cannot be reached"
        assert not asked
    wait_for(lambda: app.ready() is None)
    assert asked
    assert app.warmth is not None
    app.warmth.end()


def _one(connection: Connection) -> int:
    row = fetch_one(connection, "SELECT 1 AS one")
    assert row is not None
    return int(row["one"])
