"""The secrets of a server with faasd as files: random values, made the first time and kept in their folder ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.faasd.overlay import DATABASE_HOST
from deploy.kubernetes import secrets
from localfaas.stack import StackFunction

SECRETS, PASSWORDS = "secrets", "passwords"
PLACES = {
    ("database", "database-admin", "password"): f"{SECRETS}/database-admin-password",
    ("edge", "edge-tls", "tls.crt"): f"{SECRETS}/tls.crt",
    ("edge", "edge-tls", "tls.key"): f"{SECRETS}/tls.key",
}
"""Where a value of a cluster's Secret lies here, but for those of functions (`secrets/NAME`) and roles (`passwords/NAME`).
The gateway's password is faasd's own."""


def write(directory: Path, functions: Mapping[str, StackFunction]) -> list[str]:
    """Make what is missing below `directory`, readable by its owner alone; the names of all that is there."""
    stack = {name: function.secrets for name, function in functions.items()}
    made = secrets.complete(_present(directory), stack, "disable", host=DATABASE_HOST)
    written = []
    for secret in made:
        for key, value in secret.data.items():
            place = _place(secret.namespace, secret.name, key)
            if place:
                _write(directory / place, value)
                written.append(place)
    return written


def _place(namespace: str, name: str, key: str) -> str | None:
    if namespace == "openfaas-fn":
        return f"{SECRETS}/{name}"
    if (namespace, name) == ("database", "role-passwords"):
        return f"{PASSWORDS}/{key}"
    return PLACES.get((namespace, name, key))


def _present(directory: Path) -> secrets.Present:
    """What was made before, as a cluster would have it."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for namespace, name, key, path in _kept(directory):
        found.setdefault((namespace, name), {})[key] = path.read_text()
    return found


def _kept(directory: Path) -> Iterator[tuple[str, str, str, Path]]:
    elsewhere = {place: where for where, place in PLACES.items()}
    for folder in (SECRETS, PASSWORDS):
        for path in sorted((directory / folder).glob("*")):
            place = f"{folder}/{path.name}"
            if place in elsewhere:
                yield (*elsewhere[place], path)
            elif folder == PASSWORDS:
                yield "database", "role-passwords", path.name, path
            else:
                yield "openfaas-fn", path.name, path.name, path


def _write(path: Path, value: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(value)
