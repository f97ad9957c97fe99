"""How often requests were repeated on their way: by the edge, by the gateway and by functions that call others.

A repeat is an attempt that reached a function (Envoy counts a request once it has a connection for it) beyond the first
for the same request. Those of clients are no repeats: a client decides for itself. Of what functions repeat it is not known
what arrived, so all of it counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from localfaas.envoy import admin_request
from localfaas.gateway_metrics import invocation_counts, read_stats
from localfaas.settings import LOOPBACK, Settings
from localfaas.status import rows

_STAT = re.compile(r"^cluster\.([^._]\S*)\.upstream_rq_(total|retry): (\d+)$", re.MULTILINE)
_CALLS = re.compile(r"^function_call_duration_seconds_count\{[^}]*\} (\S+)$", re.MULTILINE)
_REPEATED = re.compile(r"^function_call_retries_total\{[^}]*\} (\S+)$", re.MULTILINE)
_NAMES = "upstream_rq_(total|retry)$"
GATEWAY_CLUSTER = "gateway.openfaas_8080@1000"
"""The edge's name for the function gateway: host, port and connect timeout of kong.yml."""
BY_ITSELF = "maintenance"
"""Asked by the platform's schedule, and by no client."""


@dataclass(frozen=True)
class Counts:
    """Since each process began; `pids` of the two Envoys tell whether that is the same process."""

    pids: tuple[int, int]
    gateway: Mapping[str, Mapping[str, int]]
    """By cluster, which is a function, `total` requests that were given to its replicas."""
    invocations: Mapping[str, int]
    """By function, what the gateway was asked for."""
    edge: Mapping[str, Mapping[str, int]]
    """By cluster, the `total` of requests that were given to it, and those of them that were a `retry`."""
    calls: Mapping[int, int]
    """By process of a replica, its calls of others, repeated ones too."""
    repeated: Mapping[int, int]
    """By process of a replica, its calls of others that were repeated."""


def count(settings: Settings) -> Counts | None:
    """None where somebody does not answer."""
    try:
        found = rows(settings)
        programs = {row.program: row.pid for row in found}
        texts = {row.pid: _metrics(row.port) for row in found if row.traffic}
        return Counts(
            (programs["edge"], programs["gateway"]),
            _stats(settings, "gateway"),
            invocation_counts(read_stats(settings)),
            _stats(settings, "edge"),
            {pid: _sum(_CALLS, text) for pid, text in texts.items()},
            {pid: _sum(_REPEATED, text) for pid, text in texts.items()},
        )
    except (OSError, RuntimeError, KeyError):
        return None


def repeats(before: Counts | None, after: Counts | None) -> int | None:
    """How many there were in between; None where a process that counts has died meanwhile."""
    if before is None or after is None or before.pids != after.pids:
        return None
    asked = _growth(before.invocations, after.invocations)
    by_gateway = sum(
        max(0, _of(before, after, "gateway", name, "total") - number) for name, number in asked.items()
    )
    by_functions = sum(_growth(before.repeated, after.repeated).values())
    return by_gateway + by_functions + _by_edge(before, after, asked)


def _by_edge(before: Counts, after: Counts, asked: Mapping[str, int]) -> int:
    """Those that it gave to replicas itself, and as many of those for the gateway as the gateway has had too many."""
    repeated = {name: _of(before, after, "edge", name, "retry") for name in after.edge}
    to_gateway = repeated.pop(GATEWAY_CLUSTER, 0)
    once = _of(before, after, "edge", GATEWAY_CLUSTER, "total") - to_gateway
    calls = sum(_growth(before.calls, after.calls).values())
    from_edge = sum(number for name, number in asked.items() if name != BY_ITSELF) - calls
    return sum(repeated.values()) + min(to_gateway, max(0, from_edge - once))


def _growth(before: Mapping[Any, int], after: Mapping[Any, int]) -> dict[Any, int]:
    return {name: number - before.get(name, 0) for name, number in after.items()}


def _of(before: Counts, after: Counts, node: str, cluster: str, kind: str) -> int:
    one, two = (getattr(counts, node).get(cluster, {}).get(kind, 0) for counts in (before, after))
    return int(two - one)


def _stats(settings: Settings, node: str) -> dict[str, dict[str, int]]:
    text = admin_request(settings.envoy_admin_socket(node), "GET", f"/stats?filter={quote(_NAMES)}")
    found: dict[str, dict[str, int]] = {}
    for cluster, kind, number in _STAT.findall(text):
        found.setdefault(cluster, {})[kind] = int(number)
    return found


def _metrics(port: int) -> str:
    return requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=5).text


def _sum(what: re.Pattern[str], text: str) -> int:
    return round(sum(map(float, what.findall(text))))
