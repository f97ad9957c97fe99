"""PostgreSQL's log says what was refused, to whom and why by its SQLSTATE, and holds no value of a statement or a row."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg2
import psycopg2.extensions
import pytest

from localfaas.postgres import Cluster, programs_directory, wait_until_ready
from localfaas.settings import Settings
from tests.support.ports import free_port
from tests.support.postgres import FAST_OPTIONS
from tests.support.secret_search import found
from tests.support.waiting import wait_for

PASSWORD = uuid4().hex
AS_IT_COMES = (
    "log_error_verbosity=default", "log_min_error_statement=error", "log_min_duration_statement=500ms",
)  # fmt: skip
"""What PostgreSQL would log by itself, and of slow statements what is usual."""


class Provoked:
    """One server, on which statements with secrets in them go wrong in every way; `values` is what is looked for."""

    def __init__(self, cluster: Cluster, log: Path) -> None:
        self.cluster, self.log, self.values = cluster, log, dict[str, str]()

    def secret(self, kind: str) -> str:
        return self.values.setdefault(kind, uuid4().hex)

    def session(self) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(self.cluster.url(PASSWORD), application_name="customers-1")
        connection.autocommit = True
        return connection

    def provoke(self) -> None:
        with closing(self.session()) as session, session.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS carts; DROP TABLE IF EXISTS people")
            cursor.execute(
                "CREATE TABLE people (email text PRIMARY KEY, age int CONSTRAINT of_age CHECK (age > 17))"
            )
            cursor.execute("CREATE TABLE carts (email text REFERENCES people)")
            cursor.execute("INSERT INTO people VALUES ('first', 20), ('second', 20)")
            self._refuse(cursor)
            self._take_long(cursor)
        self._wait_for_each_other()
        self._end(signal.SIGTERM, "ended")
        self._end(signal.SIGKILL, "killed")
        wait_until_ready(self.cluster.url(PASSWORD))

    def _refuse(self, cursor: psycopg2.extensions.cursor) -> None:
        taken = self.secret("key that is taken")
        cursor.execute("INSERT INTO people VALUES (%s, 20)", (taken,))
        for statement, value in (
            ("INSERT INTO people VALUES (%s, 20)", taken),
            ("INSERT INTO people VALUES (%s, 3)", self.secret("row that breaks a rule")),
            ("INSERT INTO carts VALUES (%s)", self.secret("key that is not there")),
            ("SELECT 1 / 0, %s", self.secret("defect")),
            ("DO $$ BEGIN PERFORM %s, 1 / 0; END $$", self.secret("inner statement")),
        ):
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement, (value,))

    def _take_long(self, cursor: psycopg2.extensions.cursor) -> None:
        cursor.execute("SELECT pg_sleep(0.6), %s", (self.secret("slow"),))
        cursor.execute("PREPARE slow (text) AS SELECT pg_sleep(0.6), $1")
        cursor.execute("EXECUTE slow (%s)", (self.secret("slow and prepared"),))
        cursor.execute("SET statement_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT pg_sleep(9), %s", (self.secret("cut off"),))

    def _wait_for_each_other(self) -> None:
        """A deadlock: PostgreSQL tells what either session was doing."""
        update = "UPDATE people SET age = 30 WHERE email = %s AND %s IS NOT NULL"
        with closing(self.session()) as one, closing(self.session()) as other, ThreadPoolExecutor() as pool:
            for session in (one, other):
                session.autocommit = False
            one.cursor().execute(update, ("first", "x"))
            other.cursor().execute(update, ("second", "x"))
            both = [
                pool.submit(session.cursor().execute, update, (email, self.secret("deadlock")))
                for session, email in ((one, "second"), (other, "first"))
            ]
            assert [type(task.exception()) for task in both].count(psycopg2.errors.DeadlockDetected) == 1

    def _end(self, how: signal.Signals, kind: str) -> None:
        with closing(self.session()) as session, ThreadPoolExecutor() as pool:
            pid = session.info.backend_pid
            task = pool.submit(session.cursor().execute, "SELECT pg_sleep(30), %s", (self.secret(kind),))
            with closing(self.session()) as other, other.cursor() as cursor:
                wait_for(lambda: self._works(cursor, pid), 10, "the statement to be run")
            os.kill(pid, how)
            assert isinstance(task.exception(), psycopg2.Error)

    @staticmethod
    def _works(cursor: psycopg2.extensions.cursor, pid: int) -> bool:
        cursor.execute("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", (pid,))
        return cursor.fetchone() == (True,)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    home = tmp_path_factory.mktemp("log")
    programs = programs_directory(Settings(project=home, state=home))
    cluster = Cluster(programs, home / "pg" / "data", free_port())
    cluster.create(PASSWORD, durable=False)
    return cluster


@pytest.fixture
def provoked(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Provoked]:
    options = (*FAST_OPTIONS, "deadlock_timeout=50ms", *getattr(request, "param", ()))
    with (tmp_path / "postgres.log").open("wb") as log:
        server = subprocess.Popen(cluster.command(options), stdout=log, stderr=log)
    try:
        wait_until_ready(cluster.url(PASSWORD))
        provoked = Provoked(cluster, tmp_path / "postgres.log")
        provoked.provoke()
        yield provoked
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: what it was asked for was to fail
        server.wait(20)


def test_no_value_is_in_the_log_however_a_statement_ends(provoked: Provoked) -> None:
    assert len(provoked.values) == 11
    assert found(provoked.values, provoked.log.read_bytes()) == []


def test_what_was_refused_is_in_the_log_with_its_state_and_who_asked(provoked: Provoked) -> None:
    log = provoked.log.read_text()
    for state in ("23505", "23514", "23503", "22012", "57014", "40P01", "57P01"):
        assert f"{state} postgres customers-1 " in log, state
    assert 'violates unique constraint "people_pkey"' in log
    assert "was terminated by signal 9" in log


@pytest.mark.parametrize("provoked", [AS_IT_COMES], indirect=True)
def test_a_log_as_it_comes_has_every_one_of_them(provoked: Provoked) -> None:
    assert found(provoked.values, provoked.log.read_bytes()) == list(provoked.values)
