"""What Kong 3.9 has and the embedded edge has not, and what to use in its place.

Each is refused by name where a file uses it. kong/README.md shows the same; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

from localfaas.edge.errors import Place

NOT_SUPPORTED = "not supported by the embedded edge"

_TOKENS = "check tokens in the function, as functions/shared/auth.py does"
_MODEL = "call the model from a function"
_METRICS = "scrape /metrics, which the prometheus plugin fills"
_LOGS = "read the functions' logs, one JSON line a request"
_FUNCTION = "write it as a function"
_CALLERS = "tell callers apart in the function, limit them by ip or header"
_CERTIFICATE = "put key and certificate into secrets/edge-tls.pem"
_HTTP = "reach the upstream over http"
_LAYER_4 = "route by paths, hosts or headers; refuse addresses with ip-restriction"
_OFF = "leave it off"

PLUGINS: Mapping[str, str] = {
    "acl": _TOKENS,
    "acme": _CERTIFICATE,
    "ai-prompt-decorator": _MODEL,
    "ai-prompt-guard": _MODEL,
    "ai-prompt-template": _MODEL,
    "ai-proxy": _MODEL,
    "ai-request-transformer": _MODEL,
    "ai-response-transformer": _MODEL,
    "aws-lambda": _FUNCTION,
    "azure-functions": _FUNCTION,
    "basic-auth": _TOKENS,
    "bot-detection": "give a route headers: {user-agent: [...]} and request-termination",
    "datadog": _METRICS,
    "file-log": _LOGS,
    "grpc-gateway": "speak HTTP to the upstream",
    "grpc-web": "speak HTTP to the upstream",
    "hmac-auth": _TOKENS,
    "http-log": _LOGS,
    "jwt": _TOKENS,
    "key-auth": _TOKENS,
    "ldap-auth": _TOKENS,
    "loggly": _LOGS,
    "oauth2": _TOKENS,
    "opentelemetry": "set TRACES=on; see docs/tracing.md",
    "post-function": _FUNCTION,
    "pre-function": _FUNCTION,
    "proxy-cache": "send ETag and Cache-Control from the function",
    "redirect": "use request-termination, and response-transformer to add Location",
    "request-transformer": "set the service's path, or change the request in the function",
    "response-ratelimiting": "use rate-limiting",
    "session": _TOKENS,
    "standard-webhooks": "check the signature in the function",
    "statsd": _METRICS,
    "syslog": _LOGS,
    "tcp-log": _LOGS,
    "udp-log": _LOGS,
    "zipkin": "set TRACES=on; see docs/tracing.md",
}
"""Kong 3.9's bundled plugins that the edge has not."""

COLLECTIONS: Mapping[str, str] = {
    "acls": _CALLERS,
    "basicauth_credentials": _CALLERS,
    "ca_certificates": _HTTP,
    "certificates": _CERTIFICATE,
    "consumer_groups": _CALLERS,
    "consumers": _CALLERS,
    "custom_plugins": _FUNCTION,
    "filter_chains": _FUNCTION,
    "hmacauth_credentials": _CALLERS,
    "jwt_secrets": _CALLERS,
    "key_sets": _TOKENS,
    "keyauth_credentials": _CALLERS,
    "keys": _TOKENS,
    "oauth2_credentials": _CALLERS,
    "parameters": _OFF,
    "snis": _CERTIFICATE,
    "vaults": "write the value; secrets belong to functions",
}
"""What a file may hold at top level for Kong only."""

FIELDS: Mapping[str, str] = {
    "services.client_certificate": _HTTP,
    "services.tls_verify": _HTTP,
    "services.tls_verify_depth": _HTTP,
    "services.ca_certificates": _HTTP,
    "routes.snis": "route by hosts",
    "routes.sources": _LAYER_4,
    "routes.destinations": _LAYER_4,
    "upstreams.hash_on_uri_capture": "hash on a header, cookie, query argument or address",
    "upstreams.hash_fallback_uri_capture": "hash on a header, cookie, query argument or address",
    "upstreams.client_certificate": _HTTP,
    "upstreams.use_srv_name": "write the port with the target",
    "upstreams.healthchecks.active.https_sni": "probe over http",
    "plugins.consumer": "attach it to a route or a service",
    "plugins.consumer_group": "attach it to a route or a service",
    "plugins.ordering": "plugins run in Kong's own order",
    "plugins.config.allow_origin_absent": _OFF,
    "plugins.config.private_network": _OFF,
    "plugins.config.redis": "set policy: local; one edge holds all counts",
    "plugins.config.sync_rate": _OFF,
    "plugins.config.per_consumer": _OFF,
    "plugins.config.ai_metrics": _OFF,
    "plugins.config.wasm_metrics": _OFF,
    "plugins.config.echo": _OFF,
    **{
        f"plugins.config.{operation}.{kind}": "change bodies in the function"
        for operation in ("remove", "rename", "replace", "add", "append")
        for kind in (("json",) if operation in ("remove", "rename") else ("json", "json_types"))
    },
}
"""Fields, by collection and name; those of a plugin's own under `plugins.config`."""


def instead(place: Place) -> str:
    """`; ` and what to use where the field at `place` is refused, or nothing."""
    names = [str(part) for part in place if isinstance(part, str)]
    for start in range(len(names)):
        if text := FIELDS.get(".".join(names[start:])):
            return f"; {text}"
    return ""
