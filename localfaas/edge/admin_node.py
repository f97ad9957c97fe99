"""What the Admin API tells about the node itself: `/`, `/status`, the plugins there are."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

from localfaas import __version__
from localfaas.edge import observe
from localfaas.edge.edge import Edge
from localfaas.edge.plugins import KINDS

TAGLINE = f"localfaas {__version__}: the embedded edge, with the Admin API of Kong 3.9"
API_VERSION = "3.9.3-localfaas"
"""Tools read from the first three numbers which Admin API they speak to (docs/decisions/0034)."""


def routes(_edge: Edge) -> dict[str, Callable[..., Any]]:
    return {"/plugins/enabled": lambda: {"enabled_plugins": sorted(KINDS)}}


def root(edge: Edge) -> dict[str, Any]:
    settings, configuration = edge.settings, edge.loaded.configuration
    return {
        "version": API_VERSION,
        "edition": "community",
        "tagline": TAGLINE,
        "hostname": platform.node(),
        "node_id": edge.node_id,
        "pids": {"master": os.getpid(), "workers": []},
        "plugins": {
            "available_on_server": {
                name: {"priority": kind.priority, "version": __version__} for name, kind in KINDS.items()
            },
            "enabled_in_cluster": sorted({str(plugin.name) for plugin in configuration.plugins}),
        },
        "configuration": {
            "database": "off",
            "proxy_listen": [f"{settings.bind}:{settings.port('edge')}"],
            "admin_listen": [f"127.0.0.1:{settings.port('edge-admin')}"],
            "router_flavor": "traditional_compatible",
        },
        "timers": {"pending": 0, "running": 0},
    }


def status(edge: Edge) -> dict[str, Any]:
    counters = observe.counters(edge)
    accepted = counters.get("http.edge.downstream_cx_total", 0)
    return {
        "server": {
            "connections_accepted": accepted,
            "connections_active": counters.get("http.edge.downstream_cx_active", 0),
            "connections_handled": accepted,
            "total_requests": counters.get("http.edge.downstream_rq_total", 0),
        },
        "memory": {"lua_shared_dicts": {}, "workers_lua_vms": []},
        "configuration_hash": edge.loaded.hash,
    }
