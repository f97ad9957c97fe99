"""The function gateway's listener: connection limits, filters, and the counters behind OpenFaaS' metrics. Pure.

It never changes while an Envoy runs; what does is in routes, clusters and endpoints (gateway.py).
"""

from __future__ import annotations

from typing import Any

from localfaas.envoy import EnvoyFiles, Resource
from localfaas.gateway_errors import (
    ROUTE_METADATA,
    UNKNOWN_FUNCTION_FILTER,
    error_mappers,
    unknown_function_filter,
)
from localfaas.settings import LOOPBACK, Settings, Traces
from localfaas.tracer import early_mutations, traced

CALL_ID_FILTER = "call-id"
CONTENT_TYPE_FILTER = "content-type"
API_BODY_FILTER = "api-body-limit"
API_BODY_LIMIT_BYTES = 4 * 1024 * 1024
STATS_PREFIX = "gateway"
SPAN_TAGS = {
    "request.id": "%REQ(X-REQUEST-ID)%",
    "function": f"%METADATA(ROUTE:{ROUTE_METADATA}:function)%",
    "replica": "%RESP(X-SERVED-BY)%",
    "upstream.address": "%UPSTREAM_HOST%",
    "upstream.attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}

_TYPE = "type.googleapis.com/envoy."


def listeners(settings: Settings) -> list[Resource]:
    """The one listener, on 127.0.0.1 whatever BIND says: behind it are functions for which nobody needs a token.

    Its routes come by RDS.
    """
    address = {"address": LOOPBACK, "port_value": settings.port("gateway")}
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(settings)}
    return [
        {
            "@type": _TYPE + "config.listener.v3.Listener",
            "name": "gateway",
            "address": {"socket_address": address},
            "filter_chains": [{"filters": [manager]}],
        }
    ]


def _manager(settings: Settings) -> Resource:
    """The HTTP connection manager: generous limits, bodies streamed, paths left as they were sent."""
    files = EnvoyFiles(settings.envoy("gateway"))
    return {
        "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {"route_config_name": "gateway", "config_source": files.rds_source()},
        "http_filters": _http_filters(),
        "access_log": _access_loggers(),
        "access_log_options": {"flush_access_log_on_new_request": True},
        "local_reply_config": {"mappers": error_mappers()},
        "early_header_mutation_extensions": [_early_headers(settings.traces)],
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        "skip_xff_append": True,
        "http_protocol_options": _http1_options(),
        "common_http_protocol_options": {"idle_timeout": "300s", "max_headers_count": 200},
        "max_request_headers_kb": 64,
        "request_headers_timeout": "10s",
        "request_timeout": "65s",
        "stream_idle_timeout": "65s",
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        **traced(settings.traces, "gateway", "%REQ(:METHOD)% %ROUTE_NAME%", SPAN_TAGS),
    }


def _early_headers(traces: Traces | None) -> Resource:
    """Drop what would let a client steer Envoy itself (timeouts, retries)."""
    mutations: list[Resource] = [
        {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}}
    ]
    return {
        "name": "early-headers",
        "typed_config": {
            "@type": _TYPE + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [*mutations, *early_mutations(traces)],
        },
    }


def _http_filters() -> list[Resource]:
    limit = {
        "@type": _TYPE + "extensions.filters.http.body_size_limit.v3.BodySizeLimit",
        "max_request_bytes": API_BODY_LIMIT_BYTES,
    }
    router = {"@type": _TYPE + "extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    return [
        {"name": API_BODY_FILTER, "disabled": True, "typed_config": limit},
        {"name": UNKNOWN_FUNCTION_FILTER, "disabled": True, "typed_config": unknown_function_filter()},
        {"name": CALL_ID_FILTER, "disabled": True, "typed_config": _call_id_filter()},
        {"name": CONTENT_TYPE_FILTER, "disabled": True, "typed_config": _content_type_filter()},
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]


def _call_id_filter() -> Resource:
    """Give a request an X-Call-Id and echo it, unless the client sent one."""
    mutation = {
        "@type": _TYPE + "extensions.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {
            "request_mutations": [
                {"append": header("X-Call-Id", "%UNIQUE_ID%", "OVERWRITE_IF_EXISTS_OR_ADD")}
            ],
            "response_mutations": [
                {"append": header("X-Call-Id", "%REQ(X-CALL-ID)%", "OVERWRITE_IF_EXISTS_OR_ADD")}
            ],
        },
    }
    call_id = {"@type": _TYPE + "type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": "x-call-id"}
    sent = {
        "input": {"name": "x-call-id", "typed_config": call_id},
        "value_match": {"safe_regex": {"google_re2": {}, "regex": ".+"}},
    }
    skip = {"@type": _TYPE + "extensions.filters.common.matcher.action.v3.SkipFilter"}
    matcher = {
        "predicate": {"single_predicate": sent},
        "on_match": {"action": {"name": "skip", "typed_config": skip}},
    }
    return {
        "@type": _TYPE + "extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "call-id", "typed_config": mutation},
        "xds_matcher": {"matcher_list": {"matchers": [matcher]}},
    }


def _content_type_filter() -> Resource:
    """Give an answer without a type the request's, or else text/plain, as OpenFaaS' provider does."""
    types = ("%REQ(CONTENT-TYPE)%", "text/plain")
    additions = [{"append": header("Content-Type", one, "ADD_IF_ABSENT")} for one in types]
    return {
        "@type": _TYPE + "extensions.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {"response_mutations": additions},
    }


def _access_loggers() -> list[Resource]:
    """Counters by function and code when a request ends, and one when it starts; gateway_metrics.py names them."""
    function = {"name": "function_name", "value_format": f"%METADATA(ROUTE:{ROUTE_METADATA}:function)%"}
    code = {"name": "code", "value_format": "%RESPONSE_CODE%"}
    elapsed = "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"
    ended = {
        "counters": [{"stat": {"name": "invocation_total", "tags": [function, code]}, "value_fixed": 1}],
        "histograms": [
            {
                "stat": {"name": "functions_us", "tags": [function, code]},
                "unit": "Microseconds",
                "value_format": elapsed,
            }
        ],
    }
    started = {"counters": [{"stat": {"name": "invocation_started", "tags": [function]}, "value_fixed": 1}]}
    return [_stats_logger("DownstreamEnd", ended), _stats_logger("DownstreamStart", started)]


def _stats_logger(log_type: str, stats: Resource) -> Resource:
    return {
        "name": "envoy.access_loggers.stats",
        "filter": {"log_type_filter": {"types": [log_type]}},
        "typed_config": {
            "@type": _TYPE + "extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": STATS_PREFIX},
            **stats,
        },
    }


def _http1_options() -> Resource:
    """HTTP/1.0 is served, invented methods come as far as a 405, `Upgrade` is ignored: all as in OpenFaaS."""
    return {
        "accept_http_10": True,
        "allow_custom_methods": True,
        "default_host_for_http_10": "gateway",
        "ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}],
    }


def header(key: str, value: str, action: str) -> dict[str, Any]:
    """One header to set, in Envoy's form; a header that would be empty is left out."""
    return {"header": {"key": key, "value": value}, "append_action": action}
