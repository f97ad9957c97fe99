"""A PostgreSQL server for tests, and databases cloned from a migrated template in it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from localfaas.postgres import SUPERUSER, Cluster, new_password, programs_directory, wait_until_ready
from localfaas.settings import Settings
from tests.support.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATE = "magasin_template"
STOP_SECONDS = 30.0
# Durability is PostgreSQL's own work and not under test; without it a clone takes milliseconds.
FAST_OPTIONS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "shared_buffers=32MB",
)


@dataclass
class PostgresServer:
    """One server of our own on a free port of 127.0.0.1."""

    directory: Path
    port: int = field(default_factory=free_port)
    passwords: dict[str, str] = field(default_factory=lambda: {SUPERUSER: new_password()})
    process: subprocess.Popen[bytes] | None = None
    _superuser: psycopg2.extensions.connection | None = field(default=None, init=False, repr=False)
    """Kept from one statement of `execute` to the next, until the server stops."""

    @property
    def cluster(self) -> Cluster:
        programs = programs_directory(Settings.load(os.environ, PROJECT))
        return Cluster(programs, self.directory / "data", self.port)

    def create(self) -> None:
        self.cluster.create(self.passwords[SUPERUSER], durable=False)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.cluster.command(FAST_OPTIONS), stdout=log, stderr=log)
        wait_until_ready(self.url("postgres"))

    def stop(self) -> None:
        """Stop fast: open transactions are rolled back, clients are cut off, data stays."""
        if self.process is None:
            return
        if self._superuser is not None:
            self._superuser.close()
            self._superuser = None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=STOP_SECONDS)
        self.process = None

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The server is down inside the block and answers again after it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def url(self, database: str, role: str = SUPERUSER) -> str:
        return self.cluster.url(self.passwords[role], database, role)

    def execute(self, statement: sql.Composable) -> None:
        """Run one statement as the superuser, outside a transaction."""
        if self._superuser is None or self._superuser.closed:
            self._superuser = psycopg2.connect(self.url("postgres"))
            self._superuser.autocommit = True
        with self._superuser.cursor() as cursor:
            cursor.execute(statement)

    def create_database(self, template: str = "template1") -> Database:
        """A new database; what CREATE DATABASE does not copy (grants on the database itself) is not there."""
        name = f"test_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return Database(self, name)

    def set_passwords(self) -> None:
        """Give every login role a password of its own, as the platform does when it starts."""
        with closing(psycopg2.connect(self.url("postgres"))) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> %s", (SUPERUSER,))
            roles = [row[0] for row in cursor.fetchall()]
        for role in roles:
            self.passwords[role] = new_password()
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            self.execute(statement.format(sql.Identifier(role), sql.Literal(self.passwords[role])))


@dataclass(frozen=True)
class Database:
    """One database of a test and the addresses under which each role reaches it."""

    server: PostgresServer
    name: str

    def url(self, role: str = SUPERUSER) -> str:
        """The libpq address for `role`: the superuser, or a function's login role such as `cart`."""
        return self.server.url(self.name, role)

    def connect(self, role: str = SUPERUSER) -> psycopg2.extensions.connection:
        return psycopg2.connect(self.url(role))

    def drop(self) -> None:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self.server.execute(statement.format(sql.Identifier(self.name)))
