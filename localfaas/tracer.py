"""What both Envoys are told where spans are recorded: OpenTelemetry's tracer, over OTLP/HTTP. Pure.

Without it a listener is exactly as it was. With it each request at an Envoy is one span, named by the formatter it is
given, with what its tags say; the trace is the client's where it sent a usable `traceparent`, else a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from localfaas.envoy import Resource
from localfaas.settings import Traces

CLUSTER = "_traces"
"""No function and no host of kong.yml can have this name."""
PATH = "/v1/traces"
FLUSH = {"tracing.opentelemetry.flush_interval_ms": 1000, "tracing.opentelemetry.min_flush_spans": 256}
"""Runtime values of every Envoy, read only by the tracer: spans are a second late and not five, and go in batches."""
SEND_TIMEOUT = "1s"

_FEW = {"max_connections": 2, "max_pending_requests": 8, "max_requests": 8}
"""What waits for a store that is slow; further batches are dropped at once."""
_TYPE = "type.googleapis.com/envoy."
_SAMPLERS = "envoy.tracers.opentelemetry.samplers."
_SENT = "request.headers['traceparent']"
_USABLE = (
    f"'traceparent' in request.headers && size({_SENT}) == 55 && {_SENT}.matches('^00-[0-9a-f]{{32}}-')"
    f" && {_SENT}.matches('-[0-9a-f]{{16}}-[0-9a-f]{{2}}$') && !{_SENT}.matches('-0+-')"
)
"""W3C Trace Context, in two expressions: Envoy refuses one as long as both."""
_CHECKED = "x-checked-traceparent"


def traced(traces: Traces | None, service: str, name: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """What is added to an HTTP connection manager; `name` and the values of `tags` are access log formatters."""
    if traces is None:
        return {}
    return {
        "request_id_extension": {"typed_config": _REQUEST_ID},
        "tracing": {
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": _provider(traces, service)},
            "operation": name,
            "custom_tags": [{"tag": tag, "value": value} for tag, value in tags.items()],
            # Of the address not even the path: it has its query with it.
            "max_path_tag_length": 1,
        },
    }


_REQUEST_ID = {
    "@type": _TYPE + "extensions.request_id.uuid.v3.UuidRequestIdConfig",
    "pack_trace_reason": False,
    "use_request_id_for_trace_sampling": False,
}
"""Request ids are anybody's here, and no UUID in which Envoy could keep what it decided."""


def early_mutations(traces: Traces | None) -> list[Resource]:
    """Take a traceparent away that the tracer would not understand: it would let it pass and record nothing."""
    if traces is None:
        return []
    return [
        _set(_CHECKED, f"%CEL({_USABLE} ? {_SENT} : '')%"),
        {"remove": "traceparent"},
        _set("traceparent", f"%REQ({_CHECKED})%"),
        {"remove": _CHECKED},
    ]


def clusters(traces: Traces | None) -> list[Resource]:
    """The cluster of whoever takes the spans."""
    if traces is None:
        return []
    parts = urlsplit(traces.url)
    address = {"address": parts.hostname, "port_value": parts.port or 80}
    return [
        {
            "@type": _TYPE + "config.cluster.v3.Cluster",
            "name": CLUSTER,
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_PREFERRED",
            "wait_for_warm_on_init": False,
            "connect_timeout": SEND_TIMEOUT,
            "circuit_breakers": {"thresholds": [dict(_FEW)]},
            "load_assignment": {
                "cluster_name": CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}],
            },
        }
    ]


def runtime() -> Resource:
    return {"layers": [{"name": "tracer", "static_layer": dict(FLUSH)}]}


def _provider(traces: Traces, service: str) -> Resource:
    uri = {"uri": traces.url + PATH, "cluster": CLUSTER, "timeout": SEND_TIMEOUT}
    instance = {
        "@type": _TYPE
        + "extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig",
        "attributes": {"service.instance.id": service},
    }
    return {
        "@type": _TYPE + "config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": uri},
        "service_name": service,
        "resource_detectors": [
            {
                "name": "envoy.tracers.opentelemetry.resource_detectors.static_config",
                "typed_config": instance,
            }
        ],
        "sampler": _sampler(traces.ratio),
    }


def _sampler(ratio: float) -> Resource:
    """Whoever began a trace has decided; of those that begin here, a share."""
    percentage = {"numerator": round(ratio * 1_000_000), "denominator": "MILLION"}
    share = {
        "name": _SAMPLERS + "trace_id_ratio_based",
        "typed_config": {
            "@type": _TYPE + "extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig",
            "sampling_percentage": percentage,
        },
    }
    return {
        "name": _SAMPLERS + "parent_based",
        "typed_config": {
            "@type": _TYPE + "extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig",
            "wrapped_sampler": share,
        },
    }


def _set(key: str, value: str) -> Resource:
    """Set a header; a value that comes out empty sets nothing."""
    header = {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {"append": header}
