"""What runs on the cluster: one line for each workload, and how to reach it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from deploy.kubernetes.commands import Shell
from deploy.kubernetes.secrets import NAMESPACES

KINDS = "deployments,statefulsets,jobs,clusters.postgresql.cnpg.io"
REACHED = (
    ("edge, on kind", "http://localhost:8000, https://localhost:8443"),
    ("edge, elsewhere", "kubectl -n edge get service kong-proxy"),
    ("function gateway", "kubectl -n openfaas port-forward svc/gateway 8080"),
    ("Prometheus", "kubectl -n openfaas port-forward svc/prometheus 8010:9090"),
    ("Grafana", "kubectl -n monitoring port-forward svc/grafana 8011:3000"),
)


@dataclass(frozen=True)
class Row:
    namespace: str
    name: str
    ready: int
    wanted: int
    image: str

    @property
    def is_well(self) -> bool:
        return self.ready >= self.wanted


def rows(shell: Shell) -> list[Row]:
    """Every workload of our namespaces. Raises CommandError."""
    found = []
    for namespace in NAMESPACES:
        for kinds in (KINDS, KINDS.rpartition(",")[0]):  # without the operator there are no clusters
            try:
                told = shell.output(*shell.kubectl("-n", namespace, "get", kinds, "-o", "json"))
            except RuntimeError:
                if kinds != KINDS:
                    raise
                continue
            found += [row(item) for item in json.loads(told or '{"items": []}')["items"]]
            break
    return found


def row(item: Mapping[str, Any]) -> Row:
    """A Deployment, StatefulSet, Job or CloudNativePG Cluster."""
    spec, status = item["spec"], item.get("status", {})
    kind = item["kind"]
    wanted = {"Job": spec.get("completions", 1), "Cluster": spec.get("instances", 1)}.get(
        kind, spec.get("replicas", 1)
    )
    ready = {"Job": status.get("succeeded", 0), "Cluster": status.get("readyInstances", 0)}.get(
        kind, status.get("readyReplicas", 0)
    )
    template = spec.get("template", {}).get("spec", {})
    image = spec.get("imageName") or (template.get("containers") or [{"image": ""}])[0]["image"]
    return Row(
        item["metadata"]["namespace"], item["metadata"]["name"], ready, wanted, image.partition("@")[0]
    )


def table(found: list[Row]) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("namespace", "what", "ready", "image"):
        made.add_column(title)
    for line in found:
        colour = "green" if line.is_well else "red"
        made.add_row(
            line.namespace, line.name, f"[{colour}]{line.ready} of {line.wanted}[/{colour}]", line.image
        )
    return made


def addresses() -> Table:
    made = Table(box=None, show_header=False, pad_edge=False)
    for what, where in REACHED:
        made.add_row(what, where)
    return made
