"""How often requests were repeated on their way: by the edge, by the gateway and by functions that call others.

A repeat is an attempt that reached a function (Envoy counts a request once it has a connection for it) beyond the first
for the same request. Those of clients are no repeats: a client decides for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import requests

from localfaas.envoy import admin_request
from localfaas.gateway_metrics import invocation_counts, read_stats
from localfaas.settings import LOOPBACK, Settings
from localfaas.status import rows

_TOTAL = re.compile(r"^cluster\.([^._][^.]*)\.upstream_rq_total: (\d+)$", re.MULTILINE)
_RETRY = re.compile(r"^cluster\.\S+\.upstream_rq_retry: (\d+)$", re.MULTILINE)
_CALLS = re.compile(r"^function_call_retries_total\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """Since each process began; `pids` of the two Envoys tell whether that is the same process."""

    pids: tuple[int, int]
    attempts: Mapping[str, int]
    """By function, what the gateway has given its replicas."""
    invocations: Mapping[str, int]
    """By function, what the gateway was asked for."""
    edge: int
    """Requests that the edge has tried once more."""
    calls: Mapping[int, int]
    """By process of a replica, calls of others that it has repeated."""


def count(settings: Settings) -> Counts | None:
    """None where somebody does not answer."""
    try:
        found = rows(settings)
        programs = {row.program: row.pid for row in found}
        return Counts(
            (programs["edge"], programs["gateway"]),
            {
                name: int(total)
                for name, total in _TOTAL.findall(_stats(settings, "gateway", "upstream_rq_total"))
            },
            invocation_counts(read_stats(settings)),
            sum(map(int, _RETRY.findall(_stats(settings, "edge", "upstream_rq_retry")))),
            {row.pid: _repeated_calls(row.port) for row in found if row.traffic},
        )
    except (OSError, RuntimeError, KeyError, requests.RequestException):
        return None


def repeats(before: Counts | None, after: Counts | None) -> int | None:
    """How many there were in between; None where a process that counts has died meanwhile."""
    if before is None or after is None or before.pids != after.pids:
        return None
    by_gateway = sum(
        max(
            0,
            _since(before.attempts, after.attempts, name)
            - _since(before.invocations, after.invocations, name),
        )
        for name in after.invocations
    )
    by_functions = sum(total - before.calls.get(pid, 0) for pid, total in after.calls.items())
    return by_gateway + after.edge - before.edge + by_functions


def _since(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int:
    return after.get(name, 0) - before.get(name, 0)


def _stats(settings: Settings, node: str, name: str) -> str:
    return admin_request(settings.envoy_admin_socket(node), "GET", f"/stats?filter={name}$")


def _repeated_calls(port: int) -> int:
    text = requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=5).text
    return round(sum(map(float, _CALLS.findall(text))))
