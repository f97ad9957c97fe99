"""prometheus: what the edge counts about the routes it covers; `metrics.py` tells it under Kong's names."""

from __future__ import annotations

from localfaas.edge.plugins.base import Contribution, PluginKind, Use
from localfaas.edge.schema import Flag, Record

GROUPS = ("status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")


def _contribute(use: Use) -> Contribution:
    return Contribution(metadata={group: "1" for group in GROUPS if use.config[group]})


KIND = PluginKind(
    name="prometheus",
    priority=13,
    config=Record(
        fields={
            "per_consumer": Flag(default=False, required=True, unsupported=True),
            **{group: Flag(default=False, required=True) for group in GROUPS},
            "ai_metrics": Flag(default=False, required=True, unsupported=True),
            "wasm_metrics": Flag(default=False, required=True, unsupported=True),
        }
    ),
    contribute=_contribute,
)
