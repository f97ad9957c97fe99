"""Warm before anybody asks: a new replica rehearses its reads, and a pool that lost connections gets others.

A rehearsal is a GET that a replica sends to its own application, inside of its process. GET changes nothing, and nobody
asked: no metric of requests, no log line and no span has it. It bears an identity in its WSGI environ, where nothing
that comes over HTTP can put one, so that what needs a token is rehearsed as well.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from werkzeug.test import create_environ, run_wsgi_app

from .auth import Identity
from .errors import Unavailable
from .telemetry import REHEARSAL

if TYPE_CHECKING:
    from .database import Database

TIMES = 3
"""What Python specialises and psycopg2 looks up at the second time is then done as well."""
MOST_CONNECTIONS = 4
"""As many as are opened ahead; a function with more threads opens the others when they are needed. Each is 2 MB of PostgreSQL's."""
RETRY_SECONDS = 0.5
"""Between attempts while the database is away."""

_NOBODY = Identity(str(uuid.UUID(int=0)), frozenset({"customer", "staff", "hq", "service"}), None, 0.0)
_log = logging.getLogger("magasin")


def rehearse(app: Any, paths: Sequence[str]) -> None:
    """GET each path of `app`, whatever it answers."""
    for path in paths:
        for _ in range(TIMES):
            ask_oneself(app, path)


def ask_oneself(app: Any, path: str) -> int:
    """The status of one rehearsal."""
    environ = create_environ(path, environ_base={REHEARSAL: _NOBODY})
    _, status, _ = run_wsgi_app(app, environ, buffered=True)
    return int(status.split()[0])


class Warmth:
    """Whether a replica is warm, and how it becomes so: its connections are open, and `act` was called since they are."""

    def __init__(self, act: Callable[[], None], database: Database | None, connections: int) -> None:
        self._act = act
        self._database = database
        self._connections = min(connections, MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._warm_at: int | None = None
        """As many connections had been opened when it was last warm; None: it is cold."""

    def keep(self) -> None:
        """Warm up now, and from now on whenever connections were lost; while the database is away, until it is back."""
        self.restore()
        if self._database is not None:
            threading.Thread(target=self._watch, args=[self._database], name="warmth", daemon=True).start()

    def end(self) -> None:
        """Keep it no longer, once the next connection is lost."""
        self._ended.set()

    def restore(self) -> bool:
        """Warm up if any connection is new or lost since the last time; whether it is warm now."""
        with self._lock:
            opened = self._database.opened if self._database else 0
            if self._warm_at != opened:
                self._warm_at = self._warmed()
            return self._warm_at is not None

    def _warmed(self) -> int | None:
        """How many connections had been opened when it was done; None while the database is away."""
        if self._database:
            try:
                self._database.fill(self._connections)
            except Unavailable:
                return None
        opened = self._database.opened if self._database else 0
        try:
            self._act()
        except Exception:
            _log.exception("the warm-up failed")
        return opened

    def _watch(self, database: Database) -> None:
        while not self._ended.is_set():
            if self.restore():
                database.wait_for_a_loss()
                self._warm_at = None
            else:
                self._ended.wait(RETRY_SECONDS)
