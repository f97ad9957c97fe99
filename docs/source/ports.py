"""docs/ports.md: every port, from localfaas/settings.py and from the annotations of stack.yml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from docs.source.markdown import code, page, section, table
from localfaas.deployment import MAX_REPLICAS, PORT_ANNOTATION, scale_min
from localfaas.replica_program import FREE_PORTS_FROM
from localfaas.settings import PORTS, REPLICA_PORT_STEP
from localfaas.stack import load_stack

OF_PARTS = {
    "edge": "embedded edge: the shop",
    "edge-tls": "embedded edge over TLS, HTTP/2 included",
    "edge-admin": "the edge's Admin API, and its metrics (`/metrics`)",
    "gateway": "function gateway: `/function/…`, `/system/…`, `/healthz`",
    "gateway-metrics": "the gateway's metrics, and what Prometheus is to watch",
    "prometheus": "Prometheus",
    "alertmanager": "Alertmanager",
    "dashboards": "dashboards: Grafana, or the light page, which has the runbooks too",
    "pages": "runbooks, where Grafana has the dashboards' port",
    "postgres": "PostgreSQL",
    "postgres-exporter": "metrics of PostgreSQL",
    "traces": "traces, when they are on",
}

_ABOUT = """All listen on 127.0.0.1; `BIND` gives the edge (8000 and 8443) another address, and nothing else.
`PORT_OFFSET` is added to every port, so that a second platform runs beside the first.
A port that somebody else has is named by `make up`, with its holder, before anything starts."""
_OF_FUNCTIONS = f"""Replica *i* listens on its function's base port + {REPLICA_PORT_STEP} · (*i* − 1), up to {MAX_REPLICAS} replicas.
The base port is the annotation `{PORT_ANNOTATION}` in stack.yml; a function without it gets a free one from {FREE_PORTS_FROM} on."""


def text(project: Path) -> str:
    """The page as it should be."""
    parts = [[str(port), OF_PARTS[name]] for name, port in sorted(PORTS.items(), key=lambda one: one[1])]
    return page(
        "Ports",
        _ABOUT,
        section("Of the parts", table(["port", "what"], parts)),
        section(
            "Of the functions",
            _OF_FUNCTIONS,
            table(["function", "at the start", "at most"], _of_functions(project)),
        ),
    )


def _of_functions(project: Path) -> Iterator[list[str]]:
    functions = load_stack(project / "stack.yml", {}).functions.values()
    for function in sorted(functions, key=lambda one: int(one.annotations[PORT_ANNOTATION])):
        base = int(function.annotations[PORT_ANNOTATION])
        most = int(function.labels["com.openfaas.scale.max"])
        ports = [str(base + place * REPLICA_PORT_STEP) for place in range(most)]
        first = ports[: scale_min(function.labels)]
        yield [code(function.name), ", ".join(first), f"{ports[0]} to {ports[-1]}" if most > 1 else ports[0]]
