"""What one client may take of the edge: every limit on size, time and number, in one place, with its reason.

A limit that is reached is answered 400, 408, 413 or 503, or the connection is closed; nothing of it reaches a function.
Bodies have a limit of their own in kong.yml (request-size-limiting), as in Kong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localfaas.envoy import Resource

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_SPARE_FILES = 500
"""Files that Envoy opens beside connections."""


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes or kilobytes, times in seconds, as the names say."""

    headers_kb: int = 32
    """Request line and headers together; as in Kong."""
    header_count: int = 100
    headers_seconds: float = 10
    """From the first byte of a request to the end of its headers. Kong waits 60 s for each byte: too long for a
    client that sends one now and then to hold a connection."""
    request_seconds: float = 60
    """From the first byte to the last of the body: 2 MB, the largest that kong.yml takes, at 35 kB/s."""
    silence_seconds: float = 60
    """Without a byte in either direction while a request is under way; as in Kong."""
    idle_seconds: float = 75
    """A connection between two requests, or before the first; as in Kong."""
    buffer_bytes: int = 64 * 1024
    """Read ahead of what an upstream or a client takes, for each connection; Envoy's default is 1 MB."""
    streams: int = 100
    """Requests at once on one HTTP/2 connection."""
    connections: int = 8_000
    """Open at once; one more is closed at once. Lower where the system allows too few files."""
    kept_heap_bytes: int = 32 * 1024 * 1024
    """Above this Envoy's allocator gives free memory back to the system while it allocates; the rest is used again."""
    heap_bytes: int = 512 * 1024 * 1024
    """An Envoy at work needs about 50 MB. From 80 % of this on memory is given back, the greediest requests are
    reset and idle connections are closed sooner; at 95 % new requests are answered 503."""


LIMITS = Limits()


def of_connections(limits: Limits) -> dict[str, Any]:
    """What the connection manager enforces."""
    return {
        "max_request_headers_kb": limits.headers_kb,
        "request_headers_timeout": _seconds(limits.headers_seconds),
        "request_timeout": _seconds(limits.request_seconds),
        "stream_idle_timeout": _seconds(limits.silence_seconds),
        "common_http_protocol_options": {
            "idle_timeout": _seconds(limits.idle_seconds),
            "max_headers_count": limits.header_count,
            # A function sees X_Real_IP as X-Real-IP (WSGI, PEP 3333): a client could say what only the edge may.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": limits.streams,
            "initial_stream_window_size": limits.buffer_bytes,
            "initial_connection_window_size": 16 * limits.buffer_bytes,
        },
    }


def overload_manager(limits: Limits, open_files: int) -> Resource:
    """What all connections together may take, enforced by Envoy's overload manager."""
    return {
        "refresh_interval": "0.25s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 16},
        "resource_monitors": [
            _monitor("fixed_heap.v3.FixedHeapConfig", "fixed_heap", max_heap_size_bytes=limits.heap_bytes),
            _monitor(
                "downstream_connections.v3.DownstreamConnectionsConfig",
                "global_downstream_max_connections",
                max_active_downstream_connections=most_connections(limits, open_files),
            ),
        ],
        "actions": [
            _action("shrink_heap", {"threshold": {"value": 0.8}}),
            _action("reset_high_memory_stream", {"scaled": _scale(0.8, 0.95)}),
            {
                **_action("reduce_timeouts", {"scaled": _scale(0.8, 0.95)}),
                "typed_config": _reduced_timeouts(),
            },
            _action("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
    }


def most_connections(limits: Limits, open_files: int) -> int:
    """Each connection from a client may need one to an upstream as well."""
    return max(1, min(limits.connections, (open_files - _SPARE_FILES) // 2))


def _monitor(kind: str, name: str, **settings: int) -> Resource:
    config = {"@type": f"{_EXTENSIONS}.resource_monitors.{kind}", **settings}
    return {"name": f"envoy.resource_monitors.{name}", "typed_config": config}


def _action(name: str, trigger: Resource) -> Resource:
    triggers = [{"name": "envoy.resource_monitors.fixed_heap", **trigger}]
    return {"name": f"envoy.overload_actions.{name}", "triggers": triggers}


def _scale(start: float, full: float) -> Resource:
    return {"scaling_threshold": start, "saturation_threshold": full}


def _reduced_timeouts() -> Resource:
    return {
        "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        "timer_scale_factors": [{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s"}],
    }


def _seconds(value: float) -> str:
    return f"{value:g}s"
