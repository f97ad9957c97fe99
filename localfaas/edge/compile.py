"""A configuration to Envoy's resources: pure, the same for the same configuration and membership."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localfaas.edge import lua, routes
from localfaas.edge.clusters import Backend, backend, cluster, load_assignment
from localfaas.edge.entities import Configuration, Plugin, Route, Service
from localfaas.edge.listener import LUA_FILTER, ROUTES_NAME, VIA
from localfaas.edge.plugins import KINDS
from localfaas.edge.plugins.base import Contribution, Use
from localfaas.edge.resolve import Resolver
from localfaas.envoy import Membership, Resource

METADATA = "kong"
"""Route metadata that access loggers read: service, route and the groups of metrics switched on."""

_LUA_PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute"
_OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
_APPEND = "APPEND_IF_EXISTS_OR_ADD"
_SERVER_TIMING = (
    "edge;dur=%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%e-3, "
    "upstream;dur=%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%e-3"
)
"""Kong's two latencies in microseconds, as milliseconds (W3C Server Timing): `dur` may have an exponent."""
_NO_PEER = "failure to get a peer from the ring-balancer"
_NO_ADDRESS = "name resolution failed"

NO_ROUTE: Mapping[str, Any] = {"status": 404, "message": "no Route matched with those values"}
NO_SERVICE: Mapping[str, Any] = {"status": 503, "message": "no Service found with those values"}
NO_TRACE: Mapping[str, Any] = {"status": 405, "message": "Method not allowed", "plain": True}


@dataclass(frozen=True)
class Compiled:
    """What Envoy is given: clusters, the endpoints of those that take them by EDS, and the routes."""

    clusters: tuple[Resource, ...]
    endpoints: Mapping[str, Resource]
    routes: Resource


def compile_edge(
    configuration: Configuration,
    resolver: Resolver,
    membership: Membership,
    *,
    eds_source: Callable[[str], Resource],
    without: frozenset[str] = frozenset(),
    beside: Sequence[Resource] = (),
) -> Compiled:
    """Envoy's resources for `configuration` as `membership` stands, and the clusters `beside` those of kong.yml.

    Plugins named in `without` are left out.
    """
    kept = tuple(plugin for plugin in configuration.plugins if plugin.name not in without)
    configuration = replace(configuration, plugins=kept)
    backends = {
        service.id: backend(service, configuration, resolver, membership)
        for service in configuration.services
        if service.enabled
    }
    clusters = {item.name: item for item in backends.values()}
    return Compiled(
        clusters=(*(cluster(item, eds_source(item.name)) for item in clusters.values()), *beside),
        endpoints={item.name: load_assignment(item) for item in clusters.values() if not item.by_dns},
        routes=_route_configuration(configuration, backends),
    )


def _route_configuration(configuration: Configuration, backends: Mapping[str, Backend]) -> Resource:
    services = {service.id: service for service in configuration.services}
    live = [route for route in configuration.routes if _is_live(route, services)]
    candidates = routes.in_order(live)
    domains = sorted(
        {host for route in live for host in route.hosts}, key=lambda host: (host.count("*"), host)
    )

    def envoy_routes(domain: str | None) -> list[Resource]:
        chosen = [item for item in candidates if _serves(item.route, domain)]
        made = [
            resource
            for item in chosen
            for resource in _candidate_routes(item, configuration, services, backends)
        ]
        return [_trace_route(configuration), *made, _no_route(configuration)]

    hosts = [{"name": domain, "domains": [domain], "routes": envoy_routes(domain)} for domain in domains]
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTES_NAME,
        "ignore_port_in_host_matching": True,
        "request_headers_to_add": _request_headers(),
        # The function gateway tells by X-Start-Time since when a request waits; nobody else is believed.
        "request_headers_to_remove": ["x-envoy-external-address", "x-envoy-internal", "x-start-time"],
        "response_headers_to_add": _response_headers(),
        "virtual_hosts": [*hosts, {"name": "any", "domains": ["*"], "routes": envoy_routes(None)}],
    }


def _is_live(route: Route, services: Mapping[str, Service]) -> bool:
    return route.service_id is None or services[route.service_id].enabled


def _serves(route: Route, domain: str | None) -> bool:
    """Whether a route can match requests to `domain` (None: to hosts that no route names)."""
    if not route.hosts:
        return True
    return domain is not None and any(_covers(host, domain) for host in route.hosts)


def _covers(host: str, domain: str) -> bool:
    return host == domain or (host.startswith("*") and domain.endswith(host[1:]))


def _candidate_routes(
    candidate: routes.Candidate,
    configuration: Configuration,
    services: Mapping[str, Service],
    backends: Mapping[str, Backend],
) -> list[Resource]:
    route = candidate.route
    service = services.get(route.service_id or "")
    base = service.path if service else "/"
    contributions = _contributions(configuration, route, service)
    made = []
    for rule in routes.path_rules(candidate.path, base, strip=route.strip_path):
        for methods, repeatable in routes.method_groups(route):
            resource = _matched(route, rule, methods)
            resource.update(_forwarded_prefix(rule))
            if route.https_only:
                made.append(_https_asked(route, resource, configuration))
            if service is None:
                resource.update(_closed(NO_SERVICE, contributions))
            else:
                target = backends[service.id]
                resource["route"] = routes.action(route, service, target, rule, repeatable=repeatable)
                resource.update(_open(route, service, target, contributions))
            made.append(resource)
    return made


def _matched(route: Route, rule: routes.PathRule, methods: tuple[str, ...] | None) -> Resource:
    match = dict(rule.match)
    headers = [*match.pop("headers", []), *routes.matchers(route)]
    if methods:
        headers.append(routes.method_matcher(methods))
    return {"name": route.label, "match": {**match, **({"headers": headers} if headers else {})}}


def _https_asked(route: Route, resource: Resource, configuration: Configuration) -> Resource:
    """The same match for a plain request, which is told to come again by HTTPS."""
    plain = {"name": "x-forwarded-proto", "string_match": {"exact": "http"}}
    match = {**resource["match"], "headers": [*resource["match"].get("headers", []), plain]}
    answer = {"status": route.https_redirect, "message": "Please use HTTPS protocol", "https": True}
    return {"name": route.label, "match": match, **_closed(answer, _contributions(configuration, None, None))}


def _forwarded_prefix(rule: routes.PathRule) -> Resource:
    if rule.prefix is None:
        return {"request_headers_to_remove": ["x-forwarded-prefix"]}
    return {"request_headers_to_add": [_header("x-forwarded-prefix", rule.prefix, _OVERWRITE)]}


def _open(
    route: Route, service: Service, target: Backend, contributions: Mapping[str, Contribution]
) -> Resource:
    """Plugins of a route that leads to an upstream."""
    filters: dict[str, Any] = {}
    metadata = {"service": service.label, "route": route.label}
    for contribution in contributions.values():
        filters.update(contribution.filters)
        metadata.update(contribution.metadata)
    no_peer = _NO_PEER if target.upstream else _NO_ADDRESS
    filters[LUA_FILTER] = _lua_settings(contributions, no_peer=no_peer)
    counted = any(contribution.metadata for contribution in contributions.values())
    return {
        "typed_per_filter_config": filters,
        **({"metadata": {"filter_metadata": {METADATA: metadata}}} if counted else {}),
    }


def _closed(answer: Mapping[str, Any], contributions: Mapping[str, Contribution]) -> Resource:
    """A route that answers itself. Lua makes the body; should Lua fail, the status still stands."""
    return {
        "direct_response": {"status": answer["status"], "body": {"inline_string": answer["message"]}},
        "typed_per_filter_config": {LUA_FILTER: _lua_settings(contributions, closed=answer)},
    }


def _no_route(configuration: Configuration) -> Resource:
    contributions = _contributions(configuration, None, None)
    return {"name": "no-route", "match": {"prefix": "/"}, **_closed(NO_ROUTE, contributions)}


def _trace_route(configuration: Configuration) -> Resource:
    matcher = {"name": ":method", "string_match": {"exact": "TRACE"}}
    contributions = _contributions(configuration, None, None)
    return {
        "name": "no-trace",
        "match": {"prefix": "/", "headers": [matcher]},
        **_closed(NO_TRACE, contributions),
    }


def _lua_settings(contributions: Mapping[str, Contribution], **facts: Any) -> Resource:
    plugins = [
        {"name": name, "conf": contribution.lua}
        for name, contribution in contributions.items()
        if contribution.lua is not None
    ]
    text = lua.literal({**facts, "plugins": plugins})
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {"@type": _LUA_PER_ROUTE, "filter_context": {"id": digest, "conf": text}}


def _contributions(
    configuration: Configuration, route: Route | None, service: Service | None
) -> dict[str, Contribution]:
    """What each plugin adds to a route, in the order in which plugins run."""
    chosen: dict[str, Plugin] = {}
    for plugin in configuration.plugins:
        if not plugin.enabled or not _is_for_http(plugin) or not _applies(plugin, route, service):
            continue
        name = str(plugin.name)
        if name not in chosen or _closeness(plugin) > _closeness(chosen[name]):
            chosen[name] = plugin
    uses = ((name, kind, chosen[name]) for name, kind in KINDS.items() if name in chosen)
    return {name: kind.contribute(_use(plugin, service)) for name, kind, plugin in uses}


def _is_for_http(plugin: Plugin) -> bool:
    """As in Kong, a plugin's protocols choose between HTTP and streams, not between HTTP and HTTPS."""
    return not set(plugin.fields["protocols"]).isdisjoint(("http", "https", "grpc", "grpcs"))


def _applies(plugin: Plugin, route: Route | None, service: Service | None) -> bool:
    if plugin.route_id and (route is None or route.id != plugin.route_id):
        return False
    return not (plugin.service_id and (service is None or service.id != plugin.service_id))


def _closeness(plugin: Plugin) -> tuple[bool, bool]:
    """A route's own plugin stands before its service's, and that before a global one."""
    return plugin.route_id is not None, plugin.service_id is not None


def _use(plugin: Plugin, service: Service | None) -> Use:
    scope = (plugin.route_id or "", plugin.service_id or "")
    return Use(plugin.config, scope, service.id if service else "")


def _request_headers() -> list[Resource]:
    address = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
    return [
        _header("x-forwarded-for", address, _APPEND),
        _header("x-real-ip", address, _OVERWRITE),
        _header("x-forwarded-port", "%DOWNSTREAM_LOCAL_PORT%", _OVERWRITE),
        _header("x-forwarded-path", "%PATH(NQ:PATH)%", _OVERWRITE),
        _header("via", VIA, _APPEND),
    ]


def _response_headers() -> list[Resource]:
    return [
        _header("x-kong-upstream-latency", "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%", _OVERWRITE),
        _header("x-kong-proxy-latency", "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%", _OVERWRITE),
        _header("server-timing", _SERVER_TIMING, _APPEND),
        _header("x-kong-request-id", "%REQ(X-KONG-REQUEST-ID)%", _OVERWRITE),
        _header("via", VIA, _APPEND),
    ]


def _header(name: str, value: str, action: str) -> Resource:
    return {"header": {"key": name, "value": value}, "append_action": action}


def static_routes(compiled: Compiled) -> Resource:
    """The route configuration as a listener holds it inline."""
    return {key: value for key, value in compiled.routes.items() if key != "@type"}


def static_clusters(compiled: Compiled) -> Sequence[Resource]:
    """The clusters with their endpoints inside, for a bootstrap that reads no other file."""
    return [_inline(item, compiled.endpoints) for item in compiled.clusters]


def _inline(item: Resource, endpoints: Mapping[str, Resource]) -> Resource:
    inline = {key: value for key, value in item.items() if key not in ("@type", "eds_cluster_config")}
    if item["type"] == "EDS":
        assignment = endpoints[item["name"]]
        inline["load_assignment"] = {key: value for key, value in assignment.items() if key != "@type"}
        inline["type"] = "STATIC"
    return inline


def cluster_names(resources: Iterable[Resource]) -> set[str]:
    return {str(resource["name"]) for resource in resources}
