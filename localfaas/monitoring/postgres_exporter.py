"""PostgreSQL's exporter on one machine: the project's own queries, asked as a role that can do nothing else."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from localfaas.database import write_secret
from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Program
from localfaas.tools import GOGC, Tool

NAME = "postgres-exporter"
TOOL = Tool(
    "PostgreSQL's exporter",
    "prometheus-postgres-exporter",
    ("prometheus-postgres-exporter", "postgres_exporter"),
)
SECRET = "monitoring-db"  # noqa: S105  a name
QUERIES = Path("monitoring") / "postgres_exporter" / "queries.yml"
PRIORITY = 700
FLAGS = (
    "--no-collector.bgwriter",  # 0.11 asks for columns that PostgreSQL 17 has moved elsewhere
    "--disable-settings-metrics",  # over three hundred series that never change; queries.yml asks for the one of use
)


def secrets(settings: Settings) -> tuple[str, ...]:
    """What it logs in with, if the project has a use for it."""
    return (SECRET,) if (settings.project / QUERIES).exists() else ()


def program(settings: Settings, binary: Path, running: Collection[str]) -> Program | None:
    """Write the password where the exporter reads it, and return its program; None when the project has no queries."""
    queries = settings.project / QUERIES
    if not queries.exists():
        return None
    state = settings.state / NAME
    state.mkdir(parents=True, exist_ok=True)
    user, password, address = login((settings.secrets / SECRET).read_text())
    write_secret(state / "password", password)
    return Program(
        name=NAME,
        command=[
            str(binary),
            f"--web.listen-address={LOOPBACK}:{settings.port(NAME)}",
            f"--extend.query-path={queries}",
            *FLAGS,
        ],
        directory=state,
        environment={
            "DATA_SOURCE_USER": user,
            "DATA_SOURCE_PASS_FILE": str(state / "password"),
            "DATA_SOURCE_URI": address,
            "GOGC": GOGC,
        },
        about={"port": settings.port(NAME)},
        reads=(queries, state / "password"),
        priority=PRIORITY,
    )


def login(url: str) -> tuple[str, str, str]:
    """User, password, and the address without them as the exporter's driver reads it.

    That driver asks for TLS unless told otherwise and knows no `prefer`: without a demand of the address's, none.
    """
    parts = urlsplit(url.strip())
    options = {"sslmode": "disable", "application_name": NAME} | dict(parse_qsl(parts.query))
    if options["sslmode"] in {"allow", "prefer"}:
        options["sslmode"] = "disable"
    host = parts.netloc.rpartition("@")[2]
    return (
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        f"{host}{parts.path}?{urlencode(options)}",
    )
