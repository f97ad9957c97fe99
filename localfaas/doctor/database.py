"""The project's database: whether it answers, as which version of the schema, to whom, and with how much room."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import psycopg2

from localfaas.database import SECRET_SUFFIX
from localfaas.doctor.finding import Finding, NotLookedAt, shortened, verdict, well, wrong
from localfaas.doctor.installation import Installation
from localfaas.up import MIGRATIONS

CONNECTIONS_SHARE = 0.8
"""As of the alert DatabaseConnectionsNearMaximum."""
CLOCKS_APART_SECONDS = 2.0


def reachable(installation: Installation) -> list[Finding]:
    """The superuser can log in, and the server's clock is this machine's."""
    try:
        with installation.database() as cursor:
            cursor.execute(
                "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8"
            )
            version, seconds = cursor.fetchone() or ("", 0.0)
    except psycopg2.OperationalError as exc:
        return [_refused(installation, _one_line(exc))]
    apart = seconds - time.time()
    if abs(apart) > CLOCKS_APART_SECONDS:
        found = f"its clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
        return [wrong(found, "let both be kept: `sudo timedatectl set-ntp true`")]
    return [well(f"PostgreSQL {version} answers")]


def _refused(installation: Installation, reason: str) -> Finding:
    if installation.settings.database_url:
        return wrong(
            f"DATABASE_URL: {reason}", "start that server, or correct the address; then `localfaas up`"
        )
    if "password authentication failed" in reason:
        path = installation.settings.secrets / "postgres-superuser"
        return wrong(f"{path} does not have the database's password", "put the file back from a copy")
    if "does not exist" in reason:
        return wrong(reason, "`localfaas up`, which makes it")
    return wrong(reason, "`localfaas logs postgres` says why; mend that, then `localfaas up`")


def migrations(installation: Installation) -> list[Finding]:
    """Every migration of the project is applied, and no other is."""
    directory = installation.settings.project / MIGRATIONS
    wanted = {path.name.partition("_")[0] for path in directory.glob("*.sql")}
    if not wanted:
        raise NotLookedAt("the project has none")
    applied = _applied(installation)
    return verdict(_migration_faults(wanted, applied), f"at {max(wanted)}, as the project")


def _applied(installation: Installation) -> set[str]:
    """dbmate's own table; it is made with the first migration."""
    try:
        with installation.database() as cursor:
            cursor.execute("SELECT version FROM public.schema_migrations")
            return {str(version) for (version,) in cursor.fetchall()}
    except psycopg2.errors.UndefinedTable:
        return set()
    except psycopg2.OperationalError as exc:
        raise NotLookedAt("the database does not answer") from exc


def _migration_faults(wanted: set[str], applied: set[str]) -> Iterator[Finding]:
    if missing := sorted(wanted - applied):
        yield wrong(f"not applied: {shortened(missing)}", "`localfaas up`, which applies them")
    if unknown := sorted(applied - wanted):
        yield wrong(
            f"the database has {shortened(unknown)}, which this project does not: its code is older than its data",
            "check out the version that has them (`git log db/migrations`), then `localfaas up`",
        )


def connections(installation: Installation) -> list[Finding]:
    """There is room for more replicas."""
    try:
        with installation.database() as cursor:
            cursor.execute(
                "SELECT count(*), current_setting('max_connections')::integer"
                " FROM pg_stat_activity WHERE backend_type = 'client backend'"
            )
            used, most = cursor.fetchone() or (0, 0)
    except psycopg2.OperationalError as exc:
        raise NotLookedAt("the database does not answer") from exc
    return verdict(_connection_faults(used, most), f"{used} of {most} in use")


def _connection_faults(used: int, most: int) -> Iterator[Finding]:
    if used > CONNECTIONS_SHARE * most:
        yield wrong(
            f"{used} of {most} are in use",
            "docs/runbooks/DatabaseConnectionsNearMaximum.md: who holds them; `localfaas scale NAME 1` gives some back",
        )


def logins(installation: Installation) -> list[Finding]:
    """Every role that a secret names can log in with it."""
    try:
        with installation.database():
            pass
    except psycopg2.OperationalError as exc:
        raise NotLookedAt("the database does not answer") from exc
    names = (name for name in installation.secret_names if name.endswith(SECRET_SUFFIX))
    roles = sorted(name.removesuffix(SECRET_SUFFIX) for name in names)
    return verdict(_login_faults(installation, roles), f"{len(roles)} roles can log in")


def _login_faults(installation: Installation, roles: Iterable[str]) -> Iterator[Finding]:
    for role in roles:
        try:
            with installation.database(installation.login(role)):
                pass
        except NotLookedAt:
            continue  # the secret is missing, which is said where secrets are
        except psycopg2.Error as exc:
            path = installation.settings.secrets / f"{role}{SECRET_SUFFIX}"
            yield wrong(
                f"{role} cannot log in with {path}: {_one_line(exc)}",
                "`localfaas up`, which gives each role the password of its file",
            )


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]
