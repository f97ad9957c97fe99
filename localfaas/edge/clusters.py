"""Services and upstreams to Envoy clusters, and their targets to endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from localfaas.edge.entities import Configuration, Service, Target, Upstream
from localfaas.edge.resolve import Dns, Fixed, Gateway, Replicas, Resolver
from localfaas.envoy import Address, Membership, Resource

_NEVER = "86400s"
"""An interval for checks that kong.yml switches off while it leaves the others on."""
_PASSIVE_EJECTION = "30s"
"""How long passive checks keep a target out that no probe puts back before; Kong keeps it out until one or an operator does."""
_PATIENT_PROBE_SECONDS = 30
"""A probe's patience where timeouts are not counted: Envoy has no failure that it does not count."""
_UPSTREAM_IDLE = "60s"
_MANY = 1 << 20
AT_ONCE = 64
"""Requests that a replica is given at once: its `max_inflight` in stack.yml, which on a cluster its watchdog enforces."""
WAITING = 128
"""Requests that wait until a replica of their function has fewer; one more is answered 503 at once.

A hundred wait for some tenths of a second, which is still a service; without an end to them all would wait for too long.
"""
TO_GATEWAY = 1024
"""Requests with the function gateway, on the way to it and back: as many as sixteen replicas are given, and Envoy's own default.

Which function has enough is for the gateway to say (429). This is for when it does not come to it, being frozen or without a
processor: it takes connections and requests into its sockets all the same, so without an end to them all would wait there.
"""
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class Endpoint:
    """One address of a target: DNS names stay names until Envoy asks for them."""

    target: str
    address: Address
    weight: int
    by_dns: bool


@dataclass(frozen=True)
class Backend:
    """What a service's requests go to: one Envoy cluster."""

    name: str
    connect_timeout_ms: int
    endpoints: tuple[Endpoint, ...]
    host_names: frozenset[str]
    upstream: Upstream | None
    to_replicas: bool = False
    """Whether functions' replicas are asked with no function gateway before them, which else bounds what they are given."""
    to_gateway: bool = False

    @property
    def by_dns(self) -> bool:
        return any(endpoint.by_dns for endpoint in self.endpoints)

    @property
    def host_header(self) -> str | None:
        """The one Host header for all targets, or nothing where each has its own."""
        if self.upstream and self.upstream.fields["host_header"]:
            return str(self.upstream.fields["host_header"])
        return next(iter(self.host_names)) if len(self.host_names) == 1 else None


def upstream_of(service: Service, configuration: Configuration) -> Upstream | None:
    """The upstream that a service's host names, if it names one."""
    for upstream in configuration.upstreams:
        if upstream.name == service.host:
            return upstream
    return None


def backend(
    service: Service, configuration: Configuration, resolver: Resolver, membership: Membership
) -> Backend:
    """The cluster of `service`; services with the same host, port and connect timeout share it."""
    upstream = upstream_of(service, configuration)
    if upstream:
        base = str(upstream.name)
        hosts = [(target.host, target.port) for target in upstream.targets]
        found = tuple(
            endpoint
            for target in upstream.targets
            for endpoint in endpoints(target.host, target.port, target.weight, resolver, membership)
        )
    else:
        base = f"{service.host}_{service.port}"
        hosts = [(service.host, service.port)]
        found = tuple(endpoints(service.host, service.port, 1, resolver, membership))
    names = _target_names(upstream) if upstream else frozenset({_host_header(service.host, service.port)})
    timeout_ms = service.connect_timeout_ms
    kinds = {type(resolver(*host)) for host in hosts}
    return Backend(
        f"{base}@{timeout_ms}", timeout_ms, found, names, upstream, Replicas in kinds, Gateway in kinds
    )


def _target_names(upstream: Upstream) -> frozenset[str]:
    return frozenset(f"{target.host}:{target.port}" for target in upstream.targets)


def _host_header(host: str, port: int) -> str:
    """Host and port of a service's URL; a client leaves out the port that the scheme implies."""
    return host if port == 80 else f"{host}:{port}"


def endpoints(
    host: str, port: int, weight: int, resolver: Resolver, membership: Membership
) -> Iterable[Endpoint]:
    """The addresses behind `host:port` now, each with the weight, as Kong weighs each DNS record."""
    target = f"{host}:{port}"
    resolution = resolver(host, port)
    if isinstance(resolution, Replicas):
        for address in membership.get(resolution.function, ()):
            yield Endpoint(target, (address[0], address[1]), weight, by_dns=False)
    elif isinstance(resolution, Fixed):
        yield Endpoint(target, resolution.address, weight, by_dns=False)
    elif isinstance(resolution, Dns):
        yield Endpoint(target, (resolution.host, resolution.port), weight, by_dns=True)


def target_addresses(target: Target, resolver: Resolver, membership: Membership) -> list[Endpoint]:
    """The addresses of one target, those of weight 0 too."""
    return list(endpoints(target.host, target.port, target.weight, resolver, membership))


def load_assignment(backend: Backend) -> Resource:
    """The endpoints of a cluster; targets of weight 0 take no traffic and are left out."""
    own_hosts = backend.host_header is None
    members = [_endpoint(endpoint, own_hosts) for endpoint in backend.endpoints if endpoint.weight]
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": backend.name,
        "endpoints": [{"lb_endpoints": members}] if members else [],
    }


def _endpoint(endpoint: Endpoint, own_host: bool) -> Resource:
    host, port = endpoint.address
    inner: Resource = {
        "address": {"socket_address": {"address": host, "port_value": port}},
        "health_check_config": {"hostname": endpoint.target.rpartition(":")[0]},
    }
    if own_host:
        inner["hostname"] = endpoint.target
    return {"endpoint": inner, "load_balancing_weight": endpoint.weight}


def cluster(backend: Backend, eds_source: Resource) -> Resource:
    """The Envoy cluster of `backend`; endpoints come by EDS, or inline where DNS must be asked."""
    resource: Resource = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": backend.name,
        "connect_timeout": f"{backend.connect_timeout_ms / 1000:g}s",
        "common_lb_config": _lb_config(backend.upstream),
        "ignore_health_on_host_removal": True,
        "circuit_breakers": _bounds(backend),
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _http_options(backend.upstream)},
    }
    if backend.by_dns:
        resource.update(
            type="STRICT_DNS",
            respect_dns_ttl=True,
            dns_lookup_family="V4_PREFERRED",
            wait_for_warm_on_init=False,
            load_assignment={key: value for key, value in load_assignment(backend).items() if key != "@type"},
        )
    else:
        resource.update(type="EDS", eds_cluster_config={"eds_config": eds_source})
    return {**resource, **_balancing(backend.upstream), **_health(backend.upstream)}


def _bounds(backend: Backend) -> Resource:
    """None but on the way to functions; a request over HTTP/1.1 has a connection for itself.

    So connections are what is counted for a replica. What waits for a connection to the gateway is not counted apart: it is
    there for a moment, as this machine's kernel makes the connection.
    """
    threshold = {
        "max_connections": _MANY,
        "max_pending_requests": WAITING if backend.to_replicas else _MANY,
        "max_requests": TO_GATEWAY if backend.to_gateway else _MANY,
        "max_retries": _MANY,
    }
    per_host = {"per_host_thresholds": [{"max_connections": AT_ONCE}]} if backend.to_replicas else {}
    return {"thresholds": [threshold], **per_host}


def _lb_config(upstream: Upstream | None) -> Resource:
    threshold = upstream.fields["healthchecks"]["threshold"] if upstream else 0
    config: Resource = {
        "healthy_panic_threshold": {"value": threshold},
        "update_merge_window": "0s",  # else Envoy holds back for a second what a health check found
    }
    if threshold:
        config["zone_aware_lb_config"] = {"fail_traffic_on_panic": True}
    return config


def _http_options(upstream: Upstream | None) -> Resource:
    options: Resource = {
        "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
    }
    passive = upstream.fields["healthchecks"]["passive"]["unhealthy"] if upstream else None
    if passive and passive["http_failures"]:
        statuses = "|".join(map(str, passive["http_statuses"]))
        matcher = {"name": ":status", "string_match": {"safe_regex": {"regex": statuses}}}
        options["outlier_detection"] = {
            "error_matcher": {"http_response_headers_match": {"headers": [matcher]}}
        }
    return options


def _balancing(upstream: Upstream | None) -> Resource:
    algorithm = upstream.fields["algorithm"] if upstream else "round-robin"
    if algorithm == "least-connections":
        return {
            "load_balancing_policy": {
                "policies": [
                    {
                        "typed_extension_config": {
                            "name": "envoy.load_balancing_policies.least_request",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
                                "selection_method": "FULL_SCAN",
                            },
                        }
                    }
                ]
            }
        }
    if algorithm == "consistent-hashing":
        return {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 1024}}
    return {"lb_policy": "ROUND_ROBIN"}


def _health(upstream: Upstream | None) -> Resource:
    if upstream is None:
        return {}
    checks = upstream.fields["healthchecks"]
    active = _active_check(checks["active"])
    passive = _passive_check(checks["passive"]["unhealthy"], _ejection(checks["active"]))
    return {
        **({"health_checks": [active]} if active else {}),
        **({"outlier_detection": passive} if passive else {}),
    }


def _active_check(active: Mapping[str, Any]) -> Resource | None:
    """One Envoy health check for Kong's two intervals and three counters.

    Envoy counts all failures in one counter, so the smallest of Kong's limits holds.
    Where statuses and timeouts do not count, only a connection can fail: then the check is one of connecting.
    """
    healthy, unhealthy = active["healthy"], active["unhealthy"]
    if not healthy["interval"] and not unhealthy["interval"]:
        return None
    limits = [unhealthy[key] for key in ("tcp_failures", "timeouts", "http_failures") if unhealthy[key]]
    by_connection = active["type"] == "tcp" or not (unhealthy["http_failures"] or unhealthy["timeouts"])
    timeout = active["timeout"] if unhealthy["timeouts"] else _PATIENT_PROBE_SECONDS
    check: Resource = {
        "timeout": f"{max(timeout, 0.1):g}s",
        "interval": _interval(healthy["interval"]),
        "no_traffic_interval": _interval(healthy["interval"]),
        "unhealthy_interval": _interval(unhealthy["interval"]),
        "no_traffic_healthy_interval": _interval(healthy["interval"]),
        "unhealthy_threshold": min(limits, default=_MANY),
        "healthy_threshold": healthy["successes"] or _MANY,
    }
    if by_connection:
        return {**check, "tcp_health_check": {}}
    return {**check, "http_health_check": _http_probe(active)}


def _interval(seconds: float) -> str:
    return f"{seconds:g}s" if seconds else _NEVER


def _http_probe(active: Mapping[str, Any]) -> Resource:
    """A probe whose answer is a failure exactly where Kong counts one, a success everywhere else."""
    unhealthy = active["unhealthy"]
    failures = sorted(unhealthy["http_statuses"]) if unhealthy["http_failures"] else []
    edges = [99, *failures, 600]
    expected = [{"start": low + 1, "end": high} for low, high in pairwise(edges) if low + 1 < high]
    probe: Resource = {"path": active["http_path"], "expected_statuses": expected}
    if failures:
        probe["retriable_statuses"] = [{"start": status, "end": status + 1} for status in failures]
    if active["headers"]:
        probe["request_headers_to_add"] = [
            {"header": {"key": name, "value": value}}
            for name, values in active["headers"].items()
            for value in values
        ]
    return probe


def _ejection(active: Mapping[str, Any]) -> str:
    """How long passive checks keep a target out that no probe puts back before.

    Kong probes such a target at the unhealthy interval. Envoy probes by what its own probes found, at the healthy one;
    where that is off, the target is tried with traffic when Kong would probe it.
    """
    healthy, unhealthy = (active[kind]["interval"] for kind in ("healthy", "unhealthy"))
    return _interval(unhealthy) if unhealthy and not healthy else _PASSIVE_EJECTION


def _passive_check(unhealthy: Mapping[str, Any], ejection: str) -> Resource | None:
    """Outlier detection for what traffic shows; an active check that succeeds puts a target back at once."""
    connections = [unhealthy[key] for key in ("tcp_failures", "timeouts") if unhealthy[key]]
    statuses = unhealthy["http_failures"]
    if not connections and not statuses:
        return None
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": min(connections, default=_MANY),
        "enforcing_consecutive_local_origin_failure": 100 if connections else 0,
        "consecutive_5xx": statuses or _MANY,
        "enforcing_consecutive_5xx": 100 if statuses else 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": ejection,
        "max_ejection_time": ejection,
        "max_ejection_percent": 100,
    }
