"""What each kind of entity may hold: Kong 3.9's fields, defaults and ranges, and which of them the edge supports."""

from __future__ import annotations

from localfaas.edge import rules
from localfaas.edge.schema import Flag, ListOf, MapOf, Number, Opaque, Record, Reference, Text

_PROTOCOLS = ("grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp")
_HASH_INPUTS = ("none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture")
_OUR_HASH_INPUTS = ("none", "ip", "header", "cookie", "query_arg")
_ALGORITHMS = ("consistent-hashing", "least-connections", "round-robin", "latency")
_REDIRECTS = (426, 301, 302, 307, 308)
_ACTIVE_UNHEALTHY = [429, 404, 500, 501, 502, 503, 504, 505]
_PASSIVE_HEALTHY = [200, 201, 202, 203, 204, 205, 206, 207, 208, 226, *range(300, 309)]

_ID = Text()
_NAME = Text(rule=rules.name)
_TAGS = ListOf(of=Text(), as_set=True)
_TIMEOUT = Number(default=60000, between=(1, 2147483646))
_COUNT = Number(default=0, between=(0, 255))
_SECONDS = Number(default=0, between=(0, 65535), fraction=True)


def _statuses(*, default: list[int]) -> ListOf:
    return ListOf(of=Number(between=(100, 999)), as_set=True, default=default)


SERVICE = Record(
    fields={
        "id": _ID,
        "name": _NAME,
        "retries": Number(default=5, between=(0, 32767)),
        "protocol": Text(default="http", required=True, one_of=_PROTOCOLS, supported=("http",)),
        "host": Text(required=True, rule=rules.host),
        "port": Number(default=80, required=True, between=(0, 65535)),
        "path": Text(rule=rules.service_path),
        "connect_timeout": _TIMEOUT,
        "write_timeout": _TIMEOUT,
        "read_timeout": _TIMEOUT,
        "tags": _TAGS,
        "enabled": Flag(default=True, required=True),
        "client_certificate": Opaque(),
        "tls_verify": Opaque(),
        "tls_verify_depth": Opaque(),
        "ca_certificates": Opaque(),
    }
)

ROUTE = Record(
    fields={
        "id": _ID,
        "name": _NAME,
        "service": Reference(),
        "protocols": ListOf(
            of=Text(one_of=_PROTOCOLS, supported=("http", "https")),
            as_set=True,
            default=["http", "https"],
        ),
        "methods": ListOf(of=Text(rule=rules.method), as_set=True),
        "hosts": ListOf(of=Text(rule=rules.route_host), as_set=True),
        "paths": ListOf(of=Text(rule=rules.route_path)),
        "headers": MapOf(of=ListOf(of=Text())),
        "snis": Opaque(),
        "sources": Opaque(),
        "destinations": Opaque(),
        "regex_priority": Number(default=0),
        "strip_path": Flag(default=True, required=True),
        "preserve_host": Flag(default=False, required=True),
        "path_handling": Text(default="v0", one_of=("v0", "v1"), supported=("v0",)),
        "https_redirect_status_code": Number(default=426, required=True, one_of=_REDIRECTS),
        "request_buffering": Flag(default=True, required=True),
        "response_buffering": Flag(default=True, required=True),
        "tags": _TAGS,
    },
    rules=(rules.route_has_matcher,),
)

_HEALTHCHECKS = Record(
    fields={
        "active": Record(
            fields={
                "type": Text(
                    default="http",
                    one_of=("tcp", "http", "https", "grpc", "grpcs"),
                    supported=("tcp", "http"),
                ),
                "timeout": Number(default=1, between=(0, 65535), fraction=True),
                "concurrency": Number(default=10, between=(1, 2147483648)),
                "http_path": Text(default="/", rule=rules.service_path),
                "https_sni": Opaque(),
                "https_verify_certificate": Flag(default=True, required=True),
                "headers": MapOf(of=ListOf(of=Text())),
                "healthy": Record(
                    fields={
                        "interval": _SECONDS,
                        "successes": _COUNT,
                        "http_statuses": _statuses(default=[200, 302]),
                    }
                ),
                "unhealthy": Record(
                    fields={
                        "interval": _SECONDS,
                        "tcp_failures": _COUNT,
                        "timeouts": _COUNT,
                        "http_failures": _COUNT,
                        "http_statuses": _statuses(default=_ACTIVE_UNHEALTHY),
                    }
                ),
            }
        ),
        "passive": Record(
            fields={
                "type": Text(
                    default="http",
                    one_of=("tcp", "http", "https", "grpc", "grpcs"),
                    supported=("tcp", "http"),
                ),
                "healthy": Record(
                    fields={"successes": _COUNT, "http_statuses": _statuses(default=_PASSIVE_HEALTHY)}
                ),
                "unhealthy": Record(
                    fields={
                        "tcp_failures": _COUNT,
                        "timeouts": _COUNT,
                        "http_failures": _COUNT,
                        "http_statuses": _statuses(default=[429, 500, 503]),
                    }
                ),
            }
        ),
        "threshold": Number(default=0, between=(0, 100), fraction=True),
    }
)

UPSTREAM = Record(
    fields={
        "id": _ID,
        "name": Text(required=True, rule=rules.upstream_name),
        "algorithm": Text(
            default="round-robin",
            one_of=_ALGORITHMS,
            supported=("consistent-hashing", "least-connections", "round-robin"),
        ),
        "hash_on": Text(default="none", one_of=_HASH_INPUTS, supported=_OUR_HASH_INPUTS),
        "hash_fallback": Text(default="none", one_of=_HASH_INPUTS, supported=_OUR_HASH_INPUTS),
        "hash_on_header": Text(rule=rules.header_name),
        "hash_fallback_header": Text(rule=rules.header_name),
        "hash_on_cookie": Text(rule=rules.header_name),
        "hash_on_cookie_path": Text(default="/", rule=rules.service_path),
        "hash_on_query_arg": Text(),
        "hash_fallback_query_arg": Text(),
        "hash_on_uri_capture": Opaque(),
        "hash_fallback_uri_capture": Opaque(),
        "slots": Number(default=10000, between=(10, 65536)),
        "healthchecks": _HEALTHCHECKS,
        "tags": _TAGS,
        "host_header": Text(rule=rules.host),
        "client_certificate": Opaque(),
        "use_srv_name": Flag(default=False, unsupported=True),
    },
    rules=(rules.hash_inputs_named, rules.hashing_is_chosen),
)

TARGET = Record(
    fields={
        "id": _ID,
        "upstream": Reference(),
        "target": Text(required=True, rule=rules.target),
        "weight": Number(default=100, between=(0, 65535)),
        "tags": _TAGS,
    }
)

PLUGIN_FRAME = {
    "id": _ID,
    "name": Text(required=True),
    "instance_name": _NAME,
    "enabled": Flag(default=True, required=True),
    "protocols": ListOf(of=Text(one_of=_PROTOCOLS), as_set=True),
    "route": Reference(),
    "service": Reference(),
    "consumer": Opaque(),
    "consumer_group": Opaque(),
    "ordering": Opaque(),
    "tags": _TAGS,
}
"""Every plugin's fields but `config` and the choice of `protocols`, which are the plugin's own."""


def plugin(config: Record, protocols: tuple[str, ...]) -> Record:
    """A plugin with its own `config`."""
    chosen = ListOf(of=Text(one_of=tuple(sorted(protocols))), as_set=True, default=list(protocols))
    return Record(fields={**PLUGIN_FRAME, "protocols": chosen, "config": config})
