"""What a plugin kind is, and what a configured plugin adds to each route that it covers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localfaas.edge.schema import Record


@dataclass(frozen=True)
class Use:
    """One plugin on one route: its configuration (defaults filled in) and where it was attached.

    `scope` is the plugin's own (route id, service id), empty where it is global: counters are kept by it.
    """

    config: Mapping[str, Any]
    scope: tuple[str, str] = ("", "")
    service_id: str = ""


@dataclass(frozen=True)
class Contribution:
    """What a plugin adds to an Envoy route.

    `lua` is handed to the plugin's Lua module, `filters` are per-route settings of native filters,
    `metadata` what access loggers read.
    """

    lua: Mapping[str, Any] | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PluginKind:
    """A plugin by Kong's name, with Kong's priority (the highest runs first)."""

    name: str
    priority: int
    config: Record
    contribute: Callable[[Use], Contribution]
    protocols: tuple[str, ...] = ("grpc", "grpcs", "http", "https")
    """What its `protocols` may name, and name by default. Without one of HTTP it does nothing here."""
