"""The plugins the embedded edge has, one module each; a new one is written and added to this table.

A module gives a `PluginKind`: its schema, and what a configured plugin contributes to a route.
Its work on a request is in `<name>.lua` beside it, where Envoy has no filter that is exact.
"""

from __future__ import annotations

from localfaas.edge.plugins import (
    correlation_id,
    cors,
    ip_restriction,
    prometheus,
    rate_limiting,
    request_size_limiting,
    request_termination,
    response_transformer,
)
from localfaas.edge.plugins.base import PluginKind

_KINDS = (
    correlation_id.KIND,
    cors.KIND,
    ip_restriction.KIND,
    request_size_limiting.KIND,
    rate_limiting.KIND,
    response_transformer.KIND,
    prometheus.KIND,
    request_termination.KIND,
)

KINDS: dict[str, PluginKind] = {kind.name: kind for kind in _KINDS}
"""By name, in the order in which they run: Kong's priority, highest first."""
