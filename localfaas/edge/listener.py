"""The edge's listener and bootstrap: the same for every kong.yml, so that a reload never replaces the listener.

A replaced listener would close connections and forget rate-limit counters. What changes is in routes, clusters and
endpoints; what a plugin needs to know of its configuration travels with the route.
"""

from __future__ import annotations

from typing import Any

from localfaas import __version__
from localfaas.edge import lua
from localfaas.edge.plugins.request_size_limiting import BUFFER_FILTER
from localfaas.envoy import Resource

PRODUCT = f"localfaas/{__version__}"
"""How the edge names itself in Server and Via: it answers as Kong does, but it is not Kong."""
VIA = f"1.1 {PRODUCT}"
LUA_FILTER = "edge"
ROUTES_NAME = "edge"
STATS_SCOPE = "kong"

KONG_LATENCY_MS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
UPSTREAM_LATENCY_MS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
FINE_LATENCY_MS = (0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15)
"""Bounds below Kong's first, for `localfaas_edge_request_duration_seconds`."""

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_IDLE_SECONDS = 75
_NO_ADDRESS = {"address_prefix": "255.255.255.255", "prefix_len": 32}


def listener(bind: str, port: int, routes: Resource) -> Resource:
    """The one listener; `routes` is `{"rds": …}` or `{"route_config": …}`."""
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "edge",
        "address": {"socket_address": {"address": bind, "port_value": port}},
        # A second edge on this port must fail, not share the connections.
        "enable_reuse_port": False,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {**_connection_manager(), **routes},
                    }
                ]
            }
        ],
    }


def rds(source: Resource) -> Resource:
    return {"rds": {"route_config_name": ROUTES_NAME, "config_source": source}}


def bootstrap(admin_socket: str, lds_source: Resource, cds_source: Resource) -> Resource:
    """What Envoy is started with. Its admin interface is a socket that only this user can open."""
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "stats_flush_interval": "1s",
        "stats_config": {"histogram_bucket_settings": _buckets()},
        "dynamic_resources": {"lds_config": lds_source, "cds_config": cds_source},
    }


def static_bootstrap(listener: Resource, clusters: list[Resource]) -> Resource:
    """The same as one file, for `envoy --mode validate`, which does not look into the others."""
    bare = {key: value for key, value in listener.items() if key != "@type"}
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "static_resources": {"listeners": [bare], "clusters": clusters},
    }


def _buckets() -> list[Resource]:
    def microseconds(*bounds: float) -> list[float]:
        return [bound * 1000 for bound in sorted(set(bounds))]

    return [
        {"match": {"contains": "kong_latency_us"}, "buckets": microseconds(*KONG_LATENCY_MS)},
        {
            "match": {"contains": "upstream_latency_us"},
            "buckets": microseconds(*UPSTREAM_LATENCY_MS),
        },
        {
            "match": {"contains": "request_latency_us"},
            "buckets": microseconds(*FINE_LATENCY_MS, *UPSTREAM_LATENCY_MS),
        },
    ]


def _connection_manager() -> dict[str, Any]:
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "skip_xff_append": True,
        # No client is trusted with x-envoy-* headers, those on this machine included.
        "internal_address_config": {"cidr_ranges": [_NO_ADDRESS]},
        "generate_request_id": False,
        "server_header_transformation": "APPEND_IF_ABSENT",
        "server_name": PRODUCT,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "http_protocol_options": {
            "accept_http_10": True,
            "default_host_for_http_10": "localhost",
            "allow_custom_methods": True,
        },
        "common_http_protocol_options": {"idle_timeout": f"{_IDLE_SECONDS}s"},
        "max_request_headers_kb": 32,
        "request_headers_timeout": "60s",
        "stream_idle_timeout": "60s",
        "delayed_close_timeout": "0.1s",
        # A WebSocket has no body to gather before it is passed on.
        "upgrade_configs": [{"upgrade_type": "websocket", "filters": [_lua_filter(), _router()]}],
        "local_reply_config": {"mappers": _reply_mappers()},
        "access_log": [_stats_logger()],
        "http_filters": [_lua_filter(), _buffer_filter(), _router()],
    }


def _lua_filter() -> Resource:
    return {
        "name": LUA_FILTER,
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": lua.source()},
            # What the script changes does not choose another route; matching again costs 15 µs.
            "clear_route_cache": False,
        },
    }


def _buffer_filter() -> Resource:
    """Off, until a route switches it on with a limit of its own."""
    return {
        "name": BUFFER_FILTER,
        "disabled": True,
        "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.buffer.v3.Buffer", "max_request_bytes": 1},
    }


def _router() -> Resource:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }


def _reply_mappers() -> list[Resource]:
    """Name each failure for the Lua part, which writes the body; the first that matches counts."""
    timed_out = {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": f"{_EXTENSIONS}.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": "response.code_details.contains('connection_timeout')",
            },
        }
    }
    return [
        _mapper("no-peer", {"response_flag_filter": {"flags": ["UH", "NC"]}}, 503),
        _mapper("timeout", timed_out, 504),
        _mapper("timeout", {"response_flag_filter": {"flags": ["UT", "SI"]}}, 504),
        _mapper("busy", {"response_flag_filter": {"flags": ["UO"]}}, 503),
        _mapper("invalid", {"response_flag_filter": {"flags": ["UF", "UC", "UR", "LR", "UPE"]}}, 502),
        _mapper("too-large", {"status_code_filter": {"comparison": _status(413)}}, None),
        # Kong answers 400 where Envoy would answer 431.
        _mapper("unreadable", {"status_code_filter": {"comparison": _status(431)}}, 400),
    ]


def _status(code: int) -> Resource:
    return {"op": "EQ", "value": {"default_value": code, "runtime_key": f"edge.status.{code}"}}


def _mapper(reason: str, applies: Resource, status: int | None) -> Resource:
    passed_on = {
        "x-edge-reply": reason,
        "x-edge-accept": "%REQ(ACCEPT)%",
        "x-edge-content-type": "%REQ(CONTENT-TYPE)%",
    }
    return {
        "filter": applies,
        **({"status_code": status} if status else {}),
        "headers_to_add": [
            {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for name, value in passed_on.items()
        ],
    }


def _stats_logger() -> Resource:
    """Counts and times of each request by its route's metadata; requests without it are dropped by metrics.py."""
    route_tags = [
        _tag("service", "%METADATA(ROUTE:kong:service)%"),
        _tag("route", "%METADATA(ROUTE:kong:route)%"),
    ]
    code_tags = [
        *route_tags,
        _tag("code", "%RESPONSE_CODE%"),
        _tag("details", "%RESPONSE_CODE_DETAILS%"),
    ]

    def histogram(name: str, value: str) -> Resource:
        return {"stat": {"name": name, "tags": route_tags}, "unit": "Microseconds", "value_format": value}

    def bytes_counter(direction: str, value: str) -> Resource:
        tags = [*route_tags, _tag("direction", direction)]
        return {"stat": {"name": "bandwidth_bytes", "tags": tags}, "value_format": value}

    return {
        "name": "stats",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": STATS_SCOPE},
            "counters": [
                {"stat": {"name": "http_requests_total", "tags": code_tags}, "value_fixed": 1},
                bytes_counter("egress", "%DOWNSTREAM_WIRE_BYTES_SENT%"),
                bytes_counter("ingress", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"),
            ],
            "histograms": [
                histogram("kong_latency_us", "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%"),
                histogram("upstream_latency_us", "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%"),
                histogram("request_latency_us", "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"),
            ],
        },
    }


def _tag(name: str, value: str) -> Resource:
    return {"name": name, "value_format": value}
