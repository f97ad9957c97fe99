"""Give a compiled configuration to the edge's Envoy so that no request meets a route without its cluster.

New endpoints and clusters come before the routes that name them, old ones go after. Envoy reads each file on its own,
so every step is awaited on its admin socket; an Envoy that is not running finds everything when it starts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localfaas.edge.compile import Compiled, cluster_names, static_clusters, static_routes
from localfaas.edge.listener import Door, static_bootstrap
from localfaas.envoy import EnvoyFiles, admin_request

PATIENCE_SECONDS = 5.0
_VALIDATE_SECONDS = 30
_CLUSTER_STATS = "cluster_manager.cds"
_ROUTE_STATS = "http.edge.rds.edge"


class EnvoyRefusedError(RuntimeError):
    """Envoy does not take a configuration; the message is its reason."""


@dataclass(frozen=True)
class EdgeEnvoy:
    """One Envoy: its program, its files, its admin socket, where clients come in."""

    program: Path
    files: EnvoyFiles
    admin_socket: Path
    door: Door

    def validate(self, compiled: Compiled) -> None:
        """Have Envoy judge the whole as one static file (50 ms). Raises EnvoyRefusedError with its words."""
        whole = static_bootstrap(self.door, static_routes(compiled), list(static_clusters(compiled)))
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=self.files.root) as file:
            json.dump(whole, file)
            file.flush()
            flags = ["--mode", "validate", "--disable-hot-restart", "--concurrency", "1", "-l", "critical"]
            judged = subprocess.run(
                [self.program, "-c", file.name, *flags],
                capture_output=True,
                text=True,
                check=False,
                timeout=_VALIDATE_SECONDS,
            )
        if judged.returncode != 0:
            raise EnvoyRefusedError(_reason(judged.stderr, file.name))

    def apply(self, compiled: Compiled) -> None:
        """Write what changed, in the safe order. Raises EnvoyRefusedError when a running Envoy does not take it."""
        present = self.files.clusters()
        leaving = [item for item in present if item["name"] not in cluster_names(compiled.clusters)]
        for assignment in compiled.endpoints.values():
            self.files.write_assignment(assignment)
        if present != list(compiled.clusters):
            self._step(
                _CLUSTER_STATS, lambda: self.files.write_clusters([*compiled.clusters, *leaving]), warm=True
            )
        self._step(_ROUTE_STATS, lambda: self.files.write_routes([compiled.routes]))
        if leaving:
            self._step(_CLUSTER_STATS, lambda: self.files.write_clusters(compiled.clusters))
        for item in leaving:
            shutil.rmtree(self.files.eds_path(item["name"]).parent, ignore_errors=True)

    def _step(self, stats: str, write: Callable[[], bool], *, warm: bool = False) -> None:
        try:
            before = self._counters(stats)
        except (OSError, RuntimeError):
            write()
            return
        if write():
            self._await(stats, before, warm=warm)

    def _await(self, stats: str, before: dict[str, int], *, warm: bool) -> None:
        """Until Envoy has taken the file and its new clusters are warm; one that stays cold is not waited for."""
        deadline, taken = time.monotonic() + PATIENCE_SECONDS, False
        while time.monotonic() < deadline:
            try:
                now = self._counters(stats)
                warming = self._stat("cluster_manager.warming_clusters") if warm else 0
            except (OSError, RuntimeError):
                return
            for refused in ("update_rejected", "update_failure"):
                if now.get(refused, 0) > before.get(refused, 0):
                    raise EnvoyRefusedError(f"{stats}: {refused}; its log says why")
            taken = now.get("update_success", 0) > before.get("update_success", 0)
            if taken and not warming:
                return
            time.sleep(0.005)
        if taken:
            return
        raise EnvoyRefusedError(f"{stats}: not read within {PATIENCE_SECONDS:.0f} s")

    def _counters(self, prefix: str) -> dict[str, int]:
        text = admin_request(self.admin_socket, "GET", f"/stats?filter=^{prefix}.update_")
        lines = (line.partition(": ") for line in text.splitlines())
        return {name.rpartition(".")[2]: int(value) for name, _, value in lines if value.isdecimal()}

    def _stat(self, name: str) -> int:
        text = admin_request(self.admin_socket, "GET", f"/stats?filter=^{name}$")
        return int(text.partition(": ")[2] or 0)


def _reason(stderr: str, file: str) -> str:
    """Envoy's own sentence out of what it prints."""
    critical = [line for line in stderr.splitlines() if "[critical]" in line]
    text = critical[-1].rpartition("] ")[2] if critical else stderr.strip()
    return text.replace(f"error initializing configuration '{file}': ", "").strip()
