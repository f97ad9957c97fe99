"""The entities of a declarative configuration: the frozen values that everything after parsing works with.

Every entity keeps `fields`: itself as Kong's Admin API shows it, all defaults filled in.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = uuid.UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")
"""Kong's namespace of declarative ids."""

COLLECTIONS = ("services", "routes", "upstreams", "targets", "plugins")
"""What a file may hold at top level, in the order in which references point."""


def entity_id(collection: str, key: str) -> str:
    """The id Kong gives to an entity without one: the same name, the same id, in every file and on every node."""
    return str(uuid.uuid5(uuid.uuid5(NAMESPACE, collection), key))


@dataclass(frozen=True)
class Entity:
    """What all entities have: an id, and themselves as the Admin API shows them."""

    id: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        text = self.fields.get("name")
        return str(text) if text is not None else None


@dataclass(frozen=True)
class Service(Entity):
    host: str
    port: int
    path: str
    connect_timeout_ms: int
    read_timeout_ms: int
    retries: int
    enabled: bool

    @property
    def label(self) -> str:
        return self.name or self.id


@dataclass(frozen=True)
class Route(Entity):
    service_id: str | None
    methods: tuple[str, ...]
    hosts: tuple[str, ...]
    headers: Mapping[str, tuple[str, ...]]
    paths: tuple[str, ...]
    regex_priority: int
    strip_path: bool
    preserve_host: bool
    https_only: bool
    https_redirect: int
    """Status for a plain request to a route of HTTPS alone."""

    @property
    def label(self) -> str:
        return self.name or self.id


@dataclass(frozen=True)
class Target(Entity):
    upstream_id: str
    host: str
    port: int
    weight: int


@dataclass(frozen=True)
class Upstream(Entity):
    """Targets behind one name; algorithm, hashing and health checks are read from `fields`."""

    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Plugin(Entity):
    service_id: str | None
    route_id: str | None
    enabled: bool
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Configuration:
    """A whole declarative file, checked, complete and in the order in which it was written."""

    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    plugins: tuple[Plugin, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(target for upstream in self.upstreams for target in upstream.targets)

    def collection(self, name: str) -> tuple[Entity, ...]:
        """The entities of one of COLLECTIONS."""
        entities: tuple[Entity, ...] = getattr(self, name)
        return entities
