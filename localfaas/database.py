"""The project's database: migrations by dbmate, and one login per function.

Migrations make the roles without passwords. Each secret `<role>-db` that stack.yml names becomes a file with the
address under which that role logs in; its password is made here, at the first start.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from localfaas.postgres import new_password
from localfaas.settings import Settings

DATABASE = "magasin"
SECRET_SUFFIX = "-db"  # noqa: S105  the ending of a secret's name, not a secret


class MigrationError(RuntimeError):
    """A migration failed; the message is dbmate's, the database is as before that migration."""


def migrate(admin_url: str, migrations: Path, dbmate: Path, direction: str = "up") -> str:
    """Apply every pending migration (`up`, which first creates the database) or undo the last one (`rollback`).

    Returns dbmate's output. Raises MigrationError.
    """
    result = subprocess.run(
        [dbmate, "--migrations-dir", migrations, "--no-dump-schema", direction],
        # Not as an argument: those of a process can be read by everybody on this machine, its environment cannot.
        env={**os.environ, "DATABASE_URL": _without_tls(admin_url)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise MigrationError((result.stderr or result.stdout).strip())
    return result.stdout.strip()


def login_secrets(settings: Settings, admin_url: str, secret_names: Iterable[str]) -> list[str]:
    """Give each role named by a `<role>-db` secret its password, and write the secret's file.

    An existing file keeps its password, so running replicas go on. Returns the roles.
    Raises MigrationError when no migration made a role of that name.
    """
    roles = [
        name.removesuffix(SECRET_SUFFIX) for name in sorted(set(secret_names)) if name.endswith(SECRET_SUFFIX)
    ]
    with psycopg2.connect(admin_url) as connection, connection.cursor() as cursor:
        for role in roles:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone() is None:
                raise MigrationError(
                    f"secret {role}{SECRET_SUFFIX}: no migration creates a role named {role!r}"
                )
            path = settings.secrets / f"{role}{SECRET_SUFFIX}"
            kept = urlsplit(path.read_text().strip()).password if path.exists() else None
            password = kept or new_password()
            cursor.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )
            write_secret(path, _login_url(admin_url, role, password))
    connection.close()
    return roles


def write_secret(path: Path, value: str) -> None:
    """Write a secret file of mode 0600 by rename, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(value)
    temporary.replace(path)


def with_database(url: str, database: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))


def _login_url(admin_url: str, role: str, password: str) -> str:
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"{role}:{password}@{host}", parts.path, parts.query, ""))


def _without_tls(url: str) -> str:
    """dbmate asks for TLS unless told otherwise; a local server has none."""
    if "sslmode=" in url:
        return url
    return url + ("&" if "?" in url else "?") + "sslmode=disable"
