"""The function gateway's Envoy configuration: OpenFaaS' `/function/…` and, before the API process, `/system/…`.

Everything but `write_gateway` and `write_endpoints` is pure: desired state in, Envoy resources out. What may change
while traffic flows is in routes, clusters and endpoints; the listener never changes between starts.
Choices and their reasons: docs/decisions/0011-function-gateway.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from localfaas import __version__, tracer
from localfaas.deployment import NAMESPACE
from localfaas.envoy import Address, EnvoyFiles, Resource
from localfaas.gateway_errors import ROUTE_METADATA, filter_enabled, unknown_function_routes
from localfaas.gateway_listener import API_BODY_FILTER, CALL_ID_FILTER, CONTENT_TYPE_FILTER, header, listeners
from localfaas.gateway_update import Update, apply_update
from localfaas.registry import Desired
from localfaas.settings import LOOPBACK, Settings
from localfaas.watchdog import seconds

__all__ = [
    "bootstrap",
    "clusters",
    "listeners",
    "routes",
    "write_bootstrap",
    "write_endpoints",
    "write_gateway",
]

FUNCTION_TIMEOUT_SECONDS = 60
"""What a call and its whole answer may take where the function sets no `exec_timeout`: the `upstreamTimeout` of OpenFaaS' chart."""

MARGIN_SECONDS = 5
"""What the gateway waits beyond a function's own `exec_timeout`, so that it is the function that answers.

With the shop's 10 s, the gateway's place in its time budget: client 30 > edge 20 > gateway 15 > function 10.
"""

LONGEST_SECONDS = 86_400
"""More than any call takes, and a number that Envoy can read."""

API_TIMEOUT_SECONDS = 65
"""What one `/system` request may take; logs may follow for ever."""

API_CLUSTER = "_api"
"""No function can have this name."""

NOBODY: Address = (LOOPBACK, 0)
"""The endpoint of a function that has no ready replica.

Nothing can listen on port 0, so a connection is refused at once and tried again: that is how requests wait.
"""

WAIT_RETRIES = 30
WAIT_FIRST_SECONDS = 0.02
WAIT_STEP_SECONDS = 0.2
"""Connecting is tried again 30 times, each after a random pause below 0.2 s: 2.8 s in all, ±0.3.

A killed replica answers again after 1.2 s, so no request that had not reached it is lost.
"""

MOST_WAITING = 512
"""Requests that wait for a replica of one function to be there; the next one is answered 429, as those beyond `max_inflight` are.

At a hundred a second four times as many as come while a killed replica is away.
"""

UPSTREAM_IDLE_SECONDS = 1.5
"""Below the keep-alive of any function server in use (gunicorn's 2 s is the shortest), so that no request is sent
on a connection that the server is just closing."""

UNLIMITED = 65536
"""A circuit breaker's number that is never reached; Envoy's defaults (1024, 3 retries) would be."""

LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
MAX_CONNECTIONS = 10_000

_TYPE = "type.googleapis.com/envoy."
_METHODS = "GET|POST|PUT|PATCH|DELETE|OPTIONS|HEAD"
_UNCLEAN_PATH = r".*(?://|/\.\.?(?:/|$)).*"
_HOP_BY_HOP = ("Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer")


def bootstrap(settings: Settings) -> Resource:
    """What Envoy is started with: where its files are, its admin socket, its histograms' buckets."""
    files = EnvoyFiles(settings.envoy("gateway"))
    admin = {"pipe": {"path": str(settings.envoy_admin_socket("gateway")), "mode": 0o600}}
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": admin},
        "stats_flush_interval": "0.5s",
        "stats_config": {
            "histogram_bucket_settings": [
                {
                    "match": {"contains": "functions_us"},
                    "buckets": [round(seconds * 1_000_000) for seconds in LATENCY_BUCKETS_SECONDS],
                }
            ]
        },
        "dynamic_resources": {"lds_config": files.lds_source(), "cds_config": files.cds_source()},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "layered_runtime": tracer.runtime(),
    }


def routes(desired: Sequence[Desired]) -> list[Resource]:
    """The route table: unclean paths and `/system` to the API, each function to its cluster, the rest to the API."""
    table = [
        _api_route("unclean", {"safe_regex": {"regex": _UNCLEAN_PATH}}),
        _api_logs_route(),
        _bad_method_route(),
    ]
    for one in desired:
        table += [*_function_routes(one, one.name), *_function_routes(one, f"{one.name}.{NAMESPACE}")]
    table += [*unknown_function_routes(), _api_route("api", {"prefix": "/"})]
    host = {"name": "gateway", "domains": ["*"], "routes": table}
    configuration = {
        "@type": _TYPE + "config.route.v3.RouteConfiguration",
        "name": "gateway",
        "virtual_hosts": [host],
        "max_direct_response_body_size_bytes": 4096,
    }
    return [configuration]


def clusters(desired: Sequence[Desired], settings: Settings) -> list[Resource]:
    """The API's cluster, one per function, named as the function, and who takes spans, if anybody does."""
    own = [_api_cluster(settings), *(_function_cluster(one, settings) for one in desired)]
    return [*own, *tracer.clusters(settings.traces)]


def write_gateway(settings: Settings, desired: Sequence[Desired]) -> None:
    """Make the gateway serve exactly `desired`, without losing a request; waits until a running Envoy has it.

    Raises GatewayRefused when Envoy does not take the configuration; it then keeps the one it had.
    """
    files = EnvoyFiles(settings.envoy("gateway"))
    for one in desired:
        if not files.eds_path(one.name).exists():
            write_endpoints(settings, one.name, [])
    files.write_listeners(listeners(settings))
    apply_update(
        files,
        settings.envoy_admin_socket("gateway"),
        Update(clusters=clusters(desired, settings), routes=routes(desired)),
    )


def write_bootstrap(settings: Settings) -> None:
    EnvoyFiles(settings.envoy("gateway")).write_bootstrap(bootstrap(settings))


def write_endpoints(settings: Settings, name: str, addresses: Sequence[Address]) -> bool:
    """Set the replicas of one function that take traffic; with none, requests wait as `NOBODY` says.

    Returns whether that changed anything.
    """
    return EnvoyFiles(settings.envoy("gateway")).write_endpoints(name, addresses or [NOBODY])


def forget_endpoints(settings: Settings, desired: Sequence[Desired]) -> None:
    """Take every replica out: none that is written down from before serves when a platform starts."""
    for one in desired:
        write_endpoints(settings, one.name, [])


def _function_routes(one: Desired, name_in_url: str) -> list[Resource]:
    """`/function/NAME` and `/function/NAME/…`; path and query after the name arrive as they were sent."""
    matches = ({"path": f"/function/{name_in_url}"}, {"prefix": f"/function/{name_in_url}/"})
    return [_function_route(one, name_in_url, match) for match in matches]


def _function_route(one: Desired, name_in_url: str, match: Resource) -> Resource:
    limit = str(one.deployment.max_inflight)
    timeout = _timeout_seconds(one)
    labels = {"name": name_in_url, "function": f"{one.name}.{NAMESPACE}", "limit": limit}
    return {
        "name": f"function {name_in_url}",
        "match": match,
        "metadata": {"filter_metadata": {ROUTE_METADATA: labels}},
        "route": {
            "cluster": one.name,
            "prefix_rewrite": "/",
            "host_rewrite_literal": f"{one.name}.{NAMESPACE}:8080",
            "timeout": f"{timeout:g}s",
            "idle_timeout": f"{max(timeout, FUNCTION_TIMEOUT_SECONDS) + MARGIN_SECONDS:g}s",
            "retry_policy": _retry_policy(),
        },
        "typed_per_filter_config": {CALL_ID_FILTER: filter_enabled(), CONTENT_TYPE_FILTER: filter_enabled()},
        **_function_headers(),
    }


def _timeout_seconds(one: Desired) -> float:
    """Of a call of the function; one that is no duration is the function's to complain of."""
    try:
        own = seconds(one.deployment.env_vars.get("exec_timeout") or "0")
    except ValueError:
        own = 0
    return min(own + MARGIN_SECONDS, LONGEST_SECONDS) if own else FUNCTION_TIMEOUT_SECONDS


def _function_headers() -> Resource:
    """What OpenFaaS' gateway adds to a request and to its answer, apart from what takes a filter."""
    started = header("X-Start-Time", "%START_TIME(%s%9f)%", "OVERWRITE_IF_EXISTS_OR_ADD")
    return {
        "request_headers_to_add": [
            started,
            header("X-Forwarded-Host", "%REQ(:AUTHORITY)%", "ADD_IF_ABSENT"),
            header("X-Forwarded-For", "%DOWNSTREAM_REMOTE_ADDRESS%", "ADD_IF_ABSENT"),
        ],
        "request_headers_to_remove": list(_HOP_BY_HOP),
        "response_headers_to_add": [
            started,
            header("X-Served-By", f"localfaas/{__version__}", "ADD_IF_ABSENT"),
        ],
    }


def _retry_policy() -> Resource:
    """Only what never reached the function is tried again, so no POST is ever doubled."""
    previous = {"@type": _TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": WAIT_RETRIES,
        "retry_back_off": {
            "base_interval": f"{WAIT_FIRST_SECONDS}s",
            "max_interval": f"{WAIT_STEP_SECONDS}s",
        },
        "retry_host_predicate": [{"name": "previous_hosts", "typed_config": previous}],
        "host_selection_retry_max_attempts": 3,
    }


def _bad_method_route() -> Resource:
    """Methods that OpenFaaS' provider refuses (TRACE, or invented ones)."""
    allowed = {"name": ":method", "string_match": {"safe_regex": {"regex": _METHODS}}, "invert_match": True}
    return {
        "name": "method not allowed",
        "match": {"prefix": "/function/", "headers": [allowed]},
        "direct_response": {"status": 405},
    }


def _api_route(name: str, match: Resource) -> Resource:
    return {
        "name": name,
        "match": match,
        "route": {"cluster": API_CLUSTER, "timeout": f"{API_TIMEOUT_SECONDS}s"},
        "typed_per_filter_config": {API_BODY_FILTER: filter_enabled()},
    }


def _api_logs_route() -> Resource:
    """Logs may be followed until the client leaves."""
    route = _api_route("api logs", {"path": "/system/logs"})
    return route | {"route": {"cluster": API_CLUSTER, "timeout": "0s", "idle_timeout": "0s"}}


def _api_cluster(settings: Settings) -> Resource:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(settings.api_socket)}}}}
    return {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": API_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": API_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    } | _cluster_limits(UNLIMITED)


def _function_cluster(one: Desired, settings: Settings) -> Resource:
    """A function's replicas, as its endpoints file lists them.

    No health check and no ejection: a saturated replica is not dead, and the only one must never be taken out.
    Who is ready is decided by the reconciler.
    """
    limit = min(one.deployment.max_inflight * one.replicas or UNLIMITED, UNLIMITED)
    eds = EnvoyFiles(settings.envoy("gateway")).eds_source(one.name)
    return {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": one.name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": eds},
        "load_balancing_policy": {"policies": [{"typed_extension_config": _least_request()}]},
        "ignore_health_on_host_removal": True,
    } | _cluster_limits(limit, MOST_WAITING)


def _least_request() -> Resource:
    return {
        "name": "envoy.load_balancing_policies.least_request",
        "typed_config": {
            "@type": _TYPE + "extensions.load_balancing_policies.least_request.v3.LeastRequest",
            "selection_method": "FULL_SCAN",
        },
    }


def _cluster_limits(max_requests: int, max_retries: int = UNLIMITED) -> Resource:
    """Circuit breaker, no panic threshold, and connections dropped before the server does it."""
    threshold = {
        "max_connections": UNLIMITED,
        "max_pending_requests": UNLIMITED,
        "max_requests": max_requests,
        "max_retries": max_retries,
    }
    return {
        "circuit_breakers": {"thresholds": [threshold]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{UPSTREAM_IDLE_SECONDS}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _connection_limit() -> Resource:
    config = {
        "@type": _TYPE + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_CONNECTIONS,
    }
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": config}
