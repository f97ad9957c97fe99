"""Bring new clusters and routes to a running Envoy in the order that loses no request.

A route must never name a cluster that is not there: new clusters come before the routes that use them, old ones
go after. Envoy reads each file on its own, so every step is awaited on its admin socket.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localfaas.envoy import EnvoyFiles, Resource, admin_request

CLUSTER_STATS = "cluster_manager.cds"
ROUTE_STATS = "http.gateway.rds.gateway"
PATIENCE_SECONDS = 5.0


class GatewayRefused(RuntimeError):
    """Envoy did not take a configuration; it keeps the one it had."""


@dataclass(frozen=True)
class Update:
    """The whole of what is wanted."""

    clusters: Sequence[Resource]
    routes: Sequence[Resource]


def apply_update(files: EnvoyFiles, admin: Path, update: Update) -> None:
    """Write `update` if it changes anything; raises GatewayRefused when a running Envoy does not take a step."""
    clusters, routes = files.clusters(), files.routes()
    if clusters == list(update.clusters) and routes == list(update.routes):
        return
    wanted = {cluster["name"] for cluster in update.clusters}
    leaving = [cluster for cluster in clusters if cluster["name"] not in wanted]
    both = [*update.clusters, *leaving]
    _step(admin, CLUSTER_STATS, files.write_clusters, both, clusters)
    _step(admin, ROUTE_STATS, files.write_routes, update.routes, routes)
    if leaving:
        _step(admin, CLUSTER_STATS, files.write_clusters, update.clusters, both)
    for cluster in leaving:
        shutil.rmtree(files.eds_path(cluster["name"]).parent, ignore_errors=True)


def _step(
    admin: Path,
    stats: str,
    write: Callable[[Sequence[Resource]], bool],
    wanted: Sequence[Resource],
    former: Sequence[Resource],
) -> None:
    """Write one file and wait until Envoy, if it runs, has read it.

    What Envoy does not take gives way to the former file: else the next call would take it for done, and the next
    Envoy would start with it.
    """
    before = _counters(admin, stats)
    if not write(wanted) or before is None:
        return
    try:
        _await(admin, stats, before)
    except GatewayRefused:
        write(former)
        raise


def _await(admin: Path, stats: str, before: dict[str, int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        now = _counters(admin, stats)
        if now is None or now["update_success"] > before["update_success"]:
            return
        if (
            now["update_rejected"] > before["update_rejected"]
            or now["update_failure"] > before["update_failure"]
        ):
            raise GatewayRefused(f"the gateway's Envoy refused new {stats}; its log says why")
        time.sleep(0.005)
    raise GatewayRefused(f"the gateway's Envoy did not read new {stats} within {PATIENCE_SECONDS:.0f} s")


def _counters(admin: Path, stats: str) -> dict[str, int] | None:
    """How often a subscription was updated, refused or unreadable; None when no Envoy is there."""
    try:
        text = admin_request(admin, "GET", f"/stats?filter=^{stats}.update_")
    except (OSError, RuntimeError):
        return None
    counters = {"update_success": 0, "update_rejected": 0, "update_failure": 0}
    for line in text.splitlines():
        name, _, value = line.rpartition(": ")
        key = name.removeprefix(f"{stats}.")
        if key in counters:
            counters[key] = int(value)
    return counters
