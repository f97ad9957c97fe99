"""`localfaas backup`: the whole database as it was at one moment, in a folder, made while the shop trades.

The dump and the checksums of all tables are taken in one snapshot, so that a restored database can be compared row for row.
No secret goes into it, and none is needed: passwords of roles and all keys belong to a home, and `up` makes what is missing.
What is being written has a hidden name, and its own only when it is whole and on the disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from localfaas import __version__, postgres, psql
from localfaas.locks import locked
from localfaas.manifest import (
    DUMP_FILE,
    MANIFEST_FILE,
    BackupError,
    Manifest,
    file_sha256,
    render,
    write_synced,
)
from localfaas.progress import Steps
from localfaas.settings import Settings
from localfaas.up import admin_url
from localfaas.whole_files import sync_directory

PARTIAL = ".partial"
LOCK_WAIT = "30s"
"""How long pg_dump waits for a migration to let go of a table."""
# What the text of a row depends on, beside the row.
TEXT_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "timezone": "UTC",
        "datestyle": "ISO,YMD",
        "intervalstyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "1",
    }.items()
)

_MIGRATION = "SELECT max(version) FROM public.schema_migrations"

_PRIVILEGES = """
SELECT coalesce(rolname, ''), privilege_type
FROM pg_database
CROSS JOIN aclexplode(coalesce(datacl, acldefault('d', datdba))) AS granted
LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE datname = current_database() AND grantee <> datdba
ORDER BY 1, 2
"""

_TABLES = """
SELECT nspname, relname
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
ORDER BY 1, 2
"""

# The sum of a checksum of each row: the same in whatever order a table gives them.
_CONTENT = """
SELECT count(*)::text, coalesce(sum(('x' || left(md5((content.*)::text), 16))::bit(64)::bigint), 0)::text
FROM {table} AS content
"""


def backup(settings: Settings, target: Path | None, steps: Steps) -> tuple[Path, Manifest]:
    """Back up into `target`, a folder that is not there yet (by default `backups/<UTC>` of the state directory).

    Raises BackupError when that is not possible; nothing is left behind then.
    """
    folder = (target or settings.backups / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}").resolve()
    with locked(settings.run / "backup.lock"):
        if folder.exists():
            raise BackupError(f"{folder} is there already, and a backup replaces nothing")
        with _database(settings) as (url, connection), _new_folder(settings, folder) as partial:
            manifest = _copy(settings, url, connection, partial, steps)
    return folder, manifest


@contextmanager
def _database(settings: Settings) -> Iterator[tuple[str, psycopg2.extensions.connection]]:
    """The database's address and a connection that sees one moment of it."""
    try:
        url = admin_url(settings)
    except FileNotFoundError as exc:
        raise BackupError(f"{settings.state} has no database yet; `localfaas up` makes one") from exc
    try:
        connection = connect_for_text(url)
    except psycopg2.OperationalError as exc:
        raise BackupError(f"the database does not answer; `localfaas up` starts it\n{exc}".rstrip()) from exc
    with closing(connection):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            yield url, connection
        except psycopg2.OperationalError as exc:
            raise BackupError(f"the database went away: {exc}".rstrip()) from exc


@contextmanager
def _new_folder(settings: Settings, folder: Path) -> Iterator[Path]:
    """A folder to be filled, which gets its name when the block has ended well and is deleted otherwise."""
    partial = folder.with_name(f".{folder.name}{PARTIAL}")
    for killed in (partial, *settings.backups.glob(f".*{PARTIAL}")):
        shutil.rmtree(killed, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(mode=0o700)
        yield partial
        sync_directory(partial)
        partial.rename(folder)
        sync_directory(folder.parent)
    except OSError as exc:
        raise BackupError(f"{exc.filename or folder}: {exc.strerror}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(
    settings: Settings,
    url: str,
    connection: psycopg2.extensions.connection,
    folder: Path,
    steps: Steps,
) -> Manifest:
    """Write both files of a backup into `folder`."""
    dump = folder / DUMP_FILE
    with steps.step("Copying the database") as notes, connection.cursor() as cursor:
        cursor.execute("SELECT pg_export_snapshot(), transaction_timestamp()")
        snapshot, made_at = cursor.fetchone() or ("", datetime.now(UTC))
        options = [f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}", f"--file={dump}"]
        run_client(settings, url, "pg_dump", ["--format=custom", *options])
        notes.append(f"{dump.stat().st_size / 2**20:.1f} MiB")
    with steps.step("Adding up every table") as notes:
        tables = contents(connection)
        manifest = Manifest(
            made_at=made_at.astimezone(UTC).isoformat(timespec="seconds"),
            migration=_last_migration(connection),
            versions={
                "localfaas": __version__,
                "postgresql": connection.get_parameter_status("server_version") or "",
            },
            privileges=_privileges(connection),
            tables=tables,
            dump_bytes=dump.stat().st_size,
            dump_sha256=file_sha256(dump),
        )
        notes.append(f"{manifest.rows:,} rows of {len(tables)} tables")
        write_synced(folder / MANIFEST_FILE, render(manifest))
    return manifest


def contents(connection: psycopg2.extensions.connection) -> dict[str, list[str]]:
    """Of every table, how many rows it has and their checksum, on a connection of `connect_for_text`."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        for schema, table in cursor.fetchall():
            cursor.execute(sql.SQL(_CONTENT).format(table=sql.Identifier(schema, table)))
            found[f"{schema}.{table}"] = list(cursor.fetchone() or ())
    return found


def connect_for_text(url: str) -> psycopg2.extensions.connection:
    """A connection on which the same row has the same text, whatever the server's settings are."""
    return psycopg2.connect(url, options=TEXT_OPTIONS, connect_timeout=5)


def run_client(settings: Settings, url: str, program: str, arguments: Sequence[str]) -> None:
    """Run pg_dump or pg_restore on a database; what it writes is its owner's alone. Raises BackupError with its words."""
    path = postgres.programs_directory(settings) / program
    if not path.is_file():
        raise BackupError(f"no {program} in {path.parent}; set PG_BIN to PostgreSQL's bin directory")
    result = subprocess.run(
        [path, "--no-password", *arguments],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **psql.environment(url)},
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    if result.returncode != 0:
        raise BackupError(f"{program} failed:\n{result.stderr.strip()}")


def _last_migration(connection: psycopg2.extensions.connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
        if not (cursor.fetchone() or (False,))[0]:
            return ""
        cursor.execute(_MIGRATION)
        return str((cursor.fetchone() or ("",))[0] or "")


def _privileges(connection: psycopg2.extensions.connection) -> list[list[str]]:
    with connection.cursor() as cursor:
        cursor.execute(_PRIVILEGES)
        return [list(row) for row in cursor.fetchall()]
