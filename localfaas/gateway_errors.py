"""What the function gateway itself answers, in the words of OpenFaaS' gateway, provider and watchdog. Pure."""

from __future__ import annotations

from typing import Any

from localfaas.deployment import NAMESPACE
from localfaas.envoy import Resource

ROUTE_METADATA = "localfaas"
"""Where a function's route keeps `name` (as in the URL), `function` (with its namespace) and `limit`."""

UNKNOWN_FUNCTION_FILTER = "unknown-function"

_TYPE = "type.googleapis.com/envoy."
_BY_US = ("X-OpenFaaS-Internal", "proxy")
_NAME = f"%METADATA(ROUTE:{ROUTE_METADATA}:name)%"
_LIMIT = f"%METADATA(ROUTE:{ROUTE_METADATA}:limit)%"
_NOBODY_ANSWERED = 'upstream.address == "127.0.0.1:0"'
_API_ROUTE = 'xds.route_name == "api" || xds.route_name == "api logs" || xds.route_name == "unclean"'

_NO_ENDPOINTS = f"No endpoints available for: {_NAME}.\n"
_UNREACHABLE = f"Can't reach service for: {_NAME}.\n"
_TOO_MANY = f"Concurrent request limit exceeded. Max concurrent requests: {_LIMIT}\n"
_API_DOWN = "The localfaas API is not answering; functions are not affected.\n"

_UNKNOWN_NAME = f"%DYNAMIC_METADATA({ROUTE_METADATA}:name)%"
_UNKNOWN_NAMESPACE = f"%DYNAMIC_METADATA({ROUTE_METADATA}:namespace)%"
_SPLIT_NAME = r"^/function/(.*?)(?:\.([A-Za-z0-9_-]*))?(?:[/?].*)?$"


def error_mappers() -> list[Resource]:
    """Envoy's own answers, by response flag; the first that matches wins, and what matches none stays Envoy's."""
    failed = ["UH", "UF", "UC", "UR", "LR", "UT", "SI", "UPE", "NC"]
    return [
        _mapper(_all_of(_cel(_API_ROUTE), _flags(*failed)), 502, _API_DOWN),
        _mapper(_flags("UO"), 429, _TOO_MANY, ("Retry-After", "1"), _BY_US),
        _mapper(_flags("UH", "NC"), 503, _NO_ENDPOINTS, _BY_US),
        _mapper(_all_of(_cel(_NOBODY_ANSWERED), _flags("UF")), 503, _NO_ENDPOINTS, _BY_US),
        _mapper(_flags("UT", "SI"), 502, ""),
        _mapper(_flags("UF", "UC", "UR", "LR", "UPE"), 500, _UNREACHABLE, _BY_US),
    ]


def unknown_function_routes() -> list[Resource]:
    """404 for `/function/NAME…` that no function's route took, as a gateway with scale-from-zero says it."""
    dotted = r"/function/[A-Za-z0-9._-]*\.[A-Za-z0-9_-]+(?:/.*)?"
    plain = r"/function/[A-Za-z0-9_-]+(?:/.*)?"
    return [
        _unknown_function_route(dotted, _UNKNOWN_NAMESPACE),
        _unknown_function_route(plain, NAMESPACE),
    ]


def unknown_function_filter() -> Resource:
    """Take name and namespace out of the path, for the text of the 404."""
    return {
        "@type": _TYPE + "extensions.filters.http.header_to_metadata.v3.Config",
        "request_rules": [_path_part("name", r"\1"), _path_part("namespace", r"\2")],
    }


def filter_enabled() -> Resource:
    """Per-route configuration that turns on a filter which the listener declares as disabled."""
    return {"@type": _TYPE + "config.route.v3.FilterConfig", "config": {}}


def _unknown_function_route(regex: str, namespace: str) -> Resource:
    text = (
        f"error finding function {_UNKNOWN_NAME}.{namespace}: "
        f"server returned non-200 status code (404) for function, {_UNKNOWN_NAME}, body: "
    )
    return {
        "name": "unknown function",
        "match": {"safe_regex": {"regex": regex}},
        "direct_response": {"status": 404, "body_format": _text(text)},
        "typed_per_filter_config": {UNKNOWN_FUNCTION_FILTER: filter_enabled()},
    }


def _path_part(key: str, group: str) -> Resource:
    rewrite = {"pattern": {"regex": _SPLIT_NAME}, "substitution": group}
    pair = {"metadata_namespace": ROUTE_METADATA, "key": key, "regex_value_rewrite": rewrite}
    return {"header": ":path", "on_header_present": pair, "remove": False}


def _mapper(matches: Resource, status: int, body: str, *headers: tuple[str, str]) -> Resource:
    mapper: dict[str, Any] = {"filter": matches, "status_code": status, "body_format_override": _text(body)}
    if body:
        headers = (*headers, ("X-Content-Type-Options", "nosniff"))
    if headers:
        mapper["headers_to_add"] = [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers
        ]
    return mapper


def _text(body: str) -> Resource:
    return {"text_format_source": {"inline_string": body}, "content_type": "text/plain; charset=utf-8"}


def _flags(*flags: str) -> Resource:
    return {"response_flag_filter": {"flags": list(flags)}}


def _all_of(*filters: Resource) -> Resource:
    return {"and_filter": {"filters": list(filters)}}


def _cel(expression: str) -> Resource:
    config = {
        "@type": _TYPE + "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        "expression": expression,
    }
    return {
        "extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config}
    }
