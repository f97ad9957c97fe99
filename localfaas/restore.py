"""`localfaas restore`: a database from a backup, in the place of the one there is.

It grows beside the old one under another name, is compared with the backup table by table, is migrated, and takes the old
one's name in one transaction: killed at any moment, this leaves the old database or the new one, whole.
Functions must be down, so none of them is shown half of it or goes on with what it remembers.
Roles belong to the server and are in no backup: the project's migrations make those that are missing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from localfaas import database, platform, postgres
from localfaas.backup import connect_for_text, contents, run_client
from localfaas.manifest import DUMP_FILE, Manifest, read_backup
from localfaas.ports import check_port
from localfaas.progress import Steps
from localfaas.settings import Settings
from localfaas.strays import end_strays
from localfaas.supervisor import PLATFORM_MARK, Supervisor
from localfaas.up import MIGRATIONS, SUPERUSER_SECRET

NEW = "_restoring"
REPLACED = "_replaced"
"""Endings of the names of databases that are there only while a restore runs, or after one was killed."""
STOP_SECONDS = 60.0
PRIVILEGES = frozenset({"CONNECT", "CREATE", "TEMPORARY"})

LEAVING_SECONDS = 2.0
"""A connection that was closed a moment ago is there until PostgreSQL has noticed."""

_OTHERS = """
SELECT coalesce(string_agg(DISTINCT usename, ', ' ORDER BY usename), '')
FROM pg_stat_activity
WHERE datname = %s AND backend_type = 'client backend'
"""


class RestoreError(RuntimeError):
    """Nothing was restored; the message says why, and the database is as it was."""


def restore(settings: Settings, folder: Path, steps: Steps) -> Manifest:
    """Put the database of a backup in the place of this home's, which is deleted.

    Raises BackupError for a backup that is not to be trusted, RestoreError when it does not fit or the platform is up.
    """
    with steps.step("Checking the backup") as notes:
        manifest = read_backup(folder)
        check_migration(settings, manifest)
        notes.append(f"{manifest.rows:,} rows of {manifest.made_at}")
    if Supervisor(settings).is_running():
        raise RestoreError("the platform is up: `localfaas down` first, then restore, then `localfaas up`")
    end_strays(settings)
    with server(settings) as url:
        try:
            _Restoration(settings, url).run(folder, manifest, steps)
        except psycopg2.Error as exc:
            raise RestoreError(
                f"PostgreSQL refused or went away; the database is whole, run this again\n{exc}".rstrip()
            ) from exc
    return manifest


def check_migration(settings: Settings, manifest: Manifest) -> None:
    """Raise RestoreError unless the backup's last migration is one of this project's."""
    known = sorted(
        match[0]
        for path in (settings.project / MIGRATIONS).glob("*.sql")
        if (match := re.match(r"\d+", path.name))
    )
    if manifest.migration and manifest.migration not in known:
        last = known[-1] if known else "none"
        raise RestoreError(
            f"the backup is of migration {manifest.migration}, and the last of this project is {last}:"
            " restore it with the project that made it, or a newer one"
        )


def database_name(url: str) -> str:
    """The database of an address. Raises RestoreError unless names can be made of it that are surely others.

    PostgreSQL cuts names off at 63 bytes without a word.
    """
    name = urlsplit(url).path.removeprefix("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", name):
        raise RestoreError(f"the database {name!r} must have a name of up to 50 letters, digits, _ and -")
    return name


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """The superuser's address of the database, on a server that is this home's own and runs for the block alone.

    `DATABASE_URL` names one that runs anyway.
    """
    if settings.database_url:
        yield settings.database_url
        return
    postgres.check_namespace()
    check_port(settings, "postgres")
    secret = settings.secrets / SUPERUSER_SECRET
    if not secret.exists():
        database.write_secret(secret, postgres.new_password())
    cluster, password = platform.postgres_cluster(settings), secret.read_text()
    cluster.create(password)
    settings.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_file = settings.logs / "postgres.log"
    log_file.touch(mode=0o600)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            cluster.command(),
            # With the mark, `up` and `down` find it should this process be killed.
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", PLATFORM_MARK: str(settings.state)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        postgres.wait_until_ready(cluster.url(password))
        yield cluster.url(password, database.DATABASE)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)


class _Restoration:
    """One restore on a server that runs: the database `url` names, the new one, and the one that was replaced."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url
        self._name = database_name(url)
        self._new = self._name + NEW
        self._new_url = database.with_database(url, self._new)
        self._replaced = self._name + REPLACED

    def run(self, folder: Path, manifest: Manifest, steps: Steps) -> None:
        with closing(psycopg2.connect(database.with_database(self._url, "postgres"))) as admin:
            admin.autocommit = True
            self._check_alone(admin)
            for left_by_a_kill in (self._new, self._replaced):
                _drop(admin, left_by_a_kill)
            try:
                with steps.step("Restoring into a new database"):
                    self._make_roles(admin)
                    self._fill(admin, folder)
                with steps.step("Comparing every table with the backup"):
                    self._compare(manifest)
                with steps.step("Migrations and statistics") as notes:
                    notes.append(self._finish(admin, manifest))
                with steps.step("Taking the place of the old one"):
                    self._swap(admin)
            finally:
                with suppress(psycopg2.Error):  # the server may be what failed
                    for no_longer_wanted in (self._new, self._replaced):
                        _drop(admin, no_longer_wanted)

    def _check_alone(self, admin: psycopg2.extensions.connection) -> None:
        """Raise RestoreError while anybody else is connected to the database, or restores it."""
        with admin.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (self._new,))
            if not (cursor.fetchone() or (False,))[0]:
                raise RestoreError("another restore of this database is under way")
            deadline = time.monotonic() + LEAVING_SECONDS
            while roles := self._others(cursor):
                if time.monotonic() > deadline:
                    raise RestoreError(
                        f"the database is in use by {roles}: stop what is connected to it first"
                    )
                time.sleep(0.1)

    def _others(self, cursor: psycopg2.extensions.cursor) -> str:
        cursor.execute(_OTHERS, (self._name,))
        return str((cursor.fetchone() or ("",))[0])

    def _make_roles(self, admin: psycopg2.extensions.connection) -> None:
        """As migrations make them: in the new database, for as long as that takes."""
        if (self._settings.project / MIGRATIONS).is_dir():
            self._migrate()
            _drop(admin, self._new)

    def _fill(self, admin: psycopg2.extensions.connection, folder: Path) -> None:
        with admin.cursor() as cursor:
            # template1 may hold what is in the dump too.
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(self._new)))
        options = ["--exit-on-error", f"--dbname={self._new}"]
        run_client(self._settings, self._new_url, "pg_restore", [*options, str(folder / DUMP_FILE)])

    def _compare(self, manifest: Manifest) -> None:
        with closing(connect_for_text(self._new_url)) as connection:
            found = contents(connection)
        differing = sorted(
            table for table in {*found, *manifest.tables} if found.get(table) != manifest.tables.get(table)
        )
        if differing:
            raise RestoreError(f"restored, but not as the backup says: {', '.join(differing)}")

    def _finish(self, admin: psycopg2.extensions.connection, manifest: Manifest) -> str:
        """What is not in the dump: privileges on the database itself, later migrations, the planner's statistics."""
        name = sql.Identifier(self._new)
        with admin.cursor() as cursor:
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            for role, privilege in manifest.privileges:
                if privilege in PRIVILEGES:
                    to = sql.Identifier(role) if role else sql.SQL("PUBLIC")
                    cursor.execute(
                        sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(privilege), name, to)
                    )
        applied = 0
        if (self._settings.project / MIGRATIONS).is_dir():
            applied = self._migrate().count("Applied:")
        with closing(psycopg2.connect(self._new_url)) as connection:
            connection.autocommit = True
            connection.cursor().execute("ANALYZE")
        return f"{applied} migrations applied" if applied else "nothing to migrate"

    def _swap(self, admin: psycopg2.extensions.connection) -> None:
        """Both names change in one transaction."""
        admin.autocommit = False
        try:
            with admin, admin.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (self._name,))
                if cursor.rowcount:
                    _rename(cursor, self._name, self._replaced)
                _rename(cursor, self._new, self._name)
        except psycopg2.errors.ObjectInUse as exc:
            raise RestoreError(f"somebody has connected to the database meanwhile: {exc}".rstrip()) from exc
        finally:
            admin.autocommit = True

    def _migrate(self) -> str:
        migrations = self._settings.project / MIGRATIONS
        return database.migrate(self._new_url, migrations, self._settings.programs / "dbmate")


def _drop(admin: psycopg2.extensions.connection, name: str) -> None:
    """Drop a database, and end what a killed restore has left connected to it."""
    with admin.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _rename(cursor: psycopg2.extensions.cursor, name: str, new_name: str) -> None:
    cursor.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name))
    )
