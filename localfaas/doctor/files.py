"""What lies on disk: the project's own files, the programs, the state directory, secrets, the data directory."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from localfaas import tools
from localfaas.commands import installing_anew
from localfaas.doctor.books import BooksError, load_books
from localfaas.doctor.finding import Finding, NotLookedAt, shortened, verdict, well, wrong
from localfaas.doctor.installation import Installation, shown
from localfaas.edge import CertificateError, KongConfError, KongConfigError
from localfaas.edge.certificate import FILE as CERTIFICATE
from localfaas.edge.certificate import ISSUER, RENEWED_BEFORE_END, read_certificate
from localfaas.edge.edge import KONG_CONF
from localfaas.edge.kong_conf import read_node
from localfaas.edge.parse import parse
from localfaas.monitoring import PARTS
from localfaas.platform import envoy_binary
from localfaas.postgres import PostgresError, check_namespace, programs_directory
from localfaas.project import ProjectError, load_hooks
from localfaas.scaffold import KONG_FILE
from localfaas.stack import StackError, load_stack, stack_file
from localfaas.up import OWN_SECRETS, UpError, check_socket_paths

RUN_SECONDS = 20
WHOLE = ("PG_VERSION", "global/pg_control", "base", "pg_wal", "pg_xact", "postgresql.conf", "pg_hba.conf")
"""Without any of these PostgreSQL does not start."""


def project_files(installation: Installation) -> list[Finding]:
    """Every file that `localfaas up` reads can be read."""
    return verdict(_project_faults(installation), "stack.yml, localfaas.yml and kong/ can be read")


def _project_faults(installation: Installation) -> Iterator[Finding]:
    settings = installation.settings
    try:
        stack = load_stack(stack_file(settings.project), settings.stack_variables(installation.environ))
        for warning in stack.warnings:
            yield wrong(warning, "correct the key, or take it out")
    except StackError as exc:
        yield wrong(str(exc), "mend stack.yml; without it nothing can be deployed")
    try:
        hooks = load_hooks(settings.project)
        if hooks.doctor:
            load_books(settings.project / hooks.doctor)
    except (ProjectError, BooksError) as exc:
        yield wrong(str(exc), "mend that file")
    try:
        read_node(settings.project / KONG_CONF)
    except KongConfError as exc:
        yield wrong(" ".join(str(exc).split()), "mend kong/kong.conf, then `localfaas up`")
    try:
        if (settings.project / KONG_FILE).exists():
            parse((settings.project / KONG_FILE).read_text())
    except KongConfigError as exc:
        faults = shortened(str(fault) for fault in exc.faults)
        yield wrong(
            f"{KONG_FILE}: {faults}",
            "mend it, then `localfaas edge-reload`; the edge goes on with what it had",
        )


def programs(installation: Installation) -> list[Finding]:
    """What the wheels bring is there and runs."""
    found: list[str] = []
    faults = list(_program_faults(installation, found))
    return verdict(faults, ", ".join(found))


def _program_faults(installation: Installation, found: list[str]) -> Iterator[Finding]:
    settings = installation.settings
    again = installing_anew(settings.project)
    wanted = {
        "supervisord": settings.programs / "supervisord",
        "dbmate": settings.programs / "dbmate",
    }
    try:
        wanted["envoy"] = envoy_binary()
    except RuntimeError as exc:
        yield wrong(str(exc), again)
    if not settings.database_url:
        try:
            directory = programs_directory(settings)
            wanted |= {name: directory / name for name in ("initdb", "postgres")}
            check_namespace()
        except PostgresError as exc:
            yield wrong(str(exc), "do as it says, then `localfaas up`" if settings.pg_bin else again)
    for name, path in wanted.items():
        version, fault = _version(path)
        if fault:
            yield wrong(f"{path} does not run: {fault}", again)
        elif name != "initdb":
            found.append(f"{name} {version}")


def _version(path: Path) -> tuple[str, str]:
    """A program's version, and why it does not run: one of the two is empty."""
    try:
        told = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=RUN_SECONDS
        )
    except OSError as exc:
        return "", exc.strerror or str(exc)
    except subprocess.TimeoutExpired:
        return "", f"no answer in {RUN_SECONDS} s"
    if told.returncode != 0:
        return "", (told.stderr or told.stdout).strip()[-200:] or f"exit {told.returncode}"
    number = re.search(r"\d+\.\d+(\.\d+)?", told.stdout.replace(str(path), ""))
    return (number.group() if number else told.stdout.strip()[:40]), ""


def watching_programs(installation: Installation) -> list[Finding]:
    """Those that are no wheels: on PATH, or unpacked from Debian's packages."""
    missing = [part for part in PARTS if part.tool and tools.find(part.tool, installation.settings) is None]
    if missing and installation.supervisord is None:
        raise NotLookedAt("not here yet; `localfaas up` fetches them")
    return verdict(
        (
            wrong(f"{part.title} is not here: the platform runs without {part.gives}", _how_to_get(part.tool))
            for part in missing
        ),
        ", ".join(part.title for part in PARTS if part.tool),
    )


def _how_to_get(tool: tools.Tool | None) -> str:
    package = tool.package if tool else ""
    return f"`sudo apt-get update`, then `localfaas up`; or `sudo apt-get install {package}`"


def state_directory(installation: Installation) -> list[Finding]:
    settings = installation.settings
    return verdict(_state_faults(installation), shown(settings, settings.state))


def _state_faults(installation: Installation) -> Iterator[Finding]:
    settings = installation.settings
    try:
        check_socket_paths(settings)
    except UpError as exc:
        yield wrong(str(exc), "`STATE_DIR=/tmp/magasin localfaas up`")
    if not installation.exists:
        return
    for path in (settings.state, *sorted(settings.state.iterdir())):
        needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, needed):
            yield wrong(
                f"{path} belongs to user {path.stat().st_uid} and may not be read and written by user {os.geteuid()}",
                f'`sudo chown -R "$USER" {settings.state}`, or run localfaas as that user',
            )
            return


def secrets(installation: Installation) -> list[Finding]:
    """Every secret that is needed is there, not empty, and nobody else's to read."""
    if not installation.exists:
        raise NotLookedAt("none yet; `localfaas up` makes them")
    needed = {*OWN_SECRETS, *installation.secret_names}
    faults = [
        *_mode_faults(installation.settings.secrets),
        *_missing_faults(installation, sorted(needed)),
    ]
    return verdict(faults, f"{len(needed)} are there, for their owner alone")


def _mode_faults(directory: Path) -> Iterator[Finding]:
    for path in (directory, *sorted(directory.iterdir())):
        mode, right = stat.S_IMODE(path.stat().st_mode), "700" if path.is_dir() else "600"
        if mode & 0o077:
            yield wrong(
                f"{path} has the mode {mode:o}: others than its owner may use it",
                f"`chmod {right} {path}`; replace what was in it if others can log in to this machine",
            )


def _missing_faults(installation: Installation, names: Sequence[str]) -> Iterator[Finding]:
    settings = installation.settings
    for name in names:
        path = settings.secrets / name
        if path.exists() and path.stat().st_size:
            continue
        found = f"{path} is {'empty' if path.exists() else 'missing'}"
        if name == "postgres-superuser" and (settings.state / "postgres" / "data").exists():
            yield wrong(
                f"{found}, and the database knows only the password that was in it",
                "put it back from a copy; without one the data is lost to you: `localfaas reset --yes`, then `localfaas up`",
            )
        else:
            away = f"`rm {path}`, then " if path.exists() else ""
            yield wrong(found, f"{away}`localfaas up`, which makes it")


def certificate(installation: Installation) -> list[Finding]:
    path = installation.settings.secrets / CERTIFICATE
    if not path.exists():
        raise NotLookedAt("none yet; the edge makes one where kong.conf asks for TLS")
    try:
        present = read_certificate(path)
    except CertificateError as exc:
        return [wrong(str(exc), f"`rm {path}`, then `localfaas up`; or put your own there")]
    ours = present.issuer.rfc4514_string() == f"CN={ISSUER}"
    left = present.not_valid_after_utc - datetime.now(UTC)
    found = f"ends in {left.days} days" if left.days >= 0 else f"ended {(-left).days} days ago"
    if left > RENEWED_BEFORE_END or (ours and installation.supervisord is None):
        return [well(found)]
    remedy = "`localfaas up`, which renews it" if ours else f"put a new key and certificate into {path}"
    return [wrong(found, remedy)]


def data_directory(installation: Installation) -> list[Finding]:
    """PostgreSQL's files are whole, and of the version of its programs."""
    data = installation.cluster.data
    if not data.exists():
        raise NotLookedAt("none yet; `localfaas up` makes it")
    version, _ = _version(installation.cluster.programs / "postgres")
    return verdict(_data_faults(data, version), f"of PostgreSQL {_major(version)}, whole")


def _data_faults(data: Path, version: str) -> Iterator[Finding]:
    missing = [name for name in WHOLE if not (data / name).exists()]
    if missing:
        yield wrong(
            f"{data} has no {', no '.join(missing)}",
            f"`localfaas down`, then put the directory back from a copy;"
            f" without one keep what is left (`mv {data} {data}.damaged`), then `localfaas up` begins an empty one",
        )
        return
    present = (data / "PG_VERSION").read_text().strip()
    if version and present != _major(version):
        yield wrong(
            f"{data} is of PostgreSQL {present}, the programs are {version}",
            f"`PG_BIN=/usr/lib/postgresql/{present}/bin localfaas up`; to move on, dump it there and load it here",
        )
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & 0o027:
        yield wrong(
            f"{data} has the mode {mode:o}, with which PostgreSQL does not start", f"`chmod 700 {data}`"
        )


def _major(version: str) -> str:
    return version.partition(".")[0]
