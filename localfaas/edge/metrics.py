"""`/metrics` of the edge: Kong's names, labels and buckets, from what Envoy counts.

Times are Kong's whole milliseconds in name and unit, but not rounded. What has no counterpart here
(nginx' timers and shared memory) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from localfaas import __version__
from localfaas.edge import observe
from localfaas.edge.edge import Edge
from localfaas.edge.entities import Configuration
from localfaas.edge.listener import FINE_LATENCY_MS, KONG_LATENCY_MS, UPSTREAM_LATENCY_MS
from localfaas.edge.observe import Sample

_COMMON = {"workspace": "default"}
_HISTOGRAMS = {
    "kong_latency": ("Latency added by the edge and its plugins, in ms", KONG_LATENCY_MS),
    "upstream_latency": ("Latency of the upstream, in ms", UPSTREAM_LATENCY_MS),
    "request_latency": ("Total latency of requests, in ms", UPSTREAM_LATENCY_MS),
}
_CONNECTIONS = {
    "accepted": "http.edge.downstream_cx_total",
    "active": "http.edge.downstream_cx_active",
    "handled": "http.edge.downstream_cx_total",
    "total": "http.edge.downstream_rq_total",
}


def metrics_text(edge: Edge) -> str:
    """The exposition as one text; the node's own series are there even when Envoy is not."""
    found = [sample for sample in observe.samples(edge) if sample.labels.get("service", "-") not in ("", "-")]
    groups = metric_groups(edge.loaded.configuration)
    lines = [
        *_requests(found, groups),
        *_bandwidth(found, groups),
        *_latencies(found, groups),
        *_target_health(edge),
        *_node(edge),
    ]
    return "\n".join(lines) + "\n"


def metric_groups(configuration: Configuration) -> set[str]:
    """The groups of metrics that some prometheus plugin of the file switches on."""
    plugins = (plugin for plugin in configuration.plugins if plugin.name == "prometheus" and plugin.enabled)
    return {name for plugin in plugins for name, value in plugin.config.items() if value is True}


def _requests(found: Iterable[Sample], groups: set[str]) -> Iterator[str]:
    totals: dict[tuple[str, str, str, str], float] = {}
    for sample in found:
        if sample.name == "envoy_kong_http_requests_total" and "status_code_metrics" in groups:
            source = "service" if sample.labels["details"] == "via_upstream" else "kong"
            key = (sample.labels["service"], sample.labels["route"], sample.labels["code"], source)
            totals[key] = totals.get(key, 0) + sample.value
    yield from _head("kong_http_requests_total", "counter", "HTTP status codes per service and route", totals)
    for (service, route, code, source), value in sorted(totals.items()):
        labels = {
            "service": service,
            "route": route,
            "code": code,
            "source": source,
            **_COMMON,
            "consumer": "",
        }
        yield _line("kong_http_requests_total", labels, value)


def _bandwidth(found: Iterable[Sample], groups: set[str]) -> Iterator[str]:
    counted = [item for item in found if item.name == "envoy_kong_bandwidth_bytes"]
    wanted = counted if "bandwidth_metrics" in groups else []
    yield from _head("kong_bandwidth_bytes", "counter", "Bytes per service and route", wanted)
    for sample in wanted:
        labels = {key: sample.labels[key] for key in ("service", "route", "direction")}
        yield _line("kong_bandwidth_bytes", {**labels, **_COMMON, "consumer": ""}, sample.value)


def _latencies(found: list[Sample], groups: set[str]) -> Iterator[str]:
    if "latency_metrics" not in groups:
        return
    answered_here = _answered_here(found)
    for name, (text, bounds) in _HISTOGRAMS.items():
        ours = [sample for sample in found if sample.name.startswith(f"envoy_kong_{name}_us_")]
        yield from _head(f"kong_{name}_ms", "histogram", text, ours)
        extra = answered_here if name == "kong_latency" else {}
        ours += _unseen(name, extra, ours, bounds)
        yield from _histogram(f"kong_{name}_ms", ours, bounds, scale=1000, extra=extra)
    fine = [sample for sample in found if sample.name.startswith("envoy_kong_request_latency_us_")]
    name = "localfaas_edge_request_duration_seconds"
    yield from _head(name, "histogram", "Total duration of requests, from 0.5 ms", fine)
    seconds = [bound / 1000 for bound in sorted({*FINE_LATENCY_MS, *UPSTREAM_LATENCY_MS})]
    yield from _histogram(name, fine, seconds, scale=1_000_000, extra={})


def _unseen(
    name: str, extra: Mapping[tuple[str, str], float], ours: Iterable[Sample], bounds: Iterable[float]
) -> list[Sample]:
    """Empty histograms for services and routes of `extra` that Envoy has none of: all their requests ended here."""
    seen = {(sample.labels["service"], sample.labels["route"]) for sample in ours}
    stem = f"envoy_kong_{name}_us"
    made = []
    for service, route in extra.keys() - seen:
        labels = {"service": service, "route": route}
        steps = [*(f"{bound * 1000:g}" for bound in bounds), "+Inf"]
        made += [Sample(f"{stem}_bucket", {**labels, "le": step}, 0) for step in steps]
        made += [Sample(f"{stem}_sum", labels, 0), Sample(f"{stem}_count", labels, 0)]
    return made


def _answered_here(found: Iterable[Sample]) -> dict[tuple[str, str], float]:
    """Requests by service and route that never reached an upstream: Envoy has no such time of them, so it was 0."""
    counts: dict[tuple[str, str], float] = {}
    signs = {"envoy_kong_request_latency_us_count": 1, "envoy_kong_kong_latency_us_count": -1}
    for sample in found:
        if sign := signs.get(sample.name):
            key = (sample.labels["service"], sample.labels["route"])
            counts[key] = counts.get(key, 0) + sign * sample.value
    return counts


def _histogram(
    name: str,
    found: Iterable[Sample],
    bounds: Iterable[float],
    *,
    scale: int,
    extra: Mapping[tuple[str, str], float],
) -> Iterator[str]:
    """Envoy's microseconds as `name` in units of `scale` microseconds, with `extra` observations of nothing."""
    wanted = {f"{bound * scale:g}": f"{bound:g}" for bound in bounds} | {"+Inf": "+Inf"}
    for sample in found:
        labels = {"service": sample.labels["service"], "route": sample.labels["route"], **_COMMON}
        more = extra.get((sample.labels["service"], sample.labels["route"]), 0)
        kind = sample.name.rpartition("_")[2]
        if kind == "bucket" and (bound := wanted.get(_bound(sample.labels["le"]))):
            yield _line(f"{name}_bucket", {**labels, "le": bound}, sample.value + more)
        elif kind == "count":
            yield _line(f"{name}_count", labels, sample.value + more)
        elif kind == "sum":
            yield _line(f"{name}_sum", labels, sample.value / scale)


def _bound(text: str) -> str:
    return text if text == "+Inf" else f"{float(text):g}"


def _target_health(edge: Edge) -> Iterator[str]:
    if "upstream_health_metrics" not in metric_groups(edge.loaded.configuration):
        return
    name = "kong_upstream_target_health"
    upstreams = edge.loaded.configuration.upstreams
    yield from _head(name, "gauge", "Health of each address of each target", upstreams)
    for upstream in upstreams:
        for item in observe.upstream_health(edge, upstream):
            places = item.addresses or (((None), observe.DNS_ERROR),)
            for address, state in places:
                shown = f"{address[0]}:{address[1]}" if address else ""
                yield from _states(str(upstream.name), str(item.target.fields["target"]), shown, state)


def _states(upstream: str, target: str, address: str, state: str) -> Iterator[str]:
    for possible in ("dns_error", "healthchecks_off", "healthy", "unhealthy"):
        labels = {"upstream": upstream, "target": target, "address": address, "state": possible}
        value = float(possible == state.lower())
        yield _line("kong_upstream_target_health", {**labels, "subsystem": "http"}, value)


def _node(edge: Edge) -> Iterator[str]:
    counters = observe.counters(edge)
    node = {"node_id": edge.node_id}
    yield from _head("kong_datastore_reachable", "gauge", "Whether the configuration can be read", "1")
    yield "kong_datastore_reachable 1"
    yield from _head("kong_node_info", "gauge", "The edge's node and version", "1")
    yield _line("kong_node_info", {**node, "version": __version__}, 1)
    yield from _head("kong_nginx_requests_total", "gauge", "Requests of every kind", "1")
    total = counters.get("http.edge.downstream_rq_total", 0)
    yield _line("kong_nginx_requests_total", {**node, "subsystem": "http"}, total)
    yield from _head("kong_nginx_connections_total", "gauge", "Client connections by state", "1")
    for state, name in _CONNECTIONS.items():
        labels = {**node, "subsystem": "http", "state": state}
        yield _line("kong_nginx_connections_total", labels, counters.get(name, 0))
    lua_errors = counters.get("http.edge.lua.errors", 0)
    yield from _head("kong_nginx_metric_errors_total", "counter", "Errors while counting", "1")
    yield "kong_nginx_metric_errors_total 0"
    text = "Requests that went on without their plugins because a script failed"
    yield from _head("localfaas_edge_script_errors_total", "counter", text, "1")
    yield f"localfaas_edge_script_errors_total {lua_errors}"


def _head(name: str, kind: str, text: str, present: object) -> Iterator[str]:
    if present:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
