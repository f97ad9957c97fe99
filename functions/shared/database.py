"""PostgreSQL through a small pool: one connection for each request being worked on, kept open, replaced when broken.

A read is one autocommitted statement, thus one round trip: `database.read(store.product_by_id, 7)`.
A change is a transaction: `with database.transaction() as connection: …`.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from .errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

Connection = psycopg2.extensions.connection
Row = dict[str, Any]

CONNECT_TIMEOUT_SECONDS = 2
COOL_DOWN_SECONDS = 0.25
"""After a failed connection attempt nobody tries again for this long, so an outage costs no threads."""


class Database:
    """At most `size` connections to `url`, opened when first needed."""

    def __init__(
        self, url: str, *, application_name: str, size: int, statement_timeout_ms: int, lock_timeout_ms: int,
        wait_seconds: float = 2.0,
    ) -> None:  # fmt: skip
        self._url = url
        self._application_name = application_name
        self._wait_seconds = wait_seconds
        self._options = (
            f"-c statement_timeout={statement_timeout_ms} -c lock_timeout={lock_timeout_ms} -c timezone=UTC"
        )
        self._idle: list[Connection] = []
        self._permits = threading.Semaphore(size)
        self._down_until = 0.0

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `query(connection, …)`, which runs one statement that changes nothing.

        It is run a second time when the connection turns out to be broken, as after a restart of PostgreSQL.
        Raises Unavailable when the database cannot be reached.
        """
        with self._permit():
            connection = self._take()
            try:
                result = query(connection, *args, **kwargs)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not connection.closed:
                    self._give_back(connection)
                    raise
                connection = self._connect()
                try:
                    result = query(connection, *args, **kwargs)
                finally:
                    self._give_back(connection)
            except BaseException:
                self._give_back(connection)
                raise
            else:
                self._give_back(connection)
            return result

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back if it raises.

        Raises Unavailable when the database cannot be reached, also when that shows only at the commit
        (whether the change was kept is then not known: repeat with the same Idempotency-Key).
        """
        with self._permit():
            connection = self._take()
            try:
                connection.autocommit = False
                yield connection
                connection.commit()
            except BaseException:
                self._roll_back(connection)
                raise
            finally:
                self._give_back(connection)

    def close(self) -> None:
        """Close what is idle; connections in use are closed by the end of the process."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _permit(self) -> Iterator[None]:
        if not self._permits.acquire(timeout=self._wait_seconds):
            raise Unavailable("All database connections of this replica are in use.", code="database_busy")
        try:
            yield
        finally:
            self._permits.release()

    def _take(self) -> Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect()
            if _looks_alive(connection):
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if connection.closed:
            return
        try:
            if not connection.autocommit:
                connection.autocommit = True
        except psycopg2.Error:
            connection.close()
            return
        self._idle.append(connection)

    @staticmethod
    def _roll_back(connection: Connection) -> None:
        try:
            connection.rollback()
        except psycopg2.Error:
            connection.close()

    def _connect(self) -> Connection:
        if time.monotonic() < self._down_until:
            raise Unavailable(_AWAY, code="database_unavailable")
        try:
            connection = psycopg2.connect(
                self._url,
                application_name=self._application_name,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                options=self._options,
                keepalives_idle=5, keepalives_interval=2, keepalives_count=3, tcp_user_timeout=10_000,
            )  # fmt: skip
        except psycopg2.OperationalError as error:
            self._down_until = time.monotonic() + COOL_DOWN_SECONDS
            raise Unavailable(_AWAY, code="database_unavailable") from error
        connection.autocommit = True
        return connection


_AWAY = "The database cannot be reached right now; try again shortly."


def _looks_alive(connection: Connection) -> bool:
    """Whether nothing waits to be read: an idle server speaks only to say goodbye. No round trip."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)


def fetch_all(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> list[Row]:
    """Run `statement`; its rows as dictionaries by column name."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def fetch_one(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> Row | None:
    """Run `statement`; its only row, or None when it has none."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
        if row is None:
            return None
        return dict(zip([column[0] for column in cursor.description or ()], row, strict=True))


def execute(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> int:
    """Run `statement`; the number of rows that it changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
