"""A function's log says which of its statements was refused or slow, and nothing of what was in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

from functions.shared import (
    Api,
    Connection,
    DatabaseSettings,
    FunctionApp,
    create_app,
    current,
    execute,
    fetch_all,
)
from functions.shared.statements import SLOW_SECONDS
from functions.shared.telemetry import said
from tests.support.functions import Secrets
from tests.support.postgres import Database as Cloned

SECRET = uuid4().hex
REQUEST = {"X-Request-Id": "r-1"}
api = Api("products", title="Statements that go wrong")


def add_key_twice(connection: Connection) -> None:
    statement = "INSERT INTO products (sku, name, price_cents, currency) VALUES (%(sku)s, 'x', 1, 'CAD'), (%(sku)s, 'x', 1, 'CAD')"
    execute(connection, statement, {"sku": SECRET})


def ask_for_what_is_not_there(connection: Connection) -> None:
    fetch_all(connection, "SELECT %(secret)s AS secret, nothing_here FROM products", {"secret": SECRET})


def take_long(connection: Connection) -> None:
    fetch_all(
        connection, "SELECT pg_sleep(%(seconds)s), %(secret)s", {"seconds": SLOW_SECONDS, "secret": SECRET}
    )


WORK = {work.__name__: work for work in (add_key_twice, ask_for_what_is_not_there, take_long)}


@api.get("/<work>")
def do_work(work: str) -> None:
    """Run one of the statements above."""
    current().database.read(WORK[work])


@pytest.fixture
def app(database: Cloned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionApp]:
    secrets = Secrets.make(tmp_path_factory.mktemp("secrets"), products_db=database.url("products"))
    app = create_app(api, DatabaseSettings, {**secrets.environ, "log_level": "INFO"})
    yield app
    app.service.database.close()


def told(app: FunctionApp, capsys: pytest.CaptureFixture[str], work: str) -> dict[str, dict[str, Any]]:
    """What is logged while the work is done, by message; no line has a value of the statement."""
    app.test_client().get(f"/{work}", headers=REQUEST)
    printed = capsys.readouterr().out
    assert SECRET not in printed
    lines = {line["message"]: line for line in map(json.loads, printed.splitlines())}
    assert {line["request_id"] for line in lines.values()} == {"r-1"}
    return lines


def test_a_refused_statement_is_told_with_its_state_and_rule(
    app: FunctionApp, capsys: pytest.CaptureFixture[str]
) -> None:
    line = told(app, capsys, "add_key_twice")["statement refused"]
    assert line["statement"] == "test_statements_told.add_key_twice"
    assert (line["sqlstate"], line["constraint"], line["level"]) == ("23505", "products_sku_key", "info")


def test_a_defect_has_its_traceback_without_the_statement(
    app: FunctionApp, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(app, capsys, "ask_for_what_is_not_there")
    assert lines["statement refused"]["sqlstate"] == "42703"
    traceback = lines["database error"]["traceback"]
    assert 'UndefinedColumn: column "nothing_here" does not exist (42703)' in traceback
    assert "in ask_for_what_is_not_there" in traceback


def test_a_slow_statement_is_told_with_its_time(app: FunctionApp, capsys: pytest.CaptureFixture[str]) -> None:
    line = told(app, capsys, "take_long")["slow statement"]
    assert (line["statement"], line["level"]) == ("test_statements_told.take_long", "warning")
    assert line["milliseconds"] >= SLOW_SECONDS * 1000


def test_what_postgresql_says_behind_its_first_line_is_left_out(database: Cloned) -> None:
    with closing(database.connect()) as connection, pytest.raises(psycopg2.Error) as caught:
        connection.cursor().execute("SELECT %s, nothing_here", (SECRET,))
    assert SECRET in str(caught.value)
    assert said(caught.value) == 'column "nothing_here" does not exist (42703)'
    assert said(ValueError("as it is")) == "as it is"
