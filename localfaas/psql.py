"""A shell of the database, as one of its roles: `python -m localfaas.psql inventory`, which `make psql as=inventory` runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from localfaas.commands import as_typed
from localfaas.database import SECRET_SUFFIX
from localfaas.postgres import PostgresError, programs_directory
from localfaas.settings import Settings


def environment(url: str) -> dict[str, str]:
    """libpq's variables for an address: an argument would show the password to every user of the machine."""
    parts = urlsplit(url.strip())
    found = {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    if "sslmode=" in parts.query:
        found["PGSSLMODE"] = parts.query.partition("sslmode=")[2].partition("&")[0]
    return found


def main(arguments: list[str], environ: Mapping[str, str]) -> int | str:
    """Run psql as the role that is named first; its exit code, or what keeps it from running."""
    settings = Settings.load(environ, Path.cwd())
    logins = sorted(
        path.name.removesuffix(SECRET_SUFFIX) for path in settings.secrets.glob(f"*{SECRET_SUFFIX}")
    )
    if not arguments or arguments[0] not in logins:
        return as_typed(
            f"as whom? one of {', '.join(logins) or 'nobody: run `localfaas up` first'}", settings.project
        )
    program = _psql(settings)
    if program is None:
        return "psql is not installed"
    url = (settings.secrets / f"{arguments[0]}{SECRET_SUFFIX}").read_text()
    command = [program, "--no-psqlrc", *arguments[1:]]
    return subprocess.run(command, env={**environ, **environment(url)}, check=False).returncode


def _psql(settings: Settings) -> str | None:
    try:
        beside = programs_directory(settings) / "psql"
    except PostgresError:
        return shutil.which("psql")
    return str(beside) if beside.is_file() else shutil.which("psql")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
