"""The edge's listeners and bootstrap: the same for every kong.yml, so that a reload never replaces a listener.

A replaced listener would close connections. What changes is in routes, clusters and endpoints; what a plugin needs
to know of its configuration travels with the route. What kong.conf says is here, and takes effect at `localfaas up`.
Both listeners share the routes and, through a file mapped into memory, the counts of the script.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from localfaas import __version__, tracer
from localfaas.edge import limits, lua
from localfaas.edge.kong_conf import Gzip, Node
from localfaas.edge.plugins.ip_restriction import ACCESS_FILTER, VERDICT_FILTER
from localfaas.edge.plugins.request_size_limiting import BUFFER_FILTER
from localfaas.envoy import Resource
from localfaas.settings import Traces

PRODUCT = f"localfaas/{__version__}"
"""How the edge names itself in Server and Via: it answers as Kong does, but it is not Kong."""
VIA = f"1.1 {PRODUCT}"
LUA_FILTER = "edge"
ROUTES_NAME = "edge"
CERTIFICATE_NAME = "edge"
STATS_SCOPE = "kong"
SPAN_TAGS = {
    "request.id": "%REQ(X-REQUEST-ID)%",
    "kong.service": "%METADATA(ROUTE:kong:service)%",
    "kong.request.id": "%REQ(X-KONG-REQUEST-ID)%",
    "replica": "%RESP(X-SERVED-BY)%",
    "upstream.address": "%UPSTREAM_HOST%",
    "upstream.attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}

KONG_LATENCY_MS = (1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000)
UPSTREAM_LATENCY_MS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)
FINE_LATENCY_MS = (0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15)
"""Bounds below Kong's first, for `localfaas_edge_request_duration_seconds`."""

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_NO_ADDRESS = {"address_prefix": "255.255.255.255", "prefix_len": 32}


@dataclass(frozen=True)
class Door:
    """Where clients come in: an address, what the node says, and the file of the counts.

    `certificate` is where Envoy reads key and certificate from; without it there is no TLS.
    """

    bind: str
    port: int
    tls_port: int
    node: Node
    counts: str
    certificate: Resource | None = None
    traces: Traces | None = None


def listeners(door: Door, routes: Resource) -> list[Resource]:
    """One listener for each port; `routes` is `{"rds": …}` or `{"route_config": …}`."""
    plain = _listener("edge", door.bind, door.port, _chain(door, routes))
    if not (door.node.listen.tls and door.certificate):
        return [plain]
    chain = {**_chain(door, routes, tls=True), "transport_socket": _tls_socket(door)}
    return [plain, _listener("edge-tls", door.bind, door.tls_port, chain)]


def _listener(name: str, bind: str, port: int, chain: Resource) -> Resource:
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": bind, "port_value": port}},
        # A second edge on this port must fail, not share the connections.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": limits.LIMITS.buffer_bytes,
        "filter_chains": [chain],
    }


def _chain(door: Door, routes: Resource, *, tls: bool = False) -> Resource:
    manager = {**_connection_manager(door, tls=tls), **routes}
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def _tls_socket(door: Door) -> Resource:
    secret = {"name": CERTIFICATE_NAME, "sds_config": door.certificate}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificate_sds_secret_configs": [secret],
                "alpn_protocols": [*(["h2"] if door.node.listen.tls_http2 else []), "http/1.1"],
            },
        },
    }


def certificate(file: str, directory: str) -> Resource:
    """The secret that the TLS listener asks for: key and certificate in one file, read again when it is replaced."""
    both = {"filename": file}
    return {
        "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.Secret",
        "name": CERTIFICATE_NAME,
        "tls_certificate": {
            "certificate_chain": both,
            "private_key": both,
            "watched_directory": {"path": directory},
        },
    }


def rds(source: Resource) -> Resource:
    return {"rds": {"route_config_name": ROUTES_NAME, "config_source": source}}


def bootstrap(admin_socket: str, lds_source: Resource, cds_source: Resource, open_files: int) -> Resource:
    """What Envoy is started with, which may open so many files.

    Its admin interface is a socket that only this user can open.
    """
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "stats_flush_interval": "1s",
        "stats_config": {"histogram_bucket_settings": _buckets()},
        "overload_manager": limits.overload_manager(limits.LIMITS, open_files),
        "memory_allocator_manager": {"soft_memory_limit_bytes": limits.LIMITS.kept_heap_bytes},
        "dynamic_resources": {"lds_config": lds_source, "cds_config": cds_source},
        "layered_runtime": tracer.runtime(),
    }


def static_bootstrap(door: Door, routes: Resource, clusters: list[Resource]) -> Resource:
    """The same as one file, for `envoy --mode validate`, which does not look into the others."""
    [plain] = listeners(replace(door, certificate=None), {"route_config": routes})
    bare = {key: value for key, value in plain.items() if key != "@type"}
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


def _connection_manager(door: Door, *, tls: bool) -> dict[str, Any]:
    http2 = tls or door.node.listen.plain_http2
    script = _lua_filter(door.counts)
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO" if http2 else "HTTP1",
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
        **limits.of_connections(limits.LIMITS),
        "delayed_close_timeout": "0.1s",
        # A WebSocket has no body to gather before it is passed on.
        "upgrade_configs": [
            {"upgrade_type": "websocket", "filters": _filters(door, script, tls=tls, bodies=False)}
        ],
        "local_reply_config": {"mappers": _reply_mappers()},
        "access_log": [_stats_logger()],
        "http_filters": _filters(door, script, tls=tls, bodies=True),
        **_traced(door.traces),
    }


def _traced(traces: Traces | None) -> Resource:
    if traces is None:
        return {}
    mutation = {
        "@type": f"{_EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": tracer.early_mutations(traces),
    }
    return {
        "early_header_mutation_extensions": [{"name": "traceparent", "typed_config": mutation}],
        **tracer.traced(traces, "edge", "%REQ(:METHOD)% %ROUTE_NAME%", SPAN_TAGS),
    }


def _filters(door: Door, script: Resource, *, tls: bool, bodies: bool) -> list[Resource]:
    """In the order in which a request meets them; an answer meets them from the last to the first."""
    header = door.node.tls_header if tls else None
    gzip = door.node.gzip
    return [
        *([_header_filter(*header)] if header else []),
        _access_filter(VERDICT_FILTER),
        script,
        _access_filter(ACCESS_FILTER),
        *([_buffer_filter()] if bodies else []),
        *([_gzip_filter(gzip)] if bodies and gzip else []),
        _router(),
    ]


def _header_filter(name: str, value: str) -> Resource:
    """Adds a header to every answer that has none of that name, the edge's own included."""
    header = {"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"}
    return {
        "name": "tls-header",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"response_mutations": [{"append": header}]},
        },
    }


def _access_filter(name: str) -> Resource:
    """Off, until a route switches it on with rules of its own."""
    return {
        "name": name,
        "disabled": True,
        "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.rbac.v3.RBAC"},
    }


def _gzip_filter(gzip: Gzip) -> Resource:
    compressor = {
        "@type": f"{_EXTENSIONS}.compression.gzip.compressor.v3.Gzip",
        "compression_level": f"COMPRESSION_LEVEL_{gzip.level}",
    }
    return {
        "name": "gzip",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.compressor.v3.Compressor",
            "compressor_library": {"name": "gzip", "typed_config": compressor},
            "response_direction_config": {
                "common_config": {
                    "min_content_length": gzip.min_length,
                    "content_type_matcher": [_media_type(name) for name in gzip.types],
                },
                # As nginx does: the bytes are others, what they mean is the same.
                "weaken_etag_on_compress": True,
            },
        },
    }


def _media_type(name: str) -> Resource:
    """Exactly this type, whatever parameters follow it."""
    return {"safe_regex": {"regex": rf"(?i){re.escape(name)}(?:\s*;.*)?"}}


def _lua_filter(counts: str) -> Resource:
    return {
        "name": LUA_FILTER,
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": lua.source(counts)},
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
                "expression": "response.code_details.contains('connection_timeout')"
                " || response.code_details == 'max_duration_timeout'",
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
