"""PostgreSQL through a small pool: one connection for each request being worked on, kept open, replaced when broken.

A read is one autocommitted statement, thus one round trip: `database.read(store.product_by_id, 7)`.
A change is a transaction: `with database.transaction() as connection: …`, or `database.change(work)`, which is
repeated when PostgreSQL rolls it back for the sake of others.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg2
import psycopg2.extensions

from . import metrics, tracing
from .errors import Unavailable
from .telemetry import current_trace

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 2
COOL_DOWN_SECONDS = 0.25
"""After a failed connection attempt nobody tries again for this long, so an outage costs no threads."""
TRANSACTION_ATTEMPTS = 4
"""How often a change is tried that PostgreSQL rolls back for the sake of others."""


class Connection(psycopg2.extensions.connection):
    """A connection of the pool; it knows what was prepared on it and whether its server still listens."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: set[str] = set()
        self._acts: list[Callable[[], object]] = []
        self._poll = select.poll()
        self._poll.register(self.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    def looks_alive(self) -> bool:
        """Whether nothing waits to be read: an idle server speaks only to say goodbye. No round trip."""
        return not self.closed and not self._poll.poll(0)

    def has_ended(self) -> bool:
        """Whether its server has gone; an answer that waits is no end, so whoever does not have it may ask as well."""
        poll = select.poll()  # one of its own: a poll object serves one at a time
        try:
            poll.register(self.fileno(), select.POLLRDHUP)
        except psycopg2.InterfaceError:  # closed
            return True
        return bool(poll.poll(0))

    def after_commit(self, act: Callable[[], object]) -> None:
        """Have `act` called once what was done here so far is committed (at once on autocommit), never when it is not.

        For counters: what a transaction counts before it ends may never have been.
        """
        if self.autocommit:
            act()
        else:
            self._acts.append(act)

    def commit(self) -> None:
        if self.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            trace, started = current_trace(), time.perf_counter()
            if trace is None:
                super().commit()
            else:
                tracing.commit(trace, super().commit)
            metrics.QUERY_SECONDS.observe(("commit",), time.perf_counter() - started)
        while self._acts:
            self._acts.pop(0)()

    def rollback(self) -> None:
        self._acts.clear()
        super().rollback()


class Database:
    """At most `size` connections to `url`, opened when first needed."""

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        size: int,
        statement_timeout_ms: int,
        lock_timeout_ms: int,
        wait_seconds: float = 2.0,
    ) -> None:
        self._url = url
        self._application_name = application_name
        self._wait_seconds = wait_seconds
        self._options = (
            f"-c statement_timeout={statement_timeout_ms} -c lock_timeout={lock_timeout_ms} -c timezone=UTC"
        )
        self._size = size
        self._idle: list[Connection] = []
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._permits.put(None)
        self._down_until = 0.0
        self._losses = select.epoll()
        self.opened = 0
        """Connections opened so far."""
        metrics.watch_pool(size, self._idle, lambda: size - self._permits.qsize())

    def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `query(connection, …)`, which runs one statement that changes nothing.

        It is run a second time when the connection turns out to be broken, as after a restart of PostgreSQL.
        Raises Unavailable when the database cannot be reached.
        """
        self._wait_for_permit()
        connection = None
        try:
            connection = self._take()
            try:
                return query(connection, *args, **kwargs)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not connection.closed:
                    raise
            connection = self._connect()
            return query(connection, *args, **kwargs)
        finally:
            self._give_back(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back if it raises.

        Raises Unavailable when the database cannot be reached. Should that show only at the commit, whether
        the change was kept is not known: repeat it with the same Idempotency-Key.
        """
        self._wait_for_permit()
        connection = None
        try:
            connection = self._take()
            connection.autocommit = False
            yield connection
            connection.commit()
        finally:
            self._give_back(connection)

    def change(self, work: Callable[[Connection], T]) -> T:
        """`work(connection)` in a transaction as above, committed when it returns.

        Should PostgreSQL choose it as the victim of a deadlock or a serialization failure, it is begun again,
        a few times; so `work` must have no effect outside of its transaction.
        """
        for left in reversed(range(TRANSACTION_ATTEMPTS)):
            try:
                with self.transaction() as connection:
                    return work(connection)
            except psycopg2.extensions.TransactionRollbackError:
                if not left:
                    raise
                metrics.REPEATED.inc()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def fill(self, count: int) -> None:
        """Have `count` connections idle, or as many as nobody uses now, in place of lost ones too.

        What is open already stays in reach of requests meanwhile. Raises Unavailable when the database cannot be reached.
        """
        self._drop_lost()
        while self._permit_at_once():
            connection = None
            try:
                if len(self._idle) >= min(count, self._permits.qsize() + 1):
                    return
                connection = self._connect()
            finally:
                self._give_back(connection)

    def _drop_lost(self) -> None:
        """Close what is idle and was ended by the server. The others stay where requests find them while they are looked at."""
        for connection in list(self._idle):
            if connection.has_ended():
                with suppress(ValueError):  # somebody has taken it meanwhile, and sees it as well
                    self._idle.remove(connection)
                    connection.close()

    def wait_for_a_loss(self) -> None:
        """Come back when the server has ended a connection, or another network's end was seen. It costs nothing meanwhile."""
        self._losses.poll()

    def close(self) -> None:
        """Close what is idle; connections in use are closed by the end of the process."""
        while self._idle:
            self._idle.pop().close()

    def _wait_for_permit(self) -> None:
        if not self._permit_at_once():
            self._wait_in_line()

    def _permit_at_once(self) -> bool:
        try:
            self._permits.get_nowait()
        except Empty:
            return False
        return True

    def _wait_in_line(self) -> None:
        with metrics.POOL_WAITING.track_inprogress(), metrics.POOL_WAIT_SECONDS.time():
            try:
                self._permits.get(timeout=self._wait_seconds)
            except Empty:
                raise Unavailable(_BUSY, code="database_busy") from None

    def _take(self) -> Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect()
            if connection.looks_alive():
                return connection
            connection.close()

    def _give_back(self, connection: Connection | None) -> None:
        """Back into the pool, rolled back if a transaction is open; broken ones are dropped."""
        try:
            if connection is None or connection.closed:
                return
            if len(self._idle) >= self._size:
                connection.close()  # somebody opened it while `fill` did
                return
            if not connection.autocommit:
                connection.rollback()
                connection.autocommit = True
            self._idle.append(connection)
        except psycopg2.Error:
            _log.warning("a broken database connection was dropped")
        finally:
            self._permits.put(None)

    def _connect(self) -> Connection:
        if time.monotonic() < self._down_until:
            raise Unavailable(DATABASE_AWAY, code="database_unavailable")
        try:
            connection = psycopg2.connect(
                self._url,
                connection_factory=Connection,
                application_name=self._application_name,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                options=self._options,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                tcp_user_timeout=10_000,
            )
        except psycopg2.OperationalError as error:
            metrics.CONNECT_FAILURES.inc()
            self._down_until = time.monotonic() + COOL_DOWN_SECONDS
            raise Unavailable(DATABASE_AWAY, code="database_unavailable") from error
        connection.autocommit = True
        self._losses.register(connection.fileno(), select.EPOLLRDHUP | select.EPOLLET)
        self.opened += 1
        return connection


_BUSY = "All database connections of this replica are in use."
DATABASE_AWAY = "The database cannot be reached right now; try again shortly."
_log = logging.getLogger("magasin")
