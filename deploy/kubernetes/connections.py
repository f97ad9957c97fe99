"""How many connections to PostgreSQL all replicas may open together, and whether a pooler between them would help.

A replica's pool has a connection for each thread and one for readiness (functions/shared/service.py), and a function
that rolls has one replica more than its most. Others that log in are few and known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localfaas.deployment import MAX_REPLICAS
from localfaas.stack import Stack, StackFunction

SURGE = 1
"""Replicas that a rolling function has beyond its most (maxSurge of what faas-netes makes)."""
OTHERS: Mapping[str, int] = {
    "superuser_reserved_connections": 3,
    "postgres-exporter": 2,
    "migrations, passwords, a person with psql": 5,
    "CloudNativePG's instance manager and its replicas": 10,
}
"""Connections that are no function's; of the exporter one more while it is replaced."""
COMMUNITY_MOST = MAX_REPLICAS
"""Replicas of a function under OpenFaaS CE, where stack.yml does not say less."""


@dataclass(frozen=True)
class Share:
    """What one function may open."""

    function: str
    replicas: int
    pool: int

    @property
    def connections(self) -> int:
        return (self.replicas + SURGE) * self.pool


def shares(stack: Stack, most: int | None = None) -> list[Share]:
    """Each function that has a database, at its most replicas: `com.openfaas.scale.max`, or `most` for those with more than 1."""
    return [
        Share(name, _replicas(function, most), int(function.environment["threads"]) + 1)
        for name, function in stack.functions.items()
        if f"{name}-db" in function.secrets
    ]


def needed(stack: Stack, most: int | None = None) -> int:
    """`max_connections` that no load can exhaust."""
    return sum(share.connections for share in shares(stack, most)) + sum(OTHERS.values())


def _replicas(function: StackFunction, most: int | None) -> int:
    usual = int(function.labels.get("com.openfaas.scale.max", COMMUNITY_MOST))
    return usual if most is None or usual == 1 else most
