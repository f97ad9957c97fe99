"""What the edge's Envoy can tell about itself: its counters, and the health of each target's addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localfaas.edge.clusters import target_addresses
from localfaas.edge.edge import Edge
from localfaas.edge.entities import Target, Upstream
from localfaas.edge.resolve import Dns
from localfaas.envoy import Address, admin_request

HEALTHY, UNHEALTHY, OFF, DNS_ERROR = "HEALTHY", "UNHEALTHY", "HEALTHCHECKS_OFF", "DNS_ERROR"

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class TargetHealth:
    """One target with the addresses behind it and whether each takes traffic."""

    target: Target
    health: str
    addresses: tuple[tuple[Address, str], ...]


@dataclass(frozen=True)
class Sample:
    """One line of a Prometheus exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


def counters(edge: Edge) -> dict[str, int]:
    """Envoy's counters and gauges of the edge by name; empty when Envoy is not running."""
    try:
        text = admin_request(edge.settings.envoy_admin_socket("edge"), "GET", "/stats?filter=^http.edge.")
    except (OSError, RuntimeError):
        return {}
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}


def samples(edge: Edge) -> Iterator[Sample]:
    """What the stats access logger counted; nothing when Envoy is not running."""
    path = "/stats/prometheus?filter=^kong%5C."
    try:
        text = admin_request(edge.settings.envoy_admin_socket("edge"), "GET", path)
    except (OSError, RuntimeError):
        return
    for line in text.splitlines():
        if matched := _SAMPLE.match(line):
            labels = dict(_LABEL.findall(matched["labels"] or ""))
            yield Sample(matched["name"], labels, float(matched["value"]))


def upstream_health(edge: Edge, upstream: Upstream) -> list[TargetHealth]:
    """The health of every target of `upstream` as Envoy sees it now."""
    known = _host_health(edge, str(upstream.name))
    return [_target_health(edge, upstream, target, known) for target in upstream.targets]


def checks_are_on(upstream: Upstream) -> bool:
    """Whether anything takes a target of `upstream` out of the rotation."""
    checks = upstream.fields["healthchecks"]
    active, passive = checks["active"], checks["passive"]["unhealthy"]
    intervals = active["healthy"]["interval"] or active["unhealthy"]["interval"]
    return bool(intervals or passive["tcp_failures"] or passive["timeouts"] or passive["http_failures"])


def _target_health(
    edge: Edge, upstream: Upstream, target: Target, known: Mapping[Address, tuple[str, bool]]
) -> TargetHealth:
    addresses = _addresses(edge, target, known)
    states = tuple((address, _state(upstream, target, known.get(address))) for address in addresses)
    if not states:
        return TargetHealth(target, DNS_ERROR, ())
    if any(state == HEALTHY for _, state in states):
        return TargetHealth(target, HEALTHY, states)
    return TargetHealth(target, states[0][1], states)


def _addresses(edge: Edge, target: Target, known: Mapping[Address, tuple[str, bool]]) -> list[Address]:
    if not isinstance(edge.resolver(target.host, target.port), Dns):
        found = target_addresses(target, edge.resolver, edge.membership)
        return [endpoint.address for endpoint in found]
    name = f"{target.host}:{target.port}"
    return [
        address for address, (host, _) in known.items() if host in ("", name) and address[1] == target.port
    ]


def _state(upstream: Upstream, target: Target, known: tuple[str, bool] | None) -> str:
    if not checks_are_on(upstream) or not target.weight:
        return OFF
    return HEALTHY if known is None or known[1] else UNHEALTHY


def _host_health(edge: Edge, upstream_name: str) -> dict[Address, tuple[str, bool]]:
    """Host name and health by address, of the upstream's clusters; unhealthy in one is unhealthy."""
    try:
        text = admin_request(edge.settings.envoy_admin_socket("edge"), "GET", "/clusters?format=json")
    except (OSError, RuntimeError):
        return {}
    found: dict[Address, tuple[str, bool]] = {}
    for status in json.loads(text).get("cluster_statuses", []):
        if status["name"].rpartition("@")[0] != upstream_name:
            continue
        for host in status.get("host_statuses", []):
            place = host["address"].get("socket_address", {})
            address = (str(place.get("address")), int(place.get("port_value", 0)))
            well = _is_well(host["health_status"]) and found.get(address, ("", True))[1]
            found[address] = (str(host.get("hostname", "")), well)
    return found


def _is_well(status: Mapping[str, Any]) -> bool:
    return not any(status.get(flag) for flag in ("failed_active_health_check", "failed_outlier_check"))
