"""Kong's routes to Envoy's: the order in which they are tried, how paths match, what the upstream is sent.

Envoy takes the first route that matches, so the order of the list is Kong's precedence.
What a path becomes follows Kong's `path_handling: v0` (kong-observed: sections 1 and 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localfaas.edge.clusters import Backend
from localfaas.edge.entities import Route, Service, Upstream
from localfaas.envoy import Resource

NOT_IDEMPOTENT = ("POST", "PATCH", "LOCK")
"""Methods that nginx, and so Kong, sends a second time only if the first never reached a target."""

_SEGMENT_END = re.compile(r"\((?:\?:)?(?:\$\|/|/\|\$)\)$")
_LITERAL = re.compile(r"^/[A-Za-z0-9/_~-]*$")
_NO_SLASH_AT_END = r"[^?]*[^/?](?:\?.*)?"


@dataclass(frozen=True)
class Candidate:
    """One path of one route (or the route itself where it has none): what Kong weighs against the others."""

    route: Route
    path: str | None

    @property
    def is_regex(self) -> bool:
        return self.path is not None and self.path.startswith("~")

    @property
    def precedence(self) -> tuple[object, ...]:
        """Greater wins: kinds of matcher, plain hosts, headers, regex, its priority, length, id."""
        route = self.route
        kinds = sum(map(bool, (route.methods, route.hosts, route.headers, self.path)))
        plain_hosts = bool(route.hosts) and not any("*" in host for host in route.hosts)
        length = len(self.path) if self.path and not self.is_regex else 0
        priority = route.regex_priority if self.is_regex else 0
        return (kinds, plain_hosts, len(route.headers), self.is_regex, priority, length, route.id)


@dataclass(frozen=True)
class PathRule:
    """One way in which a path matches, and what becomes of it.

    `prefix` is the part taken off, for X-Forwarded-Prefix; None where nothing is.
    """

    match: Mapping[str, Any]
    rewrite: Mapping[str, Any]
    prefix: str | None = None


def in_order(routes: Iterable[Route]) -> list[Candidate]:
    """Every path of every route, the strongest first."""
    candidates = [Candidate(route, path) for route in routes for path in (route.paths or (None,))]
    return sorted(candidates, key=lambda candidate: candidate.precedence, reverse=True)


def path_rules(path: str | None, base: str, *, strip: bool) -> list[PathRule]:
    """How `path` of a route matches and is rewritten onto the service path `base`, the first match counting."""
    stem = base.removesuffix("/")
    if path is None:
        return _plain("/", base, stem, strip=False)
    if not path.startswith("~"):
        return _plain(path, base, stem, strip=strip)
    expression = path[1:].replace("(?<", "(?P<")
    literal = _SEGMENT_END.sub("", expression)
    if literal != expression and _LITERAL.match(literal):
        return _segments(literal, stem, strip=strip)
    return _regex(expression, stem, strip=strip)


def _plain(path: str, base: str, stem: str, *, strip: bool) -> list[PathRule]:
    """A prefix without regard to segments; what is left is joined to the base with one slash."""
    shown = path if strip and path != "/" else None
    if path == "/":
        root = [PathRule({"path": "/"}, _to(base))] if stem else []
        return [*root, PathRule({"prefix": "/"}, _to(stem + "/") if stem else {}, shown)]
    if not strip:
        return [PathRule({"prefix": path}, _to(stem + path) if stem else {})]
    if path.endswith("/"):
        return [PathRule({"prefix": path}, _to(stem + "/"), shown)]
    return [
        PathRule({"path": path}, _to(stem or "/"), shown),
        PathRule({"prefix": path + "/"}, _to(stem + "/"), shown),
        PathRule({"prefix": path}, _to(stem + "/"), shown),
    ]


def _segments(literal: str, stem: str, *, strip: bool) -> list[PathRule]:
    """`~/literal($|/)`: a prefix of whole segments, without running a regular expression."""
    if not strip:
        keep = stem + literal
        return [
            PathRule({"path": literal}, _to(keep) if stem else {}),
            PathRule({"prefix": literal + "/"}, _to(keep + "/") if stem else {}),
        ]
    return [
        PathRule({"path": literal}, _to(stem or "/"), literal),
        PathRule({"prefix": literal + "/"}, _to(stem + "/"), literal + "/"),
    ]


def _regex(expression: str, stem: str, *, strip: bool) -> list[PathRule]:
    """A regular expression, anchored at the start; Envoy's must match the whole path."""
    some = {"safe_regex": {"regex": f"(?:{expression}).*"}}
    if not strip:
        return [PathRule(some, _substitute("^/", stem + "/") if stem else {})]
    whole = {
        "safe_regex": {"regex": f"(?:{expression})"},
        "headers": [{"name": ":path", "string_match": {"safe_regex": {"regex": _NO_SLASH_AT_END}}}],
    }
    return [
        PathRule(whole, _substitute("^.*$", stem or "/")),
        PathRule(some, _substitute(f"^(?:{expression})/?", stem + "/")),
    ]


def _to(path: str) -> dict[str, Any]:
    return {"prefix_rewrite": path}


def _substitute(pattern: str, substitution: str) -> dict[str, Any]:
    literal = substitution.replace("\\", "\\\\")
    return {"regex_rewrite": {"pattern": {"regex": pattern}, "substitution": literal}}


def matchers(route: Route) -> list[Resource]:
    """Envoy header matchers for the route's headers: without case, a regex anywhere in the value, as Kong does."""
    found = []
    for name, values in route.headers.items():
        parts = [f".*(?:{value[2:]}).*" if value.startswith("~*") else re.escape(value) for value in values]
        expression = "(?i)(?:" + "|".join(parts) + ")"
        found.append({"name": name, "string_match": {"safe_regex": {"regex": expression}}})
    return found


def method_groups(route: Route) -> Iterator[tuple[tuple[str, ...] | None, bool]]:
    """The route's methods split by whether they may be repeated; None stands for all the others."""
    if not route.methods:
        yield NOT_IDEMPOTENT, False
        yield None, True
        return
    once = tuple(method for method in route.methods if method in NOT_IDEMPOTENT)
    repeatable = tuple(method for method in route.methods if method not in NOT_IDEMPOTENT)
    if once:
        yield once, False
    if repeatable:
        yield repeatable, True


def method_matcher(methods: tuple[str, ...]) -> Resource:
    if len(methods) == 1:
        return {"name": ":method", "string_match": {"exact": methods[0]}}
    return {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(methods)}}}


def action(route: Route, service: Service, backend: Backend, rule: PathRule, *, repeatable: bool) -> Resource:
    """Where a matched request goes, how long it may take and how often it is tried."""
    attempts = service.retries + 1
    idle_ms = service.read_timeout_ms * attempts + 10_000
    resource: Resource = {
        "cluster": backend.name,
        "timeout": "0s",
        "idle_timeout": f"{idle_ms / 1000:g}s",
        "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        "retry_policy": _retry_policy(service, repeatable=repeatable),
        **rule.rewrite,
    }
    if not route.preserve_host:
        host = backend.host_header
        resource.update({"host_rewrite_literal": host} if host else {"auto_host_rewrite": True})
    if backend.upstream and backend.upstream.fields["algorithm"] == "consistent-hashing":
        resource["hash_policy"] = hash_policies(backend.upstream)
    return resource


def _retry_policy(service: Service, *, repeatable: bool) -> Resource:
    """Kong's: a connection that failed is tried elsewhere; a lost or late answer only if the method allows it."""
    lost = "reset" if repeatable else "reset-before-request"
    return {
        "retry_on": f"connect-failure,refused-stream,{lost}",
        "num_retries": service.retries,
        "per_try_idle_timeout": f"{service.read_timeout_ms / 1000:g}s",
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
    }


def hash_policies(upstream: Upstream) -> list[Resource]:
    """What consistent hashing hashes; the fallback counts where the first is absent."""
    fields = upstream.fields
    first = _hash_policy(fields, fields["hash_on"], "hash_on")
    second = _hash_policy(fields, fields["hash_fallback"], "hash_fallback")
    return [policy for policy in (first, second) if policy]


def _hash_policy(fields: Mapping[str, Any], source: str, role: str) -> Resource | None:
    if source == "none":
        return None
    policy: Resource = {"terminal": True}
    if source == "header":
        policy["header"] = {"header_name": fields[f"{role}_header"]}
    elif source == "query_arg":
        policy["query_parameter"] = {"name": fields[f"{role}_query_arg"]}
    elif source == "ip":
        policy["connection_properties"] = {"source_ip": True}
    else:
        policy["cookie"] = {
            "name": fields["hash_on_cookie"],
            "ttl": "0s",
            "path": fields["hash_on_cookie_path"],
            "attributes": [{"name": "SameSite", "value": "Lax"}],
        }
    return policy
