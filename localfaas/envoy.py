"""The two Envoys' files and admin sockets: the one place that writes Envoy configuration.

Envoy watches one directory per file and reloads only on an atomic rename, so every write goes to `<file>.tmp` first.
Resources are plain dictionaries in Envoy's own field names; who makes them is pure (gateway.py, edge/compile.py).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localfaas.whole_files import write_whole

_ACTIVE = re.compile(r"^http\.(?!admin\.)[^ ]+\.downstream_rq_active: (\d+)$", re.MULTILINE)

Resource = dict[str, Any]
Address = tuple[str, int]
"""Host and port of one endpoint."""
Membership = Mapping[str, Sequence[Address]]
"""Function name to the addresses of its replicas that take traffic."""


@dataclass(frozen=True)
class EnvoyFiles:
    """The configuration directory of one Envoy.

    Layout: `bootstrap.json`, `lds/lds.json`, `cds/cds.json`, `rds/rds.json`, `sds/sds.json`,
    `eds/<cluster>/eds.json`.
    """

    root: Path

    def clusters(self) -> list[Resource]:
        """The clusters that are written; none before the first were."""
        return _read_resources(self.root / "cds" / "cds.json")

    def routes(self) -> list[Resource]:
        """The routes that are written; none before the first were."""
        return _read_resources(self.root / "rds" / "rds.json")

    def write_listeners(self, resources: Sequence[Resource]) -> bool:
        return _write_resources(self.root / "lds" / "lds.json", resources)

    def write_clusters(self, resources: Sequence[Resource]) -> bool:
        return _write_resources(self.root / "cds" / "cds.json", resources)

    def write_routes(self, resources: Sequence[Resource]) -> bool:
        return _write_resources(self.root / "rds" / "rds.json", resources)

    def write_secrets(self, resources: Sequence[Resource]) -> bool:
        """Write what TLS listeners ask for: where keys and certificates are, not these themselves."""
        return _write_resources(self.root / "sds" / "sds.json", resources)

    def write_endpoints(self, cluster: str, addresses: Sequence[Address]) -> bool:
        """Write one cluster's endpoints."""
        return _write_resources(self.eds_path(cluster), [load_assignment(cluster, addresses)])

    def write_assignment(self, assignment: Resource) -> bool:
        """Write one cluster's endpoints, given as a ClusterLoadAssignment."""
        return _write_resources(self.eds_path(str(assignment["cluster_name"])), [assignment])

    def write_bootstrap(self, bootstrap: Resource) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        write_whole(self.bootstrap, json.dumps(bootstrap, indent=1))

    @property
    def bootstrap(self) -> Path:
        return self.root / "bootstrap.json"

    def eds_path(self, cluster: str) -> Path:
        return self.root / "eds" / cluster / "eds.json"

    def lds_source(self) -> Resource:
        return _config_source(self.root / "lds" / "lds.json")

    def cds_source(self) -> Resource:
        return _config_source(self.root / "cds" / "cds.json")

    def rds_source(self) -> Resource:
        return _config_source(self.root / "rds" / "rds.json")

    def secrets_source(self) -> Resource:
        return _config_source(self.root / "sds" / "sds.json")

    def eds_source(self, cluster: str) -> Resource:
        return _config_source(self.eds_path(cluster))


def load_assignment(cluster: str, addresses: Sequence[Address]) -> Resource:
    """A ClusterLoadAssignment."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
        for host, port in addresses
    ]
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": endpoints}] if endpoints else [],
    }


def _config_source(path: Path) -> Resource:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(path), "watched_directory": {"path": str(path.parent)}},
    }


def _write_resources(path: Path, resources: Sequence[Resource]) -> bool:
    """Write `resources` if they differ from what is there; return whether they did."""
    text = json.dumps({"resources": list(resources)}, indent=1)
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return True


def _read_resources(path: Path) -> list[Resource]:
    """What is written; nothing where no file is, or one that a loss of power has emptied."""
    try:
        resources: list[Resource] = json.loads(path.read_text())["resources"]
    except (FileNotFoundError, ValueError):
        return []
    return resources


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket; each step has `timeout` seconds."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def admin_request(socket_path: Path, method: str, path: str, timeout: float = 5.0) -> str:
    """Ask an Envoy's admin interface over its Unix socket; return the body.

    Raises OSError when the Envoy is not there, RuntimeError when it answers anything but 200.
    """
    connection = UnixConnection(socket_path, timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"Envoy admin {method} {path}: {response.status} {body.strip()}")
    except http.client.HTTPException as exc:
        raise OSError(f"Envoy admin {method} {path}: it ended in the middle of its answer") from exc
    else:
        return body
    finally:
        connection.close()


def drain(socket_path: Path, seconds: float) -> bool:
    """Have an Envoy close idle connections and finish what is in flight; return whether nothing was left in time.

    An Envoy that is not there has nothing left.
    """
    deadline = time.monotonic() + seconds
    try:
        admin_request(socket_path, "POST", "/drain_listeners?graceful&skip_exit")
        while (active := _requests_in_flight(socket_path)) and time.monotonic() < deadline:
            time.sleep(0.02)
    except OSError:
        return True
    return not active


def _requests_in_flight(socket_path: Path) -> int:
    stats = admin_request(socket_path, "GET", "/stats?filter=downstream_rq_active")
    return sum(int(count) for count in _ACTIVE.findall(stats))
