"""Every Secret of the cluster, made from random values the first time and kept ever after.

The cluster itself is where they are kept: what is there is read first, and only what is missing is made, so that
any machine can run `make cluster-up` and passwords outlive it. Nothing is written to this machine but for the moment
in which keys are made, in a directory that only its user can read.
"""

from __future__ import annotations

import base64
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.seed.secrets import make_missing
from localfaas.edge import certificate

ADMIN = "postgres"
DATABASE_HOST = "shop-rw.database:5432"
DATABASE = "magasin"
WATCHER = "monitoring"
"""The role that PostgreSQL's exporter logs in as; migrations make it, and no function has it."""
ISSUER = "Magasin's edge"
NAMESPACES = ("openfaas", "openfaas-fn", "edge", "database", "monitoring")

Present = Mapping[tuple[str, str], Mapping[str, str]]
"""What secrets hold, by namespace and name, then by key."""


class SecretsError(ValueError):
    """stack.yml lists a secret that nobody knows how to make."""


@dataclass(frozen=True)
class Secret:
    namespace: str
    name: str
    data: Mapping[str, str] = field(repr=False)
    kind: str = "Opaque"

    def manifest(self) -> dict[str, Any]:
        """The object as the API takes it; faas-cli lists those of functions by their label."""
        manager = "openfaas" if self.namespace == "openfaas-fn" else "magasin"
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/managed-by": manager},
            },
            "type": self.kind,
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in self.data.items()},
        }


def read(listed: Mapping[str, Any]) -> Present:
    """The secrets of a `kubectl get secrets -o json`."""
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): {
            key: base64.b64decode(value).decode(errors="replace")
            for key, value in (item.get("data") or {}).items()
        }
        for item in listed["items"]
    }


def complete(
    present: Present, stack: Mapping[str, Iterable[str]], sslmode: str, host: str = DATABASE_HOST
) -> list[Secret]:
    """All secrets that the cluster should have: those that are there as they are, the others new.

    `stack` is the secrets that each function lists in stack.yml. Raises SecretsError.
    """
    listed = sorted({name for names in stack.values() for name in names})
    roles = sorted({name.removesuffix("-db") for name in listed if name.endswith("-db")} | {WATCHER})
    admin = _kept(present, "database", "database-admin", "password")
    passwords = {role: _kept(present, "database", "role-passwords", role) for role in roles}
    address = f"postgresql://{ADMIN}:{admin}@{host}/{DATABASE}?sslmode={sslmode}"
    return [
        Secret(
            "openfaas",
            "basic-auth",
            {
                "basic-auth-user": "admin",
                "basic-auth-password": _kept(present, "openfaas", "basic-auth", "basic-auth-password"),
            },
        ),
        Secret(
            "database",
            "database-admin",
            {"username": ADMIN, "password": admin},
            "kubernetes.io/basic-auth",
        ),
        Secret("database", "role-passwords", passwords),
        Secret("database", "migrations", {"DATABASE_URL": address}),
        Secret("edge", "edge-tls", _edge_tls(present), "kubernetes.io/tls"),
        Secret(
            "monitoring",
            "grafana-admin",
            {"admin-password": _kept(present, "monitoring", "grafana-admin", "admin-password")},
        ),
        *_of_functions(present, stack, listed, passwords, host),
    ]


@contextmanager
def as_files(present: Present) -> Iterator[Path]:
    """A directory with the functions' secrets, one file each, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="magasin-secrets-") as name:
        directory = Path(name)
        for (namespace, secret), data in present.items():
            if namespace == "openfaas-fn" and secret in data:
                path = directory / secret
                path.touch(mode=0o600)
                path.write_text(data[secret])
        yield directory


def _of_functions(
    present: Present,
    stack: Mapping[str, Iterable[str]],
    listed: list[str],
    passwords: Mapping[str, str],
    host: str,
) -> list[Secret]:
    """One secret a file, under the name that stack.yml gives it; keys are made as on one machine."""
    made = {
        f"{role}-db": f"postgresql://{role}:{password}@{host}/{DATABASE}"
        for role, password in passwords.items()
    }
    with as_files(present) as directory:
        make_missing(directory, sorted(name for name, wanted in stack.items() if f"{name}-key" in wanted))
        made |= {path.name: path.read_text() for path in directory.iterdir() if path.name not in made}
    unknown = [name for name in listed if name not in made]
    if unknown:
        raise SecretsError(f"stack.yml lists secrets that nobody makes: {', '.join(unknown)}")
    return [Secret("openfaas-fn", name, {name: made[name]}) for name in listed]


def _edge_tls(present: Present) -> dict[str, str]:
    """Key and certificate of the edge; one that others put there is kept, our own is renewed before it ends."""
    found = present.get(("edge", "edge-tls"), {})
    with tempfile.TemporaryDirectory(prefix="magasin-tls-") as name:
        file = Path(name) / certificate.FILE
        if found:
            file.touch(mode=0o600)
            file.write_text(found["tls.key"] + found["tls.crt"])
        if not certificate.ensure_certificate(Path(name), issuer=ISSUER) and found:
            return dict(found)
        key, begin, rest = file.read_text().partition("-----BEGIN CERTIFICATE-----")
        return {"tls.key": key, "tls.crt": begin + rest}


def _kept(present: Present, namespace: str, name: str, key: str) -> str:
    """The value that is there, or a new one that needs no quoting anywhere."""
    return present.get((namespace, name), {}).get(key) or secrets.token_hex(24)
